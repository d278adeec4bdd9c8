"""Pictures, sound, tables and distributions: what others hold them in becomes plain data.

Arrays, tensors, PIL images, dataframes and figures are recognised without importing their
libraries (`tracking_core.foreign`). What is taken of each, and what becomes of it, is said in the
module of its kind; what lies in files is here.
"""

from __future__ import annotations

import os

from tracking_core.distributions import histogram_of
from tracking_core.errors import UnfitValueError
from tracking_core.files import Unkept, absolute, logged_file, read_file
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
from tracking_core.plain import text
from tracking_core.records import (
    MEDIA_TYPES,
    LoggedAudio,
    LoggedFile,
    LoggedImage,
    LoggedVideo,
    Media,
)
from tracking_core.sound import rate_of, sound_of
from tracking_core.tables import is_frame, table_of
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
            return table_of(value, lambda cell, notes: medium_of(key, cell, notes), notes)
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
        case _ if is_frame(value):
            return medium_of(key, Table(dataframe=value), notes)
    figure = figure_of(value)
    return None if figure is None else drawn(figure, None)


def _image(image: Image, notes: list[str]) -> LoggedImage:
    if isinstance(image.data, (str, os.PathLike)):
        return _picture_file(image.data, caption_of(image.caption), notes)
    return picture_of(image, notes)


def _picture_file(
    path: str | os.PathLike[str], caption: str | None, notes: list[str]
) -> LoggedImage:
    data = _bytes_of_file(path)
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
    return _bytes_of_file(path), os.path.splitext(path)[1].removeprefix(".").lower() or "bin"


def _bytes_of_file(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_file(path)
    except Unkept as error:
        raise UnfitValueError(str(error)) from error


def _artifact(key: str, artifact: Artifact) -> LoggedFile:
    folder = key if artifact.artifact_path is None else artifact.artifact_path
    if not os.fspath(artifact.path):
        raise UnfitValueError("its path is empty, which would be the working directory")
    try:
        return logged_file(absolute(os.fsdecode(artifact.path)), text(os.fspath(folder)))
    except Unkept as error:
        raise UnfitValueError(str(error)) from error
