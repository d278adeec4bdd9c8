"""Media as Aim's objects, and back.

An object of Aim's is a small tree of its own. What Aim has no field for (the exact edges of a
histogram, the cells of a table) lies in it too, under `layout.ABOUT`.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import aim
import numpy
import PIL.Image
from aim.storage.types import BLOB

from tracking_aim.layout import ABOUT
from tracking_core.encoding import audio_file, image_file, markdown, video_file
from tracking_core.errors import UnfitValueError
from tracking_core.records import (
    LoggedAudio,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
)

__all__ = ["file_text", "is_heard", "medium_of", "object_of", "text", "value_of"]

PLAYED = ("png", "gif", "webp")  # moving pictures that a browser shows as a picture
HEARD = ("wav", "mp3", "flac")
MOST_BINS = 512
MOST_ROWS = 500
LARGEST = sys.float_info.max


def object_of(
    medium: LoggedImage | LoggedAudio | LoggedVideo | LoggedHistogram | LoggedTable,
) -> Any:
    """The object that Aim shows `medium` as; None for a file of a kind that Aim can't show.

    Raises:
        UnfitValueError: it is no picture.
    """
    match medium:
        case LoggedImage():
            data, suffix = image_file(medium)
            return _picture(data, suffix, medium.caption, {"figure": True} if medium.figure else {})
        case LoggedVideo():
            data, suffix = video_file(medium)
            if suffix not in PLAYED:
                return None
            return _picture(data, suffix, medium.caption, {"video": _sizes(medium)})
        case LoggedAudio():
            if not is_heard(medium):
                return None
            data, suffix = audio_file(medium)
            sound = aim.Audio(data, format=suffix, caption=medium.caption or "")
            about = {"rate": medium.sample_rate, "channels": medium.channels}
            return _with(sound, about if medium.format != "pcm16" else {})
        case LoggedHistogram():
            return _distribution(medium)
        case LoggedTable():
            rows = medium.rows[:MOST_ROWS]
            shown = markdown(LoggedTable(medium.columns, rows))
            if len(rows) < len(medium.rows):
                shown += f"\n\nand {len(medium.rows) - len(rows)} more rows"
            return _with(aim.Text(shown), {"columns": medium.columns, "rows": medium.rows})


def is_heard(sound: LoggedAudio) -> bool:
    """Whether Aim plays it."""
    return sound.format in ("pcm16", *HEARD)


def text(value: str) -> Any:
    """A text of Aim's."""
    return aim.Text(value)


def file_text(medium: LoggedAudio | LoggedVideo, place: str | None) -> Any:
    """A text that stands for a file of sound or moving pictures that Aim can't show.

    Args:
        place: the artifact that holds it. Without one the text holds it itself, out of sight.
    """
    sound = isinstance(medium, LoggedAudio)
    about = {"audio" if sound else "video": _sizes(medium), "caption": medium.caption}
    shown = [f"{medium.format} file of {len(medium.data)} bytes", medium.caption, place]
    stands = aim.Text("\n".join(part for part in shown if part))
    if place is None:
        stands.storage["file"] = BLOB(data=medium.data)
    return _with(stands, {**about, "place": place})


def value_of(stored: Any, files: Mapping[str, str]) -> Value:
    """What was logged, of an object of Aim's or a list of them.

    Args:
        files: where the artifacts lie on this machine, by name.
    """
    if isinstance(stored, (list, tuple)):
        return [medium_of(one, files) for one in stored]
    value: Value = medium_of(stored, files)
    return value


def medium_of(stored: Any, files: Mapping[str, str]) -> Any:
    """One object of Aim's as what was logged: a medium, or a text."""
    storage = stored.storage
    about = json.loads(storage.get(ABOUT, None) or "{}")
    match stored.get_typename():
        case "aim.text":
            return _read_text(stored, about, files)
        case "aim.image":
            data, caption = _bytes(storage["data"]), storage["caption"] or None
            size = storage["width"], storage["height"]
            if "video" in about:
                return LoggedVideo(data, **{**about["video"], "caption": caption})
            suffix = str(storage["format"]).lower()
            return LoggedImage(
                data, *size, 0, format=suffix, caption=caption, figure=about.get("figure", False)
            )
        case "aim.audio":
            return LoggedAudio(
                _bytes(storage["data"]),
                about.get("rate", 0),
                about.get("channels", 0),
                format=storage["format"],
                caption=storage["caption"] or None,
            )
        case "aim.distribution":
            if "histogram" in about:
                return LoggedHistogram(**about["histogram"])
            return _read_distribution(stored)
        case "aim.figure":
            return json.dumps(stored.json())
        case other:
            return f"<{other}>"


def _read_text(stored: Any, about: dict[str, Any], files: Mapping[str, str]) -> Any:
    if "columns" in about:
        return LoggedTable(about["columns"], about["rows"])
    for kind, name in ((LoggedAudio, "audio"), (LoggedVideo, "video")):
        if name in about:
            if about["place"] is None:
                data = _bytes(stored.storage["file"])
            else:
                with open(files[about["place"]], "rb") as file:
                    data = file.read()
            return kind(data, **{**about[name], "caption": about["caption"]})
    return stored.data


def _with(stored: Any, about: dict[str, Any]) -> Any:
    if about:
        stored.storage[ABOUT] = json.dumps(about)
    return stored


def _sizes(medium: LoggedAudio | LoggedVideo) -> dict[str, Any]:
    """All of it but its data, which may have become a file."""
    names = (name for name in medium.__struct_fields__ if name not in ("data", "caption"))
    sizes = {name: getattr(medium, name) for name in names}
    if medium.format == "raw":
        sizes.update(format="png", channels=0)
    return sizes


def _picture(data: bytes, suffix: str, caption: str | None, about: dict[str, Any]) -> Any:
    # Not through aim.Image(...), which decodes the picture and encodes it anew.
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            (width, height), mode = picture.size, picture.mode
    except PIL.UnidentifiedImageError as error:  # an OSError, as if the disk were at fault
        raise UnfitValueError("its content is no picture") from error
    image = aim.Image.__new__(aim.Image)
    image.storage["data"] = BLOB(data=data)
    image.storage["source"] = "PIL.Image"
    image.storage["mode"] = mode
    image.storage["format"] = suffix
    image.storage["width"], image.storage["height"] = width, height
    image.storage["caption"] = caption or ""
    return _with(image, about)


def _distribution(histogram: LoggedHistogram) -> Any:
    first, last = _ends(histogram.edges)
    shown = aim.Distribution(hist=_even(histogram, first, last), bin_range=(first, last))
    exact = {name: getattr(histogram, name) for name in histogram.__struct_fields__}
    return _with(shown, {"histogram": exact})


def _ends(edges: Sequence[float]) -> tuple[float, float]:
    return (edges[0], edges[-1]) if edges else (0.0, 1.0)


def _even(histogram: LoggedHistogram, first: float, last: float) -> Any:
    """The counts in bins of one width, as Aim draws them."""
    counts = numpy.asarray(histogram.counts, "float64")
    edges = numpy.asarray(histogram.edges, "float64")
    if not len(counts):
        return numpy.zeros(1)
    if last - first > LARGEST:
        # Half of it has the same shape, and is no more than a float holds.
        edges, first, last = edges / 2, first / 2, last / 2
    even = numpy.linspace(first, last, len(edges))
    if len(counts) <= MOST_BINS and numpy.allclose(edges, even, rtol=1e-9):
        return counts
    below = numpy.concatenate([[0.0], numpy.cumsum(counts)])
    even = numpy.linspace(first, last, min(len(counts), MOST_BINS) + 1)
    return numpy.diff(numpy.interp(even, edges, below))


def _read_distribution(stored: Any) -> LoggedHistogram:
    counts, edges = stored.to_np_histogram()
    middles = (edges[:-1] + edges[1:]) / 2
    total = float(counts.sum())
    return LoggedHistogram(
        counts=[float(count) for count in counts],
        edges=[float(edge) for edge in edges],
        min=float(edges[0]),
        max=float(edges[-1]),
        num=total,
        sum=float((counts * middles).sum()),
        sum_squares=float((counts * middles**2).sum()),
    )


def _bytes(blob: Any) -> bytes:
    return bytes(blob.load() if hasattr(blob, "load") else blob)
