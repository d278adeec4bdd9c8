"""Media as W&B stores it: a file below the run's ``files``, and what a row says about it.

What W&B's own ``wandb.Image`` and the like would write, from the bytes at hand: those need Pillow,
soundfile or moviepy, drop the pictures of a list beyond the 108th and the rows of a table beyond the
10,000th, and for a table ask the server for an artifact, there and then.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.files import keep, make_folders, whole_file
from tracking_core.records import (
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
)
from tracking_wandb.names import file_name, folder_names

__all__ = ["ARTIFACTS", "Files", "medium_json"]

ARTIFACTS = "artifacts"
MOST_BINS = 512  # what W&B draws
VIDEOS = ("gif", "mp4", "webm", "ogg")  # what W&B plays


class Files:
    """The files of the run, in `directory`.

    Attributes:
        new: paths from there of what was put there and W&B was not told of yet.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.new: list[str] = []

    def add(self, kind: str, key: str, step: int, data: bytes, suffix: str) -> dict[str, Any]:
        """Store a medium; what W&B says about any file."""
        digest = hashlib.sha256(data).hexdigest()
        path = f"media/{kind}/{file_name(key)}_{step}_{digest[:20]}.{suffix}"
        self._write(path, data)
        return {"path": path, "sha256": digest, "size": len(data)}

    def copy(self, file: LoggedFile) -> tuple[str, list[str]]:
        """Copy a file or all files of a directory; its place, and what could not be kept.

        Raises:
            Unkept: nothing of it could be kept.
            OSError: the disk is full or broken.
        """
        folder = "/".join(part for part in (ARTIFACTS, folder_names(file.artifact_path)) if part)

        def place_of(inner: str) -> str:
            return f"{folder}/{folder_names(inner)}"

        places, left_out = keep(file, self.directory, place_of, [self.directory])
        self.new += places
        if not file.directory:
            return places[0], left_out
        make_folders(os.path.join(self.directory, folder))
        return f"{folder}/", left_out

    def _write(self, place: str, data: bytes) -> None:
        with whole_file(os.path.join(self.directory, place)) as unfinished:
            Path(unfinished).write_bytes(data)
        self.new.append(place)


def medium_json(key: str, value: Media | list[Media], step: int, files: Files) -> dict[str, Any]:
    """What a row says about a medium, or about a list of pictures.

    Raises:
        Unkept: of a file or directory.
    """
    if isinstance(value, list):
        return _images([_image(key, image, step, files) for image in value])  # type: ignore[arg-type]  # the tracker hands lists of pictures only
    match value:
        case LoggedImage():
            return _image(key, value, step, files)
        case LoggedAudio():
            data, suffix = audio_file(value)
            about = files.add("audio", key, step, data, suffix)
            return {"_type": "audio-file", **about, **_caption(value)}
        case LoggedVideo():
            return _video(key, value, step, files)
        case LoggedHistogram():
            return _histogram(key, value, step, files)
        case LoggedTable():
            return _table(key, value, step, files)
    raise TypeError(f"{type(value).__name__} is no medium")


def _caption(medium: LoggedImage | LoggedAudio | LoggedVideo) -> dict[str, str]:
    return {} if medium.caption is None else {"caption": medium.caption}


def _image(key: str, image: LoggedImage, step: int, files: Files) -> dict[str, Any]:
    data, suffix = image_file(image)
    about = files.add("images", key, step, data, suffix)
    size = {"format": suffix, "width": image.width, "height": image.height}
    figure = {"figure": True} if image.figure else {}
    return {"_type": "image-file", **about, **size, **_caption(image), **figure}


def _images(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A panel of several pictures; of all of them W&B knows one size and one format."""
    first = images[0]
    whole = {
        "_type": "images/separated",
        "width": first["width"],
        "height": first["height"],
        "format": first["format"],
        "count": len(images),
        "filenames": [image["path"] for image in images],
    }
    captions = [image.get("caption") for image in images]
    if any(caption is not None for caption in captions):
        whole["captions"] = captions
    return whole


def _video(key: str, video: LoggedVideo, step: int, files: Files) -> dict[str, Any]:
    data, suffix = video_file(video)
    size = {"width": video.width, "height": video.height, "fps": _number(video.fps)}
    if video.format == "raw":
        # W&B takes no animated PNG for a video; as a picture the browser plays it.
        about = files.add("images", key, step, data, suffix)
        return {"_type": "image-file", **about, "format": "png", **size, **_caption(video)}
    kind = "video-file" if suffix in VIDEOS else "file"
    return {
        "_type": kind,
        **files.add("videos", key, step, data, suffix),
        **size,
        **_caption(video),
    }


def _histogram(key: str, histogram: LoggedHistogram, step: int, files: Files) -> dict[str, Any]:
    about = {
        name: _number(getattr(histogram, name))
        for name in ("min", "max", "num", "sum", "sum_squares", "nonfinite")
    }
    counts, edges = histogram.counts, histogram.edges
    whole: dict[str, Any] = {}
    if len(counts) > MOST_BINS:
        data = json.dumps({"values": counts, "bins": edges}).encode()
        whole = {"whole": files.add("histograms", key, step, data, "json")["path"]}
        counts, edges = _coarser(counts, edges)
    return {"_type": "histogram", "values": counts, "bins": edges, **about, **whole}


def _coarser(counts: Sequence[float], edges: Sequence[float]) -> tuple[list[float], list[float]]:
    """As many neighbouring bins put together as it takes for W&B to draw them."""
    width = math.ceil(len(counts) / MOST_BINS)
    starts = range(0, len(counts), width)
    return [sum(counts[i : i + width]) for i in starts], [*(edges[i] for i in starts), edges[-1]]


def _table(key: str, table: LoggedTable, step: int, files: Files) -> dict[str, Any]:
    # A browser reads no JSON with NaN in it.
    nonfinite = [
        (i, j, repr(cell))
        for i, row in enumerate(table.rows)
        for j, cell in enumerate(row)
        if isinstance(cell, float) and not math.isfinite(cell)
    ]
    rows: list[list[Any]] = [list(row) for row in table.rows]
    for i, j, _ in nonfinite:
        rows[i][j] = None
    content: dict[str, Any] = {"columns": table.columns, "data": rows}
    if nonfinite:
        content["nonfinite"] = nonfinite
    data = json.dumps(content).encode()
    about = files.add("table", key, step, data, "table.json")
    size = {"ncols": len(table.columns), "nrows": len(rows), "log_mode": "IMMUTABLE"}
    return {"_type": "table-file", **about, **size}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
