"""What goes wrong between here and Comet's server, and what a person can do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tracking_core.errors import TrackingError
from tracking_core.faults import Fault, fault_of, status_of
from tracking_core.network import causes, reason_of, remedy_of

if TYPE_CHECKING:  # importing it takes a while, and offline it is not needed
    import requests

__all__ = [
    "GONE", "OFFLINE", "CometExperimentError", "CometLoginError", "CometServerError", "CometSettingError",
    "explained", "refuse_strangers", "words_of",
]  # fmt: skip

ADDRESS = "COMET_URL_OVERRIDE"
VENDOR = "comet.com"
OFFLINE = "log offline with online=False or COMET_START_ONLINE=0"
GONE = frozenset({404, 409, 410})  # what is said of an experiment that is not there any more
# A page that says these speaks of a login, or of the size of what was sent, whoever says it.
MEANT = frozenset({401, 407, 413, 414, 431})
REDIRECTS_TO_GET = frozenset({301, 302, 303})

# Comet's exceptions for a handshake that the server refuses; some came with later versions.
_NOT_LET_IN = ("ServiceAccountWorkspaceRestricted", "Unauthorized", "ViewOnlyAccessException")
_NO_SUCH_SETTING = (
    "InvalidWorkspace", "MaxExperimentNumberReachedException", "ProjectConsideredLLM", "ProjectNameEmpty",
    "ProjectNameIsTooLong", "SDKVersionIsTooOldException",
)  # fmt: skip


class CometSettingError(TrackingError, ValueError):
    """An argument or a setting that no experiment can be logged with (`CometMLTracker.start`).

    The message names it and says what to do instead.
    """

    fault: Fault = "setup"


class CometLoginError(TrackingError, PermissionError):
    """There is no API key, or the server does not let it in (`CometMLTracker.start`).

    It is tried again: a key can be renewed while a training goes on.
    """

    fault: Fault = "login"


class CometServerError(TrackingError, ConnectionError):
    """The server can't be reached, or something else answers in its place."""

    fault: Fault = "server"


class CometExperimentError(TrackingError, LookupError):
    """The server does not take the experiment any more: it was deleted, say."""

    fault: Fault = "run"


def words_of(error: BaseException) -> str:
    """What the server says, in words; else the status alone: a body may hold what was sent."""
    said = getattr(error, "safe_msg", None)
    status = status_of(error)
    return f"HTTP {status}: {said}" if isinstance(said, str) and said else f"HTTP {status}"


def refuse_strangers(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook of ``requests``: what is no answer of Comet's server is no answer.

    The server answers in JSON, its refusals, too. A page for people is something else's, whatever
    its status: the library would take one with the status 200 for success.

    Raises:
        CometServerError: something else answers.
        CometSettingError: the address is sent on to ``https://``, which a request does not survive.
    """
    host, status = _host(response.url), response.status_code
    if response.is_redirect and status in REDIRECTS_TO_GET and response.request.method != "GET":
        target = urlsplit(str(response.headers.get("location", "")))
        own = urlsplit(response.url)
        if target.scheme == "https" == own.scheme + "s" and target.hostname == own.hostname:
            raise CometSettingError(
                f"tracker 'comet_ml': {host} takes nothing but https: {ADDRESS} has to begin with "
                "https://"
            )
        raise CometServerError(
            f"tracker 'comet_ml': {host} sends requests on to {target.hostname} (HTTP {status}): is a login page of the "
            "network in between?"
        )
    if status in MEANT:
        return
    page = _is_page(response)
    if page or (status >= 400 and not _is_json(response)):
        what = "a page for people" if page else "something that is no answer of Comet's"
        error = CometServerError(
            f"tracker 'comet_ml': {host} answers with {what} (HTTP {status}): is a gateway or a login page of the network "
            f"in between, or does {ADDRESS} name something else?"
        )
        error.headers = response.headers
        raise error


def explained(error: Exception, address: str) -> Exception:
    """The error to raise in the place of `error`, which kept an experiment from beginning."""
    if isinstance(error, TrackingError):
        return error
    host, name, status = _host(address), type(error).__name__, status_of(error)
    begun = f"tracker 'comet_ml' could not begin an experiment on {host}"
    if name in ("InvalidAPIKey", "InvalidHeader"):  # whose text is the key
        return CometLoginError(
            f"tracker 'comet_ml': {host} does not know this API key; set COMET_API_KEY to one of "
            f"yours, or {ADDRESS} to your own server, or {OFFLINE}"
        )
    if name in _NOT_LET_IN or status in (401, 402, 403, 407):
        said = words_of(error) if status else str(error)
        return CometLoginError(
            f"tracker 'comet_ml': {host} does not let this API key in or write there; see to "
            f"COMET_API_KEY and `workspace` (COMET_WORKSPACE), or {OFFLINE} ({said})"
        )
    if name in _NO_SUCH_SETTING:
        return CometSettingError(f"{begun}: {_said_by(error)}")
    if name == "BackendCustomError":
        return CometExperimentError(f"{begun}: {_said_by(error)}")
    remedy = remedy_of(
        error, ADDRESS, certificates="REQUESTS_CA_BUNDLE", chosen=not host.endswith(VENDOR)
    )
    if remedy:
        return CometSettingError(f"{begun}: {remedy} ({reason_of(error)})")
    if any(isinstance(cause, json.JSONDecodeError) for cause in causes(error)):
        return CometServerError(
            f"{begun}: it answers with something else than JSON; does {ADDRESS} name something else?"
        )
    if status == 404:
        return CometSettingError(
            f"{begun}: nobody takes experiments there; does {ADDRESS} name something else? "
            f"({words_of(error)})"
        )
    if status is not None and fault_of(error) == "record":
        return CometSettingError(f"{begun}: it refuses the arguments ({words_of(error)})")
    if status is not None:
        return CometServerError(f"{begun}: {words_of(error)}")
    if fault_of(error) == "server":
        return CometServerError(f"{begun}: {reason_of(error)}")
    return error


def _said_by(error: Exception) -> str:
    """What one of Comet's exceptions says: some keep it beside their text."""
    said = str(error) or str(getattr(error, "log_message", "") or "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _is_page(response: requests.Response) -> bool:
    kind = str(response.headers.get("Content-Type", "")).lower()
    if "json" in kind or not response.content:
        return False
    begins = response.content[:200].lstrip().lower()
    return "text/html" in kind or begins.startswith((b"<!doctype html", b"<html"))


def _is_json(response: requests.Response) -> bool:
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
