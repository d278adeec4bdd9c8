"""A person who waits is told for what, and does not wait for what can't pass."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
from ledger_judge import Ledger, Victim, first_seen, is_gone, started, wait_for

from tracking_core import Tracking, TrackingWarning
from tracking_core.delivery.requests import ask, taken_request
from tracking_core.journal import Blobs


def test_what_only_a_person_can_mend_is_said_at_once_and_not_waited_for(
    lane: str, ledger: Ledger, other: Ledger
) -> None:
    ledger.order("start", "forbidden")
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started(lane, ledger, other)
        wait_for(lambda: said, "the warning")
        tracking.log({"n": 1})
        tracking.end_training()
    took = time.monotonic() - began
    early, late = (str(one.message) for one in said)
    assert "tracker 'ledger' did not start, and waiting will not help" in early
    assert "PermissionError" in early and "PermissionError" in late
    assert "-m tracking_core recover" in late
    assert took < 15, "a whole timeout would be 30 s"
    assert other.numbers == [1] and other.ends == ["finished"]


def _line_of(text: str) -> int:
    return Path(__file__).read_text().split(text)[0].count("\n") + 1


def test_the_warning_of_a_thread_belongs_to_the_line_that_began_the_run(
    lane: str, ledger: Ledger
) -> None:
    ledger.order("start", "forbidden")
    tracking = Tracking("ledger", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})  # this line
        wait_for(lambda: said, "the warning")
        tracking.end_training()
    assert {one.filename for one in said} == {__file__}
    assert said[0].lineno == _line_of("# this line")


def test_a_flush_does_not_wait_for_it_either(ledger: Ledger, lane: str) -> None:
    ledger.order("start", "forbidden")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracking = started(lane, ledger)
        assert tracking.flush() is False
        ledger.withdraw("start")
        tracking.end_training()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("quiet", ["0", "1"])
def test_what_can_pass_is_waited_for_and_it_is_told_with_what_how_much_and_until_when(
    lane: str,
    ledger: Ledger,
    other: Ledger,
    quiet: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACKING_QUIET", quiet)
    tracking = started(lane, ledger, other)
    assert tracking.flush(20)
    ledger.order("deliver", "down")
    for number in range(10):
        tracking.log({"n": number})
    with pytest.warns(TrackingWarning) as said:
        began = time.monotonic()
        tracking.end_training(timeout=4)
    assert 3.5 < time.monotonic() - began < 6
    told = capsys.readouterr()
    assert told.out == ""
    if quiet == "1":
        assert told.err == ""
    else:
        assert re.fullmatch(
            r"tracking: the end of the run waits up to 2 s more for 'ledger' \(retrying, 11 records "
            r"to go, ConnectionError: the server is down\)\. Ctrl-C ends the waiting: .*\n",
            told.err,
        )
    (left,) = (str(one.message) for one in said)
    assert "still to be delivered" in left
    if lane == "process":
        (process,) = other.processes
        assert f"process {process} tries on for 10 minutes" in left
    ledger.withdraw("deliver")


@pytest.mark.usefixtures("impatient")
def test_an_end_tries_at_once_what_waits_for_its_next_try(
    lane: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking_core.delivery import journaled

    for name in ("THREAD_POLICY", "PROCESS_POLICY"):
        policy = getattr(journaled, name)._replace(first_wait=60.0)
        monkeypatch.setattr(journaled, name, policy)
    ledger.order("deliver", "down")
    tracking = started(lane, ledger)
    tracking.log({"n": 1})
    wait_for(lambda: ledger.tried("deliver"), "a refusal")
    ledger.withdraw("deliver")
    began = time.monotonic()
    tracking.end_training()
    assert time.monotonic() - began < 10 and ledger.numbers == [1]


def test_ctrl_c_while_the_end_waits_names_what_is_left(lane: str, ledger: Ledger) -> None:
    body = "\nlog(1)\ntry: tracking.end_training()\nfinally: print('over', file=sys.stderr)"
    ledger.order("deliver", "down")
    victim = Victim(lane, body, ledger=ledger)
    wait_for(lambda: ledger.tried("deliver"), "the end that waits")
    victim.signal(signal.SIGINT)
    assert "recover" in victim.errors and "KeyboardInterrupt" in victim.errors
    assert victim.errors.index("still to be delivered") < victim.errors.index("over")
    ledger.withdraw("deliver")


# --- a delivery process that is left ---


def lingering(ledger: Ledger, how: str = "forbidden") -> Victim:
    """A run that has ended, of which a delivery process still tries to deliver the rest."""
    ledger.order("deliver", how)
    victim = Victim("process", "\nlog(1); log(2)\ntracking.end_training(timeout=3)", ledger=ledger)
    assert victim.end() == [1, 2]
    return victim


def test_the_command_of_the_warning_works_when_it_is_printed(ledger: Ledger) -> None:
    victim = lingering(ledger)
    (process,) = ledger.processes
    assert not is_gone(process)
    ledger.withdraw("deliver")
    began = time.monotonic()
    status = Tracking.recover(victim.run_dir)
    assert time.monotonic() - began < 15
    assert status["ledger"].state == "ended" and ledger.numbers == [1, 2]
    assert ledger.ends == ["finished"]
    wait_for(lambda: is_gone(process), "the end of the process that was there before")


def test_a_process_that_is_stuck_in_a_call_hands_over_all_the_same(ledger: Ledger) -> None:
    victim = lingering(ledger, how="hang")
    (process,) = ledger.processes
    recovering = threading.Thread(target=Tracking.recover, args=(victim.run_dir,))
    recovering.start()
    wait_for(lambda: is_gone(process), "its end")
    ledger.withdraw("deliver")
    recovering.join(30)
    assert first_seen(ledger.numbers) == [1, 2] and ledger.ends == ["finished"]


def test_sigterm_ends_it_cleanly(ledger: Ledger) -> None:
    lingering(ledger)
    (process,) = ledger.processes
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: is_gone(process), "its end")
    assert ledger.numbers == [] and not ledger.ends, "nothing was ended that was not delivered"
    ledger.withdraw("deliver")


def test_sigterm_takes_from_no_tracker_what_it_is_taking(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    body = "\nfor number in range(3000): log(number)\nos.kill(os.getpid(), 9)"
    victim = Victim("process", body, ledger={"ledger": str(book), "pause": 0.3})
    acknowledged = victim.end()
    for process in book.processes:
        os.kill(process, signal.SIGTERM)
    wait_for(lambda: book.ends, "the end")
    assert book.numbers == acknowledged and book.ends == ["killed"]


def test_a_request_is_a_word_that_is_known_and_taken_once(tmp_path: Path) -> None:
    assert taken_request(tmp_path) is None
    ask(tmp_path, "hurry")
    assert [taken_request(tmp_path), taken_request(tmp_path)] == ["hurry", None]
    for content in (b"", b"rm -rf", b"\xff" * 100, b"hurry" * 1000):
        (tmp_path / "asked").write_bytes(content)
        assert taken_request(tmp_path) is None and not (tmp_path / "asked").exists()
    os.mkfifo(tmp_path / "asked")
    assert taken_request(tmp_path) is None, "it does not wait for a pipe"
    (tmp_path / "asked").symlink_to("/dev/zero")
    assert taken_request(tmp_path) is None
    ask(tmp_path / "gone", "hurry")  # nothing to be asked there, and no error


# --- a delivery process that shows no sign of life ---


def test_a_process_that_was_stopped_is_seen_as_hung_and_replaced(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SECONDS_BETWEEN_LOOKS", 0.2), ("LOOKS_BEFORE_HUNG", 15), ("LOOKS_BEFORE_KILLED", 25)):  # fmt: skip
        monkeypatch.setattr(f"tracking_core.delivery.supervisor.{name}", value)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started("process", ledger)
        tracking.log({"n": 1})
        assert tracking.flush(20)
        (process,) = ledger.processes
        os.kill(process, signal.SIGSTOP)
        tracking.log({"n": 2})
        wait_for(lambda: tracking.status()["ledger"].state == "hung", "the state")
        wait_for(lambda: is_gone(process), "its end")
        wait_for(lambda: ledger.numbers == [1, 2], "a successor")
        tracking.end_training()
    assert any(f"process {process} has shown no sign of life" in str(one.message) for one in said)
    assert ledger.ends == ["finished"] and tracking.status()["ledger"].failed == 0


def test_a_library_that_holds_the_interpreter_holds_up_nobody_for_good(
    ledger: Ledger, other: Ledger, tmp_path: Path
) -> None:
    wrapper = (
        "from tracking_core.delivery import child, supervisor\n"
        "supervisor._PROGRAM = supervisor._PROGRAM.replace('import run;', "
        "'import run; import tracking_core.delivery.child as child; child.SECONDS_STUCK = 3.0;')\n"
    )
    options = {"ledger": str(ledger), "poison": 50, "how": "hold"}
    body = "\nfor number in range(100): log(number)\nprint(tracking.flush(90), file=sys.stderr)"
    victim = Victim("process", body, wrapper=wrapper, ledger=options, other=other)
    assert victim.end(timeout=100) == list(range(100)), victim.errors
    assert "True" in victim.errors
    assert set(other.numbers) == set(range(100)), "a tracker that shares the process"
    assert set(ledger.numbers) == set(range(100)) - {50}
    (writer,) = victim.run_dir.iterdir()
    log = (writer / "delivery.log").read_text()
    assert "Timeout (0:00:03)!" in log and "_hold" in log, "it says where it was stuck"
    assert "died of it 3 times" in next(victim.run_dir.glob("*/dead/ledger*")).read_text()


# --- a journal that is gone for a while ---


def test_a_journal_that_is_moved_away_for_seconds_ends_nothing_and_is_said(
    lane: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started(lane, ledger)
        tracking.log({"n": 0})
        assert tracking.flush(20)
        assert tracking.run_dir is not None
        away = tracking.run_dir.with_name("away")
        tracking.run_dir.rename(away)
        for number in range(1, 50):
            tracking.log({"n": number})
        wait_for(lambda: any("was moved or deleted" in str(one.message) for one in said), "a word")
        away.rename(tracking.run_dir)
        for number in range(50, 100):
            tracking.log({"n": number})
        tracking.end_training()
    assert ledger.numbers == list(range(100)) and ledger.ends == ["finished"]
    assert tracking.status()["ledger"].lost == 0


def test_a_disk_that_takes_nothing_is_said_while_the_run_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking = started("thread", ledger)
        monkeypatch.setattr("tracking_core.journal.segment.create", refuse)
        monkeypatch.setattr(Blobs, "put", refuse)
        for number in range(10):
            tracking.log({"n": number, "text": "x" * 2_000_000})
        wait_for(lambda: any("waits in memory" in str(one.message) for one in said), "a word")
        monkeypatch.undo()
        tracking.end_training()
    assert any("No space left on device" in str(one.message) for one in said)
    assert ledger.numbers == list(range(10))
