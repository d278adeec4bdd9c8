"""Pictures, sound, tables and distributions: what others hold them in becomes plain data.

Arrays, tensors, PIL images, dataframes and figures are recognised without importing their
libraries (`tracking_core.foreign`). What is taken of each, and what becomes of it, is said in the
module of its kind; what lies in files is here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tracking_core.distributions import histogram_of
from tracking_core.errors import UnfitValueError
from tracking_core.foreign import is_a
from tracking_core.pictures import (
    caption_of,
    drawn,
    encoded_picture,
    figure_of,
    fps_of,
    of_pillow,
    picture_of,
    video_of,
)
from tracking_core.plain import NOT_PLAIN, plain_value, text
from tracking_core.records import (
    MEDIA_TYPES,
    LoggedAudio,
    LoggedFile,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    Plain,
)
from tracking_core.sound import rate_of, sound_of
from tracking_core.values import Artifact, Audio, Histogram, Image, Table, Video

__all__ = ["medium_of"]


def medium_of(key: str, value: object, notes: list[str]) -> Media | None:
    """`value` as one of the media of `tracking_core.records`; None if it is none of them.

    Args:
        notes: to this is added what is lost of a value that is taken.

    Raises:
        UnfitValueError: it is meant to be one, but its content does not fit.
        OSError: its file can't be read.
    """
    match value:
        case Image():
            return _image(value, notes)
        case Table():
            return _table(value)
        case Histogram():
            return histogram_of(value, notes)
        case Audio():
            return _audio(value, notes)
        case Video():
            return _video(value, notes)
        case Artifact():
            return _artifact(key, value)
        case _ if isinstance(value, MEDIA_TYPES):
            return value
        case _ if is_a("PIL.Image", "Image", value):
            return of_pillow(value, None, notes)
    figure = figure_of(value)
    return None if figure is None else drawn(figure, None)


def _image(image: Image, notes: list[str]) -> LoggedImage:
    if isinstance(image.data, (str, os.PathLike)):
        return _picture_file(image.data, caption_of(image.caption), notes)
    return picture_of(image, notes)


def _picture_file(
    path: str | os.PathLike[str], caption: str | None, notes: list[str]
) -> LoggedImage:
    with open(path, "rb") as file:
        data = file.read()
    return encoded_picture(data, caption, repr(os.fspath(path)), notes)


def _audio(audio: Audio, notes: list[str]) -> LoggedAudio:
    caption = caption_of(audio.caption)
    if isinstance(audio.data, (str, os.PathLike)):
        data, suffix = _media_file(audio.data)
        rate = 0 if audio.sample_rate is None else rate_of(audio.sample_rate)
        return LoggedAudio(data, rate, 0, format=suffix, caption=caption)
    return sound_of(audio, caption, notes)


def _video(video: Video, notes: list[str]) -> LoggedVideo:
    if isinstance(video.data, (str, os.PathLike)):
        data, suffix = _media_file(video.data)
        fps, caption = fps_of(video.fps, notes), caption_of(video.caption)
        return LoggedVideo(data, 0, 0, 0, 0, fps, format=suffix, caption=caption)
    return video_of(video, notes)


def _media_file(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    with open(path, "rb") as file:
        return file.read(), os.path.splitext(path)[1].removeprefix(".").lower() or "bin"


def _artifact(key: str, artifact: Artifact) -> LoggedFile:
    path = os.path.abspath(artifact.path)
    if not os.path.exists(path):
        raise UnfitValueError(f"no such file or directory: {path!r}")
    folder = key if artifact.artifact_path is None else artifact.artifact_path
    return LoggedFile(path, os.fspath(folder), os.path.isdir(path))


def _table(table: Table) -> LoggedTable:
    columns, rows = table.columns, table.data
    frame: Any = table.dataframe
    if frame is not None:
        columns = list(frame.columns)
        # polars has rows(); pandas gives plain tuples through itertuples.
        rows = frame.rows() if hasattr(frame, "rows") else frame.itertuples(index=False, name=None)
    if rows is None:
        raise UnfitValueError("Table needs data=... (rows) or dataframe=...")
    listed = [row if isinstance(row, Mapping) else list(row) for row in rows]
    if columns is None:
        first = listed[0] if listed else []
        columns = (
            list(dict.fromkeys(key for row in listed if isinstance(row, Mapping) for key in row))
            if isinstance(first, Mapping)
            else [str(index) for index in range(len(first))]
        )
    cells = [
        [row.get(name) for name in columns] if isinstance(row, Mapping) else row for row in listed
    ]
    for row in cells:
        if len(row) != len(columns):
            raise UnfitValueError(f"a row of {len(row)} cells does not fit {len(columns)} columns")
    return LoggedTable(
        [text(str(name)) for name in columns], [[_cell(c) for c in row] for row in cells]
    )


def _cell(value: object) -> Plain:
    try:
        plain = plain_value(value)
    except Exception:  # a cell of any type has a text
        plain = NOT_PLAIN
    return text(str(value)) if plain is NOT_PLAIN else plain  # type: ignore[return-value]  # plain
