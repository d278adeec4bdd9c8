"""What W&B's errors say: whose fault it is, and what a person can do about it.

W&B's service on this machine talks to the server, and hands on what went wrong as one line of text,
whatever it was.
"""

from __future__ import annotations

import os
import re
from typing import Any

from tracking_core.errors import TrackingError
from tracking_core.faults import Fault

__all__ = [
    "ADDRESS", "OFFLINE", "WandBArrivalError", "WandBLoginError", "WandBRunError", "WandBServiceError", "WandBSettingError", "explained",
    "heard",
]  # fmt: skip


class WandBLoginError(TrackingError, PermissionError):
    """W&B has no key, or does not accept it (`WandBTracker.start`).

    It is tried again: a login can be repaired while a training goes on.
    """

    fault: Fault = "login"


class WandBServiceError(TrackingError, ConnectionError):
    """W&B's server can't be reached, or W&B's service on this machine died or does not answer."""

    fault: Fault = "server"


class WandBArrivalError(WandBServiceError):
    """The server lacks what lies on this machine.

    Attributes:
        rows: how many rows.
    """

    def __init__(self, said: str, rows: int) -> None:
        super().__init__(said)
        self.rows = rows


class WandBSettingError(TrackingError, ValueError):
    """An argument, a variable or a directory is of no use (`WandBTracker.start`)."""

    fault: Fault = "setup"


class WandBRunError(TrackingError, RuntimeError):
    """W&B's server does not take the run: it was deleted, or it is somebody else's."""

    fault: Fault = "run"


ADDRESS = "WANDB_BASE_URL"
OFFLINE = "log offline with WANDB_MODE=offline"

_STATUS = re.compile(r"(?:returned error|HTTP) (\d{3})\b")

# What W&B's service hears of the network, in Go's words: the error, and what a person can do.
_HEARD: tuple[tuple[str, type[TrackingError], str], ...] = (
    (
        "proxyconnect",
        WandBSettingError,
        (
            "the proxy does not let it through: see to HTTPS_PROXY and HTTP_PROXY, or take {host} "
            "out of it with NO_PROXY"
        ),
    ),
    (
        "certificate",
        WandBSettingError,
        (
            "the certificate of {host} is not trusted: let SSL_CERT_FILE name a file with the "
            "certificate of who signed it"
        ),
    ),
    (
        "does not look like a TLS handshake",
        WandBSettingError,
        "{host} speaks no TLS: WANDB_BASE_URL has to begin with http://",
    ),
    (
        "HTTP request to an HTTPS server",
        WandBSettingError,
        "{host} speaks TLS only: WANDB_BASE_URL has to begin with https://",
    ),
)


_A_PAGE = (
    "{host} answers with a page for people and not as W&B's server: is a login page of the network "
    "in between, or does WANDB_BASE_URL name something else?"
)


def explained(error: Exception, wandb: Any, host: str, said: str = "") -> TrackingError | None:
    """The error to raise in the place of `error`, which kept a run from beginning; None to keep it.

    Args:
        wandb: the module.
        host: the server's address.
        said: what W&B's service heard from there, where that is known.
    """
    if isinstance(error, wandb.errors.AuthenticationError):
        refused = str(error).rstrip(".")
        return WandBLoginError(
            f"tracker 'wandb': {refused}: run `wandb login`, or set WANDB_API_KEY, or {OFFLINE}"
        )
    if type(error).__name__ == "ValidationError":  # pydantic's
        return _refused_settings(error)
    if isinstance(error, wandb.errors.UsageError):
        return WandBSettingError(f"tracker 'wandb': {error}")
    if isinstance(error, wandb.errors.Error):
        return heard(said or str(error), host, "could not begin a run")
    if "is in use" in str(error):
        return WandBRunError(f"tracker 'wandb': {error} in this process: is it a run of your own?")
    return None


def heard(said: str, host: str, doing: str) -> TrackingError:
    """The error for what `host` said, in W&B's words, when the tracker did what `doing` says."""
    begun = f"tracker 'wandb' {doing}"
    status = int(found[1]) if (found := _STATUS.search(said)) else 0
    if _is_page(said) and status not in (401, 407):
        return WandBServiceError(f"{begun}: {_A_PAGE.format(host=host)} ({_short(said)})")
    for words, kind, remedy in _HEARD:
        if words in said:
            return kind(f"{begun}: {remedy.format(host=host)} ({_short(said)})")
    if status == 401 or "not logged in" in said.lower():
        return WandBLoginError(
            f"tracker 'wandb': {host} refuses the key: run `wandb login --relogin`, or set another "
            f"WANDB_API_KEY, or {OFFLINE} ({_short(said)})"
        )
    if status == 403:
        return WandBLoginError(
            f"tracker 'wandb': {host} does not let this login write there: is `entity` "
            "(WANDB_ENTITY) yours, or is the key somebody else's (`wandb login --relogin`)? Or "
            f"{OFFLINE} ({_short(said)})"
        )
    if status == 404 and "not found" in said:
        return WandBSettingError(
            f"{begun}: {host} does not know the place: see to `entity` (WANDB_ENTITY) and "
            f"WANDB_BASE_URL ({_short(said)})"
        )
    if status in (404, 409, 410):
        return WandBRunError(
            f"{begun}: {host} does not have it any more, or never had; was it deleted? "
            f"({_short(said)})"
        )
    if status in (400, 413, 422):
        return WandBSettingError(f"{begun}: {host} refuses its arguments ({_short(said)})")
    return WandBServiceError(f"{begun}: {_short(said)}")


def _is_page(said: str) -> bool:
    lower = said.lower().replace("\\u003c", "<")  # as Go writes JSON
    return "looking for beginning of value" in lower or "<html" in lower or "<!doctype" in lower


def _refused_settings(error: Any) -> WandBSettingError:
    said = []
    for one in error.errors():
        name = ".".join(map(str, one["loc"])) or "a setting"
        shown = "" if re.search("key|token|secret|header", name) else f"={one['input']!r}"
        variable = f"WANDB_{name.upper()}"
        where = f" of {variable}" if variable in os.environ else ""
        said.append(f"{name}{shown}{where}: {one['msg']}")
    return WandBSettingError(f"tracker 'wandb': W&B refuses {'; '.join(said)}")


def _short(said: str) -> str:
    """One line of an error, without the page that somebody answered with."""
    line = " ".join(said.split())
    return line if len(line) <= 400 else f"{line[:400]}..."
