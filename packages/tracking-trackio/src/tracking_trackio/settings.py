"""Where a run is logged to, as arguments of ``trackio.init`` and Trackio's variables say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tracking_core.arguments import refuse_unfit, refuse_unknown
from tracking_core.errors import Fault, TrackingError

__all__ = [
    "ADDRESS", "NATIVE_TAKES", "RESUME", "TrackioLoginError", "TrackioSettingError", "Where",
    "check_arguments", "without_secrets",
]  # fmt: skip

ADDRESS = "server_url (TRACKIO_SERVER_URL)"
RESUME = ("never", "allow", "must")

INIT_TAKES = frozenset({
    "auto_log_cpu", "auto_log_gpu", "bucket_id", "config", "cpu_log_interval", "dataset_id",
    "embed", "gpu_log_interval", "group", "name", "private", "resume", "server_url", "settings",
    "space_id", "space_storage", "webhook_min_level", "webhook_url",
})  # fmt: skip
"""The arguments of ``trackio.init`` beside the project, of all versions that we run with."""

NATIVE_TAKES = (
    "auto_log_cpu", "auto_log_gpu", "cpu_log_interval", "gpu_log_interval", "webhook_min_level",
    "webhook_url",
)  # fmt: skip
"""Those that are for its object for a run, which `TrackioTracker.tracker` makes."""


_MAKES_A_SPACE = (
    "it says how Trackio makes a Space, and this logs to one that exists: make it once with "
    "trackio.init('...', space_id=..., {}=...)"
)
_NOT_TAKEN: Mapping[str, str] = {
    **{
        name: _MAKES_A_SPACE.format(name)
        for name in ("bucket_id", "dataset_id", "private", "space_storage")
    },
    "settings": "Trackio does not know what to do with it either",
}
"""Those that would have no effect, and why."""


class TrackioSettingError(TrackingError, ValueError):
    """An argument, a variable or a directory that no run can be logged with.

    The message names it and says what to do instead.
    """

    fault: Fault = "setup"


class TrackioLoginError(TrackingError, PermissionError):
    """A server or a Space needs a token, and there is none (`TrackioTracker.start`)."""

    fault: Fault = "login"


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse by name what ``trackio.init`` does not take, or what would do nothing.

    Raises:
        TypeError: there is no such argument, or it would have no effect.
        ValueError: its value is of no use.
    """
    refuse_unknown("trackio", arguments, INIT_TAKES, "trackio.init")
    for name, reason in _NOT_TAKEN.items():
        if arguments.get(name) is not None:
            raise TypeError(f"tracker 'trackio' does not take {name!r}: {reason}")
    refuse_unfit("trackio", "resume", arguments.get("resume"), RESUME)
    if space_id := arguments.get("space_id"):
        _whole_name(str(space_id))
    elif server_url := arguments.get("server_url"):
        _address(str(server_url))


def _whole_name(space_id: str) -> str:
    if "/" not in space_id:
        raise TrackioSettingError(
            f"tracker 'trackio' takes the whole name of a Space: space_id='<user>/{space_id}'"
        )
    return space_id


def _address(server_url: str) -> str:
    if not server_url.startswith(("http://", "https://")):
        raise TrackioSettingError(
            f"tracker 'trackio' can't log to {without_secrets(server_url)!r}: "
            "server_url begins with http:// or https://"
        )
    return server_url


class Where(NamedTuple):
    """A Space, a server, or (neither) this machine."""

    space_id: str | None = None
    server_url: str | None = None
    write_token: str | None = None
    hf_token: str | None = None

    @classmethod
    def of(cls, space_id: str | None, server_url: str | None, *, writing: bool = True) -> Where:
        """What the arguments say, else ``TRACKIO_SPACE_ID``, else ``TRACKIO_SERVER_URL``.

        Args:
            writing: whether a token is needed that allows it.

        Raises:
            TrackioSettingError: an address is of no use.
            TrackioLoginError: a token is missing.
        """
        if not (space_id or server_url):
            space_id = os.environ.get("TRACKIO_SPACE_ID")
            server_url = os.environ.get("TRACKIO_SERVER_URL")
        if space_id:
            return cls._space(space_id, writing)
        return cls._server(server_url, writing) if server_url else cls()

    @classmethod
    def _space(cls, space_id: str, writing: bool) -> Where:
        import huggingface_hub

        _whole_name(space_id)
        token = huggingface_hub.get_token()
        if token is None and writing:
            raise TrackioLoginError(
                f"tracker 'trackio' can't log to the Space {space_id!r} without a token: "
                "set HF_TOKEN, or log in once with `hf auth login`"
            )
        return cls(space_id=space_id, hf_token=token)

    @classmethod
    def _server(cls, server_url: str, writing: bool) -> Where:
        from trackio import utils

        base, token = utils.parse_trackio_server_url(_address(server_url))
        token = token or os.environ.get("TRACKIO_WRITE_TOKEN")
        if not token and writing:
            raise TrackioLoginError(
                f"tracker 'trackio' can't log to {without_secrets(base)} without a write token: "
                "set TRACKIO_WRITE_TOKEN, or give server_url as trackio.show() prints it"
            )
        return cls(server_url=base, write_token=token)

    @property
    def named(self) -> dict[str, str]:
        """What names the place, without secrets; nothing for this machine."""
        if self.space_id is not None:
            return {"space_id": self.space_id}
        return {"server_url": without_secrets(self.server_url)} if self.server_url else {}

    @property
    def url(self) -> str:
        """Its address, which may hold a password; empty for this machine."""
        if self.space_id is not None:
            host = re.sub(r"[^a-z0-9-]", "-", self.space_id.lower())
            return f"https://{host}.hf.space/"
        return f"{self.server_url.rstrip('/')}/" if self.server_url else ""

    @property
    def arguments_of_a_run(self) -> Mapping[str, Any]:
        """What ``trackio.Run`` calls it."""
        if self.space_id is not None:
            return {"space_id": self.space_id}
        if self.server_url is None:
            return {}
        return {"server_base_url": self.server_url, "write_token": self.write_token}


def without_secrets(source: str) -> str:
    """An address as one may show and keep it: without user, password and write token."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
