"""A server that many runs ask gets what is logged in batches, seconds apart, and none of it late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
from ledger_judge import wait_for

from tracking_core import Tracking, TrackingWarning
from tracking_core.records import Record
from tracking_core.testing import MemoryTracker

LONG = 600.0  # a test that waited for it would fail


class PacedTracker(MemoryTracker):
    """Notes when it was given something, and how much."""

    name = "paced"

    def __init__(self, pace: float = LONG) -> None:
        super().__init__()
        self.pace = pace
        self.given: list[tuple[float, int]] = []

    def deliver(self, records: Sequence[Record]) -> None:
        self.given.append((time.monotonic(), len(records)))
        super().deliver(records)


def run(tracker: PacedTracker) -> Tracking:
    tracking = Tracking(tracker, delivery="thread")
    tracking.init_trackers("p")
    tracking.log({"n": 0})
    wait_for(lambda: tracker.given, "the first row, at once", 5)
    return tracking


def test_the_first_row_goes_at_once_and_what_follows_together() -> None:
    tracker = PacedTracker(pace=1.5)
    tracking = run(tracker)
    for number in range(1, 40):
        tracking.log({"n": number})
    wait_for(lambda: len(tracker.values("n")) == 40, "all rows", 10)
    (first, one), (second, others) = tracker.given
    assert (one, others) == (1, 39)
    assert second - first >= 1.5
    tracking.end_training()


@pytest.mark.parametrize(
    "last", [lambda tracking: tracking.flush(10), lambda tracking: tracking.end_training()]
)
def test_whoever_waits_does_not_wait_for_the_pace(last: Callable[[Tracking], object]) -> None:
    tracker = PacedTracker()
    tracking = run(tracker)
    tracking.log({"n": 1})
    last(tracking)
    assert tracker.values("n") == [0, 1]
    tracking.end_training()
    assert tracker.status == "finished"


def test_after_a_flush_the_pace_is_kept_again() -> None:
    tracker = PacedTracker(pace=1.0)
    tracking = run(tracker)
    tracking.log({"n": 1})
    assert tracking.flush(10)
    tracking.log({"n": 2})
    wait_for(lambda: len(tracker.given) == 3, "the third", 10)
    (_, second, third) = (when for when, _ in tracker.given)
    assert third - second >= 1.0
    tracking.end_training()


def test_a_backlog_goes_in_batches_one_after_the_other() -> None:
    tracker = PacedTracker()
    tracking = run(tracker)
    for number in range(1, 3501):
        tracking.log({"n": number})
    assert tracking.flush(20)
    assert [rows for _, rows in tracker.given] == [1, 1000, 1000, 1000, 500]
    tracking.end_training()


class SilentTracker(PacedTracker):
    """Its server takes a request, and does not answer before it is `released`."""

    name = "silent"

    def __init__(self) -> None:
        super().__init__(pace=0.1)
        self.released = threading.Event()

    def deliver(self, records: Sequence[Record]) -> None:
        self.released.wait(30)
        super().deliver(records)


def test_a_server_that_does_not_answer_is_spoken_of_before_the_call_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracking_core.delivery.watch.SECONDS_OF_A_SLOW_CALL", 0.3)
    tracker = SilentTracker()
    with pytest.warns(TrackingWarning, match="'silent': its server has not answered for"):
        tracking = Tracking(tracker, delivery="thread")
        tracking.init_trackers("p")
        tracking.log({"n": 0})
        wait_for(lambda: tracking.status()["silent"].busy > 1.0, "a call that takes long")
        tracker.released.set()
        tracking.end_training()
    assert tracking.status()["silent"].busy == 0.0
