"""Where a run is logged to, as arguments of ``trackio.init`` and Trackio's variables say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tracking_core.errors import TrackingError

__all__ = ["INIT_TAKES", "NATIVE_TAKES", "TrackioSettingError", "Where", "without_secrets"]

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


class TrackioSettingError(TrackingError, ValueError):
    """An argument or a variable that no run can be logged with (`TrackioTracker.start`).

    The message names it and says what to do instead.
    """


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
            TrackioSettingError: an address or a token is missing or of no use.
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

        token = huggingface_hub.get_token()
        if "/" not in space_id:
            raise TrackioSettingError(
                f"tracker 'trackio' takes the whole name of a Space: space_id='<user>/{space_id}'"
            )
        if token is None and writing:
            raise TrackioSettingError(
                f"tracker 'trackio' can't log to the Space {space_id!r} without a token: "
                "set HF_TOKEN, or log in once with `hf auth login`"
            )
        return cls(space_id=space_id, hf_token=token)

    @classmethod
    def _server(cls, server_url: str, writing: bool) -> Where:
        from trackio import utils

        if not server_url.startswith(("http://", "https://")):
            raise TrackioSettingError(
                f"tracker 'trackio' can't log to {without_secrets(server_url)!r}: "
                "server_url begins with http:// or https://"
            )
        base, token = utils.parse_trackio_server_url(server_url)
        token = token or os.environ.get("TRACKIO_WRITE_TOKEN")
        if not token and writing:
            raise TrackioSettingError(
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
