"""The events that a row becomes: what ClearML's clients send to ``events.add_batch``.

They are plain dicts, as in ``metrics.jsonl`` of an offline session and in what the server's
``events.get_task_events`` gives back.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

__all__ = [
    "SINGLE_VALUE",
    "SUMMARY",
    "MediaFile",
    "console",
    "finite",
    "media",
    "not_finite",
    "plot",
    "scalar",
    "single_value",
    "value_not_finite",
]

SINGLE_VALUE = -(2**31)  # the iteration by which ClearML tells a value that has none
SUMMARY = "Summary"

_CODES: dict[str, float] = {"nan": 0, "inf": 1, "-inf": -1, "None": 2}
_VALUES: dict[float, float | None] = {0: math.nan, 1: math.inf, -1: -math.inf, 2: None}

Event = dict[str, Any]


def scalar(place: tuple[str, str], step: int, when: int, value: float) -> Event:
    """A point of a plot under SCALARS. `when` is in milliseconds."""
    return {
        "type": "training_stats_scalar",
        "metric": place[0],
        "variant": place[1],
        "iter": step,
        "timestamp": when,
        "value": value,
    }


def single_value(name: str, when: int, value: float) -> Event:
    """A number of the table that ClearML shows of values without an iteration."""
    return scalar((SUMMARY, name), SINGLE_VALUE, when, value)


def plot(place: tuple[str, str], step: int, when: int, text: str) -> Event:
    """A figure under PLOTS, as Plotly's JSON."""
    return {
        "type": "plot",
        "metric": place[0],
        "variant": place[1],
        "iter": step,
        "timestamp": when,
        "plot_str": text,
    }


def media(place: tuple[str, str], step: int, when: int, key: str, url: str) -> Event:
    """A file under DEBUG SAMPLES, that was uploaded before."""
    return {
        "type": "training_debug_image",
        "metric": place[0],
        "variant": place[1],
        "iter": step,
        "timestamp": when,
        "key": key,
        "url": url,
    }


def console(when: int, message: str, worker: str) -> Event:
    """A line under CONSOLE."""
    return {"type": "log", "level": "info", "msg": message, "worker": worker, "timestamp": when}


def finite(value: float | None) -> bool:
    """Whether ClearML's server can store the number."""
    return value is not None and math.isfinite(value)


def not_finite(value: float | None) -> float:
    """The code of what ClearML can't store: NaN 0, infinity 1, -infinity -1, None 2."""
    return _CODES[str(value)]


def value_not_finite(code: float) -> float | None:
    """What `not_finite` was given."""
    return _VALUES.get(code, math.nan)


class MediaFile(NamedTuple):
    """The name of a file under DEBUG SAMPLES: what its event does not say.

    Attributes:
        number, total: its place in a list of media.
        kind: ``"image"``, ``"figure"``, ``"audio"``, ``"video"`` or ``"text"``.
    """

    step: int
    when: int
    digest: str
    number: int
    total: int
    kind: str
    suffix: str

    @property
    def name(self) -> str:
        """The name, without a folder."""
        return (
            f"{self.step:08d}_{self.when}_{self.digest}_{self.number}of{self.total}"
            f".{self.kind}.{self.suffix}"
        )

    @classmethod
    def at(cls, path: str) -> MediaFile | None:
        """What the name of this file says; None for a file of other making."""
        found = _NAME.search(path)
        if found is None:
            return None
        step, when, digest, number, total, kind, suffix = found.groups()
        return cls(int(step), int(when), digest, int(number), int(total), kind, suffix)

    def variant(self, series: str) -> str:
        """The series of its event: members of a list are numbered."""
        return series if self.total == 1 else f"{series}/{self.number}"

    def series(self, variant: str) -> str:
        """The series that `variant` was given."""
        return variant if self.total == 1 else variant.rpartition("/")[0]


_NAME = re.compile(
    r"(?:\A|/)(-?\d+)_(-?\d+)_([0-9a-f]{16})_(\d+)of(\d+)"
    r"\.(image|figure|audio|video|text)\.(\w+)\Z"
)
