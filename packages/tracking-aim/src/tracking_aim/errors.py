"""What can be wrong with a repository, a server or a run."""

from __future__ import annotations

from tracking_core.errors import Fault, TrackingError

__all__ = ["AimLoginError", "AimRepositoryError", "AimRunGoneError", "AimServerError"]


class AimRepositoryError(TrackingError, ValueError):
    """A repository or an address that no run can be logged to; the message says what to do."""

    fault: Fault = "setup"


class AimServerError(TrackingError, ConnectionError):
    """Somebody else answers in a server's place, such as a gateway, or asks to be left alone.

    Attributes:
        response: the answer, as ``requests`` or ``websockets`` has it; None where it is not known.
    """

    fault: Fault = "server"

    def __init__(self, message: str, response: object = None) -> None:
        super().__init__(message)
        self.response = response


class AimLoginError(AimServerError):
    """Whoever stands before a server lets nobody in without a login; the message says what to do."""

    fault: Fault = "login"


class AimRunGoneError(TrackingError, LookupError):
    """The run that was logged to has been deleted; the message says which."""
