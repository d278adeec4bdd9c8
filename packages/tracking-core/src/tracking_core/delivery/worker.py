"""One tracker's way through a journal: start, deliver, acknowledge, finish.

The same worker runs in a thread of the training process, in the delivery process, and in
`Tracking.recover` and `Tracking.replay`. Everything that it has to know lies in the writer
directory, so whoever comes later goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from tracking_core.codec import Blob, decode, encode, is_plain, travels
from tracking_core.delivery.lane import LaneState, TrackerStatus, unarrived_of
from tracking_core.delivery.notes import WorkerNote, read_note, write_note
from tracking_core.delivery.postponed import Postponed, numbers_of, rest_of
from tracking_core.delivery.refusals import REFUSALS_BEFORE_DEAD, Refusals
from tracking_core.delivery.retry import Backoff, spread
from tracking_core.delivery.vetting import vetted
from tracking_core.errors import JournalError, TrackingError
from tracking_core.faults import Fault, fault_of, fault_of_start
from tracking_core.journal import Blobs, Cursor, Damage, DeadLetters, Entry, Reader, read_owner
from tracking_core.network import retry_after_of
from tracking_core.plain import text
from tracking_core.records import End, Log, Plain, Record, Status
from tracking_core.redaction import redacted
from tracking_core.rejections import Rejection, say
from tracking_core.tracker import GeneralTracker, end

__all__ = ["Policy", "Worker"]

DEATHS_BEFORE_DEAD = 3
SECONDS_BETWEEN_NOTES = 1.0
SECONDS_ALONE = 2.0
BYTES_OF_A_BATCH = 8 * 1024 * 1024
LONGEST_ERROR = 2000
SECONDS_UNTIL_LATE = 60.0
SECONDS_UNTIL_SLOW = 2.0
SECONDS_FOR_THE_POSTPONED = 1.0
LARGEST_LETTER = 8 * 1024 * 1024

# Not the record's fault: it can be read once the process has memory and descriptors again.
_SHORT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Policy(NamedTuple):
    """How patient a worker is.

    Attributes:
        batch: records of one `deliver` call at most.
        interval: seconds between two looks at the journal.
        deadline: seconds that a call of the tracker may take before it counts as hung.
        first_wait, longest_wait: of the waits between tries while a tracker refuses.
        marks: whether to note what is being delivered, so that a successor knows what this process
            died of.
    """

    batch: int = 1000
    interval: float = 0.5
    deadline: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 60.0
    marks: bool = False


PATIENT = Policy()


class _Item(NamedTuple):
    seq: int
    payload: bytes
    record: Record


class Worker:
    """Delivers the journal of one writer directory to one tracker.

    Args:
        directory: the writer directory.
        name: the tracker's name in this run; names cursor, dead letters and note.
        build: makes the tracker; called in the worker's thread, again if `start` raised.
        live: whether the writer may still append.
        on_start: called in the worker's thread when the tracker has started.
        in_memory: records that the writer could not put on disk yet.
        policy: see `Policy`.
        orphan_status: how the native run ends if the writer died without saying.
        blamed: whether the process before this one died by what it delivered.
        training_pid: the process whose run it is; 0 if it is over, or on another machine.
        alone: shared by the workers of a process that may die of a record: who delivers holds it,
            so that the death is not blamed on what another tracker was given at that moment.
        originals: whether files that could not be copied are read where they were logged from. So it
            is in one's own run: another one's records may name any file of this machine.
    """

    _postpones = True

    def __init__(
        self,
        directory: Path,
        name: str,
        build: Callable[[], GeneralTracker],
        *,
        live: Callable[[], bool],
        on_start: Callable[[], None] = lambda: None,
        in_memory: Callable[[], Sequence[tuple[int, bytes]]] = tuple,
        policy: Policy = PATIENT,
        orphan_status: Status = "killed",
        blamed: bool = False,
        training_pid: int = 0,
        alone: threading.Lock | None = None,
        originals: bool = False,
    ) -> None:
        self.directory = directory
        self.name = name
        self.started = threading.Event()
        self._tracker: GeneralTracker | None = None
        self._build = build
        self._live = live
        self._on_start = on_start
        self._in_memory = in_memory
        self._policy = policy
        self._orphan_status = orphan_status
        self._blobs = Blobs(directory)
        self._dead = DeadLetters(directory, name)
        self._cursor = Cursor.open(directory, name)
        self._began_at = _made_at(directory)
        self._training_pid = training_pid
        before = read_note(directory, name)
        self._identity = before.identity
        self._postponed = Postponed(directory, name, policy.first_wait, policy.longest_wait)
        tried = before.attempt[0]
        suspected = before.trying and (tried > self._cursor.acked or tried in self._postponed)
        self._attempt = before.attempt[0], before.attempt[1] + (blamed and suspected)
        self._trying = False
        self._alone_until = 0
        # What was taken before a record that is still refused: its place is not the cursor's yet.
        self._ahead: set[int] = set()
        self._alone_lock = alone
        self._originals = originals
        self._vetted_up_to = 0
        self._refusals = Refusals(policy.first_wait, policy.longest_wait, policy.batch)
        self._delivered, self._failed, self._lost = before.delivered, before.failed, before.lost
        self._noted_rejected: dict[Rejection, int] = {}
        self._rejected_before = Counter({Rejection(*what): n for *what, n in before.rejected})
        self._state: LaneState = "ended" if before.state == "ended" else "starting"
        self._over = False
        self._last_error: str | None = None
        self._fault: Fault | None = None
        self._not_before = 0.0  # (`time.monotonic`): a server has asked for that
        self._began_delivery = float("-inf")
        self._busy_since: float | None = None
        self._noted = float("-inf")
        self._noted_for = self._cursor.acked
        self._note_lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._hurried = False
        self._said_that_it_postpones = False
        self._give_up_at = float("inf")
        if suspected:
            # One death counts once, also if the next process doesn't come as far as to try again.
            self._note(now=True)

    # --- what others ask of it, from any thread ---

    @property
    def tracker(self) -> GeneralTracker | None:
        """The tracker, once it has started."""
        return self._tracker if self.started.is_set() else None

    @property
    def acked(self) -> int:
        """The number of the last record that the tracker has, or that was given up."""
        return self._cursor.acked

    @property
    def postponed(self) -> int:
        """How many of the records up to there have something that it does not take for now."""
        return len(self._postponed)

    @property
    def done(self) -> bool:
        """Whether the native run has ended, or nothing more is tried, and that is on disk."""
        return self._over

    def nudge(self) -> None:
        """Look at the journal now."""
        self._wake.set()

    def hurry(self) -> None:
        """Deliver now what waits for its next try, or for a server to be asked again."""
        self._hurried = True
        self._wake.set()

    def stop(self) -> None:
        """Stop after the call that is under way; what is left stays in the journal."""
        self._stopping = True
        self._wake.set()

    def give_up_at(self, when: float) -> None:
        """Stop at `when` (``time.monotonic``) if the tracker still refuses."""
        self._give_up_at = when
        self._wake.set()

    def status(self, last: int) -> TrackerStatus:
        """How the tracker is doing; `last` is the number of the newest record."""
        return TrackerStatus(
            self._state_now(),
            delivered=self._delivered,
            pending=max(0, last - self.acked) + len(self._postponed),
            failed=self._failed,
            lost=self._lost,
            rejected=self._rejected(),
            last_error=self._last_error,
            fault=self._fault,
            unarrived=unarrived_of(self._tracker),
            busy=self._busy_for(),
        )

    def watch(self) -> None:
        """Note that the tracker hangs, or takes long, if it does: its own thread can't."""
        if self._state_now() == "hung" or self._busy_for() > SECONDS_UNTIL_SLOW:
            self._note()

    # --- the work ---

    def run(self) -> None:
        """Work until the run has ended and everything is delivered, or until `stop`."""
        backoff = self._backoff()
        try:
            going_on = self._state != "ended" and self._start()
            while going_on:
                try:
                    self._deliver_all()
                    going_on = False
                except (OSError, MemoryError, JournalError) as error:
                    if isinstance(error, JournalError) and not isinstance(error.__cause__, OSError):
                        raise
                    # No memory or descriptors left, a disk that was ill for a moment, or a journal
                    # that was moved away, and may come back.
                    self._trouble(error)
                    going_on = self._live() and self._wait(backoff.next())
        except BaseException as error:
            # The journal itself can't be read: it is left as it is for a person to look at.
            self._trouble(error)
        finally:
            # On disk before anybody sees it here: whoever does may recover the run at once.
            final: LaneState = "ended" if self._state == "ended" else "stopped"
            self._note(now=True, state=final)
            self._cursor.close()
            self._state, self._over = final, True

    def _start(self) -> bool:
        backoff = self._backoff()
        refusals = 0
        while not self._stopping:
            try:
                with self._busy():
                    self._tracker = self._build()
                    self._tracker.began_at = self._began_at
                    self._tracker.late = self._is_late()
                    self._tracker.training_pid = self._training_pid
                    if self._identity or self._named_before_it_exists():
                        self._tracker.resume(self._identity)
                    self._tracker.start()
            except BaseException as error:
                # A library may well raise SystemExit; only this tracker stops.
                fault = self._trouble(error, starting=True)
                refusals += fault not in ("server", "login")
                hopeless = refusals >= REFUSALS_BEFORE_DEAD and not self._live()
                if hopeless or not self._wait(backoff.next()):
                    return False
            else:
                self._identify()
                self._works()
                self._note(now=True)
                self.started.set()
                self._on_start()
                return True
        return False

    def _is_late(self) -> bool:
        """Whether what a tracker sees around it now may be something else than the training."""
        since = time.time() - (self._began_at or 0.0)
        return not self._live() or since > SECONDS_UNTIL_LATE

    def _named_before_it_exists(self) -> bool:
        """Whether the tracker says already which run `start` will begin, and that is on disk.

        A process that dies between the beginning of a native run and the note of it would leave
        that run behind, empty, and its successor would begin another one.
        """
        assert self._tracker is not None, "it was built before"
        # For most only `start` can tell, and before it some say so by raising.
        with contextlib.suppress(Exception):
            identity = dict(self._tracker.identity())
            self._identity = identity if travels(identity) else {}
            self._note(now=bool(self._identity))
        return bool(self._identity)

    def _identify(self) -> None:
        """Remember which native run this is; a tracker that can't say it begins another one."""
        assert self._tracker is not None, "it was started before"
        try:
            identity = dict(self._tracker.identity())
        except BaseException as error:
            self._trouble(error)
        else:
            self._identity = identity if travels(identity) else {}

    def _deliver_all(self) -> None:
        reader = self._reader()
        try:
            full = False
            while not self._stopping and self._state != "ended":
                due = self._hurried or time.monotonic() >= self._postponed.not_before
                if self._postponed and due:
                    self._offer_the_postponed()
                if not full:
                    self._keep_pace()
                # Asked before reading: what a writer appended before it died must still be seen.
                live = self._live()
                found = reader.read(self._policy.batch) or self._from_memory(reader)
                full = len(found) >= self._policy.batch
                if found:
                    last = not live and not full
                    if not self._deliver(found, last=last):
                        if not self._wait(self._refusals.pause):
                            return
                        reader.close()
                        reader = self._reader()
                elif reader.ended or not live:
                    if not self._finish(self._orphan_status):
                        return
                else:
                    self._note(now=self._noted_for != self._cursor.acked)
                    self._wake.wait(self._policy.interval)
                    self._wake.clear()
        finally:
            reader.close()

    def _keep_pace(self) -> None:
        """Wait until the tracker's server may be asked again, while somebody may still log."""
        self._note(now=self._noted_for != self._cursor.acked)
        until = self._began_delivery + self._pace()
        while not (self._stopping or self._hurried) and self._live():
            left = until - time.monotonic()
            if left <= 0:
                return
            self._wake.wait(min(left, self._policy.interval))
            self._wake.clear()
        self._hurried = False

    def _reader(self) -> Reader:
        return Reader(self.directory, self._cursor.acked)

    def _from_memory(self, reader: Reader) -> list[Entry | Damage]:
        """What the writer could not put on disk."""
        acked = self._cursor.acked
        waiting: list[Entry | Damage] = []
        for seq, payload in self._in_memory():
            if seq > acked:
                if not waiting and seq > acked + 1:
                    dropped = range(acked + 1, seq)
                    waiting.append(Damage(self.directory, 0, 0, dropped, "dropped"))
                waiting.append(Entry(seq, payload))
                if len(waiting) >= self._policy.batch:
                    break
        # What stands before these may have got to disk since it was read the last time.
        return (reader.read(self._policy.batch) or waiting) if waiting else []

    def _deliver(self, found: Sequence[Entry | Damage], *, last: bool) -> bool:
        """Deliver and acknowledge all of `found`; False if the tracker refuses the rest for now.

        Args:
            last: whether nothing comes after `found`.
        """
        batch: list[_Item] = []
        size = 0
        number = self._cursor.acked
        ending: End | None = None
        for item in found:
            if isinstance(item, Damage):
                if not self._take(batch):
                    return False
                size = 0
                self._lose(item.missing)
                number = max(number, item.missing.stop - 1)
                continue
            if item.seq <= self._cursor.acked:
                continue
            number = item.seq
            if item.seq in self._ahead:
                continue
            try:
                record, length = self._decoded(item)
            except TrackingError as error:
                cause = error.__cause__
                if isinstance(cause, OSError) and cause.errno in _SHORT_OF_MEANS:
                    raise cause from None
                if not self._take(batch):
                    return False
                size = 0
                self._bury(item.seq, item.payload, _words(error))
                continue
            if isinstance(record, End):
                # Another thread may have logged at this very moment: what follows still counts.
                ending = record
            elif record.only in (None, self.name):
                batch.append(_Item(item.seq, item.payload, record))
                size += length
            if size > BYTES_OF_A_BATCH:
                if not self._take(batch):
                    return False
                size = 0
        if not self._take(batch):
            nothing_follows = last or ending is not None
            if not (nothing_follows and self._end_without(batch, ending)):
                return False
        elif ending is not None and not self._finish(ending.status, ending):
            return False
        if self._state == "ended":
            # In this order: whoever comes after a crash in between must not end it again.
            self._note(now=True)
        self._cursor.ack(number)
        self._note()
        return True

    def _take(self, batch: list[_Item]) -> bool:
        """Have the tracker take `batch`, which is emptied; False if it refuses the rest for now."""
        while batch and not self._stopping:
            size = self._refusals.size
            if self._policy.marks:
                if self._has_killed(batch):
                    lethal = batch.pop(0)
                    deaths = self._attempt[1]
                    self._bury(lethal.seq, lethal.payload, _died(deaths))
                    continue
                size = 1 if batch[0].seq <= self._alone_until else size
            given = batch[:size]
            error = self._attempt_to_deliver(given)
            # The tracker's own word counts only where the whole was refused.
            taken = len(given) if error is None else self._taken_of(given)
            if taken:
                self._delivered += taken
                if self._rejected() != self._noted_rejected:
                    # In this order: whoever comes after a crash in between must name it.
                    self._note(now=True)
                self._cursor.ack(given[taken - 1].seq)
                self._refusals.accept()
                del batch[:taken]
            if error is None:
                self._works()
            elif taken < len(given) and not self._go_on_after(error, batch, len(given) - taken):
                return False
        return not batch

    def _go_on_after(self, error: BaseException, batch: list[_Item], refused: int) -> bool:
        """Deal with a refusal of the first `refused` of `batch`; False to wait before the next try."""
        fault = self._trouble(error)
        if fault != "record" and self._takes_the_numbers(batch):
            return True
        head = batch[0]
        size = min(refused, len(batch))
        verdict = self._refusals.judge(fault, head.seq, size, len(batch) - 1)
        if verdict == "split":
            return True
        if verdict == "probe":
            other = batch[1 + self._refusals.next_probe(len(batch) - 1)]
            if self._attempt_to_deliver([other]) is None:
                self._delivered += 1
                self._ahead.add(other.seq)
                batch.remove(other)
                if self._refusals.is_proven(fault):
                    if self._takes_now(head):
                        batch.remove(head)
                        return True
                    verdict = "bury"
        if verdict == "bury":
            self._bury(head.seq, head.payload, _words(error))
            self._refusals.accept()
            self._works()
            batch.remove(head)
            return True
        return False

    def _takes_the_numbers(self, batch: list[_Item]) -> bool:
        """Whether the tracker takes the numbers in `batch` alone: then the rest of it is postponed.

        So it is where a store of files is in trouble, of which the numbers know nothing.
        """
        numbers = {item.seq: part for item in batch if (part := numbers_of(item.record))}
        left = [item.seq for item in batch if numbers.get(item.seq) is not item.record]
        # What could not be written yet nobody could read again.
        unwritten = next((seq for seq, _ in self._in_memory()), None)
        kept = unwritten is None or batch[-1].seq < unwritten
        if not (numbers and left and kept and self._postpones):
            return False
        given = [item._replace(record=numbers[item.seq]) for item in batch if item.seq in numbers]
        again = self._attempt_to_deliver(given)
        taken = {item.seq for item in given[: None if again is None else self._taken_of(given)]}
        if not taken:
            return False
        try:
            self._postponed.add(left if again is None else taken.intersection(left))
        except (OSError, JournalError):
            return False  # the numbers come once more
        self._delivered += len(taken.difference(left))
        if again is not None:
            self._ahead |= taken
            batch[:] = [item for item in batch if item.seq not in taken]
            return False
        # In this order: who sees that the numbers are through must see what is not.
        self._works()
        self._note(now=True)
        self._cursor.ack(batch[-1].seq)
        batch.clear()
        self._refusals.accept()
        return True

    def _offer_the_postponed(self) -> BaseException | None:
        """Offer what is postponed for a moment, as long as the tracker takes it; what it raised else."""
        until = time.monotonic() + SECONDS_FOR_THE_POSTPONED
        refusal: BaseException | None = None
        while self._postponed and refusal is None and not self._stopping:
            number = self._postponed.next()
            item = self._rest_of(number)
            if item is not None and not self._is_rid_of(item):
                refusal = self._attempt_to_deliver([item])
                if refusal is None:
                    self._delivered += 1
                    self._postponed.accept()
                elif self._postponed.refuse(
                    number, self._fault_of(refusal), spread(retry_after_of(refusal))
                ):
                    self._give_up(item, _words(refusal))
                    refusal = None
                else:
                    self._say_that_it_postpones(refusal)
            if refusal is None:
                self._postponed.remove(number)
            if time.monotonic() >= until:
                break
        self._postponed.store()
        self._note(now=True)
        return refusal

    def _say_that_it_postpones(self, refusal: BaseException) -> None:
        """Not at the first refusal: it may have passed before the numbers alone were taken."""
        if not self._said_that_it_postpones:
            self._said_that_it_postpones = True
            say(
                f"tracker {self.name!r} takes numbers, and does not take the rest for now: "
                f"{_words(refusal)}. What it does not take is kept and tried again, and holds up nothing"
            )

    def _rest_of(self, number: int) -> _Item | None:
        """What is postponed of the record with that number; None if nothing of it is there any more."""
        with Reader(self.directory, number - 1, live=False) as reader:
            found = reader.read(1)
        if not (found and isinstance(found[0], Entry) and found[0].seq == number):
            return None
        try:
            record, _ = self._decoded(found[0])
        except TrackingError as error:
            self._bury(number, found[0].payload, _words(error))
            return None
        if isinstance(record, End) or record.only not in (None, self.name):
            return None
        return _Item(number, found[0].payload, rest_of(record))

    def _is_rid_of(self, postponed: _Item) -> bool:
        """Whether `postponed` is known to kill processes, and was put aside."""
        kills = self._policy.marks and self._has_killed([postponed])
        if kills:
            self._give_up(postponed, _died(self._attempt[1]))
        return kills

    def _give_up(self, postponed: _Item, reason: str) -> None:
        """Put the rest of a record aside, whose numbers the tracker has."""
        payload = encode(postponed.record)
        if len(payload) > LARGEST_LETTER:
            payload = encode(Blob(self._blobs.put(payload), len(payload)))
        self._bury(postponed.seq, payload, reason)
        values = getattr(postponed.record, "values", {})
        say(
            f"tracker {self.name!r} took the numbers and not {', '.join(map(repr, values))}, which is "
            f"given up and kept in {self._dead.path}: {reason}"
        )

    def _takes_now(self, head: _Item) -> bool:
        """Whether what refused `head` all the time has just passed, and another record proves nothing."""
        if self._attempt_to_deliver([head]) is not None:
            return False
        self._delivered += 1
        self._cursor.ack(head.seq)
        self._refusals.accept()
        self._works()
        return True

    def _attempt_to_deliver(self, items: list[_Item]) -> BaseException | None:
        assert self._tracker is not None, "it was started before"
        with self._alone():
            if self._policy.marks:
                self._trying = True
                self._note(now=True)
            self._began_delivery = time.monotonic()
            try:
                with self._busy():
                    self._tracker.taken = 0
                    self._tracker.deliver([item.record for item in items])
            except BaseException as error:  # a library may raise SystemExit: this thread goes on
                return error
            finally:
                self._trying = False
        return None

    def _taken_of(self, items: list[_Item]) -> int:
        """How many of `items` the tracker says that its library has, though it raised."""
        said: object = getattr(self._tracker, "taken", 0)
        return min(max(said, 0), len(items)) if type(said) is int else 0

    def _has_killed(self, batch: list[_Item]) -> bool:
        """Mark the head of `batch` as tried next; whether it is known to kill processes."""
        first = batch[0].seq
        seq, deaths = self._attempt
        deaths = deaths if seq == first else 0
        if deaths:
            # A process died somewhere in this batch: find out where.
            self._alone_until = max(self._alone_until, batch[-1].seq)
        self._attempt = first, deaths
        return deaths >= DEATHS_BEFORE_DEAD

    def _end_without(self, refused: list[_Item], record: End | None) -> bool:
        """End the native run though `refused` are left, if each was refused and it lets itself end.

        A run that can be ended is there, and its library works: then the records are to blame.
        """
        fault = self._fault or "run"
        if (
            self._stopping
            or self._postponed
            or not self._refusals.has_tried_all(fault, len(refused) - 1)
        ):
            return False
        if self._takes_now(refused[0]):
            return False
        reason = self._last_error or ""
        status = self._orphan_status if record is None else record.status
        if self._attempt_to_finish(status, record) is not None:
            return False
        for item in refused:
            self._bury(item.seq, item.payload, reason)
        self._last_error = self._fault = None
        self._state = "ended"
        return True

    def _finish(self, status: Status, record: End | None = None) -> bool:
        """End the native run; False if that is given up for now. `record` says when it ended."""
        backoff = self._backoff()
        refusals = 0
        while self._postponed and not self._stopping:
            error = self._offer_the_postponed()
            if error is not None:
                self._trouble(error)
                if not self._wait(self._postponed.not_before - time.monotonic()):
                    return False
        while not self._stopping:
            error = self._attempt_to_finish(status, record)
            if error is None:
                self._last_error = self._fault = None
            else:
                refusals += self._trouble(error) not in ("server", "login")
                if refusals < REFUSALS_BEFORE_DEAD:
                    self._stopping = not self._wait(backoff.next())
                    continue
            self._state = "ended"
            return True
        return False

    def _attempt_to_finish(self, status: Status, record: End | None) -> BaseException | None:
        assert self._tracker is not None, "it was started before"
        try:
            with self._busy():
                if record is not None:
                    self._tracker.deliver([record])
                end(self._tracker, status)
        except BaseException as error:  # as above
            return error
        return None

    # --- means ---

    def _decoded(self, entry: Entry) -> tuple[Record, int]:
        """The record that `entry` stands for, and the bytes that it takes.

        Raises:
            TrackingError: it stands for none.
        """
        payload = entry.payload
        record = decode(payload)
        if isinstance(record, Blob):
            payload = self._blobs.get(record.digest, record.size)
            record = decode(payload)
        if isinstance(record, Blob):
            raise TrackingError("a blob that stands for a blob")
        if isinstance(record, Log) and not is_plain(record.values):
            record = self._vetted(entry.seq, record)
        return record, len(payload)

    def _vetted(self, seq: int, record: Log) -> Log:
        """`record` with its files where they lie now, and without what no tracker should see."""
        assert self._tracker is not None, "it was started before"
        if record.only not in (None, self.name):
            return record
        values, refused = vetted(record.values, self.directory, originals=self._originals)
        if seq > self._vetted_up_to:  # or it has been counted: the tracker did not take the record
            self._vetted_up_to = seq
            for refusal in refused:
                self._tracker.rejections.add(*refusal)
        if refused and not values:
            # As a dead letter it is not lost: `recover` may be told that the run is one's own.
            raise TrackingError("; ".join(refusal.reason for refusal in refused))
        return msgspec.structs.replace(record, values=values)

    def _lose(self, missing: range) -> None:
        # A number in damaged bytes may be as large as any, and `len` of such a range raises.
        first = max(missing.start, self._cursor.acked + 1)
        if missing.stop > first:
            self._lost += missing.stop - first
            self._cursor.ack(missing.stop - 1)

    def _bury(self, seq: int, payload: bytes, reason: str) -> None:
        # On a full disk the journal still has the record; only the reason goes unwritten.
        with contextlib.suppress(OSError, TrackingError):
            self._dead.append(seq, payload, reason)
        self._failed += 1
        self._cursor.ack(seq)
        self._note(now=True)

    def _works(self) -> None:
        self._state, self._last_error, self._fault = "running", None, None

    def _rejected(self) -> dict[Rejection, int]:
        """What could not be stored, by those before this one as well: they may have told nobody."""
        now = {} if self._tracker is None else self._tracker.rejections.counts
        return dict(self._rejected_before + Counter(now))

    def _busy_for(self) -> float:
        """How long the call under way has gone on, of a tracker whose server is asked in it."""
        since = self._busy_since
        paced = since is not None and self._pace() > 0
        return time.monotonic() - since if since is not None and paced else 0.0

    def _pace(self) -> float:
        said: object = getattr(self._tracker, "pace", 0.0)
        return float(said) if isinstance(said, (int, float)) else 0.0

    def _state_now(self) -> LaneState:
        since = self._busy_since
        overdue = since is not None and time.monotonic() - since > self._policy.deadline
        return "hung" if overdue else self._state

    def _trouble(self, error: BaseException, *, starting: bool = False) -> Fault:
        """Note `error`, and say whose fault it is."""
        fault = self._fault_of(error)
        self._fault = fault_of_start(fault, error) if starting else fault
        self._last_error = _words(error)
        self._not_before = time.monotonic() + spread(retry_after_of(error))
        if self._state == "running":
            self._state = "retrying"
        self._note(now=True)
        return self._fault

    def _fault_of(self, error: BaseException) -> Fault:
        if self._tracker is not None:
            with contextlib.suppress(Exception):  # a stranger's code
                said = self._tracker.fault(error)
                if said in get_args(Fault):
                    return said
        return fault_of(error)

    def _backoff(self) -> Backoff:
        return Backoff(self._policy.first_wait, self._policy.longest_wait)

    def _wait(self, seconds: float) -> bool:
        """Wait for the next try, or longer if the server has asked for it; False for none."""
        until = max(time.monotonic() + seconds, self._not_before)
        while not self._stopping and not self._hurried:
            left = min(until, self._give_up_at) - time.monotonic()
            if left <= 0:
                break
            self._wake.wait(left)
            self._wake.clear()
        self._hurried = False
        return not self._stopping and time.monotonic() < self._give_up_at

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep the other workers of this process waiting, but not for one that hangs."""
        lock = self._alone_lock
        got = lock is not None and lock.acquire(timeout=SECONDS_ALONE)
        try:
            yield
        finally:
            if lock is not None and got:
                lock.release()

    def _note(self, *, now: bool = False, state: LaneState | None = None) -> None:
        if not now and time.monotonic() - self._noted < SECONDS_BETWEEN_NOTES:
            return
        with self._note_lock:
            self._noted, self._noted_for = time.monotonic(), self._cursor.acked
            self._noted_rejected = self._rejected()
            identity: dict[str, Plain] = self._identity
            note = WorkerNote(
                state=state or self._state_now(),
                identity=identity,
                delivered=self._delivered,
                failed=self._failed,
                lost=self._lost,
                last_error=self._last_error,
                fault=self._fault,
                rejected=[(*rejection, count) for rejection, count in self._noted_rejected.items()],
                attempt=self._attempt,
                trying=self._trying,
                unarrived=unarrived_of(self._tracker),
                postponed=len(self._postponed),
                busy=self._busy_for(),
            )
            write_note(self.directory, self.name, note)


def _made_at(directory: Path) -> float | None:
    """When the journal was made, which is when its run began, in seconds since the epoch."""
    try:
        return read_owner(directory).created_ns / 1e9
    except JournalError:
        return None


def _died(deaths: int) -> str:
    return _words(TrackingError(f"the delivery process died of it {deaths} times"))


def _words(error: BaseException) -> str:
    """What an error says, for the status and for files: without passwords, and never raising."""
    try:
        words = str(error)
    except Exception:  # a stranger's error
        words = "its text can't be had"
    # Cut twice: a server may answer with a page of megabytes, and looking for secrets takes time.
    said: str = redacted(text(f"{type(error).__name__}: {words[: 4 * LONGEST_ERROR]}"))
    return said[:LONGEST_ERROR]
