"""Records that a tracker refused for good, with its reason: counted and kept, never retried.

One file for each tracker, one line of JSON for each record, to be read by people and tools.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tracking_core.errors import JournalError
from tracking_core.journal import layout
from tracking_core.journal.files import REAL, Files
from tracking_core.journal.frame import MAX_PAYLOAD
from tracking_core.journal.regular import append_regular, open_regular, replace_regular

# The largest record in Base64, and a reason as long as any: what is longer was not written here.
_LONGEST_LINE = 2 * MAX_PAYLOAD


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
        line = _line(seq, payload, reason, time.time_ns())
        try:
            layout.make_directory(self.path.parent, files=files)
            append_regular(self.path, line, files=files)
        except OSError as error:
            reason = error.strerror or str(error)
            raise JournalError(f"cannot keep a dead letter in {self.path}: {reason}") from error

    def keep(self, letters: Iterable[DeadLetter]) -> None:
        """Keep these and no others, whole or as they were before; raises `OSError`."""
        lines = [_line(one.seq, one.payload, one.reason, one.wall_ns) for one in letters]
        if lines:
            replace_regular(self.path, b"".join(lines))
        else:
            self._files.unlink(str(self.path))

    def list(self) -> list[DeadLetter]:
        """All dead letters in the order in which they came; half a line of a crash is left out.

        Raises `JournalError` where the file can't be read, or is none.
        """
        try:
            return [letter for line in self._lines() if (letter := _letter(line)) is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"cannot read {self.path}: {error.strerror or error}") from error

    def _lines(self) -> Iterator[bytes]:
        """The lines of the file, but for those that are longer than any that is written here."""
        with open(open_regular(self.path), "rb") as file:
            whole = True
            while line := file.readline(_LONGEST_LINE):
                ends = line.endswith(b"\n")
                if whole and (ends or len(line) < _LONGEST_LINE):
                    yield line
                whole = ends


def _line(seq: int, payload: bytes, reason: str, wall_ns: int) -> bytes:
    said = {
        "seq": seq,
        "reason": reason,
        "wall_ns": wall_ns,
        "payload": base64.b64encode(payload).decode("ascii"),
    }
    # A line begins with the line break, so half a line before it spoils only itself.
    return b"\n" + json.dumps(said).encode("ascii") + b"\n"


def _letter(line: bytes) -> DeadLetter | None:
    try:
        said = json.loads(line)
        return DeadLetter(
            seq=int(said["seq"]),
            reason=str(said["reason"]),
            wall_ns=int(said["wall_ns"]),
            payload=base64.b64decode(said["payload"], validate=True),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
