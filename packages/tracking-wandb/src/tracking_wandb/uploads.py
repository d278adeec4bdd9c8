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
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tracking_core.journal import replace_regular
from tracking_core.plain import text
from tracking_core.rejections import say

__all__ = ["Uploads", "files_left", "files_refused", "note_files_left"]

NOTE = "files-left.json"
SECONDS_THAT_PASS_UNSAID = 2.0

_GAVE_UP = b"filestream: fatal error"
_ASKS = b'"filestream: sending request"'
_RETRIES = b'"api: retrying'
_ROWS = b"/file_stream"
_ANSWERED = b'"filestream: request sent"'
_FAILED = b"file transfer: upload: failed"
_NOT_BEGUN = b"runfiles: CreateRunFiles returned error"
_CLOSED = b"file transfer manager closed"
_NAME = re.compile(r", Name: (.+), Url: ")
_STATUS = re.compile(r"(?:status: |returned error )(\d{3}(?: [A-Z][A-Za-z ]*)?)")
_LONGEST_REASON = 200


class Uploads:
    """Looks whether W&B's service still sends what a run has, by its own log at `path`.

    What goes wrong is said, once each: rows that are tried again once that has lasted, all else at once.

    Attributes:
        trouble: why it sends no more rows; empty if it does.
        failed: the files that it did not bring, each with the reason.
        unsure: why it did not bring some that it does not name; empty if there are none.
        closed: whether it has done with files: then all others are at the server.
        answered: how many rows the server has answered for, since that was last set.
        unanswered: what keeps the last request with rows waiting; empty if it was answered.
    """

    def __init__(self, path: str) -> None:
        self.trouble = ""
        self.failed: dict[str, str] = {}
        self.unsure = ""
        self.closed = False
        self.answered = self._asked = 0
        self.unanswered = ""
        self._unanswered_since: float | None = None
        self._said_of_files = self._said_of_rows = False
        self._path = path
        self._place = 0

    def look(self) -> None:
        """Read what the log has by now, and tell of it."""
        self.read()
        self._tell_of_files()
        self._tell_of_rows()

    def read(self) -> None:
        """Read what the log has by now."""
        with suppress(OSError), open(self._path, "rb") as file:
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._place += len(line)
                self._hear(line)

    def in_words(self) -> str:
        """What it did not send by now, in words; empty if nothing went wrong."""
        self.look()
        return self.trouble or self._of_files()

    def _of_files(self) -> str:
        for name, reason in self.failed.items():
            return f"{name!r}: {reason}"
        return self.unsure

    def _tell_of_files(self) -> None:
        refused = self._of_files()
        if refused and not self._said_of_files:
            self._said_of_files = True
            say(
                f"tracker 'wandb': the server does not take files for now ({refused}); rows go on, and "
                "what it did not take is sent once more when the run ends"
            )

    def _tell_of_rows(self) -> None:
        now = time.monotonic()
        self._unanswered_since = (self._unanswered_since or now) if self.unanswered else None
        since = self._unanswered_since
        lasts = since is not None and now - since > SECONDS_THAT_PASS_UNSAID
        reason = self.trouble or self.unanswered
        if (self.trouble or lasts) and not self._said_of_rows:
            self._said_of_rows = True
            say(
                "tracker 'wandb': the server does not take what W&B's service sends; what is logged is "
                f"kept, and sent when it does: {reason[:_LONGEST_REASON]}"
            )

    def _hear(self, line: bytes) -> None:
        if _ASKS in line:
            self.unanswered = "it does not answer"
            self._asked = int(_said(line).get("history_lines") or 0)
        elif _RETRIES in line and _ROWS in line:
            said = _said(line)
            self.unanswered = said.get("error") or f"HTTP {said.get('status', '')}"
        elif _ANSWERED in line:
            self.unanswered = ""
            self.answered, self._asked = self.answered + self._asked, 0
        elif _GAVE_UP in line and not self.trouble:
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
    uploads = _of_a_log(os.path.join(directory, "logs", "debug-internal.log"))
    unsure = uploads.trouble or uploads.unsure
    if unsure or not uploads.closed:
        return dict.fromkeys(files, unsure or "W&B's service was killed")
    return {name: uploads.failed[name] for name in files if name in uploads.failed}


def files_refused(place: str) -> dict[str, str]:
    """The files that ``wandb sync``, whose logs are in `place`, could not bring, with the reasons."""
    failed: dict[str, str] = {}
    for path in _logs_of_sync(place):
        failed |= _of_a_log(path).failed
    return failed


def note_files_left(log: str, left: Mapping[str, str]) -> None:
    """Remember which files of the log at `log` are not at the server; the others are."""
    replace_regular(Path(log).with_name(NOTE), json.dumps(dict(left)).encode())


def _of_a_log(path: str) -> Uploads:
    uploads = Uploads(path)
    uploads.read()
    return uploads


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
