"""What goes wrong between here and SwanLab's server, and what a person can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracking_core.errors import TrackingError
from tracking_core.faults import TOO_LARGE, Fault, fault_of, is_lasting, status_of
from tracking_core.network import causes, reason_of, remedy_of
from tracking_core.redaction import redacted

if TYPE_CHECKING:  # importing it takes a while, and most runs meet none of this
    import requests

__all__ = [
    "SwanLabArrivalError", "SwanLabLoginError", "SwanLabServerError", "SwanLabSettingError", "explained",
    "is_passing", "is_to_be_mended", "reason_in_words", "refuse_pages",
]  # fmt: skip

OFFLINE = "write run files for `swanlab sync` with mode='offline' or SWANLAB_MODE=offline"
ADDRESS = "SWANLAB_API_HOST"
VENDOR = "swanlab.cn"
GONE = frozenset({404, 409, 410})
LONGEST_REASON = 200


class SwanLabSettingError(TrackingError, ValueError):
    """An argument, a variable, a file of SwanLab's settings or a directory is of no use."""

    fault: Fault = "setup"


class SwanLabLoginError(TrackingError, PermissionError):
    """There is no API key, or the server does not let it in (`SwanLabTracker.start`).

    It is tried again: a login can be repaired while a training goes on.
    """

    fault: Fault = "login"


class SwanLabServerError(TrackingError, ConnectionError):
    """The server can't be reached, or says no.

    Attributes:
        status_code: of HTTP; None where there was no answer, or one of somebody else.
    """

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class SwanLabArrivalError(TrackingError, RuntimeError):
    """The run has ended here, and the server does not have all of it (`SwanLabTracker.finish`).

    What kept it from there is its cause, and says whose fault it is.
    """


def is_passing(error: BaseException) -> bool:
    """Whether an error of a request says nothing about what was sent: it is sent again later.

    Of the faults of the run that holds for an answer of the server's: the experiment may have been
    deleted, and what is not sent lies in the run file.
    """
    if isinstance(error, SwanLabLoginError) or remedy_of(error, ADDRESS):
        return True
    fault = fault_of(error)
    return fault in ("server", "login") or (fault == "run" and status_of(error) in GONE)


def is_to_be_mended(error: BaseException) -> bool:
    """Whether a person has to do something about an error of a request, and waiting does not help."""
    mine = isinstance(error, SwanLabLoginError) or remedy_of(error, ADDRESS) is not None
    return mine or is_lasting(fault_of(error))


def reason_in_words(error: BaseException) -> str:
    """What a request failed of, in a few words."""
    status = status_of(error)
    said: str = redacted(f"HTTP {status}" if status else reason_of(error))
    return said[:LONGEST_REASON]


def refuse_pages(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook of ``requests``: a page for people is no answer of SwanLab's, whatever its status.

    What a gateway in between says of the size of what was sent is one.

    Raises:
        requests.ConnectionError: it is such a page. The library would take it for success.
    """
    if _holds_page(response) and response.status_code not in TOO_LARGE:
        import requests

        raise requests.ConnectionError(
            f"{_host(response.url)} answers with a page for people (HTTP {response.status_code}): "
            "is a login page of the network in between?"
        )


def _holds_page(response: Any) -> bool:
    kind = str(response.headers.get("Content-Type", "")).lower()
    return "text/html" in kind and bool(response.content) and response.status_code not in (401, 407)


def _is_page(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    return response is not None and _holds_page(response)


def explained(error: Exception, host: str) -> Exception:
    """The error to raise in the place of `error`, which kept a run from beginning on the server."""
    if isinstance(error, TrackingError):
        return error
    begun = f"tracker 'swanlab' could not begin a run on {host}"
    status = status_of(error)
    remedy = remedy_of(error, ADDRESS, certificates="REQUESTS_CA_BUNDLE", chosen=VENDOR not in host)
    if remedy:
        return SwanLabSettingError(f"{begun}: {remedy} ({reason_of(error)})")
    for cause in causes(error):
        if type(cause).__name__ == "JSONDecodeError" or _is_page(cause):
            return SwanLabServerError(
                f"{begun}: it answers with a page for people{f' (HTTP {status})' if status else ''}: "
                "is a login page of the network in between, or does SWANLAB_API_HOST name something "
                "else?"
            )
    if status in (404, 405) and "/login/" in str(error):
        return SwanLabSettingError(
            f"{begun}: nobody can log in there (HTTP {status}); does SWANLAB_API_HOST name something else?"
        )
    if status in (401, 403):
        return SwanLabLoginError(
            f"tracker 'swanlab': {host} does not let this login in or write there; run `swanlab "
            f"login --relogin` or set SWANLAB_API_KEY, see to `workspace`, or {OFFLINE}"
        )
    if status is not None:
        return SwanLabServerError(f"{begun}: HTTP {status} ({error})", status)
    if fault_of(error) == "server":
        return SwanLabServerError(f"{begun}: {reason_of(error)}")
    return error


def _host(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
