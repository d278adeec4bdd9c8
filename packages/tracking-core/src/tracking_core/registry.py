"""Names and the classes behind them.

A tracker is found by the entry point ``tracking.trackers`` of an installed package, or by
`register_tracker_class`. A package is imported when its class is first asked for, not earlier.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from enum import Enum, EnumMeta
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from tracking_core.errors import InvalidTrackerError
from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker

__all__ = [
    "LOGGER_TYPE_TO_CLASS",
    "LoggerType",
    "distribution_of",
    "get_available_trackers",
    "register_tracker_class",
]

ENTRY_POINT_GROUP = "tracking.trackers"

C = TypeVar("C", bound=type[GeneralTracker])


class _ContainsValues(EnumMeta):
    # Before Python 3.12 `"wandb" in LoggerType` raises instead of answering.
    def __contains__(cls, item: object) -> bool:
        members: list[Enum] = list(cls.__members__.values())
        return any(item == member.value for member in members)


class LoggerType(str, Enum, metaclass=_ContainsValues):
    """The trackers of this project by name; ``str(member)`` is the name."""

    ALL = "all"
    AIM = "aim"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    TRACKIO = "trackio"
    COMETML = "comet_ml"
    MLFLOW = "mlflow"
    CLEARML = "clearml"
    DVCLIVE = "dvclive"
    SWANLAB = "swanlab"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def list(cls) -> list[str]:
        """All names, ``"all"`` included."""
        return [member.value for member in cls]


class _Registry(MutableMapping[str, type[GeneralTracker]]):
    """What is installed and what was registered, by name. Looking a class up imports it."""

    def __init__(self) -> None:
        self._registered: dict[str, type[GeneralTracker]] = {}
        self._loaded: dict[str, type[GeneralTracker]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> type[GeneralTracker]:
        with self._lock:
            found = self._registered.get(name) or self._loaded.get(name)
            if found is None:
                found = self._loaded[name] = _load(_installed()[name])
            return found

    def __setitem__(self, name: str, tracker_class: type[GeneralTracker]) -> None:
        self._registered[str(name)] = tracker_class

    def __delitem__(self, name: str) -> None:
        # An installed package can't be taken back; what was registered over it can.
        del self._registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*_installed(), *self._registered]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in _installed()

    def __repr__(self) -> str:
        return f"LOGGER_TYPE_TO_CLASS({', '.join(self)})"


LOGGER_TYPE_TO_CLASS = _Registry()


def register_tracker_class(tracker_class: C) -> C:
    """Make `tracker_class` known under its `name`; usable as a decorator.

    Raises:
        InvalidTrackerError: it is no subclass of `GeneralTracker`, or has no `name` or no
            `requires_logging_directory`. It is a `ValueError`.

    Warns:
        UserWarning: a class of that name was there before.
    """
    problem = _problem_with(tracker_class)
    if problem:
        raise InvalidTrackerError(f"{tracker_class!r} can't be registered: {problem}")
    if tracker_class.name in LOGGER_TYPE_TO_CLASS:
        say(f"tracker {tracker_class.name!r} is replaced by {tracker_class.__qualname__}")
    LOGGER_TYPE_TO_CLASS[tracker_class.name] = tracker_class
    return tracker_class


def get_available_trackers() -> list[str]:
    """The names that can be asked for here: installed packages, then registered classes.

    Names of this project's own trackers are `LoggerType` members, which are strings too.
    """
    return [LoggerType(name) if name in LoggerType else name for name in LOGGER_TYPE_TO_CLASS]


def distribution_of(name: str) -> str:
    """The package that brings the tracker `name`, by this project's rule for names."""
    return "tracking-" + name.replace("_", "-")


def _installed() -> dict[str, EntryPoint]:
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return {point.name: point for point in found}


def _load(point: EntryPoint) -> type[GeneralTracker]:
    package = point.dist.name if point.dist is not None else point.module
    culprit = f"tracker {point.name!r} of the package {package!r} can't be loaded"
    try:
        tracker_class = point.load()
    except Exception as error:
        # A stranger's module may raise anything; whoever asked has to learn which package it was.
        raise InvalidTrackerError(f"{culprit}: {type(error).__name__}: {error}") from error
    problem = _problem_with(tracker_class)
    if problem:
        raise InvalidTrackerError(f"{culprit}: {point.value} {problem}")
    if tracker_class.name != point.name:
        raise InvalidTrackerError(
            f"{culprit}: {point.value} calls itself {tracker_class.name!r}; "
            "the entry point must have the same name"
        )
    loaded: type[GeneralTracker] = tracker_class
    return loaded


def _problem_with(tracker_class: object) -> str:
    if not isinstance(tracker_class, type) or not issubclass(tracker_class, GeneralTracker):
        return "is no subclass of GeneralTracker"
    name = getattr(tracker_class, "name", None)
    if not isinstance(name, str) or not name:
        return "has no `name`"
    if not hasattr(tracker_class, "requires_logging_directory"):
        return "has no `requires_logging_directory`"
    return ""
