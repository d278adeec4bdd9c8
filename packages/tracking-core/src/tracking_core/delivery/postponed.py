"""What waits for another place than the numbers: a store of files has troubles of its own.

A tracker that refuses records may take the numbers in them. Then only the rest waits, and what is
logged after it does not.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tracking_core.delivery.refusals import REFUSALS_BEFORE_DEAD
from tracking_core.delivery.retry import Backoff
from tracking_core.errors import JournalError
from tracking_core.faults import Fault
from tracking_core.journal import append_regular, escape, read_regular, replace_regular
from tracking_core.journal.layout import make_directory
from tracking_core.records import Log, Record

__all__ = ["Postponed", "numbers_of", "rest_of"]

FOLDER = "postponed"
SECONDS_OF_PATIENCE = 60.0
NUMBERS = (bool, int, float, type(None))
LINE = re.compile(rb"[1-9]\d{0,18}\n")


def numbers_of(record: Record) -> Log | None:
    """The part of `record` that is numbers: all of it, another record, or None for nothing."""
    if not isinstance(record, Log):
        return None
    numbers, rest = _parted(record.values)
    if not rest:
        return record
    return msgspec.structs.replace(record, values=numbers) if numbers else None


def rest_of(record: Record) -> Record:
    """`record` without its numbers."""
    if not isinstance(record, Log):
        return record
    _, rest = _parted(record.values)
    return msgspec.structs.replace(record, values=rest)


def _parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers in `values`, and the rest of them; an empty dict in there is neither."""
    numbers: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            for parted, inner in zip((numbers, rest), _parted(value), strict=True):
                if inner:
                    parted[key] = inner
        elif isinstance(value, NUMBERS):
            numbers[key] = value
        else:
            rest[key] = value
    return numbers, rest


class Postponed:
    """The numbers of the records in the journal `writer` whose rest a tracker does not take for now.

    They are on disk, one a line, so that whoever comes later goes on with them.

    Args:
        first_wait, longest_wait: of the waits between tries, in seconds.

    Attributes:
        not_before: when the next one is to be tried (``time.monotonic``).
    """

    def __init__(self, writer: Path, tracker: str, first_wait: float, longest_wait: float) -> None:
        self._path = writer / FOLDER / escape(tracker)
        self._numbers = _read(self._path)
        self._tries: dict[int, int] = {}
        self._backoff = Backoff(first_wait, longest_wait)
        self._refused_since: float | None = None
        self.not_before = 0.0

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, seq: object) -> bool:
        return seq in self._numbers

    def add(self, numbers: Iterable[int]) -> None:
        """Keep these too.

        Raises:
            OSError, JournalError: the disk refuses.
        """
        new = dict.fromkeys(number for number in numbers if number not in self._numbers)
        if not new:
            return
        make_directory(self._path.parent)
        append_regular(self._path, _lines(new))
        if not self._numbers:
            self._wait()
        self._numbers.update(new)

    def next(self) -> int:
        """The one to try next: each in its turn, since one that is bad must not stop the others."""
        return next(iter(self._numbers))

    def remove(self, number: int) -> None:
        """The tracker has it now, or it was given up."""
        del self._numbers[number]
        self._tries.pop(number, None)

    def accept(self) -> None:
        """The tracker took one: what refused the others may have passed."""
        self._refused_since = None
        self._backoff.reset()

    def refuse(self, number: int, fault: Fault, wait: float) -> bool:
        """The tracker has refused it once more; whether to give it up.

        Args:
            wait: seconds for which the server has asked to be left alone.

        A place that may come back is waited for. What else refuses one record five times, or
        everything for a minute, while the numbers pass, stays that way until a person mends it.
        """
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        tries = self._tries[number] = self._tries.get(number, 0) + 1
        lasting = tries >= REFUSALS_BEFORE_DEAD and fault in ("record", "run")
        if fault != "server" and (lasting or now - self._refused_since >= SECONDS_OF_PATIENCE):
            return True
        self._numbers[number] = self._numbers.pop(number)
        self._wait(wait)
        return False

    def store(self) -> None:
        """Have on disk what is left. A disk that refuses makes a successor try some once more."""
        lines = _lines(self._numbers)
        with contextlib.suppress(OSError, JournalError):
            if lines:
                replace_regular(self._path, lines)
            else:
                self._path.unlink(missing_ok=True)

    def _wait(self, at_least: float = 0.0) -> None:
        self.not_before = time.monotonic() + max(self._backoff.next(), at_least)


def _lines(numbers: Iterable[int]) -> bytes:
    return b"".join(b"%d\n" % number for number in numbers)


def _read(path: Path) -> dict[int, None]:
    """The numbers in a file, in their order; none where there is nothing that can be read."""
    try:
        data = read_regular(path)
    except (OSError, JournalError):
        return {}
    lines = data.splitlines(keepends=True)  # the last one may be torn
    return {int(line): None for line in lines if LINE.fullmatch(line)}
