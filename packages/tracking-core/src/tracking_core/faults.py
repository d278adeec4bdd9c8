"""Whose fault an error is: what a delivery makes of it follows from that alone.

An error of a foreign library is recognised by its HTTP status, by its class or by the name of its
class: the core imports none of them. One of this project's says it itself (`TrackingError.fault`). A
tracker whose library says it in a way of its own overrides `GeneralTracker.fault`.
"""

from __future__ import annotations

import errno
import json
import ssl
from collections.abc import Iterator

from tracking_core.errors import Fault, UnfitValueError
from tracking_core.network import causes

__all__ = ["Fault", "errors_behind", "fault_of", "fault_of_start", "is_lasting", "status_of"]

# Codes that speak of what was sent. Others, such as 404 or 409, may speak of the place.
REFUSED_CONTENT = frozenset({400, 413, 414, 415, 422, 431})
# What a gateway, too, says of the size of what was sent, and of nothing else.
TOO_LARGE = frozenset({413, 414, 431})
REFUSED_LOGIN = frozenset({401, 402, 403, 407})
PASSING = frozenset({408, 421, 425, 429})
# "Not implemented" is an answer like 404: this server will never take that.
NOT_THERE = frozenset({501, 505})

PASSING_NAMES = (
    "timeout",
    "connection",
    "unavailable",
    "temporar",
    "toomanyrequests",
    "incompleteread",
    "locked",
)
# A database says by its text alone whether it is busy or was asked for nonsense.
PASSING_DATABASE = ("locked", "busy", "full", "connect", "closed", "timeout", "timed out")

# The same call would meet the same file again, and so would others: or this record has an odd name.
LASTING_FILE_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the answer that an error of ``requests`` carries; None without one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if type(status) is int else None


def fault_of(error: BaseException) -> Fault:
    """Whose fault `error` is, raised by a library that was given records.

    Looks at the status code that HTTP libraries and their users put on their errors, at the type
    and its bases, and at what the error was raised from.
    """
    # Libraries wrap it in errors that read like one of a connection that was lost.
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error)):
        return "setup"
    for cause in errors_behind(error):
        fault = _fault_by_itself(cause)
        if fault is not None:
            return fault
    return "run"


def fault_of_start(fault: Fault, error: BaseException) -> Fault:
    """`fault` of an `error` that kept a tracker from starting, when there was no record yet.

    What it refuses is an argument then, and a file that is in the way is the directory's trouble.
    """
    if fault == "record":
        return "setup"
    lasting = (TypeError, ValueError, ImportError, *LASTING_FILE_ERRORS)
    return "setup" if fault == "run" and isinstance(error, lasting) else fault


def is_lasting(fault: Fault | None) -> bool:
    """Whether a person has to do something: then waiting doesn't help."""
    return fault in ("login", "setup")


def errors_behind(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it was raised from, or while which was dealt with, each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _fault_by_itself(error: BaseException) -> Fault | None:
    if not isinstance(error, Exception):
        return None
    if isinstance(error, UnfitValueError):
        return "record"
    status = _http_status(error)
    if status is not None:
        return _fault_of_status(status, error)
    # A page where an answer should be: something else than the tracker's server has said it.
    if isinstance(error, json.JSONDecodeError):
        return "server"
    if isinstance(error, ImportError):
        return "setup"
    if isinstance(error, OSError):
        if error.errno in NOT_WRITABLE:
            return "setup"
        # An address that is wrong may be both, a ValueError and an OSError.
        return None if isinstance(error, (*LASTING_FILE_ERRORS, ValueError)) else "server"
    names = [kind.__name__.lower() for kind in type(error).__mro__]
    if any(part in name for name in names for part in PASSING_NAMES):
        return "server"
    if "operationalerror" in names and _mentions(error, PASSING_DATABASE):
        return "server"
    return None


def _fault_of_status(status: int, error: Exception) -> Fault:
    if _is_a_page(error) and status not in TOO_LARGE:
        # An ingress, a proxy or a captive portal says 404 or 403 as well, in words for people.
        return "login" if status in (401, 407) else "server"
    if status in REFUSED_LOGIN:
        return "login"
    if status in REFUSED_CONTENT:
        return "record"
    if status in PASSING or status < 400 or (status >= 500 and status not in NOT_THERE):
        return "server"
    return "run"


def _http_status(error: Exception) -> int | None:
    """The HTTP status that an error carries, wherever its library puts it."""
    try:
        response = getattr(error, "response", None)
        ask = getattr(error, "get_http_status_code", None)
        candidates = [
            getattr(response, "status_code", None),  # requests, httpx
            getattr(response, "status", None),  # urllib3, http.client
            getattr(error, "status_code", None),
            getattr(error, "status", None),  # aiohttp
            getattr(error, "code", None),  # urllib
            ask() if callable(ask) else None,  # MLflow
        ]
    except Exception:  # a stranger's error: its attributes may raise anything
        return None
    return next((code for code in candidates if type(code) is int and 100 <= code < 600), None)


def _is_a_page(error: Exception) -> bool:
    """Whether the answer that an error carries is a page for people: no API answers so."""
    try:
        response = getattr(error, "response", None)
        headers = getattr(response, "headers", None) or getattr(error, "headers", None) or {}
        kind = headers.get("content-type") or headers.get("Content-Type") or ""
        return "text/html" in str(kind).lower()
    except Exception:  # as above
        return False


def _mentions(error: Exception, words: tuple[str, ...]) -> bool:
    try:
        said = str(error).lower()
    except Exception:
        return False
    return any(word in said for word in words)
