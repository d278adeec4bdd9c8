"""One `Log` as one row of Trackio's metrics, and back.

A column holds a number, or one of the objects that Trackio's dashboard shows
(``{"_type": "trackio.image", "file_path": ..., "caption": ...}``). What such an object does not say
of itself is JSON in its member ``tracking``, and what the columns don't say is in the column
`names.NOTES`:

* ``axis``: what the row's step counts; ``added`` if there is a column for it that was not logged
* ``lists``: the columns that a list of media was spread over, by key
* ``bools``: columns whose number was a bool, which the dashboard does not draw
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.files import Unkept, as_text
from tracking_core.records import (
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Value,
    flat,
)
from tracking_trackio.card import INTEGERS, number_or_text, storable, unchanged
from tracking_trackio.names import NOTES, key_of, metric_name
from tracking_trackio.store import TooLargeError

__all__ = ["Fetch", "Keep", "columns", "digest", "values", "without"]

TEXT = "trackio.markdown"
IMAGE = "trackio.image"
AUDIO = "trackio.audio"
VIDEO = "trackio.video"
TABLE = "trackio.table"
HISTOGRAM = "trackio.histogram"
FILE = "tracking.file"  # Trackio has no column for an artifact
ABOUT = "tracking"

MOVING_PICTURES = ("png", "apng", "gif", "webp")  # a browser shows them as images only

Reject = Callable[[str, object, str], None]


class Keep(Protocol):
    """Where the files of a row go while it is written."""

    def medium(self, name: str, data: bytes) -> str:
        """Keep a file of this row; its ``file_path``."""

    def artifact(self, key: str, file: LoggedFile) -> str | None:
        """Keep a file or a directory as artifact: ``name:v0``, or None if it holds nothing.

        What of it can't be kept is rejected by its `key`.

        Raises:
            Unkept: nothing of it can be kept.
        """


class Fetch(Protocol):
    """Where the files of a row are when it is read."""

    def medium(self, file_path: str) -> bytes | None:
        """The content of a media file; None if it is gone."""

    def artifact(self, entry: Mapping[str, Any]) -> LoggedFile:
        """A file or a directory that was kept as artifact."""

    def unknown(self, file_path: str) -> LoggedFile | None:
        """A media file of another kind, as a file on this machine."""


class _DamagedError(Exception):
    """A value can't be encoded, whoever tries."""


# --- to Trackio ---


def columns(record: Log, axis: str | None, keep: Keep, reject: Reject) -> dict[str, Any]:
    """The row that stands for `record`; what can't be stored is rejected by its key."""
    row: dict[str, Any] = {}
    spread: list[tuple[str, list[Any]]] = []
    bools: list[str] = []
    for key, value in flat(record.values):
        name = metric_name(key)
        kind = type(value)
        if kind is float:
            row[name] = value if math.isfinite(value) else storable(value)
        elif kind is bool:
            row[name] = int(value)
            bools.append(name)
        elif value is None:
            row[name] = None
        elif kind is int:
            if value in INTEGERS:
                row[name] = value
            else:
                reject(key, value, "the integer does not fit into 64 bits")
        elif kind is list:
            spread.append((key, value))
        else:
            _put(row, key, name, value, keep, reject)
    notes: dict[str, Any] = {"bools": bools} if bools else {}
    # Once every other column has its name: an item gets one that is free.
    for key, media in spread:
        if names := _spread(row, key, media, keep, reject):
            notes.setdefault("lists", {})[metric_name(key)] = names
    if axis is not None:
        notes["axis"] = axis
        if metric_name(axis) not in row:
            # The dashboard draws over any column that holds numbers.
            notes["added"] = True
            row[metric_name(axis)] = record.position if record.step is None else record.step
    if notes:
        row[NOTES] = notes
    return row


def digest(step: int, wall_time: float, row: Mapping[str, Any]) -> str:
    """The same for the same row only: what is delivered twice is stored once."""
    content = msgspec.json.encode((step, repr(wall_time), row))
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def without(row: dict[str, Any], paths: Container[str]) -> dict[str, str]:
    """Take the media at `paths` out of a row and its tables; of each, its kind by its key."""
    gone: dict[str, str] = {}
    cells: dict[str, str] = {}
    for name, column in list(row.items()):
        if isinstance(column, dict) and column.get("file_path") in paths:
            about = json.loads(column.get(ABOUT) or "{}")
            gone[name] = str(about.get("kind", "medium"))
            del row[name]
        elif isinstance(column, dict) and column.get("_type") == TABLE and _emptied(column, paths):
            cells[name] = "LoggedImage"
    for key, names in row.get(NOTES, {}).get("lists", {}).items():
        row[NOTES]["lists"][key] = [name for name in names if name not in gone]
    return {key_of(name): kind for name, kind in (gone | cells).items()}


def _emptied(table: dict[str, Any], paths: Container[str]) -> bool:
    """Empty the cells of a table that hold the media at `paths`; whether there were any."""
    about = json.loads(table.get(ABOUT) or "{}")
    found = False
    for row in [*table["_value"], *about.get("rows", [])]:
        for place, cell in row.items() if isinstance(row, dict) else enumerate(row):
            if isinstance(cell, dict) and cell.get("file_path") in paths:
                row[place] = None
                found = True
    if found and about:
        table[ABOUT] = json.dumps(about)
    return found


def _put(row: dict[str, Any], key: str, name: str, value: Any, keep: Keep, reject: Reject) -> None:
    try:
        row[name] = _column(key, value, keep)
    except (_DamagedError, TooLargeError, Unkept) as error:
        reject(key, value, str(error))


def _spread(
    row: dict[str, Any], key: str, media: Sequence[Any], keep: Keep, reject: Reject
) -> list[str]:
    names = []
    for number, medium in enumerate(media):
        name = metric_name(f"{key}/{number}" if len(media) > 1 else key)
        while name in row:
            name += "'"
        _put(row, key, name, medium, keep, reject)
        names += [name] if name in row else []
    return names


def _column(key: str, value: Any, keep: Keep) -> dict[str, Any]:
    match value:
        case str():
            return {"_type": TEXT, "_value": value}
        case LoggedImage():
            return _medium(IMAGE, value, *_encoded(image_file, value), keep)
        case LoggedAudio():
            return _medium(AUDIO, value, *_encoded(audio_file, value), keep)
        case LoggedVideo():
            data, suffix = _encoded(video_file, value)
            kind = IMAGE if suffix.lower() in MOVING_PICTURES else VIDEO
            return _medium(kind, value, data, suffix, keep)
        case LoggedTable():
            return _table(value, keep)
        case LoggedHistogram():
            about = msgspec.structs.asdict(value)
            bins, counts = about.pop("edges"), about.pop("counts")
            return {
                "_type": HISTOGRAM,
                "bins": storable(bins),
                "values": storable(counts),
                ABOUT: json.dumps(about),
            }
        case LoggedFile():
            about = {"artifact": keep.artifact(key, value), "path": value.artifact_path}
            name = as_text(os.path.basename(value.path))
            return {"_type": FILE, **about, "name": name, "directory": value.directory}
        case _:
            raise _DamagedError(f"{type(value).__name__} is no value of a row")


def _encoded(encode: Callable[[Any], tuple[bytes, str]], value: Any) -> tuple[bytes, str]:
    try:
        return encode(value)
    except Exception as error:  # one damaged medium must not hold up all that comes after it
        raise _DamagedError(f"encoding it raised {type(error).__name__}") from error


def _medium(
    kind: str, value: LoggedImage | LoggedAudio | LoggedVideo, data: bytes, suffix: str, keep: Keep
) -> dict[str, Any]:
    fields = msgspec.structs.asdict(value)
    about = {name: field for name, field in fields.items() if name not in ("data", "caption")}
    about |= {"kind": type(value).__name__, "format": suffix}
    content = hashlib.blake2b(data, digest_size=16).hexdigest()
    ending = re.sub(r"[^A-Za-z0-9]", "", suffix).lower()[:10] or "bin"
    return {
        "_type": kind,
        "file_path": keep.medium(f"{content}.{ending}", data),
        "caption": value.caption,
        ABOUT: json.dumps(about),
    }


def _table(table: LoggedTable, keep: Keep) -> dict[str, Any]:
    width = len(table.columns)
    rows: list[list[Any]] = [
        [
            _medium(IMAGE, cell, *_encoded(image_file, cell), keep)
            if isinstance(cell, LoggedImage)
            else cell
            for cell in row
        ]
        for row in table.rows
    ]
    names = _distinct(table.columns)
    shown = [{name: storable(cell) for name, cell in zip(names, row, strict=False)} for row in rows]
    column = {"_type": TABLE, "_value": shown}
    exact = (
        len(set(table.columns)) == width
        and rows
        and all(len(row) == width for row in rows)
        and all(unchanged(cell) for row in rows for cell in row)
    )
    if not exact:
        column[ABOUT] = json.dumps({"columns": table.columns, "rows": rows})
    return column


def _distinct(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        while name in found:
            name += "'"
        found.append(name)
    return found


# --- and back ---


def values(row: Mapping[str, Any], fetch: Fetch) -> tuple[dict[str, Value], str | None]:
    """What `columns` was given, with its axis; of a row that Trackio made, what fits best."""
    notes = row.get(NOTES) or {}
    left_out = {NOTES}
    axis = notes.get("axis")
    if notes.get("added"):
        left_out.add(metric_name(axis))
    if "time" in row:  # the wall time, where Trackio keeps its own: no key is called like this
        left_out.add("time")
    lists: dict[str, list[str]] = notes.get("lists", {})
    left_out |= {name for names in lists.values() for name in names}
    bools = set(notes.get("bools", ()))
    found: dict[str, Value] = {}
    for name, column in row.items():
        if name not in left_out:
            found[key_of(name)] = bool(column) if name in bools else _value(column, fetch)
    for name, names in lists.items():
        found[key_of(name)] = [_value(row[item], fetch) for item in names]
    return found, axis


def _value(column: Any, fetch: Fetch) -> Any:
    if isinstance(column, list):
        return json.dumps(column)  # of other writers: no record has lists of numbers
    if not isinstance(column, dict):
        return number_or_text(column)
    kind = column.get("_type")
    about = json.loads(column.get(ABOUT) or "{}") if kind else {}
    match kind:
        case "trackio.markdown":
            return column.get("_value", "")
        case "trackio.table":
            return _read_table(column, about, fetch)
        case "trackio.histogram":
            return _read_histogram(column, about)
        case "trackio.image" | "trackio.audio" | "trackio.video":
            return _read_medium(kind, column, about, fetch)
        case "tracking.file":
            return fetch.artifact(column)
        case None:
            return dict(_nested(column, fetch))
        case _:
            path = str(column.get("file_path") or "")
            return (path and fetch.unknown(path)) or json.dumps(column)


def _nested(column: Mapping[str, Any], fetch: Fetch) -> Iterator[tuple[str, Any]]:
    for key, value in column.items():
        yield key, _value(value, fetch)


def _read_medium(
    kind: str, column: Mapping[str, Any], about: dict[str, Any], fetch: Fetch
) -> Value:
    path = str(column["file_path"])
    data = fetch.medium(path)
    if data is None:
        return path
    caption = column.get("caption")
    suffix = about.pop("format", None) or os.path.splitext(path)[1].removeprefix(".")
    types: dict[str, Any] = {
        "LoggedImage": LoggedImage,
        "LoggedAudio": LoggedAudio,
        "LoggedVideo": LoggedVideo,
    }
    if about.get("kind") in types:
        made: Value = types[about.pop("kind")](data, **about, format=suffix, caption=caption)
        return made
    if kind == IMAGE:
        return LoggedImage(data, 0, 0, 0, suffix, caption)
    if kind == AUDIO:
        return LoggedAudio(data, 0, 0, suffix, caption)
    return LoggedVideo(data, 0, 0, 0, 0, 0.0, suffix, caption)


def _read_table(column: Mapping[str, Any], about: dict[str, Any], fetch: Fetch) -> LoggedTable:
    if about:
        rows = [[_picture(cell, fetch) for cell in row] for row in about["rows"]]
        return LoggedTable(about["columns"], rows)
    shown = column.get("_value") or []
    names = list(dict.fromkeys(name for row in shown for name in row))
    return LoggedTable(names, [[_cell(row.get(name), fetch) for name in names] for row in shown])


def _cell(cell: Any, fetch: Fetch) -> Any:
    picture = _picture(cell, fetch)
    if isinstance(picture, (dict, list)):
        return json.dumps(cell)
    return picture if picture is not cell else number_or_text(cell)


def _picture(cell: Any, fetch: Fetch) -> Any:
    """The picture that a cell names; the cell itself if it names none."""
    if isinstance(cell, dict) and cell.get("_type") == IMAGE:
        return _read_medium(IMAGE, cell, json.loads(cell.get(ABOUT) or "{}"), fetch)
    return cell


def _read_histogram(column: Mapping[str, Any], about: dict[str, Any]) -> LoggedHistogram:
    edges = [float(edge) for edge in column.get("bins") or ()]
    counts = [float(count) for count in column.get("values") or ()]
    if not about:
        total = math.fsum(counts)
        middles = [(left + right) / 2 for left, right in itertools.pairwise(edges)]
        pairs = list(zip(counts, middles, strict=False))
        about = {
            "min": edges[0] if edges else math.nan,
            "max": edges[-1] if edges else math.nan,
            "num": total,
            "sum": math.fsum(count * middle for count, middle in pairs),
            "sum_squares": math.fsum(count * middle**2 for count, middle in pairs),
        }
    return LoggedHistogram(counts, edges, **about)
