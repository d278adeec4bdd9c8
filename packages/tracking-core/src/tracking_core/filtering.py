"""What was asked for, and what will run."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from tracking_core.errors import (
    InvalidTrackerError,
    MissingLoggingDirectoryError,
    UnknownTrackerError,
)
from tracking_core.installing import install_line
from tracking_core.registry import (
    LOGGER_TYPE_TO_CLASS,
    LoggerType,
    distribution_of,
    get_available_trackers,
)
from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker

__all__ = ["Choice", "LogWith", "choose_trackers", "filter_trackers"]

OneTracker: TypeAlias = str | LoggerType | GeneralTracker
LogWith: TypeAlias = OneTracker | Iterable[OneTracker] | None


class Choice(NamedTuple):
    """What came of a `log_with`.

    Attributes:
        trackers: names and instances, without repeats.
        left_out: what is to be said of each that was asked for and is not among them, by name.
        deliberately_none: whether `log_with` was an empty list.
    """

    trackers: list[str | GeneralTracker]
    left_out: dict[str, str]
    deliberately_none: bool


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
    choice = choose_trackers(log_with, logging_dir)
    for reason in choice.left_out.values():
        say(reason)
    return choice.trackers


def choose_trackers(log_with: LogWith, logging_dir: str | os.PathLike[str] | None = None) -> Choice:
    """As `filter_trackers`, which says what was left out."""
    if log_with is None:
        return Choice([], {}, False)
    wanted: list[object]
    if isinstance(log_with, (str, GeneralTracker)) or not isinstance(log_with, Iterable):
        wanted = [log_with]
    else:
        wanted = list(log_with)
    chosen: list[str | GeneralTracker] = []
    left_out: dict[str, str] = {}
    for one in wanted:
        if isinstance(one, GeneralTracker):
            _require_attributes(one)
    if any(one == LoggerType.ALL for one in wanted if isinstance(one, str)):
        chosen = [one for one in wanted if isinstance(one, GeneralTracker)]
        for name in get_available_trackers():
            if problem := _problem_with_loading(name):
                left_out[str(name)] = problem
            else:
                chosen.append(name)
    else:
        for one in wanted:
            if isinstance(one, GeneralTracker):
                if not any(one is other for other in chosen):
                    chosen.append(one)
            elif (known := _known(one)) in LOGGER_TYPE_TO_CLASS:
                chosen += [known] if known not in chosen else []
            else:
                left_out[str(known)] = _not_installed(known)
    for one in chosen:
        if isinstance(one, str) and LOGGER_TYPE_TO_CLASS[one].requires_logging_directory:
            _require_directory(one, logging_dir)
    return Choice(chosen, left_out, deliberately_none=not wanted)


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
    # Nor for a name that nobody has heard of: whose package that is, only its author knows.
    raise UnknownTrackerError(
        f"{problem} Choose between {known}; "
        "a tracker of another project is known once its package is installed here"
    )


def _not_installed(name: str) -> str:
    here = ", ".join(get_available_trackers()) or "none"
    return (
        f"tracker {str(name)!r} is not installed and left out: "
        f"{install_line(distribution_of(name))} (installed here: {here})"
    )


def _problem_with_loading(name: str) -> str:
    try:
        LOGGER_TYPE_TO_CLASS[name]
    except InvalidTrackerError as error:
        return f"left out of 'all': {error}"
    return ""


def _require_directory(name: str, logging_dir: object) -> None:
    if logging_dir is None:
        raise MissingLoggingDirectoryError(
            f"Logging with `{name}` requires a `logging_dir` to be passed in."
        )
