"""The delivery process: how it starts, what it survives, and that it never outlives its work."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ledger_judge import Ledger, Victim, first_seen, is_gone, started, wait_for

from tracking_core import Tracking, TrackingWarning
from tracking_core.delivery.retry import Backoff
from tracking_core.delivery.supervisor import Supervisor
from tracking_core.delivery.worker import PATIENT


def test_starting_takes_no_time_and_loads_no_library(ledger: Ledger) -> None:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        tracking = started("process", ledger)
        best = min(best, time.perf_counter() - began)
        tracking.end_training()
    assert best < 0.25, "starting it waits for nothing that the delivery process does"


def test_it_is_gone_when_the_run_has_ended(ledger: Ledger) -> None:
    tracking = started("process", ledger)
    tracking.log({"n": 1})
    tracking.end_training()
    assert ledger.ends == ["finished"]
    (process,) = ledger.processes
    wait_for(lambda: is_gone(process), "its end")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)  # not even a zombie


@pytest.mark.parametrize("how", ["exit", "segfault", "killed"])
def test_a_record_that_kills_its_interpreter_is_buried_and_all_others_are_delivered(
    ledger: Ledger, other: Ledger, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "killed":  # by the kernel, for all the memory that it takes; that shows in time
        monkeypatch.setattr(
            "tracking_core.delivery.supervisor.Backoff", lambda **_: Backoff(0.01, 0.1)
        )
    tracking = started("process", ledger, other, poison=50, how=how)
    for number in range(100):
        tracking.log({"n": number})
    wait_for(lambda: 99 in ledger.numbers and 99 in other.numbers, "the last record")
    assert tracking.flush(20)
    with pytest.warns(TrackingWarning, match="refused 1 records for good"):
        tracking.end_training()
    assert first_seen(ledger.numbers) == [number for number in range(100) if number != 50]
    assert first_seen(other.numbers) == list(range(100))
    status = tracking.status()
    assert (status["ledger"].failed, status["other"].failed) == (1, 0)
    assert tracking.run_dir is not None
    (letter,) = tracking.run_dir.glob("*/dead/*")
    assert "died of it 3 times" in letter.read_text()
    assert ledger.ends == other.ends == ["finished"]


def test_a_successor_that_is_just_being_spawned_is_ended_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(tmp_path, [], policy=PATIENT, linger=0.0)
    spawning, go_on = threading.Event(), threading.Event()
    spawned = []

    def spawn(blamed: bool) -> subprocess.Popen[bytes]:
        if spawned:
            spawning.set()
            assert go_on.wait(20)
        # It lives until its standard input ends.
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        )
        spawned.append(process)
        return process

    monkeypatch.setattr(supervisor, "_spawned", spawn)
    supervisor.start()
    spawned[0].kill()
    assert spawning.wait(20)
    killing = threading.Thread(target=supervisor.kill)
    killing.start()
    wait_for(supervisor._stopping.is_set)
    go_on.set()
    killing.join(20)
    assert len(spawned) == 2 and supervisor.process_id is None
    assert spawned[1].poll() == -signal.SIGKILL


def test_a_process_that_is_killed_from_outside_blames_no_record(ledger: Ledger) -> None:
    ledger.order("deliver", "killed")
    tracking = started("process", ledger)
    for number in range(20):
        tracking.log({"n": number})
    wait_for(lambda: ledger.tried("deliver") >= 4, "four deaths")
    ledger.withdraw("deliver")
    tracking.end_training()
    assert ledger.numbers == list(range(20)) and tracking.status()["ledger"].failed == 0


@pytest.mark.parametrize("lane", ["process", "thread"])
def test_a_killed_run_that_was_delivered_takes_no_more_than_it_needs(
    ledger: Ledger, lane: str
) -> None:
    victim = Victim(lane, "for number in range(100): log(number)\nsignal.pause()", ledger=ledger)
    wait_for(lambda: 99 in ledger.numbers, "the last record")
    victim.signal()
    if lane == "thread":
        Tracking.recover(victim.run_dir)
    else:
        wait_for(lambda: all(map(is_gone, ledger.processes)), "the end of the delivery process")
    assert ledger.ends == ["killed"]
    files = [path for path in victim.run_dir.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000


def test_a_start_that_kills_the_interpreter_blames_no_record(ledger: Ledger, other: Ledger) -> None:
    tracking = started("process", ledger, other)
    tracking.log({"n": 0})
    assert tracking.flush(20)
    other.order("deliver", "down")
    tracking.log({"n": 1})
    wait_for(lambda: other.tried("deliver"), "a call that is refused")
    ledger.order("start", "exit")
    Path(f"{ledger}.start").write_text("segfault")
    os.kill(max(ledger.processes), signal.SIGKILL)
    wait_for(lambda: ledger.tried("start") >= 4, "four deaths")
    ledger.withdraw("start")
    other.withdraw("deliver")
    tracking.end_training()
    assert ledger.numbers == other.numbers == [0, 1]
    assert all(one.failed == 0 for one in tracking.status().values())


def test_a_death_in_the_middle_of_the_start_leaves_no_second_native_run(ledger: Ledger) -> None:
    ledger.order("begun", "killed")
    tracking = started("process", ledger)
    tracking.log({"n": 1})
    wait_for(lambda: ledger.tried("begun") > 1, "a successor that dies in the same place")
    ledger.withdraw("begun")
    tracking.end_training()
    assert len(ledger.natives) == 1 and ledger.numbers == [1] and ledger.ends == ["finished"]


def test_what_the_libraries_loaded_is_left_out_of_garbage_collection(ledger: Ledger) -> None:
    ours = gc.get_freeze_count()
    tracking = started("process", ledger)

    def is_spared() -> bool:
        tracking.log({"n": 1})
        return any(ledger.all("spared"))

    wait_for(is_spared, "a delivery whose libraries are spared")
    tracking.end_training()
    assert gc.get_freeze_count() == ours, "the training's own garbage is no business of ours"


def test_signals_of_a_batch_system_end_the_training_and_not_the_delivery(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    victim = Victim("process", ledger={"ledger": str(book), "pause": 0.05})
    victim.hear_until(lambda: book.natives)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(max(book.processes), number)
    acknowledged = victim.signal(signal.SIGTERM)
    wait_for(lambda: book.ends, "the end")
    assert book.ends == ["killed"] and len(book.processes) == 1
    assert set(acknowledged) <= set(book.numbers)


def test_a_worker_that_is_forked_while_it_starts_does_not_hold_it_up(ledger: Ledger) -> None:
    forked = []
    stop, hold = os.pipe()
    tracking = started("process", ledger)
    for _ in range(30):
        child = os.fork()
        if child == 0:
            os.close(hold)
            os.read(stop, 1)
            os._exit(0)
        forked.append(child)
    tracking.log({"n": 1})
    done = tracking.flush(10)
    os.close(hold)
    for child in forked:
        os.waitpid(child, 0)
    os.close(stop)
    assert done, "the forked workers were still there, holding whatever they had inherited"
    tracking.end_training()
    assert ledger.numbers == [1]


def test_files_in_the_working_directory_cannot_get_into_it(tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    for name in ("signal", "json", "msgspec", "threading"):
        (place / f"{name}.py").write_text("raise RuntimeError('not this one')")
    book = Ledger(tmp_path / "ledger")
    # As for `python train.py` elsewhere: the working directory is not where modules come from.
    program = "import sys; sys.path[:] = [entry for entry in sys.path if entry]\n"
    body = "\nlog(1); tracking.end_training()"
    victim = Victim("process", body, wrapper=program, cwd=place, ledger=book)
    assert victim.end() == [1], victim.errors
    assert book.numbers == [1] and victim.errors == ""


def test_it_says_in_ps_which_run_it_serves(ledger: Ledger) -> None:
    tracking = started("process", ledger, project="digits")
    assert tracking.flush(20)
    (process,) = ledger.processes
    shown = Path(f"/proc/{process}/cmdline").read_text()
    tracking.end_training()
    assert tracking.run_dir is not None
    assert f"tracking: delivers {tracking.run_dir.name}" in shown


@pytest.mark.skipif(
    sys.version_info[:3] == (3, 13, 0),
    reason="Python 3.13.0 can't import socket in a working directory that was deleted",
)
def test_a_working_directory_that_was_deleted_keeps_nothing_from_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    # With an empty entry in its path, as `python -c` has it.
    program = f"import os, sys; os.rmdir({str(place)!r}); assert '' in sys.path\n"
    victim = Victim(
        "process", "\nlog(1); tracking.end_training()", wrapper=program, cwd=place, ledger=ledger
    )
    assert victim.end() == [1]
    assert ledger.numbers == [1] and ledger.ends == ["finished"] and victim.errors == ""


def test_what_the_program_added_to_its_path_is_known_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "homemade.py").write_text(
        "from ledger_trackers import LedgerTracker\n"
        "class Homemade(LedgerTracker):\n    name = 'homemade'\n"
    )
    book = Ledger(tmp_path / "ledger")
    body = (
        "\ntracking.end_training()\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(tmp_path / 'elsewhere')!r})\n"
        "from homemade import Homemade; register_tracker_class(Homemade)\n"
        f"sys.path.append(Path({str(tmp_path)!r}))  # some programs do\n"
        "tracking = Tracking('homemade', delivery='process')\n"
        f"tracking.init_trackers('p', init_kwargs={{'homemade': {{'ledger': {str(book)!r}}}}})\n"
        "log(1); tracking.end_training()"
    )
    victim = Victim("process", body, other=tmp_path / "other")
    assert victim.end() == [1], victim.errors
    assert book.numbers == [1], victim.errors


def test_a_delivery_process_that_cannot_start_is_said(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    tracking = started("process", ledger)
    tracking.log({"n": 1})
    wait_for(lambda: tracking.status()["ledger"].last_error, "the reason")
    with pytest.warns(TrackingWarning, match="the delivery process did not start"):
        tracking.end_training(timeout=0.2)
    monkeypatch.undo()
    assert tracking.run_dir is not None
    Tracking.recover(tracking.run_dir)
    assert ledger.numbers == [1]


def test_two_trackers_of_which_one_hangs_leave_the_process_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, other = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "other")
    ledger.order("deliver", "hang")
    wrapper = (
        "from tracking_core.delivery import journaled\n"
        "journaled.LINGER = 4.0\n"
        "journaled.PROCESS_POLICY = journaled.PROCESS_POLICY._replace(deadline=0.5)\n"
    )
    victim = Victim("process", wrapper=wrapper, ledger=ledger, other=other)
    victim.hear_until(lambda: other.natives and ledger.tried("deliver"))
    acknowledged = victim.signal()
    wait_for(lambda: other.ends == ["killed"], "the healthy one")
    assert set(acknowledged) <= set(other.numbers)
    (process,) = other.processes
    wait_for(lambda: is_gone(process), "its end, though a tracker hangs")


def test_nothing_is_written_to_stdout_and_no_handler_is_installed(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tracking_core import Tracking, register_tracker_class\n"
        "from ledger_trackers import LedgerTracker\n"
        "import threading, logging\n"
        "register_tracker_class(LedgerTracker)\n"
        "def found(): return [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "before, level = found(), logging.root.level\n"
        "for lane in ('thread', 'process'):\n"
        "    tracking = Tracking('ledger', delivery=lane)\n"
        "    tracking.init_trackers('p', init_kwargs={'ledger': {'ledger': sys.argv[1]}})\n"
        "    tracking.log({'n': 1}); tracking.end_training()\n"
        "assert before == found() and level == logging.root.level and not logging.root.handlers\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ledger"), str(Path(__file__).parent)],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"" and done.stderr == b""
    assert Ledger(tmp_path / "ledger").numbers == [1, 1]
