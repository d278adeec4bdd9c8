"""Every way in which a training process can end, and what its forked workers may do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from ledger_judge import Ledger, Victim, first_seen, is_gone, started, wait_for

from tracking_core import Tracking

# Whoever dies before the delivery process has its order needs `recover`: see test_kill.py.
LOGGED = "\ntracking.flush(20)\nfor number in range(1, 101): log(number)\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", "finished"),
        ("sys.exit(0)", "finished"),
        ("raise ValueError('oh no')", "failed"),
        ("with tracking: raise ValueError('oh no')", "failed"),
        ("with tracking: sys.exit(3)", "failed"),
        ("with tracking: raise KeyboardInterrupt", "killed"),
        ("os._exit(0)", "killed"),
        ("os.kill(os.getpid(), 15)", "killed"),
        ("os.abort()", "killed"),
        ("import ctypes; ctypes.string_at(0)", "killed"),
    ],
    ids=["plain", "exit", "error", "with error", "with exit", "with ^C", "_exit", "term", "abort", "segfault"],
)  # fmt: skip
def test_however_training_ends_everything_is_delivered_and_the_run_ends_so(
    lane: str, ledger: Ledger, body: str, status: str
) -> None:
    victim = Victim(lane, LOGGED + body, ledger=ledger)
    assert victim.end() == list(range(1, 101))
    if lane == "process":
        wait_for(lambda: ledger.ends, "the native run's end")
        wait_for(lambda: all(map(is_gone, ledger.processes)), "the end of the delivery process")
    elif status == "killed" and "with" not in body:
        Tracking.recover(victim.run_dir)
        # The thread may have died between a batch and the note that it is delivered.
        assert first_seen(ledger.numbers) == list(range(1, 101)) and ledger.ends == [status]
        return
    assert ledger.numbers == list(range(1, 101)) and ledger.ends == [status]


LATE = """
import atexit, threading
class Last:
    def __del__(self, tracking=tracking): tracking.log({"late": 1})
last = sys.modules["somewhere"] = Last()
def for_ever(log=tracking.log):
    while True: log({"beside": 1})
threading.Thread(target=for_ever, daemon=True).start()
atexit.register(log, 101)
"""


def test_logging_while_the_interpreter_goes_down_hurts_nobody(lane: str, ledger: Ledger) -> None:
    victim = Victim(lane, LOGGED + LATE, ledger=ledger)
    # What atexit calls is called last in, first out: this was registered after the run's own end.
    assert victim.end() == list(range(1, 102))
    assert victim.process.returncode == 0 and "Traceback" not in victim.errors
    wait_for(lambda: ledger.ends, "the native run's end")
    assert ledger.numbers == list(range(1, 102)) and ledger.ends == ["finished"]


def test_an_interrupt_inside_log_is_the_user_s_and_costs_nothing(lane: str, ledger: Ledger) -> None:
    body = "\nwith tracking:\n    try: log_for_ever()\n    finally: os.write(2, b'it was seen')\n"
    victim = Victim(lane, body, ledger=ledger)
    victim.hear_numbers(500)
    acknowledged = victim.signal(signal.SIGINT)
    assert "it was seen" in victim.errors and "KeyboardInterrupt" in victim.errors
    wait_for(lambda: ledger.ends, "the end")
    assert ledger.ends == ["killed"]
    assert ledger.numbers == list(range(1, len(ledger.numbers) + 1))
    assert len(acknowledged) <= len(ledger.numbers) <= len(acknowledged) + 1


def test_an_exit_with_a_tracker_that_hangs_is_bounded(
    lane: str, ledger: Ledger, other: Ledger
) -> None:
    wrapper = "from tracking_core import facade; facade.SECONDS_AT_EXIT = 1.0\n"
    ledger.order("deliver", "hang")
    victim = Victim(lane, LOGGED.replace("20", "0.2"), wrapper, ledger=ledger, other=other)
    began = time.monotonic()
    victim.end()
    assert time.monotonic() - began < 8
    assert other.numbers == list(range(1, 101)) and other.ends == ["finished"]
    assert "tracking_core recover" in victim.errors
    ledger.withdraw("deliver")


FORKS = """
import multiprocessing
log(1)
handle = tracking.get_tracker("ledger")
for number in range(20):
    child = os.fork()
    if child == 0:
        tracking.log({"n": -1}); handle.log({"n": -2}); tracking.flush(1); tracking.end_training()
        (sys.exit if number % 2 else os._exit)(0)
    log(2 + number)
    os.waitpid(child, 0)
def work(number):
    tracking.log({"n": -3})
    return number
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(20))
log(22)
"""


def test_forked_workers_have_no_effect_on_their_parent_s_run(lane: str, ledger: Ledger) -> None:
    victim = Victim(lane, FORKS, ledger=ledger)
    assert victim.end() == list(range(1, 23)), victim.errors
    wait_for(lambda: ledger.ends, "the end")
    assert ledger.numbers == list(range(1, 23)) and ledger.ends == ["finished"]
    assert len(list(victim.run_dir.iterdir())) == 1, "no worker made a journal"


def test_a_worker_that_outlives_its_parent_does_not_hold_up_the_delivery(
    lane: str, ledger: Ledger
) -> None:
    body = """
log(1)
read, hold = os.pipe()
child = os.fork()
if child == 0:
    import threading
    os.close(1); os.close(2)
    threading.Event().wait(30)
    os._exit(0)
tracking.set_tags({"child": str(child)})
tracking.flush()
os.kill(os.getpid(), 9)
"""
    victim = Victim(lane, body, ledger=ledger)
    victim.end()
    if lane == "thread":
        Tracking.recover(victim.run_dir)
    wait_for(lambda: ledger.ends, "the end")
    child = int(ledger.all("tags")[0]["child"])
    assert not is_gone(child), "it was alive all the time"
    os.kill(child, signal.SIGKILL)
    assert ledger.numbers == [1] and ledger.ends == ["killed"]


def test_leaving_the_with_block_ends_the_run_only_once(lane: str, ledger: Ledger) -> None:
    with started(lane, ledger) as tracking:
        tracking.log({"n": 1})
        tracking.end_training()
    tracking.end_training("failed")
    tracking.log({"n": 2})
    assert ledger.numbers == [1] and ledger.ends == ["finished"]


def test_the_run_directory_is_where_the_environment_says(
    lane: str, ledger: Ledger, tmp_path: Path
) -> None:
    tracking = started(lane, ledger)
    assert tracking.run_dir is not None and tracking.run_dir.parent == tmp_path / "journals"
    tracking.end_training()
