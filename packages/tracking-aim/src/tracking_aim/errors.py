"""What can be wrong with a repository, a server or a run."""

from __future__ import annotations

from tracking_core.errors import Fault, TrackingError

__all__ = ["AimRepositoryError", "AimRunGoneError"]


class AimRepositoryError(TrackingError, ValueError):
    """A repository or an address that no run can be logged to; the message says what to do."""

    fault: Fault = "setup"


class AimRunGoneError(TrackingError, LookupError):
    """The run that was logged to has been deleted; the message says which."""
