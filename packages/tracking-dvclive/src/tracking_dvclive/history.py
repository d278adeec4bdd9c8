"""The history of a metric: its file below ``plots/metrics``, in DVCLive's own form.

The columns are ``timestamp`` (milliseconds since the epoch, with decimals where a time has them),
``step`` and the metric, as ``Live.log_metric(..., timestamp=True)`` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from tracking_core.records import Plain
from tracking_dvclive.batch import replace_file
from tracking_dvclive.cells import cell, plain, rows, whole_length

__all__ = ["Point", "header", "line", "made_fit", "milliseconds", "read_history"]

TIME, STEP = "timestamp", "step"


class Point(NamedTuple):
    """A row: `wall_time` is None where the file has none."""

    wall_time: float | None
    step: int | None
    value: Plain


def header(name: str) -> str:
    """The first line of the file of the metric `name`."""
    return f"{TIME}\t{STEP}\t{_heading(name)}{os.linesep}"


def line(time: str, step: int, value: Plain) -> str:
    """One row; `time` comes from `milliseconds`."""
    return f"{time}\t{step}\t{cell(value)}{os.linesep}"


def milliseconds(wall_time: float) -> str:
    """Seconds as milliseconds, of which `read_history` makes exactly the same seconds."""
    return format(Decimal(repr(float(wall_time))).scaleb(3), "f")


def made_fit(path: str, name: str) -> None:
    """Make the file of the metric `name` one that `line` can be appended to.

    A row that was cut off goes. DVCLive's files have no times by default: they get an empty column,
    since a file's first line says what all its rows are. A file of another form is moved aside.
    """
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        text = file.read()
    titles, *found = list(rows(text)) or [[]]
    ours = [TIME, STEP, _heading(name)]
    whole = whole_length(text)
    if titles == ours and whole == len(text) and all(len(row) == 3 for row in found):
        return
    if titles and set(titles) - set(ours):
        os.replace(path, path + ".aside")
        return
    lines = ["\t".join(["", *row][-3:]) + os.linesep for row in found]
    replace_file(path, "".join([header(name), *lines]).encode())


def read_history(path: str) -> Iterator[Point]:
    """The rows of a metric's file, whoever wrote it; of a damaged one those that are whole.

    Raises:
        OSError: it can't be read.
    """
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        found = rows(file.read(), "," if path.lower().endswith(".csv") else "\t")
        titles = next(found, [])
        timed = TIME in titles
        for row in found:
            if len(row) < 2:
                continue
            # Plain DVCLive appends rows without a time to any file.
            when = _seconds(row[-3]) if timed and len(row) == len(titles) > 2 else None
            yield Point(when, _whole(row[-2]), plain(row[-1]))


def _heading(name: str) -> str:
    return name.rpartition("/")[2]


def _seconds(found: str) -> float | None:
    try:
        return float(Decimal(found).scaleb(-3))
    except (InvalidOperation, ValueError):
        return None


def _whole(found: str) -> int | None:
    try:
        return int(found)
    except ValueError:
        number = plain(found)
        return int(number) if isinstance(number, float) and abs(number) < 2**63 else None
