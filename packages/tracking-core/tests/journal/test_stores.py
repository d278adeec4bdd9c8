"""Blobs, dead letters and the drain lock."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tracking_core.errors import DamagedJournal, JournalError
from tracking_core.journal import Blobs, DeadLetters, DrainLock, Writer
from tracking_core.journal.files import Files

from .faulty import in_child


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        return writer.directory


def test_a_blob_comes_back_and_is_stored_once(directory: Path) -> None:
    blobs = Blobs(directory)
    value = os.urandom(3_000_000)
    digest = blobs.put(value)
    assert blobs.put(value) == digest
    assert blobs.get(digest) == value
    assert os.listdir(directory / "blobs") == [digest]
    assert blobs.path(digest).stat().st_mode & 0o777 == 0o600
    assert blobs.get(blobs.put(b"")) == b""


def test_a_damaged_blob_is_never_given_out_and_is_stored_again(directory: Path) -> None:
    blobs = Blobs(directory)
    digest = blobs.put(b"value" * 100)
    path = blobs.path(digest)
    path.write_bytes(b"value" * 99 + b"valuE")
    with pytest.raises(DamagedJournal, match=digest):
        blobs.get(digest)
    assert blobs.put(b"value" * 100) == digest
    assert blobs.get(digest) == b"value" * 100


@pytest.mark.parametrize("name", ["", "../owner.json", "/etc/passwd", "A" * 64, "a" * 63, "a" * 65])
def test_a_name_that_is_no_digest_leads_nowhere(directory: Path, name: str) -> None:
    with pytest.raises(JournalError, match="no name of a blob"):
        Blobs(directory).get(name)


def test_a_planted_link_in_place_of_a_blob_is_refused(directory: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blobs = Blobs(directory)
    digest = blobs.put(b"value")
    blobs.path(digest).unlink()
    blobs.path(digest).symlink_to(secret)
    with pytest.raises(JournalError, match="no blob"):
        blobs.get(digest)
    with pytest.raises(JournalError, match="no blob"):
        blobs.get("0" * 64)


def test_a_blob_that_was_enlarged_is_damaged_and_fills_no_memory(directory: Path) -> None:
    blobs = Blobs(directory)
    digest = blobs.put(b"value")
    for size in (17 * 2**20, 2**42):
        os.truncate(blobs.path(digest), size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(DamagedJournal, match=digest):
            blobs.get(digest)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
    large = os.urandom(2**20) * 17
    assert blobs.get(blobs.put(large)) == large


def test_a_blob_with_another_number_of_bytes_is_not_read_at_all(directory: Path) -> None:
    def pread(fd: int, size: int, at: int) -> bytes:
        raise AssertionError("8 GiB would be read, which takes half a minute")

    class Unread(Files): ...

    Unread.pread = staticmethod(pread)
    value = b"value"
    digest = Blobs(directory).put(value)
    assert Blobs(directory).get(digest, len(value)) == value
    os.truncate(Blobs(directory).path(digest), 2**33)
    with pytest.raises(DamagedJournal, match=digest):
        Blobs(directory, files=Unread()).get(digest, len(value))


@pytest.mark.parametrize("trap", ["link", "pipe"])
def test_a_planted_lock_or_dead_letter_is_refused(
    directory: Path, tmp_path: Path, trap: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (directory / "dead").mkdir()
    for path in (directory / "drain.lock", directory / "dead" / "wandb.ndjson"):
        path.symlink_to(tmp_path / "secret") if trap == "link" else os.mkfifo(path)
    with pytest.raises(JournalError, match="refused"):
        DrainLock(directory).acquire()
    with pytest.raises(JournalError, match="refused"):
        DeadLetters(directory, "wandb").append(1, b"x", "no")
    with pytest.raises(JournalError, match="refused"):
        DeadLetters(directory, "wandb").list()
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_line_without_end_is_no_dead_letter_and_fills_no_memory(directory: Path) -> None:
    letters = DeadLetters(directory, "wandb")
    letters.append(1, b"one", "no")
    size = letters.path.stat().st_size
    os.truncate(letters.path, size + 200 * 2**20)
    letters.append(2, b"two", "no")
    letters.append(3, b"three", "no")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [letter.seq for letter in letters.list()] == [1, 2, 3]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024


def test_dead_letters_are_listed_in_order_with_their_reasons(directory: Path) -> None:
    letters = DeadLetters(directory, "we/ird")
    assert letters.list() == []
    letters.append(3, b"\x00\xff", 'refused: "bad"\nvalue')
    letters.append(5, b"more", "413")
    found = letters.list()
    assert [(letter.seq, letter.payload, letter.reason) for letter in found] == [
        (3, b"\x00\xff", 'refused: "bad"\nvalue'),
        (5, b"more", "413"),
    ]
    assert DeadLetters(directory, "other").list() == []
    assert letters.path.parent == directory / "dead"
    assert letters.path.stat().st_mode & 0o777 == 0o600


def test_half_a_dead_letter_spoils_only_itself(directory: Path) -> None:
    letters = DeadLetters(directory, "wandb")
    letters.append(1, b"one", "no")
    letters.append(2, b"two", "no")
    whole = letters.path.read_bytes()
    for cut in range(len(whole)):
        letters.path.write_bytes(whole[:cut])
        letters.append(9, b"nine", "no")
        numbers = [letter.seq for letter in letters.list()]
        assert numbers in ([9], [1, 9], [1, 2, 9])


HOLD = (
    "import sys; from tracking_core.journal import DrainLock\n"
    "lock = DrainLock(sys.argv[1]); sys.stdout.write(f'{lock.acquire()}\\n'); sys.stdout.flush()\n"
    "sys.stdin.read()"
)


def holder(directory: Path) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_one_process_at_a_time_drains(directory: Path) -> None:
    mine = DrainLock(directory)
    assert mine.acquire()
    assert mine.held
    assert not DrainLock(directory).acquire(), "nor a second time in this process"
    child, said = holder(directory)
    assert said == "False"
    child.communicate()
    mine.release()
    child, said = holder(directory)
    assert said == "True"
    assert not mine.acquire()
    child.kill()
    child.communicate()
    assert mine.acquire(), "a dead holder holds nothing"
    mine.release()


def test_a_forked_child_neither_holds_nor_breaks_its_parents_lock(directory: Path) -> None:
    mine = DrainLock(directory)
    assert mine.acquire()

    def child() -> bool:
        held = mine.held
        mine.release()
        return not held and not DrainLock(directory).acquire()

    in_child(child)
    other, said = holder(directory)
    assert said == "False"
    other.communicate()
    mine.release()


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(directory: Path) -> None:
    code = (
        "import os, sys, signal; from tracking_core.journal import DrainLock\n"
        "lock = DrainLock(sys.argv[1]); assert lock.acquire()\n"
        "child = os.fork()\n"
        "if not child: sys.stdin.read(); os._exit(0)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    parent.wait()
    mine = DrainLock(directory)
    assert mine.acquire()
    mine.release()
    parent.communicate()


def test_a_file_system_without_locks_is_said_so(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(JournalError, match="can't be known here"):
        DrainLock(directory).acquire()


def test_who_has_the_lock_says_so(tmp_path: Path) -> None:
    program = (
        "import sys; from tracking_core.journal import DrainLock\n"
        f"lock = DrainLock({str(tmp_path)!r}, 'delivery')\n"
        "assert lock.acquire(); print('it has it', flush=True); sys.stdin.read()"
    )
    lock = DrainLock(tmp_path, "recovery")
    assert lock.holder() is None
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"it has it\n"
        assert not lock.acquire()
        assert lock.holder() == (other.pid, "delivery")
        assert not lock.acquire(), "asking who it is let go of nothing"
        other.communicate()
    assert lock.acquire()
    second = DrainLock(tmp_path)
    assert not second.acquire() and second.holder() == (os.getpid(), "recovery")
    for content in (b"", b"x y", b"-3 delivery", b"\xff" * 200):
        (tmp_path / "drain.lock").write_bytes(content)
        assert second.holder() is None
