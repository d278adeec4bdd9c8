"""A store of files in trouble holds up no number, and what it did not take arrives once it can."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from ledger_judge import Ledger, is_gone, started, wait_for

from tracking_core import Tracking, TrackingWarning
from tracking_core.codec import decode
from tracking_core.delivery import postponed
from tracking_core.journal import DeadLetters
from tracking_core.records import Log, Record
from tracking_core.testing import MemoryTracker

pytestmark = pytest.mark.usefixtures("impatient")


def logged(lane: str, ledger: Ledger, rows: int = 30, trouble: str = "down") -> Tracking:
    """A run whose tracker takes numbers alone, and each tenth row of which has a text beside one."""
    ledger.order("store", trouble)
    tracking = started(lane, ledger)
    for number in range(rows):
        tracking.log({"n": number} | ({"note": f"note {number}"} if number % 10 == 0 else {}))
    return tracking


def notes(ledger: Ledger) -> list[str]:
    return [row["values"]["note"] for row in ledger.rows if "note" in row["values"]]


def has(ledger: Ledger, rows: int = 30) -> bool:
    return sorted(ledger.numbers) == list(range(rows))


def what_is_left(tracking: Tracking) -> int:
    (status,) = tracking.status().values()
    return status.pending


def test_numbers_do_not_wait_for_the_rest_which_comes_when_it_can(
    lane: str, ledger: Ledger
) -> None:
    with pytest.warns(TrackingWarning, match="takes numbers, and does not take the rest for now"):
        tracking = logged(lane, ledger)
        wait_for(lambda: has(ledger), "all numbers")
        wait_for(lambda: what_is_left(tracking) == 3, "three that are postponed")
        assert notes(ledger) == []
        assert not tracking.flush(0.2), "it has not everything"
        tracking.log({"n": 30})
        wait_for(lambda: has(ledger, 31), "a number after that")
        ledger.withdraw("store")
        assert tracking.flush(20)
        assert sorted(notes(ledger)) == ["note 0", "note 10", "note 20"]
        tracking.end_training()
    assert has(ledger, 31), "each once"
    (status,) = tracking.status().values()
    assert (status.state, status.pending, status.failed) == ("ended", 0, 0)
    assert status.delivered == 32, "with the configuration"
    steps = {
        row["values"]["note"]: row["position"] for row in ledger.rows if "note" in row["values"]
    }
    assert steps == {f"note {step}": step for step in (0, 10, 20)}


@pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
def test_who_comes_after_a_delivery_process_that_was_killed_knows_what_is_postponed(
    ledger: Ledger,
) -> None:
    tracking = logged("process", ledger)
    wait_for(lambda: what_is_left(tracking) == 3 and has(ledger), "three that are postponed")
    (process,) = ledger.processes
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: len(ledger.processes) == 2, "another process")
    assert is_gone(process)
    ledger.withdraw("store")
    tracking.end_training()
    assert sorted(notes(ledger)) == ["note 0", "note 10", "note 20"]
    assert has(ledger), "no number came twice"


def test_at_the_end_it_is_waited_for_named_and_brought_by_recover(
    lane: str, ledger: Ledger
) -> None:
    with pytest.warns(TrackingWarning) as said:
        tracking = logged(lane, ledger)
        wait_for(lambda: what_is_left(tracking) == 3, "three that are postponed")
        tracking.end_training(timeout=0.5)
    assert has(ledger) and ledger.ends == []
    (left,) = [str(one.message) for one in said if "still to be delivered" in str(one.message)]
    assert left.startswith("4 records for tracker 'ledger'"), "three, and the end"
    assert "ConnectionError: the server is down" in left
    ledger.withdraw("store")
    assert tracking.run_dir is not None
    status = Tracking.recover(tracking.run_dir)["ledger"]
    assert (status.state, status.pending) == ("ended", 0)
    assert sorted(notes(ledger)) == ["note 0", "note 10", "note 20"]
    assert has(ledger) and ledger.ends == ["finished"]


def test_what_stays_refused_is_given_up_named_and_kept_without_its_numbers(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postponed, "SECONDS_OF_PATIENCE", 0.2)
    with pytest.warns(TrackingWarning) as said:
        tracking = logged("thread", ledger, trouble="forbidden")
        wait_for(lambda: tracking.status()["ledger"].failed == 3, "three that are given up")
        tracking.end_training()
    words = [str(one.message) for one in said]
    assert any(
        "not 'note', which is given up" in one and "Permission denied" in one for one in words
    )
    assert any("--dead" in one for one in words)
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    found = sorted(DeadLetters(writer, "ledger").list())
    letters = [decode(letter.payload) for letter in found]
    values = [letter.values for letter in letters if isinstance(letter, Log)]
    assert values == [{"note": f"note {number}"} for number in (0, 10, 20)]
    ledger.withdraw("store")
    status = Tracking.recover(tracking.run_dir, dead=True)["ledger"]
    assert (status.failed, status.delivered) == (0, 31)
    assert sorted(notes(ledger)) == ["note 0", "note 10", "note 20"] and has(ledger)


class StoreTracker(MemoryTracker):
    """Takes numbers, but of the notes none while it is `down`, and never the `bad` one."""

    name = "store"
    down = True
    bad = "note 0"

    def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            note = record.values.get("note") if isinstance(record, Log) else None
            if note and self.down:
                raise ConnectionError("no store")
            if note == self.bad:
                raise LookupError("not this one")
        super().deliver(records)


def test_one_that_is_bad_for_good_does_not_stop_the_others() -> None:
    tracker = StoreTracker()
    with pytest.warns(TrackingWarning, match="given up and kept"):
        tracking = Tracking(tracker, delivery="thread")
        tracking.init_trackers("p")
        for number in range(3):
            tracking.log({"n": number, "note": f"note {number}"})
        wait_for(lambda: what_is_left(tracking) == 3 and tracker.values("n"), "the numbers")
        tracker.down = False
        assert tracking.flush(20)
        tracking.end_training()
    assert sorted(tracker.values("note")) == ["note 1", "note 2"]
    assert tracker.values("n") == [0, 1, 2]
    assert tracking.status()["store"].failed == 1


def test_a_record_is_parted_whatever_it_holds() -> None:
    values = {
        "a": 1,
        "b": {"c": "text", "d": 2.0, "e": {"f": True}},
        "g": None,
        "h": ["x"],
        "i": {},
    }
    record = Log(values, step=3, position=3, wall_time=1.0, options={"t": {"o": 1}})
    numbers, rest = postponed.numbers_of(record), postponed.rest_of(record)
    assert isinstance(numbers, Log) and isinstance(rest, Log)
    assert numbers.values == {"a": 1, "b": {"d": 2.0, "e": {"f": True}}, "g": None}
    assert rest.values == {"b": {"c": "text"}, "h": ["x"]}
    assert (numbers.step, rest.options) == (3, record.options)
    plain = Log({"a": 1, "b": {"c": 2}}, step=0, position=0, wall_time=1.0)
    assert postponed.numbers_of(plain) is plain
    assert postponed.numbers_of(Log({"a": "x"}, 0, 0, 1.0)) is None


@pytest.mark.parametrize("content", [b"", b"x\n", b"1\n2", b"9" * 40 + b"\n", b"\xff\n", b"0\n"])
def test_what_somebody_else_wrote_in_its_file_harms_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / postponed.FOLDER).mkdir()
    (tmp_path / postponed.FOLDER / "t").write_bytes(content)
    found = postponed.Postponed(tmp_path, "t", 0.1, 0.2)
    assert len(found) == (content == b"1\n2")
