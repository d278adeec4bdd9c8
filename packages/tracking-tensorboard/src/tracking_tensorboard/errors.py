"""What can be wrong with a run's directory."""

from __future__ import annotations

from tracking_core.errors import Fault, TrackingError

__all__ = ["TensorBoardDirectoryError"]


class TensorBoardDirectoryError(TrackingError, ValueError):
    """A directory that no run can be written to; the message says which, and what to do."""

    fault: Fault = "setup"
