"""Any order of events, compared with a list: appends, acks, prunes, crashes, damage, refusals."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tracking_core.journal import Cursor, Entry, Reader, Writer, layout, segment

from .faulty import LONG, Clock, Fault, FaultyFiles, missing_of, read_all

PAYLOADS = st.binary(min_size=1, max_size=120)


class JournalMachine(RuleBasedStateMachine):
    """One run with any number of writers after each other; the model is a dictionary for each."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.past: list[tuple[Path, dict[int, bytes], set[int]]] = []
        self.consumers = 0

    @initialize(mapped=st.booleans())
    def first(self, mapped: bool) -> None:
        self._open(mapped)

    def _open(self, mapped: bool) -> None:
        self.files = FaultyFiles()
        self.writer = Writer.create(
            self.root,
            "run",
            mapped=mapped,
            segment_bytes=400,
            ring_bytes=4000,
            sync_interval=None,
            clock=self.clock,
            files=self.files,
        )
        self.model: dict[int, bytes] = {}
        # What may be gone: pruned after every consumer had it, dropped, or damaged by a rule.
        self.gone: set[int] = set()
        self.cursors: dict[str, Cursor] = {}
        self.readers: dict[str, Reader] = {}
        self.delivered: dict[str, dict[int, bytes]] = {}
        self._add_consumer()

    def _add_consumer(self) -> None:
        self.consumers += 1
        name = f"tracker {self.consumers}"
        self.cursors[name] = Cursor.open(self.writer.directory, name)
        self.readers[name] = Reader(self.writer.directory, live=True)
        self.delivered[name] = {}

    def _append(self, payload: bytes) -> None:
        seq = self.writer.append(payload)
        assert seq == len(self.model) + 1
        self.model[seq] = payload

    @rule(payloads=st.lists(PAYLOADS, min_size=1, max_size=8))
    def append(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._append(payload)

    @rule(size=st.integers(300, 3000))
    def append_big(self, size: int) -> None:
        self._append(bytes(i % 251 for i in range(size)))

    @rule(which=st.integers(0, 5), limit=st.integers(1, 20))
    def deliver_and_ack(self, which: int, limit: int) -> None:
        name = sorted(self.cursors)[which % len(self.cursors)]
        for item in self.readers[name].read(limit):
            if isinstance(item, Entry):
                assert self.model[item.seq] == item.payload
                assert item.seq not in self.delivered[name]
                self.delivered[name][item.seq] = item.payload
            else:
                assert set(item.missing) <= self.gone | self._dropped()
        self.cursors[name].ack(self.readers[name].position)

    def _dropped(self) -> set[int]:
        dropped = self.writer.status().dropped
        if not dropped:
            return set()
        # The writer counts them; which they are, the reader says and this bounds.
        return set(self.model)

    @rule()
    def second_consumer_joins(self) -> None:
        if len(self.cursors) < 3:
            self._add_consumer()

    @rule()
    def prune(self) -> None:
        least = min(cursor.acked for cursor in self.cursors.values())
        before = layout.segments(self.writer.directory)
        self.writer.prune(len(self.model))
        after = layout.segments(self.writer.directory)
        assert after == before[len(before) - len(after) :]
        if len(after) < len(before):
            self.gone |= set(range(1, least + 1))

    @rule()
    def sync(self) -> None:
        self.writer.sync()

    @rule(error=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EROFS]), short=st.integers(0, 30))
    def disk_begins_to_refuse(self, error: int, short: int) -> None:
        how: str | int = short if short < 25 else "before"
        self.files.fault = Fault(self.files.count + 1, how, error, forever=True)  # type: ignore[arg-type]  # literals

    @rule()
    def disk_works_again(self) -> None:
        self.files.fault = None
        self.clock.now += 2

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(mapped=st.booleans())
    def crash_and_reopen(self, mapped: bool) -> None:
        waiting = {seq for seq, _ in self.writer.waiting()}
        dropped = self._dropped()
        self._bury(self.gone | waiting | dropped)
        self._open(mapped)

    @rule(mapped=st.booleans())
    def close_and_reopen(self, mapped: bool) -> None:
        self.files.fault = None
        self.clock.now += 2
        assert self.writer.close() == 0
        self._bury(self.gone | self._dropped())
        self._open(mapped)

    def _bury(self, gone: set[int]) -> None:
        self.files.fault = None
        self.files.release()
        for consumer in self.cursors.values():
            consumer.close()
        for reader in self.readers.values():
            reader.close()
        self.past.append((self.writer.directory, self.model, gone))

    @precondition(lambda self: self.past)
    @rule(which=st.integers(0, 50), at=st.integers(0, 10**6), flip=st.integers(1, 255))
    def damage_the_past(self, which: int, at: int, flip: int) -> None:
        directory, model, gone = self.past[which % len(self.past)]
        names = layout.segments(directory)
        before = {entry.seq for entry in read_all(directory)[0]}
        if not names:
            return
        path = names[at % len(names)].path
        data = bytearray(path.read_bytes())
        if not data:
            return
        data[at % len(data)] ^= flip
        path.write_bytes(data)
        after = {entry.seq for entry in read_all(directory)[0]}
        assert after <= before
        assert len(before - after) <= (1 if at % len(data) >= segment.HEADER_BYTES else 0)
        gone |= before - after
        assert after <= set(model)

    @invariant()
    def everything_is_there_or_accounted_for(self) -> None:
        if not hasattr(self, "writer"):
            return
        entries, damages = read_all(self.writer.directory, live=True)
        found = {entry.seq: entry.payload for entry in entries}
        waiting = dict(self.writer.waiting())
        for seq, payload in {**waiting, **found}.items():
            assert self.model[seq] == payload
        lost = set(self.model) - found.keys() - waiting.keys()
        assert lost <= self.gone | self._dropped()
        assert len(lost - self.gone) <= self.writer.status().dropped
        assert not set(missing_of(damages)) & found.keys()
        assert found.keys() <= set(self.model)
        for directory, model, gone in self.past:
            entries, damages = read_all(directory)
            found = {entry.seq: entry.payload for entry in entries}
            assert found.items() <= model.items()
            assert set(model) - found.keys() <= gone
            if found:
                holes = set(range(1, max(found))) - found.keys()
                assert holes <= set(missing_of(damages))

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self._bury(set())
        shutil.rmtree(self.root)


def test_an_empty_segment_that_a_full_disk_keeps_is_pruned_later() -> None:
    machine = JournalMachine()
    try:
        machine.first(mapped=False)
        machine.disk_begins_to_refuse(error=errno.ENOSPC, short=0)
        machine.append_big(size=300)
        machine.disk_works_again()
        machine.append(payloads=[b"a"])
        assert len(layout.segments(machine.writer.directory)) == 3
        machine.deliver_and_ack(limit=1, which=0)
        machine.prune()
        assert len(layout.segments(machine.writer.directory)) == 1
    finally:
        machine.teardown()


JournalMachine.TestCase.settings = settings(
    max_examples=500 if LONG else 150,
    stateful_step_count=60 if LONG else 30,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.too_slow],
)
TestJournal = JournalMachine.TestCase
