from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tracking_core import locks
from tracking_core.errors import StoreBusyError
from tracking_core.locks import only_one

# Reads a number, waits for others to do so too, and writes the next one.
COUNT = """
import sys, time
from pathlib import Path
from tracking_core.locks import only_one
store = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with only_one(store):
        number = int(store.read_text()) if store.exists() else 0
        time.sleep(0.001)
        store.write_text(str(number + 1))
"""
HOLD = """
import sys, time
from tracking_core.locks import only_one
with only_one(sys.argv[1]):
    print("within", flush=True)
    time.sleep(600)
"""


def holding(store: Path) -> subprocess.Popen[bytes]:
    """Another process that is within `only_one`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(store)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"within\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_processes_come_one_after_the_other(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", COUNT, str(store), "20"]
    processes = [subprocess.Popen(command) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    assert store.read_text() == str(8 * 20)
    assert os.listdir(tmp_path) == ["store"], "the lock's file is gone"


def test_threads_come_one_after_the_other(tmp_path: Path) -> None:
    within, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with only_one(tmp_path / "store"):
                within[0] += 1
                most[0] = max(most[0], within[0])
                within[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert os.listdir(tmp_path) == []


def test_who_holds_it_is_named_and_whoever_dies_holds_it_no_longer(tmp_path: Path) -> None:
    store = tmp_path / "store"
    process = holding(store)
    try:
        who = f"store is being made: process {process.pid} of"
        with pytest.raises(StoreBusyError, match=who), only_one(store, timeout=0.2):
            pass
        with only_one(tmp_path / "another", timeout=0.2):
            pass
    finally:
        end(process)
    with only_one(store, timeout=5):
        pass
    assert os.listdir(tmp_path) == []


def test_a_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    process = holding(tmp_path / "real" / "store")
    try:
        with pytest.raises(StoreBusyError), only_one(tmp_path / "link" / "store", timeout=0.1):
            pass
    finally:
        end(process)


def test_a_thread_that_holds_it_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with only_one(tmp_path / "store"):
            inside.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
    began = time.monotonic()
    who = "a thread of this process"
    with pytest.raises(StoreBusyError, match=who), only_one(tmp_path / "store", timeout=0.1):
        pass
    assert time.monotonic() - began < 5
    over.set()
    thread.join()


def test_a_forked_child_neither_keeps_nor_ends_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    reading, writing = os.pipe()
    with only_one(store):
        child = os.fork()
        if child == 0:
            try:
                with only_one(store, timeout=0.1):
                    os._exit(1)  # it was let in beside its parent
            except StoreBusyError:
                os.write(writing, b"refused")
                signal.pause()
        os.close(writing)
        assert os.read(reading, 10) == b"refused"
        os.close(reading)
        process = subprocess.run(
            [sys.executable, "-c", COUNT.replace("store):", "store, 0.1):"), str(store), "1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "StoreBusyError" in process.stderr
    # The child is still there, with its parent's open file.
    with only_one(store, timeout=5):
        pass
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_an_error_within_ends_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_one(tmp_path / "store"):
        raise ZeroDivisionError
    with only_one(tmp_path / "store", timeout=1):
        pass


def test_a_folder_is_made_and_a_long_name_has_a_lock(tmp_path: Path) -> None:
    with only_one(tmp_path / "a" / "b" / ("x" * 250)):
        (lock,) = os.listdir(tmp_path / "a" / "b")
        assert len(lock) < 100
    assert os.listdir(tmp_path / "a" / "b") == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_nobody_waits(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with only_one(tmp_path / "store"):
        assert os.listdir(tmp_path) == []
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EROFS])
def test_without_locks_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "lock", refuse)
    with only_one(tmp_path / "store", timeout=0.1):
        pass
