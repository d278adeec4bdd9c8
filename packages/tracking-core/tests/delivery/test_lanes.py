"""What both lanes promise: everything arrives in order, and nobody hurts anybody."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_judge import Ledger, duplicates, started, wait_for
from ledger_trackers import LedgerTracker

from tracking_core import NotStartedError, Tracking, TrackingWarning
from tracking_core.delivery.remarks import Remarks
from tracking_core.journal import Damage, Entry, Reader
from tracking_core.testing import MemoryTracker, MisbehavingTracker


def test_a_tracker_knows_which_process_trains(lane: str, ledger: Ledger) -> None:
    started(lane, ledger).end_training()
    assert ledger.all("trains") == [os.getpid()]


def test_everything_arrives_in_order_and_exact(lane: str, ledger: Ledger, other: Ledger) -> None:
    tracking = started(lane, ledger, other)
    times = []
    for number in range(2000):
        before = time.time()
        tracking.log({"n": number, "x": number / 3}, step=number * 2 if number % 2 else None)
        times.append((before, time.time()))
    tracking.set_tags(["good"])
    assert tracking.flush(30)
    wait_for(lambda: all(one.delivered == 2002 for one in tracking.status().values()), "the counts")
    status = tracking.status()
    assert {name: one.state for name, one in status.items()} == {
        "ledger": "running",
        "other": "running",
    }
    assert all((one.delivered, one.pending) == (2002, 0) for one in status.values())
    before = time.time()
    tracking.end_training("failed")
    after = time.time()
    for book in (ledger, other):
        assert book.numbers == list(range(2000))
        assert before <= book.lines[-1]["at"] <= after, "trackers learn when the run ended"
        assert book.all("config") == [{"lr": 0.1}] and book.all("tags") == [{"good": None}]
        position = -1
        for number, (row, (earliest, latest)) in enumerate(zip(book.rows, times, strict=True)):
            step = number * 2 if number % 2 else None
            position = position + 1 if step is None else step
            assert (row["step"], row["position"]) == (step, position)
            assert row["values"]["x"] == number / 3
            assert earliest <= row["at"] <= latest
        assert book.ends == ["failed"] and len(book.natives) == 1
    assert {one.state for one in tracking.status().values()} == {"ended"}


def test_trackers_live_where_the_lane_says(lane: str, ledger: Ledger) -> None:
    tracking = started(lane, ledger)
    tracking.end_training()
    in_here = ledger.processes == {os.getpid()}
    assert in_here == (lane == "thread")
    assert all(line["thread"] != threading.get_ident() or not in_here for line in ledger.lines)


def test_what_can_not_be_right_in_a_lane_is_refused_before_anything_is_started(
    lane: str, ledger: Ledger
) -> None:
    if lane == "process":
        with pytest.raises(ValueError, match="it would be the delivery process"):
            started(lane, ledger, measured=True)
        assert ledger.lines == []
    else:
        started(lane, ledger, measured=True).end_training()
        assert ledger.ends == ["finished"]


def test_an_instance_is_told_its_lane_too(memory: MemoryTracker) -> None:
    lanes: list[str] = []
    memory.check_lane = lanes.append  # type: ignore[method-assign]  # as a subclass has it
    for delivery in ("inline", "thread", "process", "auto"):
        tracking = Tracking(memory, delivery=delivery)
        tracking.init_trackers("p")
        tracking.end_training()
    assert lanes == ["inline", "thread", "thread", "thread"]


def test_an_instance_always_lives_in_a_thread(lane: str, memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery=lane)  # type: ignore[arg-type]  # it is one of them
    tracking.init_trackers("p")
    tracking.log({"a": 1})
    assert tracking.flush(10)
    assert tracking.get_tracker("memory") is memory and memory.values("a") == [1]
    tracking.end_training()
    assert memory.status == "finished"


def test_a_handle_writes_to_its_own_tracker_by_way_of_the_journal(
    lane: str, ledger: Ledger, other: Ledger
) -> None:
    tracking = started(lane, ledger, other)
    handle = tracking.get_tracker("ledger")
    handle.log({"n": 1}, step=5)
    handle.store_init_configuration({"only": "here"})
    handle.set_tags({"stage": "dev"})
    tracking.log({"n": 2})
    tracking.end_training()
    assert ledger.numbers == [1, 2] and other.numbers == [2]
    assert ledger.rows[0]["step"] == 5
    assert ledger.all("config") == [{"lr": 0.1}, {"only": "here"}]
    assert other.all("config") == [{"lr": 0.1}] and not other.all("tags")


def test_the_native_object_is_there_in_the_thread_lane_and_the_other_says_how(
    lane: str, ledger: Ledger
) -> None:
    tracking = started(lane, ledger)
    handle = tracking.get_tracker("ledger")
    if lane == "thread":
        assert {handle.tracker} == ledger.natives
        assert tracking.get_tracker("ledger", unwrap=True) == handle.tracker
    else:
        with pytest.raises(NotStartedError, match='delivery="thread"'):
            _ = handle.tracker
    tracking.end_training()


def test_two_trackers_of_one_name(lane: str) -> None:
    pair = [MemoryTracker(), MemoryTracker()]
    tracking = Tracking(pair, delivery=lane)  # type: ignore[arg-type]  # it is one of them
    tracking.init_trackers("p")
    tracking.log({"a": 1})
    assert tracking.flush(10)
    assert set(tracking.status()) == {"memory", "memory#2"}
    tracking.end_training()
    assert [tracker.values("a") for tracker in pair] == [[1], [1]]


def test_threads_that_log_at_once_lose_nothing_and_keep_their_order(
    lane: str, ledger: Ledger
) -> None:
    tracking = started(lane, ledger)
    each = 2000

    def work(who: int) -> None:
        for number in range(each):
            tracking.log({"who": who, "n": number})

    threads = [threading.Thread(target=work, args=[who]) for who in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracking.end_training(timeout=60)
    rows = ledger.rows
    assert len(rows) == 16 * each
    for who in range(16):
        assert [r["values"]["n"] for r in rows if r["values"]["who"] == who] == list(range(each))
    assert sorted(row["position"] for row in rows) == list(range(16 * each))


def test_logging_while_the_run_is_being_ended_never_raises(lane: str, ledger: Ledger) -> None:
    tracking = started(lane, ledger)
    handle = tracking.get_tracker("ledger")
    errors: list[BaseException] = []
    going = threading.Event()
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                tracking.log({"n": 1})
                handle.log({"n": 1})
                going.set()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        going.wait()
        tracking.end_training()
        stop.set()
        thread.join()
    assert not errors and ledger.ends == ["finished"]


def test_a_second_run_of_the_same_tracking(lane: str, tmp_path: Path) -> None:
    books = [Ledger(tmp_path / "first"), Ledger(tmp_path / "second")]
    tracking = Tracking("ledger", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    for number, book in enumerate(books):
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(book)}})
        tracking.log({"n": number})
        tracking.end_training()
    assert [book.numbers for book in books] == [[0], [1]]
    assert [row["position"] for book in books for row in book.rows] == [0, 0]


def test_arguments_that_cannot_travel_are_refused_by_name(ledger: Ledger) -> None:
    unfit: dict[str, Any] = {"ledger": str(ledger), "callback": print}
    tracking = Tracking("ledger", delivery="process")
    with pytest.raises(TypeError, match=r"init_kwargs\['ledger'\]\['callback'\]"):
        tracking.init_trackers("p", init_kwargs={"ledger": unfit})


def test_auto_takes_a_thread_for_arguments_that_cannot_travel(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerTracker, "lane", "process")
    tracking = Tracking("ledger")
    tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger), "callback": print}})
    native = tracking.get_tracker("ledger").tracker
    tracking.end_training()
    assert ledger.natives == {native}


def test_auto_takes_the_lane_that_an_object_chose_when_it_was_constructed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    construct = LedgerTracker.__init__

    def choose(self: LedgerTracker, *places: Any, **arguments: Any) -> None:
        construct(self, *places, **arguments)
        self.lane = "thread"

    monkeypatch.setattr(LedgerTracker, "lane", "process")
    monkeypatch.setattr(LedgerTracker, "__init__", choose)
    tracking = Tracking("ledger")
    tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})
    native = tracking.get_tracker("ledger").tracker
    tracking.end_training()
    assert ledger.natives == {native}


@pytest.mark.parametrize(
    "unfit",
    [{"f": print}, {"big": 2**70}, {"deep": [[]]}, {1: 2}, {"half": "\ud800"}],
    ids=["object", "number", "cycle", "key", "surrogate"],
)
def test_log_kwargs_that_cannot_wait_are_refused_by_name_and_the_values_land(
    lane: str, ledger: Ledger, unfit: dict[Any, Any]
) -> None:
    if "deep" in unfit:
        unfit["deep"].append(unfit["deep"])
    tracking = started(lane, ledger)
    with pytest.warns(TrackingWarning, match="log_kwargs"):
        tracking.log({"n": 1}, log_kwargs={"ledger": {**unfit, "fit": [1, {"a": None}]}})
    tracking.end_training()
    assert ledger.numbers == [1]
    assert ledger.rows[0]["options"] == {"ledger": {"fit": [1, {"a": None}]}}


def test_a_step_beyond_all_bounds_is_left_out_and_the_row_is_kept(
    lane: str, ledger: Ledger
) -> None:
    tracking = started(lane, ledger)
    with pytest.warns(TrackingWarning, match="step"):
        tracking.log({"n": 1}, step=2**70)
    tracking.end_training()
    assert [(row["values"]["n"], row["step"]) for row in ledger.rows] == [(1, None)]


# --- trackers that misbehave ---


@pytest.mark.parametrize("how", ["down", "refuse", "exit", "hang"])
def test_a_tracker_that_does_not_start_gets_everything_once_it_does(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, how: str
) -> None:
    ledger.order("start", how)
    tracking = started(lane, ledger, other)
    for number in range(300):
        tracking.log({"n": number})
    wait_for(lambda: len(other.numbers) == 300, "the other tracker")
    wait_for(lambda: ledger.tried("start") >= (1 if how == "hang" else 3), "three tries")
    if how == "hang":
        wait_for(lambda: tracking.status()["ledger"].state == "hung", "the state hung")
    else:
        wait_for(lambda: tracking.status()["ledger"].last_error, "an error")
        assert tracking.status()["ledger"].state == "starting"
    ledger.withdraw("start")
    tracking.end_training()
    assert ledger.numbers == list(range(300)) and ledger.all("config") == [{"lr": 0.1}]
    assert ledger.ends == other.ends == ["finished"]


@pytest.mark.parametrize("how", ["down", "hang"])
def test_an_outage_costs_nothing_and_doubles_at_most_a_batch(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, how: str
) -> None:
    tracking = started(lane, ledger, other)
    tracking.log({"n": 0})
    assert tracking.flush(20)
    ledger.order("deliver", how)
    for number in range(1, 2500):
        tracking.log({"n": number})
    wait_for(lambda: len(other.numbers) == 2500, "the other tracker")
    wait_for(lambda: ledger.tried("deliver") >= (1 if how == "hang" else 3), "tries")
    state = "hung" if how == "hang" else "retrying"
    wait_for(lambda: tracking.status()["ledger"].state == state, f"the state {state}")
    assert tracking.status()["ledger"].pending == 2499
    ledger.withdraw("deliver")
    assert tracking.flush(20)
    assert tracking.status()["ledger"].last_error is None
    tracking.end_training()
    assert ledger.numbers == list(range(2500)), "a batch that was refused whole is not doubled"


@pytest.mark.parametrize("how", ["down", "hang"])
def test_what_a_tracker_never_takes_is_kept_and_said_with_the_command(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, how: str
) -> None:
    tracking = started(lane, ledger, other)
    assert tracking.flush(20)
    ledger.order("deliver", how)
    for number in range(10):
        tracking.log({"n": number})
    began = time.monotonic()
    with pytest.warns(TrackingWarning) as said:
        tracking.end_training(timeout=2)
    assert time.monotonic() - began < 4
    (message,) = [str(one.message) for one in said]
    assert "11 records for tracker 'ledger'" in message
    assert f"-m tracking_core recover {tracking.run_dir}" in message
    assert how == "hang" or "ConnectionError: the server is down" in message
    assert other.numbers == list(range(10)) and other.ends == ["finished"]
    ledger.withdraw("deliver")
    if lane == "process":
        # The delivery process is still there, and goes on without anyone's help.
        wait_for(lambda: ledger.ends == ["finished"], "the rest")
    else:
        wait_for(lambda: tracking.status()["ledger"].state in ("stopped", "ended"), "the thread")
        assert tracking.run_dir is not None
        Tracking.recover(tracking.run_dir)
    assert ledger.numbers == list(range(10)) and ledger.ends == ["finished"]


@pytest.mark.parametrize("how", ["refuse"])
def test_a_record_that_is_refused_for_ever_is_buried_and_the_next_is_delivered(
    lane: str, ledger: Ledger, other: Ledger, how: str
) -> None:
    tracking = started(lane, ledger, other, poison=50)
    began = time.monotonic()
    for number in range(100):
        tracking.log({"n": number})
    wait_for(lambda: 99 in ledger.numbers, "what comes after")
    assert time.monotonic() - began < 10
    with pytest.warns(TrackingWarning, match="refused 1 records for good") as said:
        tracking.end_training()
    assert len(said) == 1
    assert ledger.numbers == [number for number in range(100) if number != 50]
    assert other.numbers == list(range(100))
    assert tracking.status()["ledger"].failed == 1 and tracking.status()["other"].failed == 0
    assert tracking.run_dir is not None
    (letter,) = tracking.run_dir.glob("*/dead/ledger*")
    assert "Refused: 50 is not wanted" in letter.read_text()


@pytest.mark.parametrize("how", ["refuse", "exit", "hang"])
def test_a_finish_that_fails_holds_up_nobody(
    lane: str, ledger: Ledger, other: Ledger, impatient: None, how: str
) -> None:
    ledger.order("finish", how)
    tracking = started(lane, ledger, other)
    tracking.log({"n": 1})
    began = time.monotonic()
    with pytest.warns(TrackingWarning, match="'ledger'"):
        tracking.end_training(timeout=4)
    assert time.monotonic() - began < 6
    assert ledger.numbers == other.numbers == [1] and other.ends == ["finished"]
    ledger.withdraw("finish")


class _Halt(BaseException):
    """No `Exception`: what ``except Exception`` lets through."""


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS: list[Callable[[], BaseException]] = [
    Exception,
    _Halt,
    _Unspeakable,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    MemoryError,
    RecursionError,
    lambda: ExceptionGroupOrError(),
    lambda: OSError(28, "No space left on device"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    lambda: ValueError("\ud800"),
]


def ExceptionGroupOrError() -> BaseException:
    import builtins

    group = getattr(builtins, "BaseExceptionGroup", None)
    return ValueError("no groups") if group is None else group("two", [ValueError(), SystemExit()])


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: getattr(make, "__name__", "other"))
def test_no_error_of_any_kind_ends_a_worker(
    make: Callable[[], BaseException], memory: MemoryTracker, impatient: None
) -> None:
    raised: list[str] = []

    def misbehave(method: str) -> None:
        if raised.count(method) < 2:
            raised.append(method)
            raise make()

    tracker = MisbehavingTracker(misbehave)
    with Tracking([tracker, memory], delivery="thread") as tracking:
        tracking.init_trackers("p")
        for number in range(10):
            tracking.log({"n": number})
        # The end would not wait for a start that only a person can mend, as some of these read.
        wait_for(lambda: set(tracker.values("n")) == set(range(10)), "the rows")
    assert tracker.status == "finished"
    assert memory.values("n") == list(range(10))
    assert sorted(raised) == ["deliver"] * 2 + ["finish"] * 2 + ["start"] * 2


def test_memory_that_runs_out_for_a_moment_ends_no_worker(
    ledger: Ledger, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Reader.read
    failures = iter([MemoryError, OSError])

    def short_of_memory(self: Reader, limit: int = 1) -> list[Entry | Damage]:
        for failure in failures:
            raise failure
        return read(self, limit)

    monkeypatch.setattr(Reader, "read", short_of_memory)
    tracking = started("thread", ledger)
    tracking.log({"n": 1})
    assert tracking.flush(20)
    tracking.end_training()
    assert ledger.numbers == [1] and ledger.ends == ["finished"]


def test_a_thread_that_is_about_to_stop_is_waited_for(ledger: Ledger, impatient: None) -> None:
    tracking = started("thread", ledger)
    assert tracking.flush(20)
    ledger.order("deliver", "hang")
    tracking.log({"n": 1})
    wait_for(lambda: ledger.tried("deliver"), "the call that hangs")
    with pytest.warns(TrackingWarning, match="still to be delivered"):
        tracking.end_training(timeout=0.1)
    assert tracking.run_dir is not None
    wakes = threading.Timer(0.5, ledger.withdraw, ["deliver"])
    wakes.start()
    Tracking.recover(tracking.run_dir)
    wakes.join()
    assert ledger.numbers == [1] and ledger.ends == ["finished"]


def test_a_hung_thread_that_wakes_up_after_the_end_takes_nothing_twice(
    ledger: Ledger, impatient: None
) -> None:
    tracking = started("thread", ledger)
    assert tracking.flush(20)
    ledger.order("deliver", "hang")
    tracking.log({"n": 1})
    wait_for(lambda: ledger.tried("deliver"), "the call that hangs")
    with pytest.warns(TrackingWarning, match="still to be delivered"):
        tracking.end_training(timeout=0.1)
    assert tracking.run_dir is not None
    with pytest.raises(Exception, match="still going on"):
        Tracking.recover(tracking.run_dir)
    ledger.withdraw("deliver")
    wait_for(lambda: tracking.status()["ledger"].state in ("stopped", "ended"), "the thread")
    Tracking.recover(tracking.run_dir)
    assert duplicates(ledger.numbers) == 0 and ledger.numbers == [1]
    assert ledger.ends == ["finished"]


@pytest.mark.parametrize(
    ("method", "words"), [("start", "did not start"), ("deliver", "does not take")]
)
def test_trouble_is_said_once_while_the_run_goes_on(
    lane: str,
    ledger: Ledger,
    other: Ledger,
    method: str,
    words: str,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracking_core.delivery.watch.SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr("tracking_core.delivery.watch.SECONDS_THAT_PASS_UNSAID", 0.0)
    ledger.order(method, "down")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started(lane, ledger, other)
        tracking.log({"n": 1})
        wait_for(lambda: said, "the warning")
        wait_for(lambda: ledger.tried(method) > 5, "some more tries")
        (message,) = {str(one.message) for one in said}
        assert len(said) == 1
        assert f"tracker 'ledger' {words}" in message and "what is logged is kept" in message
        ledger.withdraw(method)
        tracking.end_training()
    assert len(said) == 1 and ledger.numbers == other.numbers == [1]


@pytest.mark.parametrize("method", ["start", "deliver", "finish"])
def test_what_a_tracker_says_reaches_the_person_from_every_lane(
    lane: str, ledger: Ledger, other: Ledger, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_core.delivery.watch.SECONDS_BETWEEN_LOOKS", 0.02)
    ledger.order(method, f"say the server is odd when asked to {method}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started(lane, ledger, other)
        tracking.log({"n": 1})
        if method != "finish":
            wait_for(lambda: said, "the warning, while the run goes on")
        tracking.end_training()
    assert {str(one.message) for one in said} == {f"the server is odd when asked to {method}"}
    assert ledger.numbers == other.numbers == [1]


def test_what_was_said_when_nobody_was_there_any_more_is_said_by_the_recovery(
    ledger: Ledger, tmp_path: Path
) -> None:
    tracking = started("process", ledger)
    tracking.end_training()
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    Remarks(writer).add("the server\x1b[2J is odd")
    with pytest.warns(TrackingWarning, match=r"process said: the server\\x1b\[2J is odd"):
        Tracking.recover(tracking.run_dir)


def test_what_the_library_has_taken_is_counted_until_it_has_arrived(
    lane: str, ledger: Ledger, other: Ledger, impatient: None
) -> None:
    ledger.order("finish", "down")
    tracking = started(lane, ledger, other, sends_later=True)
    for number in range(5):
        tracking.log({"n": number})
    assert tracking.flush(30)
    wait_for(lambda: tracking.status()["ledger"].unarrived == 6, "the count")
    assert tracking.status()["other"].unarrived == 0
    words = "and 6 that its library has taken are not known to have arrived"
    with pytest.warns(TrackingWarning, match=words):
        tracking.end_training(timeout=1)
    ledger.withdraw("finish")
    assert tracking.run_dir is not None
    left = Tracking.recover(tracking.run_dir)["ledger"]
    assert (left.state, left.unarrived) == ("ended", 0)
