"""A run that nobody ended knows how its program ended."""

from __future__ import annotations

import builtins
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest

from tracking_core import Tracking, exits
from tracking_core.testing import MemoryTracker

PROGRAM = """
import argparse, asyncio, atexit, contextlib, os, sys, threading
from tracking_core import Tracking
from tracking_core.testing import MemoryTracker

class Talking(MemoryTracker):
    def finish(self, status="finished"):
        print(status, flush=True)

tracking = Tracking(Talking(), delivery="inline")

def begin():
    tracking.init_trackers("p")
    tracking.log({"a": 1})

def steps():
    with tracking:
        begin()
        yield

def main(code=0):
    mine = Tracking(Talking(), delivery="inline")
    mine.init_trackers("p")
    mine.log({"a": 1})
    return code
"""


def last_words(body: str) -> tuple[str, int]:
    """The status that the run of a program ended with, and the exit status of the program."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + body], capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip(), done.returncode


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("begin()", "finished", 0),
        ("begin(); sys.exit()", "finished", 0),
        ("begin(); sys.exit(0)", "finished", 0),
        ("begin(); sys.exit(False)", "finished", 0),
        ("begin(); exit()", "finished", 0),
        ("begin(); sys.exit(3)", "failed", 3),
        ("begin(); sys.exit('no such file')", "failed", 1),
        ("begin(); sys.exit('')", "failed", 1),
        ("begin(); exit(4)", "failed", 4),
        ("begin(); quit('enough')", "failed", 1),
        ("begin(); argparse.ArgumentParser().parse_args(['--oh'])", "failed", 2),
        ("begin(); asyncio.run(asyncio.sleep(0)); sys.exit(5)", "failed", 5),
        ("begin(); raise ValueError", "failed", 1),
        ("begin()\ntry: 1 / 0\nexcept Exception: sys.exit(6)", "failed", 6),
        ("begin()\ntry: 1 / 0\nexcept Exception: os._exit(0)", "", 0),
        ("code = main(); sys.exit(code)", "finished", 0),
        ("code = main(7); sys.exit(code)", "failed", 7),
        ("sys.exit(main(0))", "finished", 0),
        ("sys.exit(main(7))", "failed", 7),
        ("exit(main(7))", "failed", 7),
        ("main(); raise ValueError", "failed", 1),
        ("for _ in steps(): break", "finished", 0),
        ("with tracking: begin(); raise SystemExit(8)", "failed", 8),
    ],
)
def test_what_ends_the_program_says_how_its_run_ended(body: str, status: str, code: int) -> None:
    assert last_words(body) == (status, code)


LET_GO_WHILE_IT_STARTS = """
from tracking_core import runs
runs.SECONDS_TO_TELL = 0.1

class Slow(Talking):
    def start(self):
        while not runs._exit.begun:
            threading.Event().wait(0.01)
        threading.Event().wait(0.3)  # longer than it is waited for what the program says of the run

def main():
    mine = Tracking(Slow(), delivery="thread")
    mine.init_trackers("p")
    mine.log({"a": 1})
    return 3

sys.exit(main())
"""


def test_it_counts_however_long_the_library_takes_to_start() -> None:
    assert last_words(LET_GO_WHILE_IT_STARTS) == ("failed", 3)


def test_ctrl_c_has_killed_it() -> None:
    assert last_words("begin(); raise KeyboardInterrupt")[0] == "killed"


COROUTINE = """
async def leave(): sys.exit(3)
begin()
asyncio.run(leave())
"""
CLEANING_UP = """
begin()
try: sys.exit(3)
finally: tracking.log({"late": 1})
"""
HELD_BY_ITS_OWN_FRAME = """
def leave():
    try: sys.exit(3)
    except SystemExit as error:
        mine = error
        raise
begin()
leave()
"""


@pytest.mark.parametrize("body", [COROUTINE, CLEANING_UP, HELD_BY_ITS_OWN_FRAME])
def test_an_exit_that_goes_a_long_way_counts(body: str) -> None:
    assert last_words(body) == ("failed", 3)


JOB = """
def job(error=None):
    mine = Tracking(Talking(), delivery="thread")
    mine.init_trackers("p")
    mine.log({"a": 1})
    if error: raise error

def framework(*errors):
    try:
        for error in errors: job(error)
        raise ValueError("one of the jobs, which may be another")
    except Exception:
        sys.exit(1)

"""


@pytest.mark.parametrize("error, status", [("None", "finished"), ("ValueError()", "failed")])
def test_the_error_of_another_job_is_not_its_own(error: str, status: str) -> None:
    assert last_words(f"{JOB}framework({error})") == (status, 1)


CAUGHT = """
begin()
try: argparse.ArgumentParser().parse_args(["--oh"])
except SystemExit: pass
"""
CAUGHT_AND_KEPT = """
begin()
try: sys.exit(3)
except SystemExit as error: kept = error
tracking.log({"a": 2})
"""
IN_A_THREAD = """
begin()
thread = threading.Thread(target=sys.exit, args=(3,))
thread.start(); thread.join()
"""
BEFORE_IT_BEGAN = """
with contextlib.suppress(SystemExit): sys.exit(3)
begin()
"""
CAUGHT_AND_THEN = """
begin()
with contextlib.suppress(SystemExit): sys.exit(3)
sys.exit(0)
"""


@pytest.mark.parametrize(
    "body", [CAUGHT, CAUGHT_AND_KEPT, IN_A_THREAD, BEFORE_IT_BEGAN, CAUGHT_AND_THEN]
)
def test_an_exit_that_did_not_end_the_program_does_not_count(body: str) -> None:
    assert last_words(body) == ("finished", 0)


class TestSysExitIsAsItWas:
    @pytest.fixture
    def tracking(self, memory: MemoryTracker) -> Tracking:
        return Tracking(memory, delivery="inline")

    @pytest.mark.parametrize("leave", [sys.exit, builtins.exit, builtins.quit])
    @pytest.mark.parametrize("code", [None, 0, 3, "words", (1, 2), object()])
    def test_it_raises_the_same(
        self, tracking: Tracking, code: object, leave: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the module `site` brings closes standard input.
        monkeypatch.setattr(sys, "stdin", None)
        tracking.init_trackers("p")
        leave = sys.exit if leave is sys.exit else leave
        with pytest.raises(SystemExit) as raised:
            leave(code)
        tracking.end_training()
        assert type(raised.value) is SystemExit
        assert raised.value.code is code
        assert vars(raised.value) == {}

    def test_it_looks_the_same(self) -> None:
        assert sys.exit is exits._exit
        assert (sys.exit.__name__, sys.exit.__module__) == ("exit", "sys")
        assert pickle.loads(pickle.dumps(sys.exit)) is sys.exit
        assert "SystemExit" in str(sys.exit.__doc__)

    def test_what_others_put_in_its_place_stays(
        self, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, codes = sys.exit, []

        def theirs(code: object = None) -> None:
            codes.append(code)
            ours(code)

        monkeypatch.setattr(sys, "exit", theirs)
        tracking.init_trackers("p")
        assert sys.exit is theirs, "which calls ours"
        with pytest.raises(SystemExit):
            sys.exit(3)
        tracking.end_training()
        assert sys.exit is theirs and codes == [3]

    def test_a_library_that_puts_back_the_first_one_takes_nothing_from_it(
        self, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours: Any = sys.exit
        monkeypatch.setattr(sys, "exit", ours.__wrapped__)
        tracking.init_trackers("p")
        assert sys.exit is ours
        tracking.end_training()

    def test_other_threads_may_leave(self, tracking: Tracking) -> None:
        tracking.init_trackers("p")
        raised: list[BaseException] = []

        def leave() -> None:
            try:
                sys.exit(3)
            except SystemExit as error:
                raised.append(error)

        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        tracking.end_training()
        assert [error.code for error in raised if isinstance(error, SystemExit)] == [3]
