"""One call that logs to every tracker: `Tracking`, and the contract that trackers keep.

Importing this imports no torch, numpy or tracker library and starts no thread.
"""

from tracking_core.__about__ import __version__
from tracking_core.errors import (
    AlreadyStartedError,
    DamagedJournal,
    InvalidTrackerError,
    JournalError,
    JournalVersionError,
    MissingLoggingDirectoryError,
    NoTrackerError,
    NotStartedError,
    StepError,
    StoreBusyError,
    TrackerNotInstalledError,
    TrackingError,
    TrackingWarning,
    UnfitValueError,
    UnknownTrackerError,
)
from tracking_core.facade import Tracking
from tracking_core.filtering import filter_trackers
from tracking_core.process import PartialState
from tracking_core.registry import (
    LOGGER_TYPE_TO_CLASS,
    LoggerType,
    get_available_trackers,
    register_tracker_class,
)
from tracking_core.tracker import GeneralTracker, on_main_process
from tracking_core.values import Artifact, Audio, Histogram, Image, Table, Video

__all__ = [
    "LOGGER_TYPE_TO_CLASS",
    "AlreadyStartedError",
    "Artifact",
    "Audio",
    "DamagedJournal",
    "GeneralTracker",
    "Histogram",
    "Image",
    "InvalidTrackerError",
    "JournalError",
    "JournalVersionError",
    "LoggerType",
    "MissingLoggingDirectoryError",
    "NoTrackerError",
    "NotStartedError",
    "PartialState",
    "StepError",
    "StoreBusyError",
    "Table",
    "TrackerNotInstalledError",
    "Tracking",
    "TrackingError",
    "TrackingWarning",
    "UnfitValueError",
    "UnknownTrackerError",
    "Video",
    "__version__",
    "filter_trackers",
    "get_available_trackers",
    "on_main_process",
    "register_tracker_class",
]
