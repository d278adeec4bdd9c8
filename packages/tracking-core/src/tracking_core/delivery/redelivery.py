"""What a tracker refused for good is offered to it once more, because somebody mended something."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from tracking_core.codec import decode
from tracking_core.delivery.lane import LaneState
from tracking_core.delivery.notes import read_note, write_note
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.errors import JournalError, TrackingError
from tracking_core.journal import Damage, DeadLetter, DeadLetters, Entry, Reader
from tracking_core.records import End, Status
from tracking_core.tracker import GeneralTracker

__all__ = ["Redelivery", "has_letters"]

LONGEST_END = 64  # bytes, of the record that says how the run ended


def has_letters(writer: Path, name: str) -> bool:
    """Whether something lies in ``dead/`` for the tracker; what can't be read is nothing."""
    with contextlib.suppress(JournalError):
        return bool(DeadLetters(writer, name).list())
    return False


class Redelivery(Worker):
    """Resumes an ended native run, gives it what lies in ``dead/``, and ends it as it was ended.

    What the tracker refuses again stays there, with the reason of this time. What it takes is
    removed in the end: a death in between delivers it once more.
    """

    _postpones = False

    def __init__(
        self,
        writer: Path,
        name: str,
        build: Callable[[], GeneralTracker],
        *,
        policy: Policy,
        originals: bool,
    ) -> None:
        super().__init__(
            writer,
            name,
            build,
            live=lambda: False,
            policy=policy,
            orphan_status=_ending(writer),
            originals=originals,
        )
        self._state = "starting"
        self._cursor.close()  # the journal has been delivered: these have places of their own
        self._letters = {letter.seq: letter for letter in self._dead.list()}
        self._refused: dict[int, DeadLetter] = {}
        self._cursor = _Place()  # type: ignore[assignment]  # all that a worker asks of one
        self._failed = len(self._letters)

    @property
    def last(self) -> int:
        """How many there are, as the number of the last."""
        return len(self._letters)

    def _reader(self) -> Reader:
        numbered = enumerate(sorted(self._letters), 1)
        entries = [Entry(number, self._letters[seq].payload) for number, seq in numbered]
        return _Letters(entries, self._cursor.acked)  # type: ignore[return-value]  # likewise

    def _bury(self, seq: int, payload: bytes, reason: str) -> None:
        letter = self._letters[sorted(self._letters)[seq - 1]]
        self._refused[letter.seq] = letter._replace(reason=reason)
        self._cursor.ack(seq)

    def _note(self, *, now: bool = False, state: LaneState | None = None) -> None:
        """Nothing on the way: whoever comes after a death finds the run as it was, ended."""
        if state != "ended":
            return
        with contextlib.suppress(OSError, TrackingError):
            self._dead.keep(self._refused.values())
        self._failed = len(self._refused)
        before = read_note(self.directory, self.name)
        taken = len(self._letters) - self._failed
        delivered = before.delivered + taken
        note = msgspec.structs.replace(before, delivered=delivered, failed=self._failed)
        write_note(self.directory, self.name, note)
        self._delivered = delivered


class _Place:
    """A worker's place in what is in memory."""

    def __init__(self) -> None:
        self.acked = 0

    def ack(self, seq: int) -> bool:
        self.acked = max(self.acked, seq)
        return True

    def close(self) -> None:
        """There is nothing to close."""


class _Letters:
    """What a worker asks of a `Reader`, of records in memory."""

    ended = True

    def __init__(self, entries: list[Entry], after: int) -> None:
        self._entries = entries[after:]

    def read(self, limit: int) -> list[Entry | Damage]:
        found, self._entries = self._entries[:limit], self._entries[limit:]
        return list(found)

    def close(self) -> None:
        """There is nothing to close."""


def _ending(writer: Path) -> Status:
    """How the run ended, by its journal; as killed where that does not say."""
    status: Status = "killed"
    with Reader(writer, live=False) as reader:
        while found := reader.read(10_000):
            for item in found:
                if isinstance(item, Entry) and len(item.payload) <= LONGEST_END:
                    with contextlib.suppress(TrackingError):
                        record = decode(item.payload)
                        status = record.status if isinstance(record, End) else status
    return status
