"""Rows on their way to W&B: what is said at which step, as messages for W&B's service.

W&B has one step for a whole run, which can only grow: it drops a row whose step goes back, comes
again or is negative. So every row carries its own step beside it (`names.STEP`), W&B's step follows
it as long as it grows and else just counts on, and a key whose steps once went back is drawn over
the row's own step from then on.
"""

from __future__ import annotations

import fnmatch
import glob
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tracking_wandb import names
from tracking_wandb.config import INT64
from tracking_wandb.session import PROTO, imported

__all__ = ["LARGEST_ROW", "Rows", "files_message", "text_of"]

LARGEST_NATIVE_STEP = 2**53  # W&B's pages are JavaScript
LARGEST_ROW = 10 * 1024 * 1024 - 100 * 1024
"""Bytes of a row's JSON: W&B's service leaves out what is larger, and says so nowhere."""


class Rows:
    """Makes messages of rows, each with the step after the last.

    Args:
        next_step: the first step that W&B would take.
        axes: for keys (a star at the end stands for anything) the name of their axis.
    """

    def __init__(self, next_step: int, axes: Mapping[str, str]) -> None:
        self.next_step = next_step
        self._axes = axes
        self._axis_of: dict[str, str | None] = {}
        self._defined: dict[str, str] = {}

    def copy(self) -> Rows:
        """The same state; what is done to one leaves the other alone."""
        twin = Rows(self.next_step, self._axes)
        twin._axis_of, twin._defined = self._axis_of, dict(self._defined)
        return twin

    def opening(self) -> list[Any]:
        """What W&B is told before the first row."""
        hidden = _metric(names.HIDDEN, pattern=True)
        hidden.metric.options.hidden = True
        hidden.metric.summary.none = True
        return [hidden, *(_metric(key, axis, pattern=True) for key, axis in self._axes.items())]

    def place(self, step: int, axis: str | None) -> int:
        """The step that W&B is to give to the next row, whose own step is `step`."""
        grows = axis is None and self.next_step <= step < LARGEST_NATIVE_STEP
        native = step if grows else self.next_step
        self.next_step = native + 1
        return native

    def messages(
        self, items: dict[str, str], native: int, step: int, wall_time: float, axis: str | None
    ) -> list[Any]:
        """The row with `items` (names and JSON), preceded by what W&B needs to draw it."""
        found = []
        axes = {self._axis(name) for name in items}
        if axis is not None:
            axes.add(axis)
            found += self._drawn_over(axis, items)
        elif native != step:
            found += self._drawn_over(names.STEP, [name for name in items if not self._axis(name)])
        where = str(step) if step in INT64 else json.dumps(str(step))
        ours = sorted(axis for axis in axes if axis and axis not in items)
        row = dict(items)
        row.update(dict.fromkeys(ours, where))
        row[names.STEP] = where
        if ours:
            row[names.AXES] = json.dumps(ours)
        row["_timestamp"] = repr(wall_time)
        return [*found, _row(row, native)]

    def _drawn_over(self, axis: str, keys: Iterable[str]) -> list[Any]:
        new = [key for key in keys if self._defined.get(key) != axis]
        self._defined.update(dict.fromkeys(new, axis))
        return [_metric(key, axis) for key in new]

    def _axis(self, name: str) -> str | None:
        if not self._axes:
            return None
        if name not in self._axis_of:
            fitting = (axis for key, axis in self._axes.items() if _fits(name, key))
            self._axis_of[name] = next(fitting, None)
        return self._axis_of[name]


def _fits(name: str, key: str) -> bool:
    return (
        fnmatch.fnmatchcase(name, glob.escape(key[:-1]) + "*") if key[-1:] == "*" else name == key
    )


def text_of(value: Any) -> str:
    """A plain value as the JSON that W&B's service reads."""
    if type(value) is float:
        text = repr(value)
        return _SPECIAL.get(text, text)
    if type(value) is int and value not in INT64:
        return repr(float(value))
    return json.dumps(value)


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _row(items: Mapping[str, str], native: int) -> Any:
    message = imported(PROTO).Record()
    row = message.request.partial_history
    for name, text in items.items():
        row.item.add(key=name, value_json=text)
    row.step.num = native
    row.action.flush = True
    return message


def _metric(name: str, axis: str | None = None, *, pattern: bool = False) -> Any:
    """What ``run.define_metric`` says, in the order of the rows."""
    message = imported(PROTO).Record()
    if pattern and name.endswith("*"):
        message.metric.glob_name = name
    else:
        message.metric.name = name
    if axis is not None:
        message.metric.step_metric = axis
    message.metric.options.defined = True
    return message


def files_message(paths: Iterable[str], mark: str = "") -> Any:
    """Has W&B keep files of the run. Without any it does nothing but lie in the log, with `mark`."""
    message = imported(PROTO).Record(uuid=mark)
    message.files.SetInParent()
    for path in paths:
        message.files.files.add(
            path=glob.escape(path), policy=imported(PROTO).FilesItem.PolicyType.NOW
        )
    return message
