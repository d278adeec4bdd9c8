"""What can be wrong with a run's directory."""

from __future__ import annotations

from tracking_core.errors import Fault, TrackingError

__all__ = ["DVCLiveDirectoryError", "DVCLiveRunGoneError"]


class DVCLiveDirectoryError(TrackingError, ValueError):
    """A directory that no run can be written to; the message says what to do."""

    fault: Fault = "setup"


class DVCLiveRunGoneError(TrackingError, LookupError):
    """The directory of the run was deleted or moved away; the message says which."""
