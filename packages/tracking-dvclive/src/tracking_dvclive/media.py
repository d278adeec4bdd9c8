"""Media as files in a run's directory, and as what DVC can show of them.

Each medium is a line in the index (`tracking_dvclive.layout.INDEX`), which holds what a file does
not say by itself: key, step, time, caption.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.records import (
    LoggedAudio,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    Plain,
)
from tracking_dvclive.cells import cell, plain, rows

__all__ = ["Plot", "Stored", "histogram_plot", "medium_from", "stored", "table_plot"]

SHOWN_AS_IMAGES = ("png", "jpg", "jpeg", "gif")
MOST_ROWS_SHOWN = 5000  # of a table as a plot; its CSV has all
_ENDING = re.compile(r"[a-z0-9]{1,8}\Z", re.IGNORECASE)

_KINDS = {
    LoggedImage: "image",
    LoggedVideo: "video",
    LoggedAudio: "audio",
    LoggedTable: "table",
    LoggedHistogram: "histogram",
}
_ABOUT = {
    "image": ("width", "height", "channels", "format", "caption", "figure"),
    "video": ("width", "height", "channels", "frames", "fps", "format", "caption"),
    "audio": ("sample_rate", "channels", "format", "caption"),
    "table": (),
    "histogram": ("counts", "edges", "min", "max", "num", "sum", "sum_squares", "nonfinite"),
}


class Stored(NamedTuple):
    """A medium as it is stored.

    Attributes:
        kind: "image", "video", "audio", "table" or "histogram".
        data: the content of its file; None if `about` says it all.
        ending: of the file's name, without the dot.
        is_shown: whether the file belongs to the images that DVC shows.
        about: what the index says of it.
    """

    kind: str
    data: bytes | None
    ending: str
    is_shown: bool
    about: dict[str, Any]


class Plot(NamedTuple):
    """What ``Live.log_plot`` takes: rows of named values, and which names are the axes."""

    datapoints: list[dict[str, Plain]]
    x: str
    y: str | list[str]
    template: str


def stored(medium: Media) -> Stored:
    """`medium` as it is stored.

    Raises:
        TypeError: it is no medium.
        Exception: it is damaged.
    """
    data: bytes | None
    match medium:
        case LoggedImage():
            data, ending = image_file(medium)
        case LoggedVideo():
            data, ending = video_file(medium)
        case LoggedAudio():
            data, ending = audio_file(medium)
        case LoggedTable():
            data, ending = _csv(medium), "csv"
        case LoggedHistogram():
            data, ending = None, ""
        case _:
            raise TypeError("DVCLive has no place for it")
    kind = _KINDS[type(medium)]
    about = {name: getattr(medium, name) for name in _ABOUT[kind]}
    if "format" in about:
        about["format"] = ending
    if _ENDING.match(ending) is None:
        ending = "bin"
    shown = kind in ("image", "video") and ending.lower() in SHOWN_AS_IMAGES
    return Stored(kind, data, ending, shown, about)


def medium_from(kind: str, about: Mapping[str, Any], data: bytes) -> Media | None:
    """The medium that was `stored`; None if `kind` is none of its kinds."""
    known = {name: about[name] for name in _ABOUT.get(kind, ()) if name in about}
    match kind:
        case "image":
            return LoggedImage(data, **known)
        case "video":
            return LoggedVideo(data, **known)
        case "audio":
            return LoggedAudio(data, **known)
        case "table":
            return _table(data)
        case "histogram":
            return LoggedHistogram(**known)
    return None


def histogram_plot(histogram: LoggedHistogram) -> Plot:
    """Counts over the middle of their bins."""
    points: list[dict[str, Plain]] = [
        {"value": middle, "count": count}
        for middle, count in zip(histogram.middles, histogram.counts, strict=False)
    ]
    return Plot(points, "value", "count", "linear")


def table_plot(table: LoggedTable) -> Plot | None:
    """The columns of numbers over the first column; None for a table without any cell.

    A table of texts is shown as points, its last column over its first.
    """
    titles = _told_apart(table.columns)
    shown = table.rows[:MOST_ROWS_SHOWN]
    if not titles or not shown:
        return None
    if len(titles) == 1:
        titles = ["row", *titles]
        shown = [[number, *row] for number, row in enumerate(shown)]
    columns = list(zip(*shown, strict=True))
    numbers = [
        title for title, cells in list(zip(titles, columns, strict=True))[1:] if _are_numbers(cells)
    ]
    points = [dict(zip(titles, map(_shown, row), strict=True)) for row in shown]
    y = numbers if len(numbers) > 1 else (numbers or titles[-1:])[0]
    template = "linear" if numbers and _are_numbers(columns[0]) else "scatter"
    return Plot(points, titles[0], y, template)


def _csv(table: LoggedTable) -> bytes:
    lines: list[Sequence[Any]] = [table.columns, *table.rows]
    return "".join(",".join(map(cell, line)) + "\n" for line in lines).encode()


def _table(data: bytes) -> LoggedTable:
    titles, *found = list(rows(data.decode("utf-8", "replace"), ",")) or [[]]
    if titles == [""]:
        return LoggedTable([], [[] for _ in found])
    columns = [str(plain(title)) for title in titles]
    return LoggedTable(columns, [list(map(plain, row)) for row in found])


def _told_apart(columns: Iterable[str]) -> list[str]:
    titles: list[str] = []
    for title in columns:
        title = title or "_"
        while title in titles:
            title += "'"
        titles.append(title)
    return titles


def _are_numbers(cells: Sequence[Plain]) -> bool:
    kinds = {type(one) for one in cells}
    return kinds <= {int, float, type(None)} and kinds != {type(None)}


def _shown(value: Any) -> Plain:
    # What DVC makes of it is JSON for a browser, which knows no NaN.
    return None if isinstance(value, float) and not math.isfinite(value) else value
