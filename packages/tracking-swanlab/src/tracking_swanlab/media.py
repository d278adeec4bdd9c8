"""What becomes of texts and media: the kind of SwanLab's column, a file, and a caption."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.records import (
    LoggedAudio,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
)
from tracking_swanlab import charts

__all__ = ["Item", "encoded", "kept", "restored"]

MOST_ITEMS = 100  # of one key at one step: SwanLab drops those after the 108th


class Item(NamedTuple):
    """One file of a media column.

    Attributes:
        column: the kind of the column: ``"text"``, ``"image"``, ``"audio"``, ``"video"`` or
            ``"echarts"``. It is the folder's name too.
        what: the companion that it goes to; ``""`` for the key itself.
    """

    column: str
    data: bytes
    suffix: str
    caption: str = ""
    what: str = ""


def encoded(value: Any) -> Item | None:
    """What is stored of a text or a medium; None for a video that SwanLab can't show."""
    match value:
        case str():
            return Item("text", value.encode(), "txt")
        case LoggedImage():
            return Item("image", *image_file(value), value.caption or "")
        case LoggedAudio():
            return Item("audio", *audio_file(value), value.caption or "")
        case LoggedVideo(format="gif"):
            return Item("video", value.data, "gif", value.caption or "")
        case LoggedVideo(format="raw"):
            # Browsers play an animated PNG wherever they show a picture.
            return Item("image", *video_file(value), value.caption or "", "video")
        case LoggedTable() | LoggedHistogram():
            return Item("echarts", charts.chart(value), "json")
        case _:
            return None


def kept(item: Item, step: int, media: Path) -> Any:
    """The ``MediaItem`` of `item`, whose file now lies where the library puts it."""
    from swanlab.proto.swanlab.metric.data.v1.data_pb2 import MediaItem

    digest = hashlib.sha256(item.data).hexdigest()
    # The library takes 8 digits. Files of all keys lie in one folder, and no two may be taken for one.
    name = f"{step:03d}-{digest[:24]}.{item.suffix}"
    path = media / item.column / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{os.getpid()}-{name}")
        unfinished.write_bytes(item.data)
        os.replace(unfinished, path)
    return MediaItem(filename=name, sha256=digest, size=len(item.data), caption=item.caption)


def restored(column: str, what: str, data: bytes, suffix: str, caption: str | None) -> Value:
    """The text or medium that a file of a media column holds."""
    if column in ("text", "html"):
        return data.decode("utf-8", "replace")
    if column == "echarts":
        return charts.restored(data)
    if column == "audio":
        return LoggedAudio(data, 0, 0, suffix, caption)
    if column == "video" or what == "video":
        return LoggedVideo(data, 0, 0, 0, 0, _fps(data), suffix, caption)
    size = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    width, height = size if data.startswith(b"\x89PNG") else (0, 0)
    return LoggedImage(data, width, height, 0, "jpeg" if suffix == "jpg" else suffix, caption)


def _fps(animated: bytes) -> float:
    """Frames a second of an animated PNG, by its first frame; 0 if it does not say."""
    place = animated.find(b"fcTL")
    delay = animated[place + 24 : place + 28] if place >= 0 else b""
    numerator, denominator = int.from_bytes(delay[:2], "big"), int.from_bytes(delay[2:], "big")
    return denominator / numerator if numerator else 0.0
