"""What Comet has for each kind of media, as an asset of the right kind, and back.

Whatever the kind itself does not hold lies in the asset's metadata: the key, the time, which
one of a list it is, caption and speed.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import struct
import wave
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tracking_comet_ml.batch import Asset
from tracking_comet_ml.layout import OURS, whole_name
from tracking_comet_ml.settings import imported
from tracking_core.encoding import audio_file, csv_text, image_file, video_file
from tracking_core.files import as_text
from tracking_core.names import shortened
from tracking_core.records import (
    Cell,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
)

__all__ = ["assets", "of_asset", "text"]

VIDEOS = ("gif", "mov", "mp4", "wmv")  # what Comet plays; it knows them by their suffix
LONGEST_FILE_NAME = 100
HISTOGRAM = OURS + "histogram.json"
"""An asset: a histogram's own bins, beside Comet's."""


def text(key: str, value: str, step: int, when: int) -> Asset:
    """A text, for Comet's Text panel."""
    name = "auto-generated-in-the-backend"  # so does Comet's client call them
    metadata = {**_metadata(key, when, None), "kind": "text"}
    return Asset("text-sample", name, value.encode(), step, when, metadata)


def assets(key: str, medium: Any, step: int, when: int, place: int | None) -> Iterator[Asset]:
    """What `medium` becomes; `place` is which one of a list it is."""
    name = shortened(whole_name(key), LONGEST_FILE_NAME)
    metadata = _metadata(key, when, place)
    if getattr(medium, "caption", None) is not None:
        metadata["caption"] = medium.caption
    if isinstance(medium, LoggedImage):
        data, suffix = image_file(medium)
        metadata |= {"kind": "figure" if medium.figure else "image", "format": suffix}
        yield Asset("visualization", name, data, step, when, metadata)
    elif isinstance(medium, LoggedVideo):
        data, suffix = video_file(medium)
        metadata |= {"kind": "video", "format": suffix, "fps": medium.fps}
        kind = "video" if suffix in VIDEOS else "visualization" if suffix == "png" else "asset"
        name = name if kind == "visualization" else f"{name}.{suffix}"
        yield Asset(kind, name, data, step, when, metadata)
    elif isinstance(medium, LoggedAudio):
        data, suffix = audio_file(medium)
        metadata |= {"kind": "audio", "format": suffix, "sample_rate": medium.sample_rate}
        about = {"sampleRate": medium.sample_rate}
        yield Asset("audio", f"{name}.{suffix}", data, step, when, metadata, about)
    elif isinstance(medium, LoggedTable):
        metadata |= {"kind": "table"}
        yield Asset("asset", f"{name}.csv", csv_text(medium).encode(), step, when, metadata)
    elif isinstance(medium, LoggedHistogram):
        yield Asset("histogram3d", name, _bars(medium), step, when, {**metadata, "kind": "bars"})
        exact = json.dumps(msgspec.to_builtins(medium)).encode()
        yield Asset("asset", HISTOGRAM, exact, step, when, {**metadata, "kind": "histogram"})
    elif isinstance(medium, LoggedFile):
        path = as_text(os.path.join(medium.artifact_path, os.path.basename(medium.path)))
        metadata |= {"kind": "file"}
        yield Asset("asset", path.replace(os.sep, "/"), medium.path, step, when, metadata)
    else:
        raise TypeError(f"no medium: {type(medium).__name__}")


def of_asset(kind: str, name: str, data: bytes, metadata: Mapping[str, Any]) -> Value:
    """The value that an asset holds, ours or another's.

    Raises:
        ValueError: it holds none, and is a mere file.
    """
    what, suffix = metadata.get("kind"), name.rpartition(".")[2].lower()
    caption = metadata.get("caption")
    if what == "text" or kind == "text-sample":
        return data.decode("utf-8", "replace")
    if what == "histogram" and name == HISTOGRAM:
        return msgspec.convert(json.loads(data), LoggedHistogram)
    if kind == "histogram3d":
        return _of_bars(json.loads(data))
    if what == "table":
        lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
        rows: list[list[Cell]] = [[*line] for line in lines[1:]]
        return LoggedTable(lines[0] if lines else [], rows)
    if what == "video" or kind == "video":
        fps = float(metadata.get("fps", 0.0))
        suffix = metadata.get("format", suffix)
        return LoggedVideo(data, 0, 0, 0, 0, fps, suffix, caption)
    if what in ("image", "figure") or kind == "visualization":
        suffix = metadata.get("format") or _format_of(data)
        width, height = _size(data)
        return LoggedImage(data, width, height, 0, suffix, caption, what == "figure")
    if what == "audio" or kind == "audio":
        rate, channels = _sound(data)
        return LoggedAudio(data, rate, channels, metadata.get("format", suffix), caption)
    raise ValueError(f"{name!r} is a file")


def _metadata(key: str, when: int, place: int | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"key": key, "time": when}
    return metadata if place is None else {**metadata, "place": place}


def _bars(histogram: LoggedHistogram) -> bytes:
    """Comet's own bins, which grow with the distance from zero, filled bin by bin."""
    bins = imported().Histogram()
    filled: dict[int, float] = {}
    for middle, count in zip(histogram.middles, histogram.counts, strict=True):
        if count and math.isfinite(middle):
            index = min(max(bins.get_bin_index(middle), 0), len(bins.values) - 1)
            filled[index] = filled.get(index, 0) + count
    bars = {**bins.to_json(), "index_values": [[at, filled[at]] for at in sorted(filled)]}
    return json.dumps(bars).encode()


def _of_bars(bars: Mapping[str, Any]) -> LoggedHistogram:
    borders = [float(value) for value in imported().Histogram(offset=bars.get("offset", 0)).values]
    filled = {int(at): float(count) for at, count in bars.get("index_values") or ()}
    if not filled:
        return LoggedHistogram([0.0], [0.0, 0.0], 0.0, 0.0, 0.0, 0.0, 0.0)
    first, last = min(filled), min(max(filled), len(borders) - 2)
    counts = [filled.get(at, 0.0) for at in range(first, last + 1)]
    edges = borders[first : last + 2]
    centers = [(left + right) / 2 for left, right in itertools.pairwise(edges)]
    total = sum(count * center for count, center in zip(counts, centers, strict=True))
    squares = sum(count * center**2 for count, center in zip(counts, centers, strict=True))
    return LoggedHistogram(counts, edges, edges[0], edges[-1], sum(counts), total, squares)


def _format_of(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return "png"
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data.startswith(b"GIF8"):
        return "gif"
    if data[8:12] == b"WEBP":
        return "webp"
    return "bmp" if data.startswith(b"BM") else "svg"


def _size(data: bytes) -> tuple[int, int]:
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    return 0, 0


def _sound(data: bytes) -> tuple[int, int]:
    try:
        with wave.open(io.BytesIO(data)) as file:
            return file.getframerate(), file.getnchannels()
    except (wave.Error, EOFError):
        return 0, 0
