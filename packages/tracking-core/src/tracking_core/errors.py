"""The whole family of errors on one page: what went wrong, to whom, and what to do about it.

Everything raised on purpose derives from `TrackingError` *and* from the builtin that fits, so
``except ValueError`` keeps working for code that was written against Accelerate.
Nothing here is ever raised out of `Tracking.log`.
"""

from __future__ import annotations

__all__ = [
    "AlreadyStartedError",
    "DamagedJournal",
    "InvalidTrackerError",
    "JournalError",
    "JournalVersionError",
    "MissingLoggingDirectoryError",
    "NoTrackerError",
    "NotStartedError",
    "StepError",
    "StoreBusyError",
    "TrackerNotInstalledError",
    "TrackingError",
    "TrackingWarning",
    "UnfitValueError",
    "UnknownTrackerError",
]


class TrackingError(Exception):
    """Any error of this project. Catch this to catch them all."""


class UnknownTrackerError(TrackingError, ValueError):
    """A tracker was asked for by a name that nobody knows (`filter_trackers`, `get_tracker`)."""


class InvalidTrackerError(TrackingError, ValueError):
    """A class or an installed package does not make a tracker (registry)."""


class MissingLoggingDirectoryError(TrackingError, ValueError):
    """A tracker that writes to a directory was given none (`filter_trackers`)."""


class TrackerNotInstalledError(TrackingError, ValueError, ImportError):
    """The package of a tracker is not installed, and ``Tracking(strict=True)`` was asked for.

    The message names the tracker and the command that installs its package.
    """


class NoTrackerError(TrackingError, ValueError):
    """A run would be logged nowhere, and ``Tracking(strict=True)`` was asked for."""


class AlreadyStartedError(TrackingError, RuntimeError):
    """`init_trackers` was called a second time while its run is still going on."""


class NotStartedError(TrackingError, RuntimeError, AttributeError):
    """A native object was asked for before `start()` had made it.

    It is an `AttributeError` too, because that is what Accelerate's trackers raise there.
    """


class StepError(TrackingError, TypeError):
    """A step is no integer. `Tracking.log` keeps such a row and says so; a tracker refuses it."""


class UnfitValueError(TrackingError, ValueError):
    """A value can't be taken; the message says why and never holds the value (`capture`).

    `Tracking.log` counts it and warns once for its key; the other values of the call land.
    """


class StoreBusyError(TrackingError, TimeoutError):
    """Another process holds the lock of a store for longer than anybody waits (`only_one`).

    It is a `TimeoutError` too: a tracker that raises it in `start` is started again later.
    """


class JournalError(TrackingError):
    """A journal on disk can't be read or made; the message names the path and the reason."""


class JournalVersionError(JournalError):
    """A journal was written by a newer major version of its format."""


class DamagedJournal(JournalError):
    """A directory or file is no journal, or is damaged beyond what a reader can salvage."""


class TrackingWarning(UserWarning):
    """The category of every warning of this project, for `warnings.filterwarnings`."""
