"""What was asked for, and what will run."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import TypeAlias

from tracking_core.errors import (
    InvalidTrackerError,
    MissingLoggingDirectoryError,
    UnknownTrackerError,
)
from tracking_core.registry import (
    LOGGER_TYPE_TO_CLASS,
    LoggerType,
    distribution_of,
    get_available_trackers,
)
from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker

__all__ = ["LogWith", "filter_trackers"]

OneTracker: TypeAlias = str | LoggerType | GeneralTracker
LogWith: TypeAlias = OneTracker | Iterable[OneTracker] | None


def filter_trackers(
    log_with: LogWith, logging_dir: str | os.PathLike[str] | None = None
) -> list[str | GeneralTracker]:
    """The trackers of `log_with` that can run here: names and instances, without repeats.

    Args:
        log_with: a name, a `LoggerType`, an instance, or several of them. ``"all"`` is every
            available tracker, after the instances.
        logging_dir: where trackers that need a directory write.

    Raises:
        UnknownTrackerError: nobody knows the name. It is a `ValueError`.
        MissingLoggingDirectoryError: a tracker needs `logging_dir`. It is a `ValueError`.
        InvalidTrackerError: the package behind a name is broken or was made for another version of
            tracking-core, or an instance has no `name` or no `requires_logging_directory`. It is
            a `ValueError`.

    Warns:
        TrackingWarning: a tracker of this project is not installed and is left out; what a
            tracker's package needs is missing or has another version; more than one package
            brings the name.
    """
    if log_with is None:
        return []
    wanted: Iterable[object]
    if isinstance(log_with, (str, GeneralTracker)) or not isinstance(log_with, Iterable):
        wanted = [log_with]
    else:
        wanted = list(log_with)
    chosen: list[str | GeneralTracker] = []
    for one in wanted:
        if isinstance(one, GeneralTracker):
            _require_attributes(one)
    if any(one == LoggerType.ALL for one in wanted if isinstance(one, str)):
        chosen = [one for one in wanted if isinstance(one, GeneralTracker)]
        chosen += [name for name in get_available_trackers() if _loads(name)]
    else:
        for one in wanted:
            if isinstance(one, GeneralTracker):
                if not any(one is other for other in chosen):
                    chosen.append(one)
            elif _known(one) not in chosen and _installed(one):
                chosen.append(_known(one))
    for one in chosen:
        if isinstance(one, str) and LOGGER_TYPE_TO_CLASS[one].requires_logging_directory:
            _require_directory(one, logging_dir)
    return chosen


def _require_attributes(tracker: GeneralTracker) -> None:
    # A subclass that does not call our constructor was not asked there.
    for attribute in ("name", "requires_logging_directory"):
        if not hasattr(tracker, attribute):
            raise InvalidTrackerError(
                f"the tracker {type(tracker).__qualname__} has no `{attribute}`: "
                "define it in the class"
            )


def _known(name: object) -> str:
    if isinstance(name, str):
        if name in LoggerType:
            return LoggerType(name)
        if name in LOGGER_TYPE_TO_CLASS:
            return name
    known = sorted({*LoggerType.list(), *LOGGER_TYPE_TO_CLASS})
    if not isinstance(name, str):
        raise UnknownTrackerError(
            f"log_with takes names and tracker instances, not {name!r}; known names: {known}"
        )
    close = difflib.get_close_matches(name, known, n=1)
    problem = f"Unsupported logging capability: {name!r}."
    if close or not name:
        # No package is proposed for a slip of the pen: somebody might publish one.
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownTrackerError(f"{problem}{guess} Choose between {known}")
    raise UnknownTrackerError(
        f"{problem} Choose between {known}, "
        f"or install the package that brings it (pip install {distribution_of(name)})"
    )


def _installed(name: object) -> bool:
    if name in LOGGER_TYPE_TO_CLASS:
        return True
    here = ", ".join(get_available_trackers()) or "none"
    say(
        f"tracker {str(name)!r} is not installed and left out: "
        f"pip install {distribution_of(str(name))} (installed here: {here})"
    )
    return False


def _loads(name: str) -> bool:
    try:
        return LOGGER_TYPE_TO_CLASS[name] is not None
    except InvalidTrackerError as error:
        say(f"left out of 'all': {error}")
        return False


def _require_directory(name: str, logging_dir: object) -> None:
    if logging_dir is None:
        raise MissingLoggingDirectoryError(
            f"Logging with `{name}` requires a `logging_dir` to be passed in."
        )
