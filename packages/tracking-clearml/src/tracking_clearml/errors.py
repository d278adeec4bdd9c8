"""What goes wrong with ClearML, whose fault it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracking_core.errors import TrackingError
from tracking_core.faults import TOO_LARGE, Fault, fault_of
from tracking_core.network import causes, reason_of, remedy_of

__all__ = [
    "KEYS",
    "ClearMLLoginError",
    "ClearMLRunGoneError",
    "ClearMLServerError",
    "ClearMLSettingError",
    "ClearMLUnreachableError",
    "explained",
    "fault_said",
]  # fmt: skip

ADDRESS = "CLEARML_API_HOST"
VENDOR = "clear.ml"
OFFLINE = "set CLEARML_OFFLINE_MODE=1 to log to a folder of this machine"
KEYS = (
    "run `clearml-init`, or set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY (and "
    "CLEARML_API_HOST, CLEARML_WEB_HOST, CLEARML_FILES_HOST for a server of your own), or "
    f"{OFFLINE}"
)

# Of ClearML's own numbers for what it answers 400 to: they speak of a task or its project as it is
# there now (not to be found, published, changed by somebody else), not of what was sent.
OF_THE_TASK = frozenset({10, 101, 110, 111, 112, 113, 114, 120, 121, 129, 130, 131, 401, 403})
QUOTA_EXCEEDED = 68  # which the next month, or a larger plan, mends
NOT_RUNNING = frozenset({110, 111})


class ClearMLSettingError(TrackingError, ValueError):
    """An argument, a variable, a file, a directory or a task that no run can be logged with.

    The message names it and says what to do instead.
    """

    fault: Fault = "setup"


class ClearMLLoginError(ClearMLSettingError):
    """There are no credentials, or the server does not let them in (`ClearMLTracker.start`).

    It is tried again: a login can be repaired while a training goes on.
    """

    fault: Fault = "login"


class ClearMLRunGoneError(TrackingError, LookupError):
    """The task or the offline session that was logged to is not there any more."""


class ClearMLUnreachableError(TrackingError, ConnectionError):
    """The server can't be reached."""


class ClearMLServerError(TrackingError, RuntimeError):
    """A ClearML server, or its file server, said no.

    Attributes:
        status_code: of HTTP; by it delivery tells what may pass from what is refused for good.
        subcode: ClearML's own number for what is wrong; 0 where it says none.
        foreign: whether it was not ClearML that answered, but a gateway or a login page before it.
    """

    def __init__(
        self, message: str, status_code: int, subcode: int = 0, *, foreign: bool = False
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.subcode = subcode
        self.foreign = foreign

    @property
    def fault(self) -> Fault:
        """Whose fault it is."""
        if self.foreign and self.status_code not in TOO_LARGE:
            return "login" if self.status_code in (401, 407) else "server"
        if self.status_code == 400 and self.subcode in OF_THE_TASK:
            return "run"
        if self.status_code == 400 and self.subcode == QUOTA_EXCEEDED:
            return "server"
        return fault_of(self)


def fault_said(error: BaseException) -> Fault | None:
    """The fault that one of this module's errors stands for; None for any other error.

    ClearML's session raises its own from ours.
    """
    for cause in causes(error):
        if isinstance(cause, (ClearMLSettingError, ClearMLServerError)):
            return cause.fault
    # Raised where clearml.conf is read, which is when clearml is imported.
    return "setup" if type(error).__name__ == "ConfigurationError" else None


def explained(error: Exception, host: str, *, proxied: bool) -> Exception:
    """The error to raise in the place of `error`, which kept a session from beginning at `host`."""
    begun = f"tracker 'clearml' could not log in at {host}"
    for cause in causes(error):
        if isinstance(cause, ClearMLServerError):
            if cause.fault != "login":
                return cause
            return ClearMLLoginError(
                f"tracker 'clearml': {host} does not let this login in: see to "
                "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY or to clearml.conf (`clearml-init` "
                f"makes one), or {OFFLINE} ({cause})"
            )
    chosen = not (host.partition("://")[2] or host).partition("/")[0].endswith(VENDOR)
    remedy = remedy_of(
        error, ADDRESS, certificates="REQUESTS_CA_BUNDLE", chosen=chosen, proxied=proxied
    )
    if remedy:
        return ClearMLSettingError(f"{begun}: {remedy} ({reason_of(error)})")
    if any(fault_of(cause) == "server" for cause in causes(error)):
        return ClearMLUnreachableError(f"{begun}: nobody answers ({reason_of(error)})")
    return error


def refusal(
    said: Mapping[str, Any] | None, status: int, reason: str, host: str, what: str
) -> ClearMLServerError:
    """What `host` answered to `what`, as an error.

    Args:
        said: ``meta`` of the answer; None where it was not ClearML that answered.
        reason: what stands beside the status.
    """
    if said is None:
        return ClearMLServerError(
            f"tracker 'clearml': {host} does not answer {what} as ClearML's server does ({status} "
            f"{reason}): is a login page or a gateway of the network in between, or does {ADDRESS} "
            "name something else, such as the web server?",
            status,
            foreign=True,
        )  # fmt: skip
    subcode = said.get("result_subcode")
    return ClearMLServerError(
        f"ClearML at {host} refused {what} ({status}): {str(said.get('result_msg'))[:500]}",
        status,
        subcode if isinstance(subcode, int) else 0,
    )
