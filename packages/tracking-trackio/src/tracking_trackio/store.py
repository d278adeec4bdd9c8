"""Where runs are kept, seen from the tracker and the reader: here (`local`) or on a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from tracking_core.errors import TrackingError

__all__ = [
    "Row",
    "RunId",
    "Store",
    "TooLargeError",
    "TrackioPageError",
    "TrackioServerError",
    "quiet",
]


class TrackioServerError(TrackingError, RuntimeError):
    """A server took a request and said no; the message is the server's.

    Attributes:
        status_code: of HTTP; 401 where the server wants another write token.
    """

    def __init__(
        self, message: str, status_code: int, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = headers or {}


class TrackioPageError(TrackingError, ConnectionError):
    """Something else answers in the place of a server: a gateway, or a login page."""


class TooLargeError(TrackioServerError):
    """A server, or a proxy before it, does not take so much at once: HTTP 413."""

    def __init__(self, place: str, what: str, size: int) -> None:
        super().__init__(
            f"{place} does not take {what} ({size} bytes): HTTP 413; a proxy before it may limit what "
            "it lets through (nginx: client_max_body_size)",
            413,
        )


class RunId(NamedTuple):
    """What names a run in every call: nothing is kept in Trackio's own current run."""

    project: str
    name: str
    id: str


class Row(NamedTuple):
    """One row of metrics, ready for Trackio.

    Attributes:
        log_id: rows of one id are stored once.
    """

    step: int
    wall_time: float
    metrics: dict[str, Any]
    log_id: str


class Store(Protocol):
    """What both places can do. `project` is a name of `names.project_name`.

    Attributes:
        place: what names the place in the identity of a run, without secrets.
    """

    place: Mapping[str, str]

    def has(self, project: str) -> bool:
        """Whether there is such a project."""

    def query(self, project: str, sql: str) -> list[dict[str, Any]]:
        """The rows that a SELECT finds in the project; at most 10 000."""

    def append(self, run: RunId, rows: Sequence[Row], config: Mapping[str, Any] | None) -> None:
        """Store `rows`, and `config` in the place of the one before, in one go."""

    def keep_medium(self, run: RunId, step: int, name: str, data: bytes) -> str:
        """Keep a media file; where it lies, as rows say it (``file_path``).

        It may wait for `send_media`.
        """

    def send_media(self) -> Mapping[str, str]:
        """Have it have all media that was kept; what it refuses for good by ``file_path``, and why."""

    def forget_media(self) -> None:
        """Give up what waits for `send_media`: it will be kept again."""

    def keep_files(self, run: RunId, artifact: str, type: str, files: Mapping[str, str]) -> int:
        """Keep `files` (paths on this machine by their paths in the artifact); its version.

        Raises:
            TooLargeError: the server does not take one of them.
        """

    def medium(self, file_path: str) -> bytes | None:
        """The content of a media file; None if there is none."""

    def blob(self, project: str, digest: str, target: Path) -> None:
        """Copy the content of an artifact's file to `target`."""

    def close(self) -> None:
        """Give back what it holds; another call takes it again."""


@contextmanager
def quiet(*modules: ModuleType) -> Iterator[None]:
    """Within it, these modules of Trackio's print nothing. No other module is touched."""
    silent = {id(module): _Silent() for module in modules}
    for module in modules:
        module.__dict__["print"] = silent[id(module)]
    try:
        yield
    finally:
        for module in modules:
            if module.__dict__.get("print") is silent[id(module)]:
                del module.__dict__["print"]


class _Silent:
    def __call__(self, *args: object, **kwargs: object) -> None:
        pass
