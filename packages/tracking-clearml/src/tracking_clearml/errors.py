"""What goes wrong with ClearML, and what to do about it."""

from __future__ import annotations

from tracking_core.errors import TrackingError

__all__ = ["ClearMLServerError", "ClearMLSettingError"]


class ClearMLSettingError(TrackingError, ValueError):
    """An argument, a variable or a task that no run can be logged with (`ClearMLTracker.start`).

    The message names it and says what to do instead.
    """


class ClearMLServerError(TrackingError, RuntimeError):
    """A ClearML server, or its file server, said no.

    Attributes:
        status_code: of HTTP; by it delivery tells what may pass from what is refused for good.
    """

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code
