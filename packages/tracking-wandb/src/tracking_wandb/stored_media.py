"""What a row of W&B's says about a medium, and the file that it names, as a medium again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from tracking_core.records import (
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
)
from tracking_wandb.media import ARTIFACTS

__all__ = ["medium_of"]


def medium_of(about: Mapping[str, Any], files: str) -> Value:
    """The medium that `about` describes, from the run's directory `files`.

    What is of no kind that we know, or whose file is gone, is a text: the JSON that W&B has of it.
    """
    kind = str(about["_type"])
    read = _READERS.get(kind)
    if read is not None:
        try:
            return read(about, files)
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return json.dumps(about)


def _data(path: str, files: str) -> bytes:
    with open(_inside(path, files), "rb") as file:
        return file.read()


def _inside(path: str, files: str) -> str:
    """`path` from the run's files; nothing that a log says leads out of them."""
    whole = os.path.normpath(os.path.join(files, path))
    if not whole.startswith(files + os.sep):
        raise ValueError(f"{path!r} lies outside the run")
    return whole


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].removeprefix(".")


def _image(about: Mapping[str, Any], files: str) -> Value:
    data = _data(about["path"], files)
    width, height = int(about.get("width") or 0), int(about.get("height") or 0)
    suffix, caption = _format(about["path"]), about.get("caption")
    if "fps" in about:
        return LoggedVideo(data, width, height, 0, 0, float(about["fps"] or 0), suffix, caption)
    return LoggedImage(data, width, height, 0, suffix, caption, bool(about.get("figure")))


def _images(about: Mapping[str, Any], files: str) -> Value:
    captions = about.get("captions") or [None] * len(about["filenames"])
    return [
        LoggedImage(_data(path, files), 0, 0, 0, _format(path), caption)
        for path, caption in zip(about["filenames"], captions, strict=True)
    ]


def _format(path: str) -> str:
    suffix = _suffix(path)
    return "jpeg" if suffix == "jpg" else suffix


def _audio(about: Mapping[str, Any], files: str) -> Value:
    path = about["path"]
    return LoggedAudio(_data(path, files), 0, 0, _suffix(path), about.get("caption"))


def _video(about: Mapping[str, Any], files: str) -> Value:
    size = int(about.get("width") or 0), int(about.get("height") or 0)
    path, fps = about["path"], float(about.get("fps") or 0)
    return LoggedVideo(_data(path, files), *size, 0, 0, fps, _suffix(path), about.get("caption"))


def _table(about: Mapping[str, Any], files: str) -> Value:
    table = json.loads(_data(about["path"], files))
    rows = [[_cell(cell) for cell in row] for row in table["data"]]
    for i, j, number in table.get("nonfinite", ()):
        rows[i][j] = float(number)
    return LoggedTable([str(column) for column in table["columns"]], rows)


def _cell(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, (list, dict)) else cell


def _histogram(about: Mapping[str, Any], files: str) -> Value:
    if "whole" in about:
        about = {**about, **json.loads(_data(about["whole"], files))}
    counts = [float(count) for count in about["values"]]
    edges = [float(edge) for edge in about["bins"]]
    number = {
        name: float("nan") if about.get(name) is None else float(about[name])
        for name in ("min", "max", "sum", "sum_squares")
    }
    if "num" not in about:  # a histogram that somebody else logged
        number.update(min=edges[0], max=edges[-1])
    num = float(about.get("num") or sum(counts))
    return LoggedHistogram(
        counts, edges, num=num, nonfinite=int(about.get("nonfinite") or 0), **number
    )


def _file(about: Mapping[str, Any], files: str) -> Value:
    path = about["path"]
    if "artifact_path" not in about:
        return _video(about, files)
    folder, whole = about["artifact_path"], _inside(path.rstrip("/"), files)
    if path.split("/")[0] != ARTIFACTS or not os.path.exists(whole):
        raise FileNotFoundError(path)
    return LoggedFile(whole, folder, path.endswith("/"))


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Value]] = {
    "image-file": _image,
    "images/separated": _images,
    "audio-file": _audio,
    "video-file": _video,
    "table-file": _table,
    "histogram": _histogram,
    "file": _file,
}
