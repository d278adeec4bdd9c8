"""A run that nobody holds any more ends by itself, and holds up nobody."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from ledger_judge import LONG, Ledger, Victim, is_gone, started, wait_for

from tracking_core import Tracking, register_tracker_class, runs
from tracking_core.testing import MemoryTracker


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for what the program may say of the run."""
    monkeypatch.setattr(runs, "SECONDS_TO_TELL", 0.0)


@pytest.fixture
def opened() -> Callable[[], list[runs.Run]]:
    """The open runs of this test: others may have left one that is for ever open."""
    before = list(runs._open.values())
    return lambda: [run for run in runs._open.values() if run not in before]


Opened: TypeAlias = Callable[[], list[runs.Run]]


@pytest.fixture(autouse=True)
def _nobody_waits_for_a_journal_that_is_deleted(opened: Opened, tmp_path: Path) -> Iterator[None]:
    yield
    wait_for(lambda: not [run for run in opened() if run.let_go], "the end of all that was let go")


def has_ended(ledger: Ledger, lane: str) -> None:
    wait_for(lambda: ledger.ends, "the end of the run")
    if lane == "process":
        wait_for(lambda: all(map(is_gone, ledger.processes)), "the end of the delivery process")


def test_it_is_finished_and_complete(lane: str, ledger: Ledger, opened: Opened) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    tracking = started(lane, ledger)
    for number in range(100):
        tracking.log({"n": number})
    began = time.monotonic()
    del tracking
    assert time.monotonic() - began < 0.5, "nobody waits for it"
    has_ended(ledger, lane)
    assert ledger.numbers == list(range(100)) and ledger.ends == ["finished"]
    wait_for(lambda: threading.active_count() == threads, "the end of the threads")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not opened()


@pytest.mark.usefixtures("soon")
def test_a_cycle_of_references_is_ended_when_it_is_collected(lane: str, ledger: Ledger) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.itself, self.tracking = self, started(lane, ledger)

    Trainer().tracking.log({"n": 1})
    gc.collect()
    has_ended(ledger, lane)
    assert ledger.numbers == [1] and ledger.ends == ["finished"]


@pytest.mark.usefixtures("soon")
def test_a_handle_keeps_it_open(lane: str, ledger: Ledger, opened: Opened) -> None:
    handle = started(lane, ledger).get_tracker("ledger")
    handle.log({"n": 1})
    log = handle.log
    del handle
    log({"n": 2})
    (run,) = opened()
    assert not run.let_go
    del log, run
    has_ended(ledger, lane)
    assert ledger.numbers == [1, 2] and ledger.ends == ["finished"]
    wait_for(lambda: not opened(), "the end of it all")


def test_a_method_of_it_keeps_it_open(lane: str, ledger: Ledger, opened: Opened) -> None:
    log = started(lane, ledger).log
    (run,) = opened()
    log({"n": 1})
    assert not run.let_go
    end = log.__self__.end_training  # type: ignore[attr-defined]  # it is a method
    end()
    assert ledger.numbers == [1] and ledger.ends == ["finished"]


NATIVE = """
native = tracking.get_tracker("ledger"){how}
log(1)
del tracking, log
import gc; gc.collect()
from tracking_core import runs
(run,) = runs._open.values()
assert not run.let_go
"""


@pytest.mark.parametrize("how", [".tracker", ".run_name"])
def test_who_has_the_library_s_own_object_keeps_it_open(ledger: Ledger, how: str) -> None:
    victim = Victim("thread", NATIVE.format(how=how), ledger=ledger)
    victim.end()
    assert victim.process.returncode == 0, victim.errors
    assert ledger.numbers == [1] and ledger.ends == ["finished"], "the exit ended it"


def test_the_next_run_ends_those_before_and_they_do_not_pile_up(
    lane: str, tmp_path: Path, opened: Opened
) -> None:
    ledgers = [Ledger(tmp_path / f"ledger-{number}") for number in range(5)]
    threads = threading.active_count()
    for number, ledger in enumerate(ledgers):
        tracking = started(lane, ledger)  # as in a cell of a notebook that is run again
        tracking.log({"n": number})
        assert len(opened()) <= 3, "this one, the one before, which was held, and one on its way"
    tracking.end_training()
    for number, ledger in enumerate(ledgers):
        has_ended(ledger, lane)
        assert ledger.numbers == [number] and ledger.ends == ["finished"]
    wait_for(lambda: threading.active_count() == threads, "the end of the threads")


def test_one_whose_tracker_is_down_does_not_hold_up_the_next(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, opened: Opened
) -> None:
    def begin(book: Ledger) -> Tracking:
        tracking = started(lane, book)
        tracking.log({"n": 1})
        return tracking

    ledger.order("start", "down")
    for _ in range(3):
        tracking = begin(ledger)
        wait_for(lambda status=tracking.status: status()["ledger"].last_error, "the trouble")
    began = time.monotonic()
    tracking = begin(other)
    assert time.monotonic() - began < runs.SECONDS_FOR_THE_ONE_BEFORE
    tracking.end_training()
    assert other.ends == ["finished"]
    ledger.withdraw("start")
    wait_for(lambda: len(ledger.ends) == 3, "the end of all")
    wait_for(lambda: not opened(), "the end of all")


def is_removed(journal: Path) -> bool:
    shutil.rmtree(journal, ignore_errors=True)  # whoever delivers may be writing to it
    return not journal.exists()


@pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
def test_those_that_hang_or_lost_their_journal_do_not_hold_up_the_next(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, opened: Opened
) -> None:
    ledger.order("start", "hang")
    for _ in range(2):
        tracking = started(lane, ledger)
        wait_for(lambda status=tracking.status: status()["ledger"].state == "hung", "the trouble")
    tracking = started(lane, other)  # which lets go of the second
    journals = [tracking.run_dir]
    for _ in range(2):
        tracking = started(lane, other)
        journals.append(tracking.run_dir)
    for journal in journals:
        wait_for(lambda journal=journal: is_removed(journal), "the loss of the journal")
    began = time.monotonic()
    tracking = started(lane, other)
    assert time.monotonic() - began < runs.SECONDS_FOR_THE_ONE_BEFORE
    tracking.end_training()
    ledger.withdraw("start")
    wait_for(lambda: len(ledger.ends) == 2, "the end of those that hung")
    wait_for(lambda: len(opened()) <= len(journals), "the end of those that hung")
    for run in opened():
        run.end("finished", 0.1)  # they would wait for their journal for ever


def test_in_the_inline_lane_the_caller_ends_it(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    del tracking
    assert memory.calls == ["start"]
    other = Tracking(MemoryTracker(), delivery="inline")
    other.init_trackers("p")
    assert memory.calls == ["start", "finish"] and memory.status == "finished"
    other.end_training()


DOWN = """
log(1)
import pathlib
pathlib.Path(str(options["ledger"]["ledger"]) + ".deliver").write_text("down")
log(2)
del tracking, log
"""


def test_the_exit_waits_for_it_within_bounds_and_says_what_is_left(
    lane: str, ledger: Ledger
) -> None:
    wrapper = "from tracking_core import facade; facade.SECONDS_AT_EXIT = 1.0\n"
    victim = Victim(lane, DOWN, wrapper, ledger=ledger)
    began = time.monotonic()
    victim.end()
    assert time.monotonic() - began < 10
    assert "tracking_core recover" in victim.errors and "Traceback" not in victim.errors
    ledger.withdraw("deliver")
    if lane == "thread":
        Tracking.recover(victim.run_dir)
    has_ended(ledger, lane)
    assert ledger.numbers == [1, 2] and ledger.ends == ["finished"]


class CollectsAt:
    """A trace function that has the garbage collected before the n-th line of this project's."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def __call__(self, where: types.FrameType, event: str, argument: object) -> object:
        if "tracking_core" not in where.f_code.co_filename:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.at:
                gc.collect()
        return self


def throw_away() -> MemoryTracker:
    """The tracker of a run that only the garbage collection will find."""
    tracker = MemoryTracker()
    tracking = Tracking(tracker, delivery="thread")
    tracking.init_trackers("thrown away")
    tracking.log({"a": 1})
    tracking.itself = tracking  # type: ignore[attr-defined]  # the point of the test
    return tracker


def use(tracking: Tracking) -> None:
    tracking.log({"a": 1}, step=0)
    tracking.log({"a": [object()], "b": "text", "c": {"d": 1.5}}, log_kwargs={"memory": {"x": 1}})
    tracking.set_tags(["tag"])
    tracking.status()


def end(tracking: Tracking) -> None:
    tracking.end_training()


@pytest.fixture(params=["program", "task"])
def role(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "task":
        monkeypatch.setattr(runs, "_forked", True)
        monkeypatch.setattr(runs, "SECONDS_OF_A_TASK", 1.0)
    yield request.param


@pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("action", "pace"), [(use, 3 if LONG else 11), (end, 5 if LONG else 11)])
def test_it_may_be_collected_at_any_line_of_another_run_s(
    role: str, action: Callable[[Tracking], None], pace: int, opened: Opened
) -> None:
    register_tracker_class(MemoryTracker)
    at, thrown = 1, []
    gc.disable()
    try:
        while True:
            mine = MemoryTracker()
            tracking = Tracking(mine, delivery="thread")
            tracking.init_trackers("p")
            thrown.append(throw_away())
            collect = CollectsAt(at)
            sys.settrace(collect)  # type: ignore[arg-type]  # returns itself
            try:
                action(tracking)
            finally:
                sys.settrace(None)
            tracking.end_training()
            assert mine.status == "finished"
            if collect.seen < at:
                break
            at += pace
    finally:
        gc.enable()
    gc.collect()
    for tracker in thrown:
        wait_for(lambda tracker=tracker: tracker.calls[-1] == "finish", "its end")
        assert tracker.status == "finished" and tracker.values("a") == [1]
    assert at > 50
    wait_for(lambda: not opened(), "the end of all")
