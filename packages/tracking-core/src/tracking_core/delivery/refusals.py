"""What a tracker's refusals say about what to give it next.

Nobody knows every error of every library, so a record is put aside on evidence: it was refused
alone, several times, and either the library says that the record is to blame, or it takes another
one. What refuses everything is the run's or the server's trouble, however it is worded.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from tracking_core.delivery.retry import Backoff
from tracking_core.faults import Fault

__all__ = ["Refusals", "Verdict"]

REFUSALS_BEFORE_DEAD = 5
PROOFS_WHERE_NO_RECORD_IS_TO_BLAME = 8

Verdict: TypeAlias = Literal["wait", "split", "probe", "bury"]
"""What to do next: try the same again after `Refusals.pause`; try a part of it now; see whether the
tracker takes another record; put the record aside."""


class Refusals:
    """How one tracker has refused what it was given, since it last took something.

    Args:
        first_wait, longest_wait: of the waits between tries, in seconds.
        most: records of one call at most.

    Attributes:
        size: how many records to give it next.
        pause: seconds until the next try, where it has to wait.
    """

    def __init__(self, first_wait: float, longest_wait: float, most: int) -> None:
        self.size = most
        self.pause = first_wait
        self._first_wait = first_wait
        self._most = most
        self._backoff = Backoff(first_wait, longest_wait)
        self._head = 0
        self._tries = 0
        self._probes = 0
        self._proofs = 0

    def accept(self) -> None:
        """It took what it was given."""
        self.size = min(self.size * 2, self._most)
        self._tries = self._probes = self._proofs = 0
        self._backoff.reset()

    def judge(self, fault: Fault, head: int, size: int, others: int) -> Verdict:
        """What to do after `size` records, the first with the number `head`, were refused.

        A server's errors may be about one record for all that: after some tries it, too, is given
        one record, and another one.

        Args:
            others: how many more records are at hand.
        """
        blames = fault in ("record", "run")
        if size > 1 and blames:
            self.size = size // 2
            return "split"
        if head != self._head:
            self._head, self._tries, self._probes, self._proofs = head, 0, 0, 0
        self._tries += 1
        self.pause = self._first_wait if blames else self._backoff.next()
        if self._tries < REFUSALS_BEFORE_DEAD:
            return "wait"
        if size > 1:
            self.size = 1
            return "split"
        if fault == "record":
            return "bury"
        if blames:
            self.pause = self._backoff.next()
        return "probe" if others else "wait"

    def next_probe(self, others: int) -> int:
        """Which of the `others` to try: each in turn, since the next one may be as bad."""
        self._probes += 1
        return (self._probes - 1) % others

    def is_proven(self, fault: Fault) -> bool:
        """Whether the head is to blame, now that another record was taken.

        Of a server that fails now and then this has to happen many times in a row.
        """
        self._proofs += 1
        self._backoff.reset()
        if fault not in ("record", "run"):
            self.pause = self._first_wait * 2.0**self._proofs
            return self._proofs >= PROOFS_WHERE_NO_RECORD_IS_TO_BLAME
        return True

    def has_tried_all(self, fault: Fault, others: int) -> bool:
        """Whether the head was refused often enough, and each of the `others` once.

        What a server says of several records is taken for its own trouble, however often it does.
        """
        if fault in ("record", "run"):
            return self._tries >= REFUSALS_BEFORE_DEAD and self._probes >= others
        enough = REFUSALS_BEFORE_DEAD + PROOFS_WHERE_NO_RECORD_IS_TO_BLAME
        return self._tries >= enough and others == 0
