"""What `append` accepted is there, in order, whatever threads, forks and signals do meanwhile."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import signal
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracking_core.errors import JournalError
from tracking_core.journal import MAX_PAYLOAD, Cursor, Reader, Writer, layout, segment

from .faulty import LONG, Clock, Fault, FaultyFiles, in_child, missing_of, read_all

BOTH = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])


@BOTH
def test_numbers_begin_at_one_and_payloads_come_back(tmp_path: Path, mapped: bool) -> None:
    with Writer.create(tmp_path, "run", mapped=mapped) as writer:
        assert [writer.append(b"%d" % n) for n in range(5)] == [1, 2, 3, 4, 5]
        assert writer.status().last_seq == 5
        assert writer.status().mapped == mapped
    entries, damages = read_all(writer.directory, live=None)
    assert [entry.payload for entry in entries] == [b"0", b"1", b"2", b"3", b"4"]
    assert damages == []


@BOTH
def test_segments_roll_and_a_record_larger_than_one_gets_its_own(
    tmp_path: Path, mapped: bool
) -> None:
    sizes = [10, 900, 5000, 10, 3_000_000, 1, 900, 900, MAX_PAYLOAD, 5]
    with Writer.create(tmp_path, "run", mapped=mapped, segment_bytes=1000) as writer:
        for size in sizes:
            writer.append(bytes(size))
    entries, damages = read_all(writer.directory)
    assert [len(entry.payload) for entry in entries] == sizes
    assert damages == []
    assert len(layout.segments(writer.directory)) > 5


@BOTH
def test_closing_gives_back_what_was_never_used(tmp_path: Path, mapped: bool) -> None:
    writer = Writer.create(tmp_path, "run", mapped=mapped)
    writer.append(b"payload")
    assert writer.close() == 0
    assert writer.close() == 0
    (name,) = layout.segments(writer.directory)
    assert name.path.stat().st_size == segment.HEADER_BYTES + 24 + 7 + 32
    with pytest.raises(JournalError, match="closed"):
        writer.append(b"more")


@pytest.mark.parametrize("payload", [b"", bytes(MAX_PAYLOAD + 1)], ids=["empty", "huge"])
def test_a_payload_that_no_frame_holds_is_refused(tmp_path: Path, payload: bytes) -> None:
    with Writer.create(tmp_path, "run") as writer:
        with pytest.raises(ValueError, match="blobs"):
            writer.append(payload)
        assert writer.append(b"next") == 1


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="power"):
        Writer.create(tmp_path, "run", durability="paper")  # type: ignore[arg-type]  # on purpose


def test_what_network_and_unknown_file_systems_hold_is_not_mapped(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    line = "36 35 98:0 / {} rw,noatime shared:1 - {} server:/home rw\n"
    for kind, expected in [
        ("ext4", True),
        ("xfs", True),
        ("tmpfs", True),
        ("nfs4", False),
        ("lustre", False),
        ("fuse.sshfs", False),
        ("cifs", False),
        ("zfs", False),
        ("btrfs", False),
        ("overlay", False),
        ("", False),
    ]:
        where = tmp_path / "with space"
        point = str(tmp_path).replace(" ", "\\040") + "/with\\040space"
        text = line.format("/", "ext4") + line.format(point, kind) + "nonsense\n"
        mounts.write_text(text)
        assert segment.may_map(where / "deeper", mounts=str(mounts)) is expected, kind
    assert segment.may_map(tmp_path, mounts=str(tmp_path / "absent")) is False


def test_a_file_system_that_allocates_nothing_gets_plain_writes(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.allocate = lambda fd, offset, size: files._raise(Fault(0, "before", errno.EOPNOTSUPP))
    with Writer.create(tmp_path, "run", mapped=True, files=files, sync_interval=None) as writer:
        writer.append(b"payload")
        assert not writer.status().mapped
    assert len(read_all(writer.directory)[0]) == 1
    assert len(layout.segments(writer.directory)) == 1


@BOTH
def test_pruning_deletes_what_every_cursor_has_passed(tmp_path: Path, mapped: bool) -> None:
    writer = Writer.create(tmp_path, "run", mapped=mapped, segment_bytes=300, sync_interval=None)
    for number in range(40):
        writer.append(b"payload %2d" % number * 5)
    before = layout.segments(writer.directory)
    slow = Cursor.open(writer.directory, "slow")
    fast = Cursor.open(writer.directory, "fast")
    fast.ack(40)
    assert writer.prune(40) == 0, "the slow one has read nothing"
    slow.ack(before[3].first)
    assert writer.prune(40) == 3
    assert writer.prune(40) == 0
    slow.ack(40)
    assert writer.prune(before[5].first - 1) == 2, "no more than the caller says"
    assert layout.segments(writer.directory) == before[5:]
    entries, damages = read_all(writer.directory, after=before[5].first - 1, live=True)
    assert [entry.seq for entry in entries] == list(range(before[5].first, 41))
    assert damages == []
    assert missing_of(read_all(writer.directory)[1]) == list(range(1, before[5].first))
    writer.close()
    slow.close()
    fast.close()


def test_power_durability_returns_after_the_disk_has_it(tmp_path: Path) -> None:
    for mapped in (True, False):
        files = FaultyFiles()
        writer = Writer.create(
            tmp_path, "run", durability="power", mapped=mapped, sync_interval=None, files=files
        )
        for _ in range(3):
            before = files.log.count("fdatasync")
            writer.append(b"payload")
            assert files.log.count("fdatasync") == before + 1
        assert "fsync" in files.log, "the file's name is durable too"
        writer.close()


def test_the_helper_syncs_when_there_is_something_to_sync_and_only_then(tmp_path: Path) -> None:
    synced = threading.Event()
    files = FaultyFiles()
    files.fdatasync = lambda fd: synced.set()
    writer = Writer.create(tmp_path, "run", sync_interval=0.01, mapped=False, files=files)
    writer.append(b"payload")
    assert synced.wait(10)
    writer._tick()
    synced.clear()
    writer._tick()
    assert not synced.is_set()
    writer.close()


def test_the_helper_writes_what_waits_without_another_append(tmp_path: Path) -> None:
    files = FaultyFiles()
    clock = Clock()
    writer = Writer.create(
        tmp_path, "run", sync_interval=None, mapped=False, files=files, clock=clock
    )
    files.fault = Fault(0, "before", errno.ENOSPC, forever=True)
    writer.append(b"waits")
    files.fault = None
    writer._tick()
    assert len(writer.waiting()) == 1
    clock.now += 1
    writer._tick()
    assert writer.waiting() == []
    writer.close()


def test_a_writer_that_is_dropped_leaves_no_thread(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", sync_interval=0.005)
    writer.append(b"payload")
    helper = writer._helper
    assert helper is not None
    directory = writer.directory
    del writer
    gc.collect()
    helper.join(10)
    assert not helper.is_alive()
    assert len(read_all(directory)[0]) == 1


@BOTH
def test_threads_keep_their_order_and_lose_nothing(tmp_path: Path, mapped: bool) -> None:
    threads, each = (16, 10_000) if LONG else (8, 1500)
    writer = Writer.create(
        tmp_path, "run", mapped=mapped, segment_bytes=100_000, sync_interval=0.01
    )
    numbers: list[list[int]] = [[] for _ in range(threads)]

    def log(who: int) -> None:
        for what in range(each):
            numbers[who].append(writer.append(b"%d %d" % (who, what)))

    running = [threading.Thread(target=log, args=(who,)) for who in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    writer.close()
    entries, damages = read_all(writer.directory)
    assert damages == []
    by_number = {entry.seq: entry.payload for entry in entries}
    assert sorted(by_number) == list(range(1, threads * each + 1))
    for who in range(threads):
        assert numbers[who] == sorted(numbers[who])
        assert [by_number[seq] for seq in numbers[who]] == [
            b"%d %d" % (who, what) for what in range(each)
        ]


def test_closing_while_threads_append_keeps_what_was_accepted(tmp_path: Path) -> None:
    for attempt in range(100 if LONG else 15):
        writer = Writer.create(tmp_path, "run", mapped=attempt % 2 == 0, segment_bytes=2000)
        accepted: list[int] = []

        def log(writer: Writer = writer, accepted: list[int] = accepted) -> None:
            try:
                while True:
                    accepted.append(writer.append(b"payload"))
            except JournalError:
                return

        running = [threading.Thread(target=log) for _ in range(3)]
        for thread in running:
            thread.start()
        while len(accepted) < 20:
            pass
        writer.close()
        for thread in running:
            thread.join()
        entries, damages = read_all(writer.directory)
        assert {entry.seq for entry in entries} == set(accepted)
        assert damages == []


@BOTH
def test_a_forked_child_writes_nothing_into_its_parents_journal(
    tmp_path: Path, mapped: bool
) -> None:
    for _ in range(50 if LONG else 10):
        writer = Writer.create(tmp_path, "run", mapped=mapped, sync_interval=0.01)
        writer.append(b"before")

        def child(writer: Writer = writer) -> bool:
            with pytest.raises(JournalError, match="forked"):
                writer.append(b"from the child")
            with Writer.create(tmp_path, "run", mapped=mapped) as own:
                own.append(b"the child's own")
            return writer.forked and writer.close() == 0 and not writer.sync()

        in_child(child)
        writer.append(b"after")
        assert not writer.forked
        writer.close()
        entries, damages = read_all(writer.directory)
        assert [entry.payload for entry in entries] == [b"before", b"after"]
        assert damages == []


def test_a_fork_while_other_threads_append_harms_neither_side(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", segment_bytes=10_000, sync_interval=0.005)
    stop = threading.Event()
    accepted = []

    def log() -> None:
        while not stop.is_set():
            accepted.append(writer.append(b"payload"))

    thread = threading.Thread(target=log)
    thread.start()

    def child() -> bool:
        with pytest.raises(JournalError, match="forked"):
            writer.append(b"child")
        return writer.waiting() == []

    for _ in range(50 if LONG else 10):
        in_child(child)
    stop.set()
    thread.join()
    writer.close()
    entries, damages = read_all(writer.directory)
    assert [entry.seq for entry in entries] == accepted
    assert damages == []


@BOTH
def test_a_signal_handler_may_log_in_the_middle_of_an_append(tmp_path: Path, mapped: bool) -> None:
    writer = Writer.create(tmp_path, "run", mapped=mapped, segment_bytes=3000, sync_interval=None)
    handled = []

    def handler(number: int, interrupted: types.FrameType | None) -> None:
        handled.append(writer.append(b"from the handler"))
        writer.sync()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    accepted = []
    try:
        while len(handled) < (2000 if LONG else 200):
            accepted.append(writer.append(b"from the loop"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.close()
    entries, damages = read_all(writer.directory)
    payloads = [entry.payload for entry in entries]
    assert damages == []
    assert payloads.count(b"from the handler") == len(handled)
    assert payloads.count(b"from the loop") == len(accepted)
    numbered = {entry.seq: entry.payload for entry in entries}
    assert all(numbered[seq] == b"from the handler" for seq in handled if seq)
    assert all(numbered[seq] == b"from the loop" for seq in accepted)


class Interrupt:
    """A trace function that calls `action` before the n-th instruction inside the journal.

    With `lines` it counts lines instead.
    """

    def __init__(self, at: int, action: Callable[[], object], *, lines: bool = False) -> None:
        self.at = at
        self.seen = 0
        self._action = action
        self._event = "line" if lines else "opcode"

    def __call__(self, where: types.FrameType, event: str, argument: object) -> object:
        if "tracking_core/journal" not in where.f_code.co_filename.replace(os.sep, "/"):
            return None
        where.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            self.seen += 1
            if self.seen == self.at:
                self._action()
        return self


def interrupt_from_the_keyboard() -> None:
    raise KeyboardInterrupt


def handler_logs_at(at: int, root: Path, mapped: bool) -> bool:
    """Whether there is an instruction `at` of an append; a handler that logs there loses nothing."""
    files = FaultyFiles()
    writer = Writer.create(
        root, "run", mapped=mapped, segment_bytes=250, sync_interval=None, files=files
    )
    handled: list[int] = []
    accepted: list[int] = []
    # Too large for a segment in which the append that it interrupts has still room.
    interrupt = Interrupt(at, lambda: handled.append(writer.append(b"handler" * 30)))
    for number in range(2):
        sys.settrace(interrupt)  # type: ignore[arg-type]  # returns itself
        try:
            accepted.append(writer.append(b"loop %d " % number * 8))
        finally:
            sys.settrace(None)
    assert writer.close() == 0
    entries, damages = read_all(writer.directory)
    found = {entry.seq: entry.payload[:7] for entry in entries}
    assert damages == [], at
    assert [found[seq] for seq in accepted] == [b"loop 0 ", b"loop 1 "], at
    assert len(found) == 2 + len(handled), at
    assert all(found[seq] == b"handler" for seq in handled if seq), at
    return bool(handled)


@BOTH
def test_a_handler_that_logs_at_any_instruction_of_an_append_loses_nothing(
    tmp_path: Path, mapped: bool
) -> None:
    at = 1
    while handler_logs_at(at, tmp_path / str(at), mapped):
        at += 1
    assert at > 300


@pytest.mark.parametrize("refusing", [False, True], ids=["healthy", "refusing"])
@BOTH
def test_an_interrupt_at_any_line_of_append_costs_no_accepted_record(
    tmp_path: Path, mapped: bool, refusing: bool
) -> None:
    # In a thread of its own: what is raised between the lines of an `except` stays the exception
    # that Python is handling, and every traceback after it would begin with a disk that is full.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(interrupt_at_every_line, tmp_path, mapped, refusing).result() > 100


def interrupt_at_every_line(root: Path, mapped: bool, refusing: bool) -> int:
    """Interrupt appends at one line after the other; the number of the first that they have not."""
    at = 0
    while True:
        at += 1 if LONG or not at else 3
        files = FaultyFiles()
        clock = Clock()
        writer = Writer.create(
            root / str(at),
            "run",
            mapped=mapped,
            segment_bytes=250,
            sync_interval=None,
            clock=clock,
            files=files,
        )
        accepted: dict[int, bytes] = {}
        interrupt = Interrupt(at, interrupt_from_the_keyboard, lines=True)
        for number in range(12):
            if refusing and number in (4, 5):
                files.fault = Fault(0, "before", errno.ENOSPC, forever=True)
            payload = b"payload %2d " % number * 6
            sys.settrace(interrupt)  # type: ignore[arg-type]  # returns itself
            try:
                accepted[writer.append(payload)] = payload
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            files.fault = None
            clock.now += 0.6
        assert writer.close() == 0
        files.release()
        entries, damages = read_all(writer.directory)
        found = {entry.seq: entry.payload for entry in entries}
        assert found.items() >= accepted.items(), at
        assert len(found) <= 12
        assert not missing_of(damages), at
        if interrupt.seen < at:
            return at


def test_ctrl_c_while_another_thread_is_appending_is_ctrl_c_and_leaves_nothing_locked(
    tmp_path: Path,
) -> None:
    writer = Writer.create(tmp_path, "run", sync_interval=None)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with writer._lock:
            held.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    before = signal.signal(signal.SIGALRM, lambda *_: interrupt_from_the_keyboard())
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            writer.append(b"never")
    finally:
        signal.signal(signal.SIGALRM, before)
        leave.set()
        holder.join()
    assert writer.append(b"next") == 1
    other = threading.Thread(target=writer.append, args=(b"of another thread",), daemon=True)
    other.start()
    other.join(timeout=60)
    assert not other.is_alive()
    writer.close()
    assert [entry.payload for entry in read_all(writer.directory)[0]] == [
        b"next",
        b"of another thread",
    ]


def test_training_goes_on_without_file_descriptors(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", segment_bytes=1000, sync_interval=None, mapped=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(30):
            writer.append(bytes(100))
        assert writer.status().waiting > 0
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert writer.close() == 0
    assert len(read_all(writer.directory)[0]) == 30


def test_training_goes_on_when_others_close_our_files(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", sync_interval=None, mapped=False)
    writer.append(b"one")
    current = writer._segment
    assert current is not None
    os.close(current.fd)
    writer.append(b"two")
    assert "Bad file descriptor" in writer.status().last_error
    assert writer.close() == 0
    assert [entry.payload for entry in read_all(writer.directory)[0]] == [b"one", b"two"]


def test_training_goes_on_when_the_directory_is_deleted(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", segment_bytes=200, sync_interval=None)
    for path in writer.directory.iterdir():
        path.unlink()
    writer.directory.rmdir()
    for _ in range(50):
        writer.append(bytes(50))
    assert writer.waiting()
    assert not writer.sync()
    assert writer.close() > 0


def test_a_file_size_limit_refuses_and_does_not_kill(tmp_path: Path) -> None:
    def child() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with Writer.create(tmp_path, "run", sync_interval=None, segment_bytes=100_000) as writer:
            for _ in range(100):
                writer.append(bytes(100))
            waiting = len(writer.waiting())
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
        entries, damages = read_all(writer.directory)
        return waiting > 0 and len(entries) == 100 and not damages

    in_child(child)


def test_a_live_reader_in_the_same_process_sees_each_record_at_once(tmp_path: Path) -> None:
    for mapped in (True, False):
        with Writer.create(tmp_path, "run", mapped=mapped, segment_bytes=400) as writer:
            reader = Reader(writer.directory)
            for number in range(50):
                seq = writer.append(b"payload %d" % number)
                assert reader.read() == [(seq, b"payload %d" % number)]
                assert reader.read() == []
                assert reader.position == seq
            reader.close()
