"""Ctrl-C while a run begins: nothing of it is left, and it can be begun again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from ledger_judge import LONG, PATH, Ledger, wait_for

from tracking_core import Tracking, runs

FINALISERS = {"_on_let_go", "__del__"}


class InterruptsAt:
    """A trace function that raises KeyboardInterrupt before the n-th line of this project.

    Not in a finaliser, out of which the interpreter lets nothing: it prints what is raised there.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def __call__(self, where: types.FrameType, event: str, argument: object) -> object:
        if f"{os.sep}tracking_core{os.sep}" not in where.f_code.co_filename:
            return None
        if event == "call" and _is_in_a_finaliser(where):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt
        return self


def _is_in_a_finaliser(where: types.FrameType | None) -> bool:
    while where is not None and where.f_code.co_name not in FINALISERS:
        where = where.f_back
    return where is not None


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


class Means:
    """What this process holds."""

    def __init__(self) -> None:
        self.threads = threading.active_count()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.children = len(children())

    def are_given_back(self) -> bool:
        now = Means()
        return (
            now.threads <= self.threads
            and now.descriptors <= self.descriptors
            and now.children <= self.children
        )


def begin(tracking: Tracking, ledger: Ledger) -> None:
    options = {"ledger": {"ledger": str(ledger)}}
    tracking.init_trackers("p", config={"lr": 0.1}, init_kwargs=options)


@pytest.mark.parametrize("lane", ["inline", "thread", "process"])
def test_at_any_line(lane: str, ledger: Ledger, tmp_path: Path) -> None:
    tracking = Tracking("ledger", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    before = Means()
    at, again, pace = 0, 0, 1 if LONG else 2 if lane == "inline" else 6
    while True:
        at += pace
        interrupt = InterruptsAt(at)
        sys.settrace(interrupt)  # type: ignore[arg-type]  # returns itself
        try:
            begin(tracking, ledger)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            sys.settrace(None)
        assert not tracking._active
        if at % 24 == 0:
            begin(tracking, ledger)
            tracking.log({"n": at})
            tracking.end_training()
            again += 1
            wait_for(before.are_given_back, f"the end of what line {at} has left")
    assert interrupt.seen < at and at > 50
    tracking.log({"n": 0})
    tracking.end_training()
    wait_for(before.are_given_back, "the end of all")
    assert ledger.numbers == [*range(24, at, 24), 0]
    assert ledger.ends.count("finished") == again + 1
    ended = {
        line["native"] for line in ledger.lines if line.get("finish") in ("finished", "killed")
    }
    assert ledger.natives <= ended, "none is left behind as if it were running"


def test_whenever_it_comes(lane: str, ledger: Ledger) -> None:
    tracking = Tracking("ledger", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    before = Means()
    handled = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for number in range(57):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 * (number + 1))
                begin(tracking, ledger)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            if tracking.run_id is not None:
                tracking.end_training()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handled)
    assert interrupted > 5
    wait_for(before.are_given_back, "the end of all")
    assert not [run for run in runs._open.values() if not run.over and run.let_go]
    begin(tracking, ledger)
    tracking.log({"n": 1})
    tracking.end_training()
    assert ledger.numbers == [1] and ledger.ends[-1] == "finished"


TYPED = """
import os, sys, threading
sys.path.insert(0, {here!r})
from tracking_core import Tracking, register_tracker_class
from ledger_trackers import LedgerTracker
register_tracker_class(LedgerTracker)
tracking = Tracking("ledger", delivery={lane!r})
from tracking_core.journal.files import REAL
def slow(*arguments):
    del REAL.mkdir
    os.write(1, b"now\\n")
    threading.Event().wait(0.5)  # it is on a slow disk
    REAL.mkdir(*arguments)
REAL.mkdir = slow
try:
    tracking.init_trackers("p", init_kwargs={{"ledger": {{"ledger": {ledger!r}}}}})
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
left = [path for _, _, files in os.walk(os.environ["TRACKING_DIR"]) for path in files]
left.remove(".gitignore")  # which is the directory's, for all runs
assert {lane!r} == "thread" or not left, left
tracking.init_trackers("p", init_kwargs={{"ledger": {{"ledger": {ledger!r}}}}})
tracking.log({{"n": 1}})
tracking.end_training()
"""


def test_while_the_journal_is_made(lane: str, ledger: Ledger) -> None:
    here = str(Path(__file__).parent)
    program = TYPED.format(here=here, lane=lane, ledger=str(ledger))
    victim = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": PATH},
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"now\n"
    began = time.monotonic()
    victim.send_signal(signal.SIGINT)
    assert victim.stdout.readline() == b"interrupted\n"
    assert time.monotonic() - began < 10
    _, errors = victim.communicate(timeout=60)
    assert victim.returncode == 0, errors.decode()
    assert ledger.numbers == [1] and ledger.ends[-1] == "finished"
