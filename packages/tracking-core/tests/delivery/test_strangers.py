"""A run's directory may come from anybody: no code of it runs, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from ledger_judge import PATH, Ledger, started, wait_for
from strangers import (
    CANARY,
    AlsoReading,
    Reading,
    change_owner,
    rows,
    run_of,
    seen_of,
    stored,
)

from tracking_core import Tracking, TrackingWarning, recovery, register_tracker_class
from tracking_core.__main__ import main
from tracking_core.codec import MEDIA_CODE, decode
from tracking_core.delivery.notes import read_acked, read_manifest, read_note
from tracking_core.errors import DamagedJournal, JournalError, UnknownTrackerError
from tracking_core.journal import Cursor, DeadLetters, DrainLock
from tracking_core.records import (
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedVideo,
    Record,
)
from tracking_core.testing import MemoryTracker


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` says."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _readers(_registered: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register_tracker_class(Reading)
    register_tracker_class(AlsoReading)
    monkeypatch.setattr(recovery, "POLICY", recovery.POLICY._replace(first_wait=0.01, deadline=5.0))
    Reading.made.clear()
    yield
    Reading.made.clear()


def reading() -> Reading:
    (one,) = Reading.made
    return one


# --- which code runs ---


FOREIGN = {
    "a function": ("os", "system", ["touch {mark}"]),
    "a class": ("subprocess", "Popen", [["touch", "{mark}"]]),
    "a builtin": ("builtins", "exec", ["open({mark!r}, 'w').close()"]),
    "a module that lies there": ("a_strangers_module", "Tracker", ["p"]),
    "a method": ("pathlib", "Path.touch", ["{mark}"]),
}


@pytest.mark.parametrize("age", ["of today", "of the first version"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_no_class_that_a_file_names_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, age: str
) -> None:
    mark = tmp_path / "mark"
    module, qualname, places = FOREIGN[kind]
    (tmp_path / "a_strangers_module.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    filled = json.loads(
        json.dumps(places).replace("{mark}", str(mark)).replace("{mark!r}", repr(str(mark)))
    )
    evil = stored("evil", module=module, qualname=qualname, places=filled)
    # Under the name of a tracker that there is, its own class is made, whatever else is said.
    good = stored(module=module, qualname=qualname)
    if age == "of the first version":
        for one in (evil, good):
            del one["tracker"], one["given"]
    writer = run_of(tmp_path / "runs", trackers=[evil, good])
    status = Tracking.recover(writer.parent)
    assert not mark.exists() and "a_strangers_module" not in sys.modules
    assert status["evil"].state == "stopped" and status["evil"].pending == 5
    assert "'evil'" in str(status["evil"].last_error)
    assert "register_tracker_class" in str(status["evil"].last_error)
    assert "trackers=[...]" in str(status["evil"].last_error)
    assert status["reading"].state == "ended" and status["reading"].pending == 0
    assert reading().numbers == [1, 2, 3] and reading().status == "finished"


def test_a_package_in_the_working_directory_brings_no_tracker_to_the_command(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "mark"
    there = tmp_path / "unpacked"
    (there / "evil-1.dist-info").mkdir(parents=True)
    (there / "evil-1.dist-info" / "METADATA").write_text("Name: evil\nVersion: 1\n")
    (there / "evil-1.dist-info" / "entry_points.txt").write_text(
        "[tracking.trackers]\nevil = evil_module:Evil\n"
    )
    (there / "evil_module.py").write_text(f"open({str(mark)!r}, 'w').close()")
    writer = run_of(there, trackers=[stored("evil")])
    done = subprocess.run(
        [sys.executable, "-m", "tracking_core", "recover", str(writer.parent)],
        cwd=there, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": PATH},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "no installed package brings a tracker 'evil'" in done.stdout
    assert not mark.exists()


def test_a_manifest_of_the_first_version_is_read(tmp_path: Path) -> None:
    writer = run_of(tmp_path, ended=False)
    (writer / "run.json").write_text(
        '{"project":"p","run_id":"20250101-000000-0a","trackers":['
        '{"name":"reading","module":"my_trackers","qualname":"Reading","places":["p"],'
        '"arguments":{"api_key":"***","entity":"me"},"lane":"process"},'
        '{"name":"memory","module":"__main__","qualname":"Own","places":[],"arguments":{},'
        '"lane":"thread"}]}'
    )
    status = Tracking.recover(writer.parent)
    assert reading().kwargs == {"entity": "me"} and reading().status == "killed"
    assert status["reading"].state == "ended"
    assert status["memory"].state == "stopped" and "as an object" in str(
        status["memory"].last_error
    )


def test_an_object_that_was_handed_in_can_be_handed_in_again(
    tmp_path: Path, memory: MemoryTracker
) -> None:
    first, second = MemoryTracker(), MemoryTracker()
    writer = run_of(
        tmp_path, trackers=[stored("memory", given=True), stored("memory#2", given=True), stored()]
    )
    status = Tracking.recover(writer.parent)
    assert {name: one.state for name, one in status.items()} == {
        "memory": "stopped", "memory#2": "stopped", "reading": "ended",
    }  # fmt: skip
    assert status["memory"].pending == 5 and status["memory#2"].fault == "setup"
    status = Tracking.recover(writer.parent, trackers=[first, second])
    assert {one.state for one in status.values()} == {"ended"}
    assert first.values("n") == second.values("n") == [1, 2, 3]
    status = Tracking.recover(writer.parent)
    assert {one.state for one in status.values()} == {"ended"}, "there is nothing left to make"
    with pytest.raises(
        UnknownTrackerError, match=r"no tracker 'memory#3', it had memory, memory#2"
    ):
        Tracking.recover(writer.parent, trackers=[MemoryTracker() for _ in range(3)])


def test_a_run_of_an_instance_is_delivered_to_another_one(
    memory: MemoryTracker, tmp_path: Path
) -> None:
    class Deaf(MemoryTracker):
        def start(self) -> None:
            raise ConnectionError("not yet")

    tracking = Tracking(Deaf(), delivery="thread")
    tracking.init_trackers("p")
    tracking.log({"n": 1})
    with pytest.warns(TrackingWarning, match=r"2 records .*Tracking.recover\('.*', trackers="):
        tracking.end_training(timeout=0.3)
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    wait_for(lambda: read_note(writer, "memory").state == "stopped", "its thread")
    assert Tracking.recover(tracking.run_dir)["memory"].pending == 2
    assert Tracking.recover(tracking.run_dir, trackers=[memory])["memory"].state == "ended"
    assert memory.values("n") == [1]


def test_what_a_file_holds_is_enough_to_find_a_class_by_its_name(
    ledger: Ledger, memory: MemoryTracker
) -> None:
    tracking = started("process", ledger)
    tracking.end_training()
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    (one,) = read_manifest(writer).trackers
    assert (one.name, one.tracker, one.given) == ("ledger", "ledger", False)
    assert one.places == ["p"] and one.arguments == {"ledger": str(ledger)}


def test_the_command_of_the_warning_names_the_classes_that_no_package_brings(
    ledger: Ledger,
) -> None:
    ledger.order("start", "down")
    tracking = started("thread", ledger)
    with pytest.warns(TrackingWarning, match="still to be delivered") as said:
        tracking.end_training(timeout=0.3)
    assert str(said[0].message).endswith("--tracker ledger_trackers:LedgerTracker")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:Tracker", "ModuleNotFoundError"),
        ("os:no_such", "AttributeError"),
        ("os", "AttributeError"),
        ("os:system", "is no subclass of GeneralTracker"),
    ],
)
def test_a_wrong_class_on_the_command_line_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: str, message: str
) -> None:
    writer = run_of(tmp_path)
    assert main(["recover", str(writer.parent), "--tracker", reference]) == 2
    assert message in capsys.readouterr().err
    assert not Reading.made


def test_nothing_that_a_file_says_reaches_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = run_of(tmp_path, trackers=[stored("\x1b]0;owned\x07\u202e"), stored()])
    assert main(["recover", str(writer.parent)]) == 1
    change_owner(writer, host="\x1b[2J", boot="x", namespace="x")
    assert main(["recover", str(writer.parent)]) == 2
    said = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e"} & set(said.out + said.err)
    assert "\\x1b]0;owned\\x07\\u202e: stopped" in said.out and "\\x1b[2J" in said.err


def test_an_argument_that_held_a_secret_is_asked_for(tmp_path: Path) -> None:
    arguments = {"uri": "http://me:***@host", "api_key": "***"}
    writer = run_of(tmp_path, trackers=[stored(arguments=arguments)])
    status = Tracking.recover(writer.parent)["reading"]
    assert status.state == "stopped"
    assert "init_kwargs={'reading': {'uri': ...}}" in str(status.last_error)
    Tracking.recover(writer.parent, init_kwargs={"reading": {"uri": "http://me:pw@host"}})
    assert reading().kwargs == {"uri": "http://me:pw@host"}, "a library finds its key by itself"


# --- what is opened ---


def a_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


def a_dangling_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nothing")


def a_link_to_itself(path: Path, outside: Path) -> None:
    path.symlink_to(path)


def a_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def a_linked_directory(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def a_socket(path: Path, outside: Path) -> None:
    if len(path.name) > 100:  # no socket has such an address
        os.mkfifo(path)
        return
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # its address may have a hundred characters
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def endless_zeros(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


TRAPS = [
    a_pipe, a_link, a_dangling_link, a_link_to_itself, a_directory, a_linked_directory, a_socket,
    endless_zeros,
]  # fmt: skip
PLACES = [
    "owner.json", "run.json", "drain.lock", "segment", "cursors/reading", "trackers/reading",
    "dead/reading.ndjson", "blobs/<digest>", "files/1/a.txt", "cursors", "trackers", "dead", "blobs",
    "files", "files/1",
]  # fmt: skip


def whole_run(root: Path) -> Path:
    """A writer directory with something of everything in it."""
    file = Log({"f": LoggedFile("files/1/a.txt", "f")}, 4, 4, 1.0)
    big = Log({"n": 5, "text": "x" * 300_000}, 5, 5, 1.0)
    writer = run_of(root, [*rows(3), file, big, b"no record", *rows(100, start=6)])
    (writer / "files" / "1").mkdir(parents=True)
    (writer / "files" / "1" / "a.txt").write_text("kept")
    Cursor.open(writer, "reading").close()
    DeadLetters(writer, "reading").append(9, b"x", "refused")
    (writer / "trackers").mkdir()
    (writer / "trackers" / "reading").write_text('{"state":"running","identity":{"id":"1"}}')
    with DrainLock(writer):
        return writer


def place_of(writer: Path, place: str) -> Path:
    if place == "segment":
        return min(writer.glob("*.seg"))
    if place == "blobs/<digest>":
        return next((writer / "blobs").iterdir())
    return writer / place


def outside_of(tmp_path: Path) -> Path:
    """Files that nobody may read, change or make more of."""
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    for name in ("secret", "reading", "reading.ndjson", "a.txt", "1/a.txt"):
        (outside / name).write_text(CANARY)
        os.chmod(outside / name, 0o640)
    return outside


@pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_no_trap_is_followed_or_waited_for(
    tmp_path: Path, place: str, trap: Callable[[Path, Path], None]
) -> None:
    writer = whole_run(tmp_path / "runs")
    outside = outside_of(tmp_path)
    before = seen_of(outside)
    path = place_of(writer, place)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    trap(path, outside)
    status = None
    try:
        status = Tracking.recover(writer.parent, timeout=2, force=True)
    except JournalError as error:
        assert str(path) in str(error) or "cannot read" in str(error)
    assert seen_of(outside) == before
    for one in Reading.made:
        assert CANARY not in repr(one.records)
        assert all(CANARY.encode() not in held for held in one.read.values())
    if status is not None and place not in ("cursors/reading", "cursors"):
        assert status["reading"].state == "ended"
        assert set(reading().numbers) >= {1, 2, 3} or place == "segment"


def test_a_file_with_a_second_name_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    writer = run_of(tmp_path / "runs")
    outside = outside_of(tmp_path)
    for folder, name in (("cursors", "reading"), ("dead", "reading.ndjson"), (".", "drain.lock")):
        (writer / folder).mkdir(exist_ok=True)
        os.link(outside / "secret", writer / folder / name)
    before = seen_of(outside)
    with pytest.raises(JournalError, match="hard link"):
        Tracking.recover(writer.parent)
    (writer / "drain.lock").unlink()
    status = Tracking.recover(writer.parent)["reading"]
    assert status.state == "stopped" and "hard link" in str(status.last_error)
    (writer / "cursors" / "reading").unlink()
    assert Tracking.recover(writer.parent)["reading"].state == "ended"
    assert {name: held[-1] for name, held in seen_of(outside).items()} == {
        name: held[-1] for name, held in before.items()
    }


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give away"
)
def test_a_writer_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    writer = run_of(tmp_path)
    os.chown(writer, 12345, -1)
    with pytest.raises(JournalError, match="belongs to another user"):
        Tracking.recover(writer.parent)
    assert not Reading.made


# --- which files are passed on ---


def recovered(
    tmp_path: Path, *records: Record, prepare: Callable[[Path], None] = lambda _: None
) -> Any:
    writer = run_of(tmp_path / "runs", list(records))
    (writer / "files" / "1").mkdir(parents=True)
    (writer / "files" / "1" / "good.txt").write_text("good")
    prepare(writer)
    with pytest.warns(TrackingWarning, match="could not store"):
        return Tracking.recover(writer.parent)["reading"]


def row(**values: Any) -> Log:
    return Log({"n": 1, **values}, 1, 1, 1.0)


GOOD = LoggedFile("files/1/good.txt", "f")
NAMES = [
    "{outside}/secret", "../../../outside/secret", "files/1/../../../../../outside/secret",
    "files/../files/1/good.txt", "files/1/link", "files/1/linked/secret", "files/1/pipe",
    "files/1/folder", "run.json", "owner.json", "files", "files/1", "", ".", "files//good.txt",
    "files/1/nul\0l", "files/1/" + "x" * 5000, "/dev/zero", "/proc/self/environ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_no_path_leaves_the_run_and_the_rest_of_the_record_lands(tmp_path: Path, name: str) -> None:
    outside = outside_of(tmp_path)

    def prepare(writer: Path) -> None:
        (writer / "files" / "1" / "link").symlink_to(outside / "secret")
        (writer / "files" / "1" / "linked").symlink_to(outside)
        (writer / "files" / "1" / "folder").mkdir()
        os.mkfifo(writer / "files" / "1" / "pipe")

    bad = LoggedFile(name.format(outside=outside), "f")
    status = recovered(
        tmp_path, row(bad=bad, good=GOOD, two=[bad, GOOD]), row(bad=bad), prepare=prepare
    )
    assert status.state == "ended" and status.pending == 0
    assert {rejection.key: count for rejection, count in status.rejected.items()} == {
        "bad": 2,
        "two": 1,
    }
    assert all(rejection.type == "LoggedFile" for rejection in status.rejected)
    first, second = reading().rows
    assert set(first.values) == {"n", "good", "two"} and set(second.values) == {"n"}
    assert set(reading().read.values()) == {b"good"}


def test_of_a_folder_with_a_link_in_it_everything_else_is_passed_on(tmp_path: Path) -> None:
    outside = outside_of(tmp_path)

    def prepare(writer: Path) -> None:
        folder = writer / "files" / "1" / "folder"
        (folder / "inner").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "inner" / "b.txt").write_text("b")
        (folder / "inner" / "link").symlink_to(outside / "secret")
        (folder / "linked").symlink_to(outside)
        os.mkfifo(folder / "pipe")

    folder = LoggedFile("files/1/folder", "out", directory=True)
    status = recovered(tmp_path, row(folder=folder), prepare=prepare)
    reasons = [rejection.reason for rejection in status.rejected]
    assert len(reasons) == 3 and any("link" in one for one in reasons)
    (one,) = reading().rows
    files = one.values["folder"]
    assert isinstance(files, list)
    assert sorted((Path(file.path).name, file.artifact_path) for file in files) == [
        ("a.txt", "out"), ("b.txt", "out/inner"),
    ]  # fmt: skip
    assert sorted(reading().read.values()) == [b"a", b"b"]


def test_a_record_of_which_nothing_is_left_is_counted_and_kept_and_holds_up_nothing(
    tmp_path: Path,
) -> None:
    only = Log({"a": {"b": LoggedFile("/etc/passwd", "f")}}, 1, 1, 1.0)
    status = recovered(tmp_path, only, row())
    assert (status.state, status.pending, status.failed) == ("ended", 0, 1)
    assert [(one.key, count) for one, count in status.rejected.items()] == [("a/b", 1)]
    assert reading().numbers == [1]
    (writer,) = (tmp_path / "runs" / "p-run").iterdir()
    (letter,) = DeadLetters(writer, "reading").list()
    assert decode(letter.payload) == only and "--originals" in letter.reason


def test_the_original_of_a_file_that_could_not_be_copied_is_taken_in_its_own_run(
    lane: str, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "original.txt"
    original.write_text("where it is")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 1))
    tracking = started(lane, ledger)
    with pytest.warns(TrackingWarning, match="not copied into the journal"):
        tracking.log_artifact(original)
    tracking.end_training()
    assert [one["values"] for one in ledger.rows] == [{"original.txt": "where it is"}]


def test_the_original_is_taken_by_recover_where_the_run_is_said_to_be_ones_own(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.order("start", "down")
    original = tmp_path / "original.txt"
    original.write_text("where it is")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 1))
    tracking = started("thread", ledger)
    with pytest.warns(TrackingWarning) as said:
        tracking.log_artifact(original)
        tracking.end_training(timeout=0.3)
    assert any(str(one.message).endswith("--originals") for one in said)
    ledger.withdraw("start")
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    wait_for(lambda: read_note(writer, "ledger").state == "stopped", "its thread")
    assert main(["recover", str(tracking.run_dir), "--originals"]) == 0
    assert [one["values"] for one in ledger.rows] == [{"original.txt": "where it is"}]


LYING = {
    "a picture of no bytes": LoggedImage(b"", 10**6, 10**6, 3),
    "a picture with too many channels": LoggedImage(b"12345", 1, 1, 5),
    "a picture of a negative size": LoggedImage(b"1", -1, -1, 1),
    "endless frames": LoggedVideo(b"", 1, 1, 1, 10**12, 1.0),
    "frames of no size": LoggedVideo(b"", 0, 0, 0, 10**12, 1.0),
    "a suffix that leads elsewhere": LoggedImage(b"1", 1, 1, 1, format="png/../../../x"),
    "a sound of such a suffix": LoggedAudio(b"1", 1, 1, format="wav\0"),
    "a film of such a suffix": LoggedVideo(b"1", 1, 1, 1, 1, 1.0, format="/etc/x"),
    "a histogram without its edges": LoggedHistogram([1.0, 2.0], [1.0], 0, 1, 1, 1, 1),
}


@pytest.mark.parametrize("kind", LYING)
def test_a_medium_that_is_not_what_it_says_is_left_out(tmp_path: Path, kind: str) -> None:
    whole = LoggedImage(b"123", 1, 1, 3)
    status = recovered(tmp_path, row(bad=LYING[kind], many=[whole, LYING[kind]]))
    assert {one.key for one in status.rejected} == {"bad", "many"}
    (one,) = reading().rows
    assert one.values == {"n": 1, "many": [whole]}


def test_a_number_as_large_as_any_is_counted_as_lost(tmp_path: Path) -> None:
    writer = run_of(tmp_path)
    (segment,) = writer.glob("*.seg")
    number, _, salt = segment.name.split("-")
    shutil.copyfile(segment, writer / f"{int(number) + 1:08d}-{10**20 - 1}-{salt}")
    status = Tracking.recover(writer.parent)["reading"]
    assert status.state == "ended" and status.lost in (0, 2**64 - 7)
    assert reading().numbers == [1, 2, 3]


def nested(levels: int) -> bytes:
    """A record with a file below so many dicts, which not even its encoder could go through."""
    file = msgspec.msgpack.encode(msgspec.msgpack.Ext(MEDIA_CODE, msgspec.msgpack.encode(GOOD)))
    marker = msgspec.msgpack.encode(b"here")
    fields = {"type": "log", "values": {"x": b"here"}, "step": 1, "position": 1, "wall_time": 1.0}
    deep = b"\x81\xa1d" * levels + b"\x81\xa1f" + file
    return msgspec.msgpack.encode(fields).replace(marker, deep)


def test_a_record_nested_as_deep_as_can_be_costs_itself(tmp_path: Path) -> None:
    records: list[Record | bytes] = []
    for levels in (60, 300, 450, 900, 5000, 200_000):
        records += [nested(levels), row()]
    writer = run_of(tmp_path, records)
    status = Tracking.recover(writer.parent)["reading"]
    assert status.state == "ended" and reading().numbers == [1] * 6
    assert status.delivered + status.failed == 13


# --- damaged notes ---


BYTES = {
    "no UTF-8": b'{"state":"running","last_error":"\xff\xfe"}',
    "nothing": b"",
    "zeros": bytes(300),
    "half": b'{"state":"runn',
    "another state": b'{"state":"flying"}',
    "numbers without end": b'{"delivered":' + b"9" * 5000 + b"}",
    "infinity": b'{"delivered":1e999}',
    "lone surrogates": b'{"last_error":"\\ud800"}',
    "deep": b'{"identity":' + b"[" * 100_000,
    "a list": b"[1,2,3]",
    "odd identity": b'{"identity":{"a":[1]}}',
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_a_note_may_hold_anything(tmp_path: Path, data: bytes) -> None:
    writer = run_of(tmp_path)
    (writer / "trackers").mkdir()
    (writer / "trackers" / "reading").write_bytes(data)
    assert read_note(writer, "reading").state == "starting"
    assert Tracking.recover(writer.parent)["reading"].state == "ended"
    assert reading().numbers == [1, 2, 3]


@pytest.mark.parametrize("trap", ["bytes", "pipe", "link"])
def test_a_damaged_note_stops_neither_the_training_nor_its_delivery(
    ledger: Ledger, tmp_path: Path, trap: str, impatient: None
) -> None:
    tracking = started("process", ledger)
    tracking.log({"n": 1})
    assert tracking.flush(20)
    assert tracking.run_dir is not None
    (writer,) = tracking.run_dir.iterdir()
    note = writer / "trackers" / "ledger"
    note.unlink(missing_ok=True)
    if trap == "bytes":
        note.write_bytes(b"\xff\xfe")
    elif trap == "pipe":
        os.mkfifo(note)
    else:
        note.symlink_to("/dev/zero")
    assert set(tracking.status()) == {"ledger"}
    for number in range(2, 5):
        tracking.log({"n": number})
    tracking.end_training()
    assert ledger.numbers == [1, 2, 3, 4] and ledger.ends == ["finished"]
    assert tracking.status()["ledger"].state == "ended"


OWNERS = {
    "a huge pid": {"pid": 10**30}, "a pid of 40 bits": {"pid": 2**40}, "a negative pid": {"pid": -1},
    "infinity": {"pid": float("inf")}, "no number": {"pid": float("nan")}, "a huge start": {"started": 10**400},
    "a text": {"created_ns": "yesterday"}, "null": {"created_ns": None}, "an old time": {"created_ns": -5},
}  # fmt: skip


@pytest.mark.parametrize("said", OWNERS.values(), ids=OWNERS)
def test_an_owner_may_say_anything(tmp_path: Path, said: dict[str, Any]) -> None:
    writer = run_of(tmp_path)
    (writer / "owner.json").write_text(
        json.dumps(json.loads((writer / "owner.json").read_text()) | {"boot": ""} | said)
    )
    if said == {"pid": 2**40}:
        pytest.importorskip("fcntl")
        assert Tracking.recover(writer.parent)["reading"].state == "ended"
        return
    with pytest.raises(DamagedJournal, match=r"cannot read the owner .*--force"):
        Tracking.recover(writer.parent)
    assert Tracking.recover(writer.parent, force=True)["reading"].state == "ended"
    assert reading().numbers == [1, 2, 3]


@pytest.mark.parametrize("gone", ["damaged", "gone"])
def test_a_run_without_its_manifest_can_be_delivered_all_the_same(
    tmp_path: Path, memory: MemoryTracker, gone: str
) -> None:
    writer = run_of(tmp_path)
    if gone == "gone":
        (writer / "run.json").unlink()
    else:
        (writer / "run.json").write_bytes(b"\xff")
    with pytest.raises(DamagedJournal, match=r"trackers=\[\.\.\.\].*replay"):
        Tracking.recover(writer.parent)
    assert Tracking.recover(writer.parent, trackers=[memory])["memory"].state == "ended"
    assert memory.values("n") == [1, 2, 3]
    Tracking.replay(writer.parent, "reading")
    assert reading().run_name == "p-run" and reading().numbers == [1, 2, 3]


def test_the_place_of_a_tracker_is_read_from_no_link_and_no_pipe(tmp_path: Path) -> None:
    writer = run_of(tmp_path)
    (writer / "cursors").mkdir()
    os.mkfifo(writer / "cursors" / "a")
    elsewhere = Cursor.open(tmp_path, "b")
    elsewhere.ack(3)
    elsewhere.close()
    (writer / "cursors" / "b").symlink_to(elsewhere.path)
    assert read_acked(writer, "a") == read_acked(writer, "b") == 0
