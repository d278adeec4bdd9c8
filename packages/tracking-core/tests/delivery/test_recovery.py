"""What a dead run left is delivered once, and a whole run can be sent elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_judge import PATH, Ledger, Victim, first_seen, started, wait_for

from tracking_core import Tracking, TrackingWarning, recovery
from tracking_core.__main__ import main
from tracking_core.errors import JournalError
from tracking_core.journal import DrainLock
from tracking_core.testing import MemoryTracker

LEFT = "\ntracking.flush(0.5)\nfor number in range(1, 101): log(number)\nos.kill(os.getpid(), 9)"


def left_behind(**ledgers: object) -> Path:
    """The directory of a run that was killed with everything logged and little delivered."""
    victim = Victim("thread", LEFT, **ledgers)
    victim.end()
    return victim.run_dir


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracking_core", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": PATH},
    )


def test_a_dead_run_is_resumed_delivered_and_ended_as_killed(ledger: Ledger, other: Ledger) -> None:
    run_dir = left_behind(ledger=ledger, other=other)
    status = Tracking.recover(run_dir)
    for book, name in ((ledger, "ledger"), (other, "other")):
        assert first_seen(book.numbers) == list(range(1, 101)) and book.ends == ["killed"]
        assert status[name].state == "ended" and status[name].pending == 0
        assert len(book.natives) == 1, "the native run that had begun goes on"
    lines = ledger.lines
    Tracking.recover(run_dir)
    assert ledger.lines == lines, "nothing is delivered twice, and no ended run is opened again"


def test_the_end_is_the_one_that_the_run_said(ledger: Ledger) -> None:
    ledger.order("deliver", "down")
    body = "\nlog(1)\ntracking.end_training('failed', timeout=0.5)\nos._exit(0)"
    victim = Victim("thread", body, ledger=ledger)
    victim.end()
    assert "ConnectionError: the server is down" in victim.errors
    ledger.withdraw("deliver")
    Tracking.recover(victim.run_dir)
    assert ledger.numbers == [1] and ledger.ends == ["failed"]


def test_a_run_that_is_still_going_on_is_refused(lane: str, ledger: Ledger) -> None:
    victim = Victim(lane, ledger=ledger)
    victim.hear_until(lambda: ledger.natives)
    with pytest.raises(JournalError, match=f"still going on in process {victim.process.pid}"):
        Tracking.recover(victim.run_dir)
    victim.signal()


def of_another_machine(run_dir: Path) -> None:
    """Make it a run whose process can't be asked for here."""
    (owner,) = run_dir.glob("*/owner.json")
    owner.write_text(json.dumps(json.loads(owner.read_text()) | {"host": "node17"}))


def test_a_dead_run_of_another_machine_is_delivered_when_somebody_says_that_it_is_dead(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = Victim("thread", ledger=ledger)
    victim.hear_numbers(10)
    acknowledged = victim.signal()
    of_another_machine(victim.run_dir)
    assert main(["recover", str(victim.run_dir)]) == 2
    said = capsys.readouterr().err
    assert f"process {victim.process.pid} of node17 can't be known from here" in said
    assert "--force" in said
    assert main(["recover", str(victim.run_dir), "--force"]) == 0
    assert set(acknowledged) <= set(ledger.numbers) and ledger.ends == ["killed"]


def test_a_run_whose_directory_was_moved_has_its_files_still(
    tmp_path: Path, ledger: Ledger
) -> None:
    original = tmp_path / "weights.txt"
    original.write_text("as it was")
    ledger.order("deliver", "down")
    body = f"\ntracking.log_artifact({str(original)!r})\nos.kill(os.getpid(), 9)"
    victim = Victim("thread", body, ledger=ledger)
    victim.end()
    original.unlink()
    ledger.withdraw("deliver")
    moved = shutil.move(victim.run_dir, tmp_path / "moved")
    status = Tracking.recover(moved)
    assert [row["values"] for row in ledger.rows] == [{"weights.txt": "as it was"}]
    assert status["ledger"].failed == 0


def test_a_run_that_is_known_to_be_going_on_is_refused_whatever_is_said(ledger: Ledger) -> None:
    victim = Victim("thread", ledger=ledger)
    with pytest.raises(JournalError, match="still going on"):
        Tracking.recover(victim.run_dir, force=True)
    victim.signal()


def test_two_recoveries_at_once_deliver_once(ledger: Ledger) -> None:
    run_dir = left_behind(ledger=ledger)
    (writer,) = run_dir.iterdir()
    with DrainLock(writer, "recovery") as taken:
        assert taken
        program = (
            "import sys; from tracking_core.__main__ import main; "
            f"sys.exit(main(['recover', {str(run_dir)!r}]))"
        )
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert other.returncode == 2
        assert f"another process ({os.getpid()}) is delivering {writer}: let it" in other.stderr
        with pytest.raises(JournalError, match="another process"):
            Tracking.recover(run_dir)
    Tracking.recover(run_dir)
    assert first_seen(ledger.numbers) == list(range(1, 101))


def test_a_delivery_process_that_does_not_let_go_is_named_with_the_remedy(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SECONDS_TO_HAND_OVER", 0.3)
    run_dir = left_behind(ledger=ledger)
    (writer,) = run_dir.iterdir()
    program = (
        "import sys; from tracking_core.journal import DrainLock\n"
        f"lock = DrainLock({str(writer)!r})\n"
        "assert lock.acquire(); print('it has it', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"it has it\n"
        with pytest.raises(JournalError, match=f"does not let go of it: end it, kill {holder.pid}"):
            Tracking.recover(run_dir)
        holder.communicate()
    assert Tracking.recover(run_dir)["ledger"].state == "ended"


# --- what was refused for good ---


def refused_before(ledger: Ledger, lane: str = "thread") -> Path:
    """A run of ten rows of which two are in ``dead/``."""
    options = {"ledger": str(ledger), "poison": 3}
    body = (
        "\nfor number in range(10): log(number)\n"
        "tracking.log({'note': 'x' * 300_000, 'n': 3})\n"
        "tracking.end_training('failed')"
    )
    victim = Victim(lane, body, ledger=options)
    victim.end()
    assert "refused 2 records for good" in victim.errors and "--dead" in victim.errors
    assert 3 not in ledger.numbers and ledger.ends == ["failed"]
    return victim.run_dir


def test_what_was_refused_is_delivered_when_somebody_has_mended_it(ledger: Ledger) -> None:
    run_dir = refused_before(ledger)
    assert Tracking.recover(run_dir)["ledger"].failed == 2, "not without being asked"
    options = {"ledger": {"poison": None}}
    status = Tracking.recover(run_dir, dead=True, init_kwargs=options)["ledger"]
    assert (status.state, status.failed, status.pending) == ("ended", 0, 0)
    assert sorted(ledger.numbers) == sorted([*range(10), 3])
    assert [row["values"].get("note") for row in ledger.rows][-1] == 300_000, "its blob, too"
    assert ledger.ends == ["failed", "failed"], "it ends as it was ended"
    assert len(ledger.natives) == 1 and not list(run_dir.glob("*/dead/*"))
    lines = ledger.lines
    assert Tracking.recover(run_dir, dead=True)["ledger"].failed == 0
    assert ledger.lines == lines, "there is nothing left to deliver"


def test_what_is_refused_again_stays_with_the_new_reason(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recovery, "POLICY", recovery.POLICY._replace(first_wait=0.02))
    run_dir = refused_before(ledger)
    assert main(["recover", str(run_dir), "--dead"]) == 0
    assert "ended, 0 records left, 2 refused for good" in capsys.readouterr().out
    (letters,) = run_dir.glob("*/dead/ledger*")
    assert letters.read_text().count("3 is not wanted") == 2
    ledger.order("start", "forbidden")
    assert main(["recover", str(run_dir), "--dead", "--timeout", "1"]) == 1
    assert "PermissionError" in capsys.readouterr().out
    assert letters.read_text().count("3 is not wanted") == 2, "a start that fails costs nothing"
    ledger.withdraw("start")
    assert main(["recover", str(run_dir)]) == 0


@pytest.mark.parametrize("wrong", ["nowhere", "empty", "file"])
def test_what_is_no_run_is_one_clear_error(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="holds no run"):
        Tracking.recover(tmp_path / wrong)


def test_damage_costs_exactly_its_records_and_is_counted(ledger: Ledger) -> None:
    ledger.order("start", "down")
    run_dir = left_behind(ledger=ledger)
    ledger.withdraw("start")
    (segment,) = run_dir.glob("*/*.seg")
    data = bytearray(segment.read_bytes())
    for number in (30, 31, 60):
        at = data.index(b"\xa1n" + bytes([number]))
        data[at] ^= 0xFF
    segment.write_bytes(data)
    status = Tracking.recover(run_dir)["ledger"]
    assert ledger.numbers == [n for n in range(1, 101) if n not in (30, 31, 60)]
    assert (status.lost, status.pending, status.failed) == (3, 0, 0)


def test_a_lost_blob_costs_its_record_and_no_other(ledger: Ledger) -> None:
    ledger.order("start", "down")
    victim = Victim(
        "thread", "\nlog(1); log(2, big='x' * 300_000); log(3)\nos._exit(0)", ledger=ledger
    )
    victim.end()
    ledger.withdraw("start")
    (blob,) = victim.run_dir.glob("*/blobs/*")
    blob.unlink()
    status = Tracking.recover(victim.run_dir)["ledger"]
    assert ledger.numbers == [1, 3] and status.failed == 1


def test_secrets_are_not_kept_and_can_be_handed_in_again(tmp_path: Path, ledger: Ledger) -> None:
    ledger.order("start", "down")
    options = {"ledger": str(ledger), "api_key": "k", "entity": "me"}
    run_dir = left_behind(ledger=options)
    ledger.withdraw("start")
    from ledger_trackers import LedgerTracker

    seen: list[dict[str, object]] = []
    start = LedgerTracker.start
    try:
        LedgerTracker.start = lambda self: (seen.append(self.kwargs), start(self))[1]  # type: ignore[method-assign]  # put back below
        ledger.order("finish", "down")
        Tracking.recover(run_dir, timeout=0.5)
        ledger.withdraw("finish")
        Tracking.recover(run_dir, init_kwargs={"ledger": {"api_key": "k2"}})
    finally:
        LedgerTracker.start = start  # type: ignore[method-assign]  # likewise
    assert seen == [{"entity": "me"}, {"entity": "me", "api_key": "k2"}]
    assert ledger.ends == ["killed"]


def test_the_command_says_what_it_did(ledger: Ledger, other: Ledger) -> None:
    run_dir = left_behind(ledger=ledger, other=other)
    ledger.order("deliver", "down")
    all_there = len(set(ledger.numbers)) == 100
    classes = ["--tracker", "ledger_trackers:LedgerTracker"]
    classes += ["--tracker", "ledger_trackers:OtherTracker"]
    first = command("recover", str(run_dir), "--timeout", "1", *classes)
    ledger.withdraw("deliver")
    second = command("recover", str(run_dir), *classes)
    assert "other: ended, 0 records left" in first.stdout
    if not all_there:
        assert first.returncode == 1
        assert "ConnectionError: the server is down" in first.stdout
    assert second.returncode == 0 and "ledger: ended, 0 records left" in second.stdout
    assert first_seen(ledger.numbers) == first_seen(other.numbers) == list(range(1, 101))
    nothing = command("recover", str(run_dir / "nowhere"))
    assert nothing.returncode == 2 and "holds no run" in nothing.stderr
    assert not nothing.stdout and "Traceback" not in nothing.stderr


def test_a_tracker_that_cannot_be_made_again_is_given_up(
    memory: MemoryTracker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "\nfrom tracking_core.testing import MemoryTracker\n"
        "class Own(MemoryTracker):\n    name = 'own'\n"
        "tracking.end_training()\n"
        "tracking = Tracking([Own()])\n"
        "tracking.init_trackers('p')\n"
        "os.write(1, b'7\\n'); tracking.log({'n': 1})\n"
        "print(tracking.run_dir, file=sys.stderr, flush=True)\nos._exit(0)"
    )
    victim = Victim("thread", program, ledger=ledger)
    victim.end()
    run_dir = Path(victim.errors.strip())
    monkeypatch.setattr(recovery, "POLICY", recovery.POLICY._replace(first_wait=0.05))
    status = Tracking.recover(run_dir)["own"]
    assert status.state in ("stopped", "ended")
    Tracking.replay(run_dir, log_with=memory)
    assert memory.values("n") == [1], "its records can still go to another one"


# --- replay ---


def test_a_whole_run_is_sent_to_a_tracker_that_was_not_there(ledger: Ledger, other: Ledger) -> None:
    tracking = started("thread", ledger)
    for number in range(50):
        tracking.log({"n": number}, step=number * 3)
    tracking.set_tags(["good"])
    tracking.end_training("failed")
    assert tracking.run_dir is not None
    options = {"other": {"ledger": str(other)}}
    status = Tracking.replay(tracking.run_dir, log_with="other", init_kwargs=options)
    assert status["other"].state == "ended"
    own = ("native", "pid", "thread")
    rows = [{k: v for k, v in row.items() if k not in own} for row in ledger.rows]
    assert [{k: v for k, v in row.items() if k not in own} for row in other.rows] == rows
    assert [row["step"] for row in rows] == [number * 3 for number in range(50)]
    assert other.all("config") == [{"lr": 0.1}] and other.all("tags") == [{"good": None}]
    assert other.ends == ["failed"]
    lines = other.lines
    Tracking.replay(tracking.run_dir, log_with="other", init_kwargs=options)
    assert other.lines == lines, "the second time delivers nothing"


def test_a_whole_run_is_sent_to_an_instance(ledger: Ledger, memory: MemoryTracker) -> None:
    before = time.time()
    tracking = started("process", ledger)
    after = time.time()
    tracking.log({"n": 1}, step=7)
    tracking.end_training()
    assert tracking.run_dir is not None
    Tracking.replay(tracking.run_dir, log_with=memory)
    assert [(row.step, row.values) for row in memory.rows] == [(7, {"n": 1})]
    assert memory.rows[0].wall_time == ledger.rows[0]["at"]
    assert memory.config == {"lr": 0.1} and memory.status == "finished"
    assert memory.training_pid == 0, "this process only delivers what was logged"
    assert memory.began_at is not None, "the tracker must know that it is late"
    assert before <= memory.began_at <= after


def test_what_a_process_that_died_could_not_store_is_named_by_the_recovery(ledger: Ledger) -> None:
    tracking = started("process", ledger)
    with pytest.warns(TrackingWarning, match="'odd'"):
        tracking.log({"n": 1, "odd": 1})
        wait_for(lambda: tracking.status()["ledger"].rejected, "the note of it")
        ledger.order("deliver", "down")
        tracking.log({"n": 2, "odd": 2})
        tracking.end_training(timeout=0.5)
    ledger.withdraw("deliver")
    assert tracking.run_dir is not None
    rejected = Tracking.recover(tracking.run_dir)["ledger"].rejected
    assert {(one.key, one.reason): count for one, count in rejected.items()} == {
        ("odd", "it is odd"): 2
    }
