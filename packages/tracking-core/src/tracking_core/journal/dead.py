"""Records that a tracker refused for good, with its reason: counted and kept, never retried.

One file for each tracker, one line of JSON for each record, to be read by people and tools.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from tracking_core.errors import JournalError
from tracking_core.journal import layout
from tracking_core.journal.files import CREATE_OR_OPEN, REAL, Files


class DeadLetter(NamedTuple):
    """A record that was refused, why, and when (nanoseconds since the epoch)."""

    seq: int
    reason: str
    wall_ns: int
    payload: bytes


class DeadLetters:
    """The dead letters of one tracker in one writer directory."""

    def __init__(
        self, writer: str | os.PathLike[str], tracker: str, *, files: Files = REAL
    ) -> None:
        self.path = Path(writer) / layout.DEAD / f"{layout.escape(tracker)}.ndjson"
        self._files = files

    def append(self, seq: int, payload: bytes, reason: str) -> None:
        """Keep a refused record.

        Raises `JournalError` when the disk refuses: the record then isn't kept, so it must not be
        acknowledged.
        """
        files = self._files
        said = {
            "seq": seq,
            "reason": reason,
            "wall_ns": time.time_ns(),
            "payload": base64.b64encode(payload).decode("ascii"),
        }
        # A line begins with the line break, so half a line before it spoils only itself.
        line = b"\n" + json.dumps(said).encode("ascii") + b"\n"
        try:
            layout.make_directory(self.path.parent, files=files)
            fd = files.open(str(self.path), CREATE_OR_OPEN | getattr(os, "O_APPEND", 0), 0o600)
            try:
                files.fchmod(fd, 0o600)
                files.write_all(fd, line)
            finally:
                files.close(fd)
        except OSError as error:
            reason = error.strerror or str(error)
            raise JournalError(f"cannot keep a dead letter in {self.path}: {reason}") from error

    def list(self) -> list[DeadLetter]:
        """All dead letters in the order in which they came; half a line of a crash is left out."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"cannot read {self.path}: {error.strerror or error}") from error
        letters = []
        for line in text.split(b"\n"):
            letter = _letter(line)
            if letter is not None:
                letters.append(letter)
        return letters


def _letter(line: bytes) -> DeadLetter | None:
    try:
        said = json.loads(line)
        return DeadLetter(
            seq=int(said["seq"]),
            reason=str(said["reason"]),
            wall_ns=int(said["wall_ns"]),
            payload=base64.b64decode(said["payload"], validate=True),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
