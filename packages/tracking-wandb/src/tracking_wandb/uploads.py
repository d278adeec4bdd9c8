"""What W&B's service has failed to send: it says so in its own logs alone, and ends the run as if all
had arrived.

After the server refused one request with rows for good, it sends no more rows. A file that it could
not bring it tries a few times, and never again.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tracking_core.journal import replace_regular
from tracking_core.plain import text

__all__ = ["Uploads", "files_left", "files_refused", "note_files_left"]

NOTE = "files-left.json"

_GAVE_UP = b"filestream: fatal error"
_FAILED = b"file transfer: upload: failed"
_NOT_BEGUN = b"runfiles: CreateRunFiles returned error"
_CLOSED = b"file transfer manager closed"
_NAME = re.compile(r", Name: (.+), Url: ")
_STATUS = re.compile(r"(?:status: |returned error )(\d{3}(?: [A-Z][A-Za-z ]*)?)")
_LONGEST_REASON = 200


class Uploads:
    """Looks whether W&B's service still sends what a run has, by its own log at `path`.

    Attributes:
        trouble: why it sends no more rows; empty if it does.
        failed: the files that it did not bring, each with the reason.
        unsure: why it did not bring some that it does not name; empty if there are none.
        closed: whether it has done with files: then all others are at the server.
    """

    def __init__(self, path: str) -> None:
        self.trouble = ""
        self.failed: dict[str, str] = {}
        self.unsure = ""
        self.closed = False
        self._path = path
        self._place = 0

    def look(self) -> None:
        """Read what the log has by now."""
        with suppress(OSError), open(self._path, "rb") as file:
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._place += len(line)
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        if _GAVE_UP in line and not self.trouble:
            self.trouble = _said(line).get("msg", "")
        elif _FAILED in line:
            said = _said(line)
            name = _NAME.search(said.get("task", ""))
            if name is not None:
                self.failed[name[1]] = _reason(said.get("msg", ""))
        elif _NOT_BEGUN in line:
            self.unsure = _reason(_said(line).get("msg", ""))
        elif _CLOSED in line:
            self.closed = True


def files_left(log: str, files: Collection[str]) -> dict[str, str]:
    """Which of the `files` in W&B's log at `log` are not at the server, each with the reason.

    Of a service that was killed, or that gave up, nobody can tell: then it is all of them.
    """
    directory = os.path.dirname(log)
    with suppress(OSError, ValueError):
        with open(os.path.join(directory, NOTE), "rb") as file:
            noted = json.load(file)
        return {name: str(noted[name]) for name in files if name in noted}
    uploads = Uploads(os.path.join(directory, "logs", "debug-internal.log"))
    uploads.look()
    unsure = uploads.trouble or uploads.unsure
    if unsure or not uploads.closed:
        return dict.fromkeys(files, unsure or "W&B's service was killed")
    return {name: uploads.failed[name] for name in files if name in uploads.failed}


def files_refused(place: str) -> dict[str, str]:
    """The files that ``wandb sync``, whose logs are in `place`, could not bring, with the reasons."""
    failed: dict[str, str] = {}
    for path in _logs_of_sync(place):
        uploads = Uploads(path)
        uploads.look()
        failed |= uploads.failed
    return failed


def note_files_left(log: str, left: Mapping[str, str]) -> None:
    """Remember which files of the log at `log` are not at the server; the others are."""
    replace_regular(Path(log).with_name(NOTE), json.dumps(dict(left)).encode())


def _logs_of_sync(place: str) -> Iterable[str]:
    return glob.glob(os.path.join(glob.escape(place), "**", "debug-sync.*.log"), recursive=True)


def _reason(said: str) -> str:
    status = _STATUS.search(said)
    return f"HTTP {status[1]}" if status else said[:_LONGEST_REASON]


def _said(line: bytes) -> dict[str, str]:
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return {key: text(str(value)) for key, value in said.items()}
    return {}
