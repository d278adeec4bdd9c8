"""What a store has of deliveries that broke off: `Sent`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeAlias

__all__ = ["Point", "Sent", "point_of"]

Point: TypeAlias = tuple[str, str, int, int]
"""A metric's name, value, timestamp and step. MLflow's databases keep one of several alike."""

RECORDS_IN_DOUBT = 1000  # of one delivery at most


def point_of(metric: Any) -> Point:
    """What tells an ``mlflow.entities.Metric`` from others."""
    return metric.key, repr(float(metric.value)), metric.timestamp, metric.step


class Sent:
    """Remembers it, so that no second try brings it again.

    Databases leave out what they have, but a directory keeps each copy of a point, and may have
    been given a part of a request that failed. There the run itself is asked what it has.

    Args:
        history: the points of a metric that the run has, if that is to be asked.
        in_doubt: whether somebody before may have brought a part of what comes first.

    Attributes:
        folders: those that were made among the artifacts. An older MLflow puts a file that is
            named like one into it, without a word.
    """

    def __init__(
        self, history: Callable[[str], Iterable[Any]] | None = None, *, in_doubt: bool = False
    ) -> None:
        self.folders: set[str] = set()
        self._history = history
        self._there: set[Hashable] = set()
        self._asked: dict[str, set[Point]] = {}
        self._in_doubt = RECORDS_IN_DOUBT if in_doubt else 0

    def ask(self, history: Callable[[str], Iterable[Any]]) -> None:
        """Ask the run from now on: its store was seen to be a directory."""
        self._history = history
        self.doubt()

    def doubt(self) -> None:
        """A request with points has failed: a part of them may be there."""
        self._in_doubt = RECORDS_IN_DOUBT
        self._asked.clear()

    def add(self, what: Iterable[Hashable]) -> None:
        """Note what the store has taken."""
        self._there.update(what)

    def has(self, what: Hashable) -> bool:
        """Whether `add` was told of it."""
        return bool(self._there) and what in self._there

    def missing(self, points: Mapping[Point, Any]) -> dict[Point, Any]:
        """Those of `points` that the store does not have yet, as far as that is known."""
        if self._in_doubt and self._history is not None:
            for name in {point[0] for point in points} - self._asked.keys():
                self._asked[name] = set(map(point_of, self._history(name)))
        return {
            point: metric
            for point, metric in points.items()
            if point not in self._there and point not in self._asked.get(point[0], ())
        }

    def forget(self, what: Iterable[Hashable], records: int) -> None:
        """A delivery of so many records went through, and what was sent with it won't come again."""
        if self._there:
            self._there.difference_update(what)
        self._in_doubt = max(0, self._in_doubt - records)
        if not self._in_doubt:
            self._asked.clear()
