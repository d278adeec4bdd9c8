"""What a tracker is told of the process that began the run, and what it says of that process."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import pytest
from ledger_judge import Ledger, wait_for
from ledger_trackers import LaunchTracker

from tracking_core import Tracking, TrackingWarning, register_tracker_class
from tracking_core.delivery import worker
from tracking_core.delivery.notes import read_manifest

pytestmark = pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")

HERE = {"pid": os.getpid(), "api_key": "s3cret"}


@pytest.fixture(autouse=True)
def _known(_registered: None) -> None:
    register_tracker_class(LaunchTracker)


def begun(lane: str, ledger: Ledger) -> Tracking:
    tracking = Tracking("launch", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    tracking.init_trackers("p", init_kwargs={"launch": {"ledger": str(ledger)}})
    return tracking


def starts(ledger: Ledger) -> list[tuple[Any, Any]]:
    return [(line["launch"], line["late"]) for line in ledger.lines if "launch" in line]


@pytest.mark.parametrize("lane", ["inline", "thread", "process"])
def test_a_start_knows_of_the_process_that_began_the_run(lane: str, ledger: Ledger) -> None:
    begun(lane, ledger).end_training()
    # An object can't travel, and nobody asks for it in vain.
    assert starts(ledger) == [(HERE, False)]
    assert (ledger.processes == {os.getpid()}) == (lane != "process")


@pytest.mark.usefixtures("impatient")
def test_so_does_each_retry_and_a_recovery_which_is_late(
    lane: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.order("start", "forbidden")
    tracking = begun(lane, ledger)
    wait_for(lambda: len(starts(ledger)) >= 2, "a second start")
    assert starts(ledger)[:2] == [(HERE, False)] * 2
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    (spec,) = read_manifest(writer).trackers
    assert spec.launch == HERE | {"api_key": "***"}, "what is kept holds no secret"
    if lane == "thread":
        monkeypatch.setattr(worker, "SECONDS_UNTIL_LATE", -1.0)
        before = len(starts(ledger))
        wait_for(lambda: len(starts(ledger)) > before + 1, "a late start")
        assert starts(ledger)[-1] == (HERE, True)
        monkeypatch.undo()
        tracking.end_training(timeout=1)
        wait_for(lambda: tracking.status()["launch"].state == "stopped", "the thread's end")
        ledger.withdraw("start")
        Tracking.recover(tracking.run_dir)
        assert starts(ledger)[-1] == ({"pid": os.getpid()}, True)
    else:
        ledger.withdraw("start")
        wait_for(lambda: tracking.status()["launch"].state == "running", "the start")
        tracking.end_training()
    assert ledger.ends == ["finished"]


def test_what_it_remarks_is_said_once(lane: str, ledger: Ledger) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = begun(lane, ledger)
        wait_for(lambda: len(said) >= 2, "the remarks")
        tracking.log({"n": 1})
        tracking.flush()
        again = time.monotonic() + 1.2  # two looks
        wait_for(lambda: time.monotonic() > again, "two more looks")
        tracking.end_training()
    (native,) = ledger.natives
    assert [str(one.message) for one in said] == ["a remark", f"this is run {native}"]


def test_a_short_run_hears_it_at_its_end(ledger: Ledger) -> None:
    with pytest.warns(TrackingWarning, match="a remark"):
        begun("inline", ledger).end_training()
    with pytest.warns(TrackingWarning, match="a remark"):
        begun("thread", ledger).end_training()


def test_a_strangers_errors_cost_nothing_else(lane: str, ledger: Ledger) -> None:
    class Broken(LaunchTracker):
        def at_launch(self) -> dict[str, Any]:
            raise RuntimeError("no")

        def remarks(self, identity: object) -> list[str]:
            raise RuntimeError("no")

    with pytest.warns(TrackingWarning, match="needs of this process"):
        tracking = Tracking(Broken("p", ledger=str(ledger)), delivery=lane)  # type: ignore[arg-type]  # likewise
        tracking.init_trackers("p")
    tracking.log({"n": 1})
    tracking.end_training()
    assert (ledger.numbers, ledger.ends) == ([1], ["finished"])
