"""What is said in the delivery process, kept for the person in front of the training.

That process has no terminal, and what it warns of would stand in its log alone.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from tracking_core.errors import JournalError
from tracking_core.journal import read_regular, replace_regular
from tracking_core.plain import text
from tracking_core.redaction import redacted

__all__ = ["Remarks", "read_remarks"]

FILE = "remarks.json"
MOST = 100
LONGEST = 2000


class Remarks:
    """Keeps remarks in the writer directory `writer`, each once, and those of its predecessors."""

    def __init__(self, writer: Path) -> None:
        self._writer = writer
        self._said = read_remarks(writer)
        self._lock = threading.Lock()

    def add(self, message: str) -> None:
        """Keep `message`. It never raises: a disk that refuses costs the remark alone."""
        message = redacted(text(message))[:LONGEST]
        with self._lock:
            if message in self._said or len(self._said) >= MOST:
                return
            self._said.append(message)
            with contextlib.suppress(OSError, JournalError):
                replace_regular(self._writer / FILE, msgspec.json.encode(self._said))


def read_remarks(writer: Path) -> list[str]:
    """The remarks that are kept in `writer`; none where there is nothing that can be read."""
    try:
        found = msgspec.json.decode(read_regular(writer / FILE), type=list[str])
    except (OSError, JournalError, msgspec.MsgspecError, ValueError, RecursionError):
        return []
    return [remark[:LONGEST] for remark in found[:MOST]]
