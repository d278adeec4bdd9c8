"""What becomes of records that a tracker refuses: nothing is stuck, nothing is buried for nothing,
and nothing that was taken is given again."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ledger_judge import wait_for

from tracking_core import Tracking, TrackingWarning, UnfitValueError
from tracking_core.faults import Fault
from tracking_core.journal import DeadLetters
from tracking_core.records import Log, Record, Status, flat
from tracking_core.testing import MemoryTracker

pytestmark = pytest.mark.usefixtures("impatient")


class PickyTracker(MemoryTracker):
    """Raises what `trouble` gives for a row's ``n``, and stops in the middle of a batch there.

    Args:
        counts: whether it says how far it came.
    """

    name = "picky"

    def __init__(
        self, trouble: Callable[[int], BaseException | None], *, counts: bool = False
    ) -> None:
        super().__init__()
        self.trouble = trouble
        self.counts = counts
        self.tries = 0
        self.whole = False
        self.ends: Callable[[], BaseException | None] = lambda: None

    def deliver(self, records: Sequence[Record]) -> None:
        self.tries += 1
        if self.whole:  # like a library that looks at everything first
            for record in records:
                self._refuse(record)
        for record in records:
            self._refuse(record)
            self.records.append(record)
            self.taken += self.counts

    def finish(self, status: Status = "finished") -> None:
        error = self.ends()
        if error is not None:
            raise error
        super().finish(status)

    def _refuse(self, record: Record) -> None:
        if isinstance(record, Log):
            error = self.trouble(dict(flat(record.values)).get("n", -1))
            if error is not None:
                raise error


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackingWarning)
        yield


def run(tracker: MemoryTracker, rows: int) -> Tracking:
    tracking = Tracking(tracker, delivery="thread")
    tracking.init_trackers("p")
    for number in range(rows):
        tracking.log({"n": number})
    return tracking


def buried(tracking: Tracking) -> list[int]:
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    return [letter.seq for letter in DeadLetters(writer, "picky").list()]


def passing(n: int, down: list[int]) -> BaseException | None:
    """Trouble as often as `n` is in `down`."""
    if n not in down:
        return None
    down.remove(n)
    return ConnectionError("down")


def refusing(*bad: int, error: Callable[[], BaseException]) -> Callable[[int], Any]:
    return lambda n: error() if n in bad else None


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError, lambda: UnfitValueError("no")])
@pytest.mark.parametrize("bad", [(500,), (0,), (0, 1, 2), (499, 500, 998)])
def test_only_what_is_to_blame_is_buried_whatever_the_error(
    error: Callable[[], BaseException], bad: tuple[int, ...], quiet: None
) -> None:
    tracker = PickyTracker(refusing(*bad, error=lambda: NotADirectoryError("in the way")))
    if error is not OSError:
        tracker.trouble = refusing(*bad, error=error)
    tracker.whole = True
    tracking = run(tracker, 1000)
    tracking.end_training()
    assert sorted(tracker.values("n")) == [n for n in range(1000) if n not in bad]
    assert buried(tracking) == [n + 1 for n in bad]
    assert tracking.status()["picky"].failed == len(bad)
    assert tracker.status == "finished"
    assert tracker.tries < 200, "a batch is halved, and not delivered one by one"


def test_what_refuses_everything_buries_nothing_and_goes_on_when_it_is_over(quiet: None) -> None:
    gone = [True]
    tracker = PickyTracker(lambda n: LookupError("the run was deleted") if gone else None)
    tracking = run(tracker, 100)
    wait_for(lambda: tracker.tries > 40, "many tries")
    status = tracking.status()["picky"]
    assert (status.failed, status.pending, status.fault) == (0, 100, "run")
    gone.clear()
    assert tracking.flush(10)
    tracking.end_training()
    # One of them may have been the probe that it took first.
    assert sorted(tracker.values("n")) == list(range(100)) and buried(tracking) == []


def test_what_has_just_passed_blames_no_record(quiet: None) -> None:
    gone = [True]

    def back_in_the_moment_of_the_probe(n: int) -> BaseException | None:
        if n and gone:
            gone.clear()
        return LookupError("the run was deleted") if gone else None

    tracker = PickyTracker(back_in_the_moment_of_the_probe)
    tracker.whole = True
    tracking = run(tracker, 1)
    wait_for(lambda: tracker.tries > 4, "refusals of the only record")
    for number in range(1, 10):
        tracking.log({"n": number})
    tracking.end_training()
    assert sorted(tracker.values("n")) == list(range(10)) and buried(tracking) == []


@pytest.mark.parametrize("refusals", [4, 5])
def test_what_has_just_passed_at_the_end_blames_no_record_either(
    refusals: int, quiet: None
) -> None:
    left = [LookupError("the run was deleted")] * refusals
    tracker = PickyTracker(lambda n: left.pop() if left else None)
    tracking = run(tracker, 1)
    tracking.end_training()
    assert tracker.values("n") == [0] and buried(tracking) == []
    assert tracker.status == "finished"


def test_a_run_that_is_gone_for_good_keeps_what_is_left_for_recover(quiet: None) -> None:
    tracker = PickyTracker(lambda n: LookupError("deleted") if n >= 10 else None, counts=True)
    tracker.ends = lambda: LookupError("deleted")
    tracking = run(tracker, 13)
    tracking.end_training(timeout=3)
    status = tracking.status()["picky"]
    assert status.state in ("stopped", "retrying") and status.failed == 0
    assert tracker.values("n") == list(range(10)) and buried(tracking) == []


@pytest.mark.parametrize("bad", [(99,), (98, 99)])
def test_the_last_records_are_buried_if_the_run_lets_itself_be_ended(
    bad: tuple[int, ...], quiet: None
) -> None:
    tracker = PickyTracker(refusing(*bad, error=RuntimeError), counts=True)
    tracking = run(tracker, 100)
    tracking.end_training("failed")
    assert tracking.status()["picky"].state == "ended" and tracker.status == "failed"
    assert buried(tracking) == [n + 1 for n in bad]
    assert tracker.values("n") == [n for n in range(100) if n not in bad]


def test_a_server_that_is_down_buries_nothing_also_at_the_end(quiet: None) -> None:
    tracker = PickyTracker(lambda n: ConnectionError("down") if n >= 5 else None, counts=True)
    tracker.ends = lambda: ConnectionError("down")
    tracking = run(tracker, 10)
    wait_for(lambda: tracker.tries > 30, "many tries")
    tracking.end_training(timeout=2)
    status = tracking.status()["picky"]
    assert (status.pending, status.failed, status.fault) == (6, 0, "server")
    assert tracker.values("n") == list(range(5)) and buried(tracking) == []


@pytest.mark.parametrize("bad", [5, 9])
def test_a_record_that_the_server_never_takes_holds_up_the_others_no_longer_than_it_must(
    bad: int, quiet: None
) -> None:
    tracker = PickyTracker(refusing(bad, error=lambda: ConnectionError("500")), counts=True)
    tracking = run(tracker, 10)
    tracking.end_training()
    assert sorted(tracker.values("n")) == [n for n in range(10) if n != bad]
    assert buried(tracking) == [bad + 1] and tracking.status()["picky"].state == "ended"


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_fails_half_of_the_time_buries_nothing(seed: int, quiet: None) -> None:
    class Flaky(PickyTracker):
        def deliver(self, records: Sequence[Record]) -> None:
            if chance.random() < 0.5:
                raise ConnectionError("500")
            super().deliver(records)

    chance = random.Random(seed)
    tracker = Flaky(lambda n: None)
    tracking = Tracking(tracker, delivery="thread")
    tracking.init_trackers("p")
    for number in range(30):
        tracking.log({"n": number})
        assert tracking.flush(20)
    tracking.end_training()
    assert tracker.values("n") == list(range(30)) and buried(tracking) == []


def test_what_a_tracker_has_taken_of_a_batch_is_not_given_again(quiet: None) -> None:
    down = [n for n in range(100) if n % 10 == 5] * 3
    tracker = PickyTracker(lambda n: passing(n, down), counts=True)
    tracking = run(tracker, 100)
    tracking.end_training()
    assert tracker.values("n") == list(range(100)), "nothing twice, nothing out of order"
    assert not down and tracking.status()["picky"].delivered == 100


def test_a_tracker_that_takes_one_after_the_other_counts_by_itself(
    quiet: None, tmp_path: Path
) -> None:
    from tracking_core import GeneralTracker

    class Lines(GeneralTracker):
        name = "picky"
        requires_logging_directory = False
        tracker = None

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[int] = []
            self.down = [n for n in range(100) if n % 7 == 3] * 2

        def log(self, values: Any, step: int | None = None, **kwargs: Any) -> None:
            error = passing(values["n"], self.down)
            if error is not None:
                raise error
            self.lines.append(values["n"])

    tracker = Lines()
    tracking = Tracking(tracker, delivery="thread")
    tracking.init_trackers("p")
    for number in range(100):
        tracking.log({"n": number})
    tracking.end_training()
    assert tracker.lines == list(range(100)) and not tracker.down


@pytest.mark.parametrize("said", ["record", "run", "server"])
def test_a_tracker_says_itself_whose_fault_it_is(said: Fault, quiet: None) -> None:
    class Knows(PickyTracker):
        def fault(self, error: BaseException) -> Fault:
            return said

    tracker = Knows(refusing(4, error=RuntimeError))
    tracking = run(tracker, 10)
    wait_for(lambda: tracker.tries > 8, "some tries")
    if said == "server":
        assert tracking.status()["picky"].fault == "server"
        tracker.trouble = lambda n: None
    tracking.end_training()
    assert buried(tracking) == ([] if said == "server" else [5])
    assert tracking.status()["picky"].state == "ended"


def test_an_answer_of_fault_that_is_none_is_passed_over(quiet: None) -> None:
    class Broken(PickyTracker):
        def fault(self, error: BaseException) -> Any:
            if self.tries % 2:
                raise ValueError("no idea")
            return "nobody"

    tracker = Broken(refusing(4, error=lambda: UnfitValueError("no")))
    tracking = run(tracker, 10)
    tracking.end_training()
    assert buried(tracking) == [5] and tracking.status()["picky"].state == "ended"


class Busy(Exception):
    """Of an HTTP library, for an answer that says when to come again."""

    status_code = 429
    headers: Mapping[str, str] = {"Retry-After": "1"}


def test_a_server_that_says_when_to_come_again_is_left_alone_until_then() -> None:
    times: list[float] = []

    def trouble(number: int) -> BaseException | None:
        times.append(time.monotonic())
        return Busy("too many requests") if len(times) < 3 else None

    picky = PickyTracker(trouble)
    tracking = Tracking(picky)
    tracking.init_trackers("p")
    tracking.log({"n": 1})
    assert tracking.flush(30)
    tracking.end_training()
    assert [late - early >= 1.0 for early, late in pairwise(times)] == [True, True]
