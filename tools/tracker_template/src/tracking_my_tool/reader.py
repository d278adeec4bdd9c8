"""A run as records again, read through the library's own reader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    Plain,
    Record,
    Tags,
    Value,
)

__all__ = ["read_run"]


def read_run(run_id: str, logging_dir: str | os.PathLike[str]) -> Iterator[Record]:
    """The configuration, tags, rows and end of a run, in the order that they were logged.

    Pictures, sound and moving pictures come as files (``format="png"``, ...), artifacts as
    `LoggedFile`.

    Args:
        run_id: as in ``tracker.identity()``.
        logging_dir: where the tracker put it.

    Raises:
        FileNotFoundError: there is no such run.
    """
    from tracking_my_tool import stand_in

    end: End | None = None
    for entry in stand_in.entries(logging_dir, run_id):
        time, values = entry["time"], entry["values"]
        match entry["kind"]:
            case "config":
                yield Config(values, time)
            case "tags":
                yield Tags(values, time)
            case "row":
                row = {key: _value(native) for key, native in values.items()}
                yield Log(row, entry["step"], entry["step"], time)
            case "end":  # of a run that was resumed only the last counts
                end = End(values["status"], time)
    if end is not None:
        yield end


def _value(native: Any) -> Value:
    """What the library has, as it was logged."""
    match native:
        case list():
            return [_medium(one) for one in native]
        case dict():
            return _medium(native)
        case _:
            plain: Plain = native
            return plain


def _medium(native: Mapping[str, Any]) -> Media:
    match native["type"]:
        case "image":
            return LoggedImage(_data(native), 0, 0, 0, native["suffix"], native["caption"])
        case "audio":
            return LoggedAudio(_data(native), 0, 0, native["suffix"], native["caption"])
        case "video":
            data, suffix = _data(native), native["suffix"]
            return LoggedVideo(data, 0, 0, 0, 0, 0.0, suffix, native["caption"])
        case "table":
            return LoggedTable(native["columns"], native["rows"])
        case "histogram":
            return LoggedHistogram(**native["fields"])
        case "file":
            place = native["place"]
            return LoggedFile(place, native["folder"], os.path.isdir(place))
        case kind:
            raise ValueError(f"an entry of the unknown type {kind!r}")


def _data(native: Mapping[str, Any]) -> bytes:
    return Path(native["place"]).read_bytes()
