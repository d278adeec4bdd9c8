"""What is kept on disk, who may read it, and what happens where nothing can be kept."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from ledger_judge import PATH, Ledger, Victim, started, wait_for

from tracking_core import Image, Tracking, TrackingWarning, UnfitValueError
from tracking_core.codec import encode
from tracking_core.errors import JournalError
from tracking_core.journal import Cursor, Files, Writer
from tracking_core.records import Log
from tracking_core.testing import MemoryTracker


def test_a_file_is_delivered_as_it_was_at_the_call(
    lane: str, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.order("start", "down")
    tracking = started(lane, ledger)
    file = tmp_path / "note.txt"
    file.write_text("then")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text("then")
    tracking.log_artifact(file)
    tracking.log_artifact(folder)
    file.write_text("now")
    tracking.log_artifact(file)
    file.unlink()
    shutil.rmtree(folder)
    ledger.withdraw("start")
    tracking.end_training()
    assert [list(row["values"].values()) for row in ledger.rows] == [
        ["then"], [{"inner/a.txt": "then"}], ["now"],
    ]  # fmt: skip


def test_large_values_travel_beside_the_journal(lane: str, ledger: Ledger) -> None:
    tracking = started(lane, ledger)
    tracking.log({"n": 1})
    tracking.log({"n": 2, "text": "x" * 300_000})
    tracking.log({"n": 3, "picture": Image(numpy.zeros((500, 500, 3), "uint8"))})
    tracking.log_images({"n": numpy.zeros((1000, 1000, 3), "uint8")})
    tracking.end_training()
    assert [row["values"].get("text") for row in ledger.rows][1] == 300_000
    assert len(ledger.rows) == 4
    assert tracking.run_dir is not None
    assert len(list(tracking.run_dir.glob("*/blobs/*"))) == 3


def test_with_power_durability_the_disk_has_it_when_log_returns(
    lane: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(file: int) -> None:
        os.fdatasync(file)
        synced.append(threading.get_ident())

    monkeypatch.setattr(Files, "fdatasync", staticmethod(sync))
    with Tracking("ledger", delivery=lane, durability="power") as tracking:  # type: ignore[arg-type]  # it is one of them
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})
        for number in range(3):
            before = synced.count(threading.get_ident())
            tracking.log({"n": number, "text": "x" * 300_000})
            assert synced.count(threading.get_ident()) > before
    assert ledger.numbers == [0, 1, 2]


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(ValueError, match="durability='disk' is none of process, power"):
        Tracking(durability="disk")  # type: ignore[arg-type]  # the point of the test


CANARY = "canary7f3a"


def test_no_secret_gets_into_any_file(lane: str, ledger: Ledger, impatient: None) -> None:
    ledger.order("deliver", "down")
    secrets = {
        "api_key": CANARY,
        "nested": {"password": CANARY, "uri": f"db://me:{CANARY}@host", "secret_key": CANARY},
        "argv": ["--token", CANARY, f"--api_key={CANARY}", f"WANDB_API_KEY={CANARY}"],
        "header": f"Authorization: Bearer {CANARY}",
        "url": f"https://{CANARY}@host/?api_key={CANARY}",
    }
    tracking = Tracking("ledger", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    tracking.init_trackers(
        "p",
        config={**secrets, "access_token": CANARY, "max_tokens": 5, "pad_token": "<pad>"},
        init_kwargs={"ledger": {"ledger": str(ledger), **secrets}},
    )
    tracking.log(
        {"n": 1, "tokens": 7, "max_tokens": 8},
        log_kwargs={"ledger": {"api_key": CANARY, "url": f"http://x:{CANARY}@y", "commit": True}},
    )
    tracking.set_tags({"password": CANARY, "see": f"http://x:{CANARY}@y"})
    tracking.set_tags([f"api_key={CANARY}", "good"])
    tracking.get_tracker("ledger").store_init_configuration(secrets)
    tracking.log({"n": 2, "long": "x" * 300_000}, log_kwargs={"ledger": secrets})
    wait_for(lambda: ledger.tried("deliver") >= 2, "tries")
    ledger.withdraw("deliver")
    tracking.end_training()
    assert tracking.run_dir is not None
    files = [path for path in tracking.run_dir.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    config = ledger.all("config")[0]
    assert (config["max_tokens"], config["pad_token"]) == (5, "<pad>")
    assert ledger.rows[0]["values"] == {"n": 1, "tokens": 7, "max_tokens": 8}
    assert ledger.rows[0]["options"]["ledger"]["commit"] is True


def test_an_error_that_holds_a_password_is_not_kept_with_it(impatient: None) -> None:
    class Chatty(MemoryTracker):
        def deliver(self, records: object) -> None:
            raise UnfitValueError(f"http://me:{CANARY}@host said no")

    tracking = Tracking(Chatty(), delivery="thread")
    tracking.init_trackers("p")
    tracking.log({"n": 1})
    wait_for(lambda: tracking.status()["memory"].failed == 1, "its burial")
    assert tracking.run_dir is not None
    with pytest.warns(TrackingWarning, match="refused 1 records"):
        tracking.end_training()
    for path in tracking.run_dir.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path


def test_nobody_else_can_read_it_whatever_the_umask(
    lane: str, ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    os.chmod(folder / "a.txt", 0o666)
    os.chmod(folder, 0o777)
    before = os.umask(0)
    try:
        tracking = started(lane, ledger, poison=3)
        for number in range(5):
            tracking.log({"n": number})
        tracking.log({"n": 5, "text": "x" * 300_000})
        tracking.log_artifact(folder)
        tracking.log_artifact(folder / "a.txt")
        with pytest.warns(TrackingWarning, match="refused"):
            tracking.end_training()
    finally:
        os.umask(before)
    assert tracking.run_dir is not None
    found = [tracking.run_dir, *tracking.run_dir.rglob("*")]
    assert {"dead", "blobs", "files", "cursors", "trackers"} <= {path.name for path in found}
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


NAMES = [
    "../../escape", "/etc/escape", "..", ".", "", "~", "a/b", "a\\b", "nul\0l", "line\nbreak", "CON",
    "☃ 雪", "\u202eabc", "x" * 4000, "\ud800", "trailing.", "-rf",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
def test_a_hostile_project_name_stays_inside_the_root(
    name: str, ledger: Ledger, tmp_path: Path
) -> None:
    tracking = started("thread", ledger, project=name)
    tracking.log({"n": 1})
    assert tracking.run_dir is not None
    tracking.end_training()
    assert tracking.run_dir.resolve().parent == (tmp_path / "journals").resolve()
    assert ledger.numbers == [1]
    assert {path.name for path in tmp_path.iterdir()} == {"journals", "ledger"}


@pytest.mark.parametrize("trap", ["file", "link to a file", "dangling below a file"])
def test_a_root_that_cannot_be_used_is_said_once_and_the_next_one_is_taken(
    lane: str, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.delenv("TRACKING_DIR")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "plain").write_text("x")
    bad = tmp_path / "logs" / ".tracking"
    if trap == "file":
        bad.write_text("not a directory")
    elif trap == "link to a file":
        bad.symlink_to(tmp_path / "plain")
    else:
        bad.symlink_to(tmp_path / "plain" / "deeper")
    tracking = Tracking("ledger", tmp_path / "logs", delivery=lane)  # type: ignore[arg-type]  # it is one of them
    with pytest.warns(TrackingWarning, match="no journal can be kept") as said:
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})
    assert len(said) == 1
    tracking.log({"n": 1})
    tracking.end_training()
    assert ledger.numbers == [1]
    assert tracking.run_dir is not None and tracking.run_dir.parent == tmp_path / ".tracking"
    assert (tmp_path / "plain").read_text() == "x"


def test_where_nothing_can_be_kept_trackers_are_called_at_once(
    memory: MemoryTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_text("x")
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "plain" / "deeper"))
    tracking = Tracking(memory, delivery="thread")
    with pytest.warns(TrackingWarning) as said:
        tracking.init_trackers("p")
    assert ["inline" in str(one.message) for one in said] == [False, True]
    tracking.log({"a": 1})
    assert memory.values("a") == [1] and tracking.run_dir is None
    tracking.end_training()


def deleted(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_a_directory_that_is_deleted_in_the_middle_does_not_stop_training(
    lane: str, ledger: Ledger, impatient: None
) -> None:
    tracking = started(lane, ledger)
    tracking.log({"n": 0})
    assert tracking.flush(20)
    assert tracking.run_dir is not None
    # The delivery process may be making a file there.
    wait_for(lambda: deleted(tracking.run_dir), "the directory's end")
    for number in range(1, 200):
        tracking.log({"n": number, "text": "x" * 300_000 if number == 100 else ""})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tracking.end_training(timeout=3)
    if ledger.numbers != list(range(200)) or ledger.ends != ["finished"]:
        assert any("'ledger'" in str(one.message) for one in said), "what is lost is said"


def test_a_run_whose_directory_is_gone_is_not_called_kept(lane: str, ledger: Ledger) -> None:
    ledger.order("start", "down")
    tracking = started(lane, ledger)
    tracking.log({"n": 0})
    assert tracking.run_dir is not None
    wait_for(lambda: deleted(tracking.run_dir), "the directory's end")
    with pytest.warns(TrackingWarning) as said:
        tracking.end_training(timeout=0.5)
    messages = [str(one.message) for one in said if "'ledger'" in str(one.message)]
    assert any("was deleted" in one for one in messages)
    assert not any("kept" in one for one in messages)


def test_a_tracker_has_its_place_before_the_disk_can_fill(ledger: Ledger) -> None:
    tracking = started("process", ledger)
    assert tracking.run_dir is not None
    # The delivery process has not come as far yet.
    (place,) = tracking.run_dir.glob("*/cursors/ledger")
    assert place.stat().st_size > 0
    tracking.end_training()


def refused(writer: Path, consumer: str) -> Cursor:
    raise JournalError(f"cannot open the cursor of {consumer}: read-only file system")


def test_a_disk_on_which_nothing_can_be_taken_over_does_not_raise_out_of_the_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = started("process", ledger)
    assert tracking.flush(20)
    (lane,) = tracking._lanes
    waiting = [(2, encode(Log({"n": 1}, 0, 0, 0.0)))]
    monkeypatch.setattr(lane, "_all_written", lambda: False)
    monkeypatch.setattr(Writer, "waiting", lambda self: waiting)
    monkeypatch.setattr(Cursor, "open", refused)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracking.end_training(timeout=1)
    assert ledger.numbers in ([], [1])


def test_a_folder_that_holds_the_journal_is_logged_without_it(
    lane: str, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("as it was")
    ledger.order("deliver", "down")
    tracking = started(lane, ledger)
    tracking.log_artifact(tmp_path)
    (tmp_path / "folder" / "a.txt").write_text("changed")
    assert tracking.run_dir is not None
    copies = {path.name for path in tracking.run_dir.rglob("*/files/1/*/*")}
    assert "folder" in copies and "journals" not in copies
    ledger.withdraw("deliver")
    tracking.end_training()
    assert ledger.rows[0]["values"] == {tmp_path.name: {"folder/a.txt": "as it was"}}


SMALL_SEGMENTS = """
import functools
from tracking_core.delivery import journaled
from tracking_core.journal import Writer
class Small:
    create = functools.partial(Writer.create, segment_bytes=1_000_000, mapped=False)
journaled.Writer = Small
"""

FULL = """
import resource, signal, warnings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
warnings.simplefilter("always")
tracking.flush(20)
size = max(path.stat().st_size for path in tracking.run_dir.rglob("*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
for number in range(1, 301): log(number, text="x" * 90_000)
log(301, text="x" * 400_000)
RAISE
tracking.end_training(timeout=20)
"""


@pytest.mark.parametrize("freed", [False, True], ids=["for ever", "for a while"])
def test_a_full_disk_costs_nothing_that_fits_into_memory(
    lane: str, ledger: Ledger, freed: bool
) -> None:
    raise_ = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"
    # Enough for the small files, and for a few of the records.
    body = FULL.replace("LIMIT,", "400_000,").replace("RAISE", raise_ if freed else "")
    victim = Victim(lane, body, wrapper=SMALL_SEGMENTS, ledger={"ledger": str(ledger)})
    acknowledged = victim.end()
    assert acknowledged == list(range(1, 302)), victim.errors
    assert ledger.numbers == acknowledged, victim.errors
    assert ledger.ends == ["finished"]
    assert "Traceback" not in victim.errors


NO_MORE_FILES = """
import resource, warnings
warnings.simplefilter("always")
tracking.flush(20)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    while True: held.append(os.open(os.devnull, os.O_RDONLY))
except OSError: pass
for number in range(1, 301): log(number, text="x" * (300_000 if number % 50 == 0 else 9_000))
for file in held: os.close(file)
tracking.end_training(timeout=20)
"""


def test_a_process_that_may_open_no_more_files_loses_nothing(lane: str, ledger: Ledger) -> None:
    victim = Victim(lane, NO_MORE_FILES, wrapper=SMALL_SEGMENTS, ledger=ledger)
    acknowledged = victim.end()
    assert acknowledged == list(range(1, 301)), victim.errors
    assert ledger.numbers == acknowledged, victim.errors
    assert ledger.ends == ["finished"]
    assert "Traceback" not in victim.errors


def test_the_place_of_last_resort_is_private(tmp_path: Path) -> None:
    program = (
        "import os, sys; from tracking_core import Tracking\n"
        "from tracking_core.testing import MemoryTracker\n"
        "tracking = Tracking(MemoryTracker(), delivery='thread')\n"
        "tracking.init_trackers('p'); print(tracking.run_dir); tracking.end_training()\n"
    )
    (tmp_path / ".tracking").write_text("in the way")
    environment = {k: v for k, v in os.environ.items() if k != "TRACKING_DIR"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": PATH, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    run_dir = Path(done.stdout.strip())
    assert run_dir.is_relative_to(tmp_path)
    assert stat.S_IMODE(run_dir.parent.stat().st_mode) == 0o700


def last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Callable[[], tuple[Path | None, list[str]]]]:
    """The place of last resort, and what makes a run that has no other, with what is said."""
    monkeypatch.delenv("TRACKING_DIR")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tracking").write_text("in the way")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def run() -> tuple[Path | None, list[str]]:
        tracking = Tracking(MemoryTracker(), delivery="thread")
        with pytest.warns(TrackingWarning) as said:
            tracking.init_trackers("p")
        tracking.log({"n": 1})
        tracking.end_training()
        return tracking.run_dir, [str(one.message) for one in said]

    return tmp_path / "tmp" / f"tracking-{os.getuid()}", run


@pytest.mark.parametrize(
    "trap", ["open to all", "to the group", "a link", "a file", "a stranger's"]
)
def test_a_place_of_last_resort_that_is_not_mine_alone_is_refused_and_another_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    place, run = last_resort(tmp_path, monkeypatch)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if trap == "a link":
        place.symlink_to(tmp_path / "elsewhere")
    elif trap == "a file":
        place.write_text("x")
    else:
        place.mkdir()
        os.chmod(place, {"open to all": 0o777, "to the group": 0o770, "a stranger's": 0o700}[trap])
        if trap == "a stranger's":
            if os.geteuid() != 0:
                pytest.skip("only root can make another user's")
            os.chown(place, 12345, -1)
    run_dir, said = run()
    assert any(f"no journal can be kept in {place}" in one for one in said), said
    assert not any("inline" in one for one in said)
    assert run_dir is not None and run_dir.parent.parent == place.parent and run_dir.parent != place
    assert stat.S_IMODE(run_dir.parent.stat().st_mode) == 0o700
    assert os.listdir(tmp_path / "elsewhere") == []
    if place.is_dir():
        assert os.listdir(place) == []


def test_the_place_of_last_resort_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, run = last_resort(tmp_path, monkeypatch)
    for _ in range(2):
        run_dir, _ = run()
        assert run_dir is not None and run_dir.parent == place
    assert os.listdir(place.parent) == [place.name]


def test_without_any_temporary_directory_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = last_resort(tmp_path, monkeypatch)

    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    run_dir, said = run()
    assert run_dir is None and "inline" in said[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's")
def test_the_root_of_another_user_is_left_for_the_next_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKING_DIR")
    monkeypatch.chdir(tmp_path)
    planted = tmp_path / "shared" / ".tracking"
    planted.mkdir(parents=True)
    os.chmod(planted, 0o777)
    os.chown(planted, 12345, -1)
    tracking = Tracking("ledger", tmp_path / "shared", delivery="thread")
    with pytest.warns(TrackingWarning, match="belongs to another user"):
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})
    tracking.end_training()
    assert tracking.run_dir is not None and tracking.run_dir.parent == tmp_path / ".tracking"
    assert os.listdir(planted) == []


def test_no_journal_gets_into_a_repository(
    lane: str, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKING_DIR")
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    subprocess.run(["git", "init", "-q", "."], check=True)
    for logging_dir in (None, "logs"):
        tracking = Tracking("ledger", logging_dir, delivery=lane)  # type: ignore[arg-type]  # it is one of them
        tracking.init_trackers("p", init_kwargs={"ledger": {"ledger": str(ledger)}})
        tracking.end_training()
    said = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    )
    assert said.stdout == ""
