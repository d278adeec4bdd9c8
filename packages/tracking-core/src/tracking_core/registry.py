"""Names and the classes behind them.

A tracker is found by the entry point ``tracking.trackers`` of an installed package, or by
`register_tracker_class`. A package is imported when its class is first asked for, not earlier.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, MutableMapping
from enum import Enum, EnumMeta
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TypeVar

from tracking_core.errors import InvalidTrackerError
from tracking_core.installing import update_line
from tracking_core.rejections import say
from tracking_core.requirements import CORE, canonical, metadata_field, unmet_requirements
from tracking_core.tracker import GeneralTracker

__all__ = [
    "LOGGER_TYPE_TO_CLASS",
    "LoggerType",
    "distribution_of",
    "get_available_trackers",
    "register_tracker_class",
]

ENTRY_POINT_GROUP = "tracking.trackers"
ENTRY_POINTS = "entry_points.txt"

# A class in a module; the extras that may follow have long had no meaning.
_REFERENCE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[.*\]\s*)?")

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
        # Re-entrant, because a tracker's module may build on another tracker's class.
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> type[GeneralTracker]:
        found = self._registered.get(name) or self._loaded.get(name)
        if found is not None:
            return found
        with self._lock:
            found = self._loaded.get(name)
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

    def is_registered(self, name: str) -> bool:
        """Whether this program has registered the class, so that another one may not know it."""
        return name in self._registered

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


def _installed() -> dict[str, list[EntryPoint]]:
    """What installed packages bring, by the tracker's name; of several the first is the one used.

    `importlib.metadata.entry_points` parses the file of every package there is, and one that can't
    be parsed takes all others along. Here it costs its own trackers.
    """
    found: dict[str, list[EntryPoint]] = {}
    for distribution in distributions():
        try:
            if ENTRY_POINT_GROUP not in (distribution.read_text(ENTRY_POINTS) or ""):
                continue
        except (OSError, ValueError):
            continue  # bytes that are no text: nobody can tell what they were to be
        try:
            points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as error:  # a line without "=" is a TypeError today
            _say_unreadable(distribution, error)
            continue
        for point in points:
            found.setdefault(point.name, []).append(point)
    return {
        name: same if len(same) == 1 else _best_first(name, same)
        for name, same in sorted(found.items())
    }


def _best_first(name: str, points: list[EntryPoint]) -> list[EntryPoint]:
    """The package that has the tracker's own name, then the others by theirs; each once.

    The order in which a directory lists its files must not decide.
    """
    packages: dict[str, EntryPoint] = {}
    for point in points:
        # As in imports, a package that is installed twice counts where it is found first.
        packages.setdefault(canonical(_package_of(point)), point)
    return [
        point
        for _, point in sorted(
            packages.items(), key=lambda item: (item[0] != distribution_of(name), item[0])
        )
    ]


_said_unreadable: set[str] = set()


def _say_unreadable(distribution: Distribution, error: Exception) -> None:
    package = _name_of(distribution)
    if package not in _said_unreadable:
        _said_unreadable.add(package)
        say(
            f"the trackers of the package {package!r} are not known, because its {ENTRY_POINTS} "
            f"can't be read: {type(error).__name__}: {error}"
        )


def _load(points: list[EntryPoint]) -> type[GeneralTracker]:
    point, *others = points
    package = _package_of(point)
    if others:
        names = " and ".join(repr(_package_of(other)) for other in others)
        say(
            f"tracker {point.name!r} is brought by more than one package: {package!r} is used, "
            f"{names} not. Uninstall what you don't want"
        )
    culprit = f"tracker {point.name!r} of the package {package!r} can't be loaded"
    if not _REFERENCE.fullmatch(point.value):
        raise InvalidTrackerError(
            f"{culprit}: its entry point is {point.value!r}, which has not the form "
            "'package.module:Class'"
        )
    update = update_line(package, ours=package in map(distribution_of, LoggerType.list()))
    unmet = unmet_requirements(point.dist) if point.dist is not None else []
    for requirement in unmet:
        if requirement.distribution == CORE:
            # Its code was written for another contract: what it would do is anybody's guess.
            raise InvalidTrackerError(f"{culprit}: {requirement}: {update}")
    if unmet:
        say(
            f"tracker {point.name!r} of the package {package!r} may not work: "
            f"{'; '.join(map(str, unmet))}: {update}"
        )
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


def _package_of(point: EntryPoint) -> str:
    return point.value if point.dist is None else _name_of(point.dist)


def _name_of(distribution: Distribution) -> str:
    return metadata_field(distribution, "Name") or "(without a name)"


def _problem_with(tracker_class: object) -> str:
    if not isinstance(tracker_class, type) or not issubclass(tracker_class, GeneralTracker):
        return "is no subclass of GeneralTracker"
    name = getattr(tracker_class, "name", None)
    if not isinstance(name, str) or not name:
        return "has no `name`"
    if not hasattr(tracker_class, "requires_logging_directory"):
        return "has no `requires_logging_directory`"
    return ""
