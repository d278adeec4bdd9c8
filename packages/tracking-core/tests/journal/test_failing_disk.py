"""Every operation on every file fails in every way, and no record is lost for it.

The outside judge is a plain dictionary of what `append` accepted. After each fault, what a fresh
reader finds on disk and what still waits in memory must together be exactly that.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_core.errors import JournalError
from tracking_core.journal import Blobs, Cursor, DeadLetters, Files, Writer

from .faulty import LONG, Clock, Crash, Fault, FaultyFiles, missing_of, read_all

ERRORS = (
    errno.ENOSPC,
    errno.EIO,
    errno.EROFS,
    errno.EDQUOT,
    errno.EINTR,
    errno.ESTALE,
    errno.EMFILE,
)
SHORT = (0, 1, 3, 4, 19, 20, 23, 24, 25, 31, 32, 40, 63)


class Outcome:
    """What the scenario below accepted, and with what."""

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.accepted: dict[int, bytes] = {}
        self.pruned = 0
        self.lost_at_close = 0


def scenario(
    root: Path, files: Files, outcome: Outcome, *, mapped: bool, ring_bytes: int = 1 << 20
) -> None:
    """A short life of a journal in which everything happens once."""
    clock = Clock()
    try:
        writer = Writer.create(
            root,
            "run",
            segment_bytes=500,
            ring_bytes=ring_bytes,
            sync_interval=None,
            mapped=mapped,
            clock=clock,
            files=files,
        )
    except JournalError:
        return
    outcome.writer = writer
    cursor = None
    for number in range(1, 31):
        payload = b"record %d." % number * (1 + number % 5)
        if number == 17:
            payload = bytes(range(256)) * 4
        seq = writer.append(payload)
        assert seq == number
        outcome.accepted[seq] = payload
        clock.now += 0.3
        if number in (8, 20):
            writer.sync()
        if number == 12:
            try:
                cursor = Cursor.open(writer.directory, "wandb", files=files)
                cursor.ack(10)
            except JournalError:
                cursor = None
            outcome.pruned = 10
            writer.prune(10)
    if cursor is not None:
        cursor.close()
    clock.now += 5
    writer.append(b"late")
    outcome.accepted[31] = b"late"
    outcome.lost_at_close = writer.close()


def judge(outcome: Outcome, *, crashed: bool = False) -> None:
    writer = outcome.writer
    if writer is None:
        assert not outcome.accepted
        return
    entries, damages = read_all(writer.directory)
    found = {entry.seq: entry.payload for entry in entries}
    numbers = [entry.seq for entry in entries]
    assert numbers == sorted(set(numbers)), "order"
    waiting = {} if crashed else dict(writer.waiting())
    known = {**waiting, **found}
    extra = {seq: known[seq] for seq in known.keys() - outcome.accepted.keys()}
    # A crash within an append may leave that one record: it was issued, though not accepted.
    assert len(extra) <= (1 if crashed else 0), "authenticity"
    for seq, payload in outcome.accepted.items():
        if seq in known:
            assert known[seq] == payload, "authenticity"
    lost = outcome.accepted.keys() - known.keys()
    dropped = 0 if crashed else writer.status().dropped
    honest = set(missing_of(damages))
    if dropped == 0:
        assert {seq for seq in lost if seq > outcome.pruned} == set(), "conservation"
    else:
        still_to_say = writer.status().last_seq - max([0, *numbers, *honest])
        unsaid = lost - honest - set(range(1, outcome.pruned + 1))
        assert len(unsaid) <= still_to_say, "honesty"
        assert len({seq for seq in lost if seq > outcome.pruned}) <= dropped, "honesty"
    assert not honest & set(found), "honesty"


def operations(root: Path, *, mapped: bool) -> list[str]:
    files = FaultyFiles()
    outcome = Outcome()
    scenario(root, files, outcome, mapped=mapped)
    judge(outcome)
    assert outcome.lost_at_close == 0
    return files.log


def faults(log: list[str], *, crash: bool = False, thorough: bool = LONG) -> Iterator[Fault]:
    """Every way for every operation; if not `thorough` with two of the errors, in turn."""
    errors = itertools.cycle(ERRORS)
    for at, name in enumerate(log, 1):
        ways: list[str | int] = ["before", "after"]
        if name in ("write", "pwrite"):
            # A crash in the middle of a write needs a middle.
            ways += range(64) if thorough else SHORT
            ways = [how for how in ways if how != 0 or not crash]
        for how in ways:
            for forever in (False,) if crash else (False, True):
                for error in ERRORS if thorough and not crash else (next(errors), next(errors)):
                    yield Fault(at, how, error, forever, crash)  # type: ignore[arg-type]  # literals


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_no_failing_operation_loses_a_record(tmp_path: Path, mapped: bool) -> None:
    cases = 0
    for fault in faults(operations(tmp_path / "plain", mapped=mapped)):
        files = FaultyFiles(fault)
        outcome = Outcome()
        try:
            scenario(tmp_path / f"case{cases}", files, outcome, mapped=mapped)
            files.fault = None
            judge(outcome)
        except AssertionError as failure:
            raise AssertionError(f"{failure}: with {fault}") from failure
        finally:
            files.release()
        if outcome.writer is not None and not fault.forever:
            assert outcome.lost_at_close == 0 or fault.at > files.count - 25, fault
        cases += 1
    assert cases > (4_500 if LONG else 500)


def test_the_thorough_setting_has_more_than_20_000_cases(tmp_path: Path) -> None:
    logs = [operations(tmp_path / str(mapped), mapped=mapped) for mapped in (True, False)]
    failing = sum(1 for log in logs for _ in faults(log, thorough=True))
    crashing = sum(1 for log in logs for _ in faults(log, crash=True, thorough=True))
    assert failing > 40_000 and crashing > 5_000


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_what_a_full_ring_drops_is_reported(tmp_path: Path, mapped: bool) -> None:
    dropped = 0
    for case, fault in enumerate(faults(operations(tmp_path / "plain", mapped=mapped))):
        if not fault.forever or fault.how not in ("before", 3):
            continue
        for lasting in (20, 10_000):
            files = FaultyFiles(fault)
            outcome = Outcome()
            wait = Recovering(files, lasting)
            try:
                scenario(
                    tmp_path / f"case{case}-{lasting}",
                    wait,
                    outcome,
                    mapped=mapped,
                    ring_bytes=1200,
                )
                files.fault = None
                judge(outcome)
            except AssertionError as failure:
                raise AssertionError(f"{failure}: with {fault}") from failure
            finally:
                files.release()
            if outcome.writer is not None:
                dropped += outcome.writer.status().dropped
    assert dropped > 100


class Recovering(FaultyFiles):
    """A disk that works again some operations after it began to fail."""

    def __init__(self, files: FaultyFiles, lasting: int) -> None:
        super().__init__(files.fault)
        self._lasting = lasting
        self._began = files.fault.at if files.fault else 0
        # The test releases through the files it knows.
        self._open = files._open

    def _fault_now(self, name: str) -> Fault | None:
        if self.count >= self._began + self._lasting:
            self.fault = None
        return super()._fault_now(name)


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_a_crash_at_any_operation_loses_no_accepted_record(tmp_path: Path, mapped: bool) -> None:
    for case, fault in enumerate(faults(operations(tmp_path / "plain", mapped=mapped), crash=True)):
        files = FaultyFiles(fault)
        outcome = Outcome()
        try:
            scenario(tmp_path / f"case{case}", files, outcome, mapped=mapped)
        except Crash:
            pass
        finally:
            files.release()
        try:
            judge(outcome, crashed=True)
        except AssertionError as failure:
            raise AssertionError(f"{failure}: with {fault}") from failure


class PowerCut(FaultyFiles):
    """A disk that at a power cut keeps what was synced and nothing else."""

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__(fault)
        self._paths: dict[int, str] = {}
        self._kept: dict[str, bytes] = {}
        self._names: set[str] = set()
        sync, fsync = self.fdatasync, self.fsync
        opened, closed = self.open, self.close

        def keep(fd: int) -> None:
            path = self._paths[fd]
            if Path(path).is_dir():
                self._names |= {str(entry) for entry in Path(path).iterdir()}
            else:
                self._kept[path] = Path(path).read_bytes()

        def open_(path: str, flags: int, mode: int) -> int:
            fd = opened(path, flags, mode)
            self._paths[fd] = path
            return fd

        def fdatasync(fd: int) -> None:
            sync(fd)
            keep(fd)

        def fsync_(fd: int) -> None:
            fsync(fd)
            keep(fd)

        def close(fd: int) -> None:
            closed(fd)
            self._paths.pop(fd, None)

        self.open, self.close = open_, close
        self.fdatasync, self.fsync = fdatasync, fsync_

    def cut(self, directory: Path) -> None:
        """Bring a directory into the state in which the next boot finds it."""
        for path in directory.glob("*.seg"):
            kept = self._kept.get(str(path), b"")
            if str(path) in self._names:
                path.write_bytes(kept.ljust(path.stat().st_size, b"\0"))
            else:
                path.unlink()


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_power_durability_survives_a_power_cut_at_any_operation(
    tmp_path: Path, mapped: bool
) -> None:
    log: list[str] = []
    for case in range(10_000):
        fault = Fault(case, "before", errno.EIO, crash=True) if case else None
        files = PowerCut(fault)
        accepted: dict[int, bytes] = {}
        directory = None
        try:
            writer = Writer.create(
                tmp_path / str(case),
                "run",
                durability="power",
                segment_bytes=400,
                sync_interval=None,
                mapped=mapped,
                files=files,
            )
            directory = writer.directory
            for number in range(1, 13):
                payload = b"payload %d " % number * 5
                accepted[writer.append(payload)] = payload
        except Crash:
            pass
        files.release()
        if directory is not None:
            files.cut(directory)
            entries, _ = read_all(directory)
            found = {entry.seq: entry.payload for entry in entries}
            assert found.items() >= accepted.items(), case
        log = log or files.log
        if case > len(log):
            assert not files.fired
            break
    assert len(log) > 30


def test_a_sync_that_failed_is_not_believed_the_second_time(tmp_path: Path) -> None:
    files = PowerCut()
    clock = Clock()
    writer = Writer.create(
        tmp_path, "run", sync_interval=None, mapped=False, clock=clock, files=files
    )
    for number in range(10):
        writer.append(b"synced %d" % number)
    assert writer.sync()
    for number in range(10):
        writer.append(b"doubtful %d" % number)

    # The kernel reports the lost pages once; the pages themselves are gone.
    files.fault = Fault(files.count + 1, "before", errno.EIO)
    assert writer.sync()
    assert files.fired
    assert writer.status().sync_failures == 1
    writer.append(b"behind")
    assert writer.sync()
    files.release()
    files.cut(writer.directory)
    entries, damages = read_all(writer.directory)
    assert [entry.seq for entry in entries] == list(range(1, 22))
    assert entries[12].payload == b"doubtful 2"
    assert not missing_of(damages)


def test_a_disk_that_never_syncs_is_not_filled_with_copies(tmp_path: Path) -> None:
    clock = Clock()
    files = FaultyFiles()
    writer = Writer.create(
        tmp_path, "run", sync_interval=None, mapped=False, clock=clock, files=files
    )
    files.fdatasync = lambda fd: files._raise(Fault(0, "before", errno.EIO))
    for _ in range(20):
        writer.append(bytes(1000))
        assert not writer.sync()
        clock.now += 5
    writer.close()
    files.release()
    assert sum(path.stat().st_size for path in writer.directory.glob("*.seg")) < 100_000
    assert len(read_all(writer.directory)[0]) == 20


def test_the_disk_is_asked_again_at_most_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    files = FaultyFiles()
    writer = Writer.create(
        tmp_path, "run", sync_interval=None, mapped=False, clock=clock, files=files
    )
    files.fault = Fault(0, "before", errno.ENOSPC, forever=True)
    writer.append(b"first refused")
    asked = files.count
    for _ in range(100):
        writer.append(b"more")
        clock.now += 0.009
    assert files.count == asked
    clock.now += 0.2
    writer.append(b"after a second")
    assert files.count > asked
    assert writer.status().waiting == 102
    assert "No space left" in writer.status().last_error
    files.fault = None
    clock.now += 1.1
    writer.append(b"it works again")
    assert writer.waiting() == []
    assert len(read_all(writer.directory)[0]) == 103
    writer.close()


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_a_full_ring_drops_the_oldest_and_says_which(tmp_path: Path, mapped: bool) -> None:
    clock = Clock()
    files = FaultyFiles()
    writer = Writer.create(
        tmp_path,
        "run",
        sync_interval=None,
        mapped=mapped,
        segment_bytes=300,
        ring_bytes=1000,
        clock=clock,
        files=files,
    )
    writer.append(b"on disk")
    files.fault = Fault(0, "before", errno.ENOSPC, forever=True)
    for _ in range(30):
        writer.append(bytes(100))
    first = writer.waiting()[0][0]
    dropped = writer.status().dropped
    assert 20 < dropped < 30
    files.fault = None
    clock.now += 1
    writer.append(b"it works again")
    writer.close()
    entries, damages = read_all(writer.directory)
    said = [(damage.reason, damage.missing) for damage in damages]
    assert said == [("dropped", range(first - dropped, first))]
    assert missing_of(damages) == sorted({*range(1, 33)} - {entry.seq for entry in entries})
    assert entries[-1] == (32, b"it works again")


def test_what_waits_can_be_read_by_a_consumer_of_this_process(tmp_path: Path) -> None:
    files = FaultyFiles()
    writer = Writer.create(tmp_path, "run", sync_interval=None, mapped=False, files=files)
    writer.append(b"on disk")
    files.fault = Fault(0, "before", errno.EROFS, forever=True)
    writer.append(b"in memory")
    writer.append(b"too")
    assert writer.waiting() == [(2, b"in memory"), (3, b"too")]
    assert writer.close() == 2
    assert writer.waiting() == [(2, b"in memory"), (3, b"too")]
    files.release()


def test_a_disk_that_fills_while_a_frame_is_written_leaves_no_half_frame(tmp_path: Path) -> None:
    files = FaultyFiles()
    writer = Writer.create(tmp_path, "run", sync_interval=None, mapped=False, files=files)
    writer.append(b"one")
    files.fault = Fault(files.count + 1, 68, errno.ENOSPC)
    writer.append(bytes(70_000))
    writer.close()
    entries, damages = read_all(writer.directory)
    assert [len(entry.payload) for entry in entries] == [3, 70_000]
    assert damages == []


def test_an_ill_disk_is_not_mapped_again(tmp_path: Path) -> None:
    files = FaultyFiles()
    clock = Clock()
    writer = Writer.create(
        tmp_path, "run", sync_interval=None, mapped=True, clock=clock, files=files
    )
    assert writer.status().mapped
    writer.append(b"one")
    files.fault = Fault(files.count + 1, "before", errno.EIO)
    writer.sync()
    writer.append(b"two")
    assert not writer.status().mapped
    writer.close()
    assert len(read_all(writer.directory)[0]) == 2


@pytest.mark.parametrize("how", ["before", "after", 0, 1, 500])
def test_a_blob_or_a_dead_letter_is_stored_whole_or_refused(tmp_path: Path, how: str | int) -> None:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        directory = writer.directory
    value = bytes(range(256)) * 8
    for at in range(1, 40):
        files = FaultyFiles(Fault(at, how, errno.ENOSPC))  # type: ignore[arg-type]  # literals
        blobs = Blobs(directory, durable=True, files=files)
        try:
            digest = blobs.put(value)
        except JournalError:
            pass
        else:
            assert Blobs(directory).get(digest) == value
        letters = DeadLetters(directory, "wandb", files=files)
        before = len(letters.list())
        try:
            letters.append(at, b"payload", "refused")
        except JournalError:
            assert len(letters.list()) in (before, before + 1)
        else:
            assert letters.list()[-1][0] == at
        files.release()
        for path in (directory / "blobs").glob("*"):
            path.unlink()
