"""Input that no tracker expects, as hypothesis strategies: what comes out of real training loops,
and what comes out of mistakes in them."""

from __future__ import annotations

import datetime
import decimal
import os
from typing import Any

import numpy
from hypothesis import Phase, settings
from hypothesis import strategies as st

__all__ = ["HOSTILE_KEYS", "configs", "few_examples", "rows"]

HOSTILE_KEYS = [
    "with space", "a/b", "a//b", "/lead", "trail/", ".hidden", "..", "../up", ".", "a.b", "50%",
    "loss (train)", "a@b", "a:b", "a,b", "a=b", "naïve ünïcode 损失", "😀", "new\nline", "tab\t",
    "quote\"'`", "_x40_", "_x5F_x_", "step", "tags", "config", "x" * 300, "y" * 300 + "1",
    "y" * 300 + "2", "UPPER", "upper", "back\\slash", "<b>html</b>", "*", "~", "#", "?", "con", "",
]  # fmt: skip

_KEYS = (
    st.sampled_from(["loss", "acc", "val", "epoch", *HOSTILE_KEYS])
    | st.text(max_size=12)
    | st.sampled_from([None, 3, 0.5, True, b"bytes", ("a", 1), "\udcff"])
)
_SCALARS = (
    st.floats()
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.none()
    | st.text(max_size=20)
    | st.sampled_from(["NaN", "nan", "Infinity", "null", "None", "true", "1", "{}", "[1]", "a\0b"])
    | st.floats(width=32).map(numpy.float32)
    | st.integers(-(2**63), 2**63 - 1).map(numpy.int64)
    | st.booleans().map(numpy.bool_)
    | st.floats().map(numpy.array)
)


class _Raising:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        # Hypothesis, who shows it, asks for names with an underscore.
        raise AttributeError(name) if name.startswith("_") else RuntimeError(name)


_MISTAKES = st.sampled_from(
    [b"bytes", 1j, object(), [1, 2], {1, 2}, numpy.zeros((2, 2)), decimal.Decimal("0.1"),
     datetime.date(2020, 1, 1), ValueError("x"), int, len, float("nan"), [], {}, 10**400,
     _Raising(), numpy.ma.masked, numpy.datetime64("NaT", "s"), numpy.datetime64("2020-01-01", "ns"),
     datetime.timedelta(minutes=1), numpy.timedelta64(5, "ns"), range(10**12), "\udcff"]
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS | _MISTAKES, lambda inner: st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)
_STEPS = (
    st.none()
    | st.integers(-5, 20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 50).map(numpy.int64)
    | st.integers(0, 50).map(float)
    | st.integers(0, 50).map(numpy.array)
    | st.sampled_from([2**70, 1.5, float("nan"), "ten", True, object()])
)

rows = st.lists(st.tuples(st.dictionaries(_KEYS, _VALUES, max_size=6), _STEPS), max_size=25)
"""Calls of ``Tracking.log``: pairs of values and step."""

configs = st.dictionaries(_KEYS, _VALUES | st.lists(_SCALARS, max_size=3), max_size=8)
"""Configurations for ``Tracking.init_trackers``."""


def few_examples(function: Any) -> Any:
    """Settings for a test that makes a native run for each example: few, the same every time.

    With ``TRACKING_LONG=1`` there are 200, others each time, and what fails is made small.
    """
    if os.environ.get("TRACKING_LONG") == "1":
        return settings(max_examples=200, deadline=None, database=None)(function)
    return settings(
        max_examples=8, derandomize=True, deadline=None, database=None, phases=[Phase.generate]
    )(function)
