"""What becomes of logged files: copied into the journal, each whole or not at all, the rest named."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ledger_judge import Ledger, started, wait_for

from tracking_core import Artifact, Audio, Image, Tracking, TrackingWarning, Video, files
from tracking_core.delivery import copies
from tracking_core.files import Unkept, in_words, keep
from tracking_core.records import Log, LoggedFile, Record, media_list
from tracking_core.tracker import GeneralTracker, RecordTracker


class KeepingTracker(RecordTracker):
    """Copies logged files as trackers do, once it is let."""

    name = "keeping"
    requires_logging_directory = False

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.let = False

    @property
    def tracker(self) -> Path:
        return self.root

    def start(self) -> None:
        if not self.let:
            raise ConnectionError("not yet")

    def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Log):
                for key, value in record.values.items():
                    for file in media_list(value):
                        self._keep(key, file)

    def _keep(self, key: str, file: Any) -> None:
        try:
            _, left_out = keep(file, str(self.root), lambda inner: f"{file.artifact_path}/{inner}")
        except Unkept as reason:
            self.reject(key, file, str(reason))
        else:
            if left_out:
                self.reject(key, file, in_words(file, left_out))

    @property
    def kept(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def keeping(tmp_path: Path) -> KeepingTracker:
    (tmp_path / "kept").mkdir()
    return KeepingTracker(tmp_path / "kept")


@pytest.fixture
def run(keeping: KeepingTracker, impatient: None) -> Iterator[Tracking]:
    """A run whose tracker is down until it ends."""
    tracking = Tracking(keeping, delivery="thread")
    tracking.init_trackers("p")
    yield tracking
    end(tracking, keeping)


def end(tracking: Tracking, keeping: KeepingTracker) -> None:
    keeping.let = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracker says what it can't find
        tracking.end_training()
    assert tracking.status()["keeping"].failed == 0


def reasons(tracking: Tracking) -> list[str]:
    assert all(count == 1 for count in tracking.rejected.values())
    return [rejection.reason for rejection in tracking.rejected]


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    (tmp_path / "ckpt" / "step 1").mkdir(parents=True)
    for name in ("a.txt", "step 1/b.txt", "step 1/c.txt"):
        (tmp_path / "ckpt" / name).write_text(f"content of {name}")
    return tmp_path / "ckpt"


CKPT = {f"{name}": f"content of {name}" for name in ("a.txt", "step 1/b.txt", "step 1/c.txt")}


def test_whatever_lies_in_a_folder_its_files_are_kept_and_the_rest_is_named_once(
    lane: str, ledger: Ledger, ckpt: Path
) -> None:
    os.mkfifo(ckpt / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as bound:
        before = os.getcwd()
        os.chdir(ckpt)  # a socket's path is short
        bound.bind("socket.txt")
        os.chdir(before)
    (ckpt / "self").symlink_to(".")
    (ckpt / "step 1" / "up").symlink_to("..")
    (ckpt / "latest").symlink_to("step 1")
    (ckpt / "dangling.txt").symlink_to("nowhere")
    (ckpt / "zero.txt").symlink_to("/dev/zero")
    (ckpt / "empty.txt").write_text("")
    (ckpt / "odd \udcff\n.txt").write_text("odd")
    tracking = started(lane, ledger)
    with pytest.warns(TrackingWarning, match=r"could not store 'ckpt' \(folder\)") as said:
        tracking.log_artifact(ckpt)
    shutil.rmtree(ckpt)
    tracking.end_training()
    assert len(said) == 1
    assert ledger.rows[0]["values"]["ckpt"] == {
        **CKPT,
        "latest/b.txt": CKPT["step 1/b.txt"],
        "latest/c.txt": CKPT["step 1/c.txt"],
        "empty.txt": "",
        "odd \udcff\n.txt": "odd",
    }
    (reason,) = reasons(tracking)
    assert reason == (
        "all is kept but for 7 entries: 'dangling.txt' is a link that leads nowhere; 'pipe.txt' is "
        "a pipe, and no file; 'self' leads back to a folder that it lies in; 'socket.txt' is a "
        "socket, and no file; 'zero.txt' is a device, and no file; and 2 more"
    )


@pytest.mark.parametrize("delivery", ["inline", "thread"])
def test_what_is_no_file_is_named_and_never_waited_for(
    delivery: str, keeping: KeepingTracker, tmp_path: Path
) -> None:
    keeping.let = True
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "looped").symlink_to("looped")
    nothing = {
        "pipe": "is a pipe, and no file",
        "/dev/zero": "is a device, and no file",
        "nowhere": "no such file or directory",
        "looped": "symbolic links",
    }
    tracking = Tracking(keeping, delivery=delivery)  # type: ignore[arg-type]  # it is one of them
    tracking.init_trackers("p")
    with pytest.warns(TrackingWarning):
        for name in nothing:
            path = tmp_path / name
            tracking.log_artifact(path)
            media = {"artifact": Artifact(path), "image": Image(path), "audio": Audio(path)}
            tracking.log({**media, "video": Video(path), "n": 1})
    tracking.end_training()
    assert keeping.kept == {}
    said = "\n".join(str(rejection) for rejection in tracking.rejected)
    for name, reason in nothing.items():
        about = [line for line in said.split("\n") if name in line or "looped" in name]
        assert any(reason in line for line in about), (name, said)
    assert sum(tracking.rejected.values()) == 5 * len(nothing)


def test_an_empty_path_is_not_the_working_directory(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ckpt)
    with pytest.warns(TrackingWarning, match="its path is empty"):
        run.log_artifact("")
    run.log_artifact(".")
    end(run, keeping)
    assert keeping.kept == CKPT


def test_a_file_that_vanishes_while_others_are_copied_costs_only_itself(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanishing(source: str, target: str, mode: int) -> bool:
        (ckpt / "step 1" / "b.txt").unlink(missing_ok=True)
        return files.copy_whole(source, target, mode)

    monkeypatch.setattr(copies, "copy_whole", vanishing)
    with pytest.warns(TrackingWarning, match=r"but for one entry: .*step 1/b.txt' is gone"):
        run.log_artifact(ckpt)
    shutil.rmtree(ckpt)
    end(run, keeping)
    assert keeping.kept == {name: CKPT[name] for name in ("a.txt", "step 1/c.txt")}


def test_a_file_that_changes_while_it_is_copied_is_kept_and_named(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def growing(fd: int, size: int) -> bytes:
        with open(ckpt / "a.txt", "a") as file:
            file.write("!")
        return read(fd, size)

    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "read", growing)
    with pytest.warns(TrackingWarning, match="'a.txt' changed while it was copied"):
        run.log_artifact(ckpt / "a.txt")
    monkeypatch.undo()
    end(run, keeping)
    assert keeping.kept["a.txt"].startswith(CKPT["a.txt"])


def full_for(size: int) -> Callable[[int, bytes], int]:
    """``os.write`` on a disk where no more than `size` bytes go at once: then it is full."""
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) <= size:
            return write(fd, data)
        write(fd, data[:size])
        raise OSError(errno.ENOSPC, "No space left on device")

    return full


@pytest.mark.parametrize("deleted", [False, True], ids=["", "deleted"])
def test_what_a_full_disk_takes_is_copied_and_the_rest_read_where_it_is(
    run: Tracking,
    keeping: KeepingTracker,
    ckpt: Path,
    monkeypatch: pytest.MonkeyPatch,
    deleted: bool,
) -> None:
    (ckpt / "step 1" / "large.txt").write_text("x" * 5000)
    with monkeypatch.context() as disk:
        disk.delattr(os, "copy_file_range", raising=False)
        disk.setattr(os, "write", full_for(1000))
        with pytest.warns(TrackingWarning) as said:
            run.log_artifact(ckpt, "models")
            run.log_artifact(ckpt / "step 1" / "large.txt")
    assert [str(one.message) for one in said] == [
        f"of {key!r} one file is not copied into the journal in {copies_of(run)} (5.0 kB; No space "
        "left on device): trackers read them where they are, so leave them there until the run is "
        "delivered"
        for key in ("ckpt", "large.txt")
    ]
    assert not run.rejected
    if deleted:
        shutil.rmtree(ckpt)
    end(run, keeping)
    small = {f"models/{name}": content for name, content in CKPT.items()}
    large = {"models/step 1/large.txt": "x" * 5000, "large.txt": "x" * 5000}
    assert keeping.kept == (small if deleted else {**small, **large})
    named = sorted(one.key for one in run.status()["keeping"].rejected)
    assert named == (["ckpt", "large.txt"] if deleted else [])


def copies_of(run: Tracking) -> str:
    assert run.run_dir is not None
    (writer,) = run.run_dir.iterdir()
    return str(writer)


@pytest.mark.parametrize("room", [0, 60])
def test_copies_take_half_of_what_is_free(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    usage = shutil.disk_usage(ckpt)
    with monkeypatch.context() as disk:
        disk.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * room))
        with pytest.warns(TrackingWarning, match=f"take half of the free {2 * room} bytes at most"):
            run.log_artifact(ckpt)
    copied = [path for path in Path(copies_of(run)).glob("files/**/*") if path.is_file()]
    assert sum(path.stat().st_size for path in copied) <= room
    assert bool(copied) == bool(room)
    end(run, keeping)
    assert keeping.kept == CKPT


def test_a_folder_of_which_hardly_anything_can_be_copied_is_read_where_it_is(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(copies.MOST_APART + 1):
        (ckpt / f"large {number}").write_text("x" * 5000)
    with monkeypatch.context() as disk:
        disk.delattr(os, "copy_file_range", raising=False)
        disk.setattr(os, "write", full_for(1000))
        with pytest.warns(TrackingWarning, match=r"of 'ckpt' 101 files are not copied"):
            run.log_artifact(ckpt)
    assert list(Path(copies_of(run)).glob("files/*")) == []
    end(run, keeping)
    assert len(keeping.kept) == len(CKPT) + copies.MOST_APART + 1
    assert {len(text) for name, text in keeping.kept.items() if "large" in name} == {5000}


def test_a_folder_without_end_is_named_and_no_tracker_gets_it(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_ENTRIES", 500)
    with pytest.warns(TrackingWarning, match=r"'/' holds more than 500 files and folders, .*pack"):
        run.log_artifact("/")
    with pytest.warns(TrackingWarning, match="could not store 'artifacts' "):
        run.log({"artifacts": [Artifact(ckpt / "a.txt"), Artifact("/usr")], "n": 1})
    end(run, keeping)
    assert keeping.kept == {"artifacts/a.txt": CKPT["a.txt"]}
    assert [(one.key, one.type) for one in run.rejected] == [
        ("", "folder"),
        ("artifacts", "folder"),
    ]


def test_a_name_that_is_no_text_is_kept_all_the_same(
    run: Tracking, keeping: KeepingTracker, tmp_path: Path
) -> None:
    for name in ("\udcff.txt", "\udcff" * 100):
        (tmp_path / name).write_text("odd")
        run.log_artifact(tmp_path / name)
        run.log({"key": Artifact(tmp_path / name, "folder \udcff")})
        os.remove(tmp_path / name)
    end(run, keeping)
    assert list(keeping.kept.values()) == ["odd"] * 4
    assert not run.rejected


def test_a_name_that_no_record_can_hold_is_named_where_it_can_not_be_copied(
    run: Tracking, keeping: KeepingTracker, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ckpt / "\udcff").write_text("x" * 5000)
    with monkeypatch.context() as disk, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disk.delattr(os, "copy_file_range", raising=False)
        disk.setattr(os, "write", full_for(1000))
        run.log_artifact(ckpt)
        run.log_artifact(ckpt / "\udcff")
    end(run, keeping)
    assert keeping.kept == CKPT
    assert all("its name is no text" in reason for reason in reasons(run))
    assert len(run.rejected) == 2


def test_an_interrupt_leaves_no_half_copy(
    run: Tracking, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []

    def interrupted(source: str, target: str, mode: int) -> bool:
        if copied:
            raise KeyboardInterrupt
        copied.append(target)
        return files.copy_whole(source, target, mode)

    with monkeypatch.context() as patched:
        patched.setattr(copies, "copy_whole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.log_artifact(ckpt)
    assert list(Path(copies_of(run)).glob("files/*")) == []


def test_a_journal_that_is_gone_is_not_made_again_for_a_copy(
    run: Tracking, keeping: KeepingTracker, ckpt: Path
) -> None:
    run_dir = run.run_dir
    assert run_dir is not None

    def deleted() -> bool:
        shutil.rmtree(run_dir, ignore_errors=True)
        return not run_dir.exists()

    wait_for(deleted, "the directory's end")  # its worker may be making a file there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.log_artifact(ckpt)
        assert list(run_dir.rglob("files")) == []
        keeping.let = True
        run.end_training(timeout=2)


def test_a_file_of_a_nested_row_is_named_by_its_whole_key(
    run: Tracking, keeping: KeepingTracker, ckpt: Path
) -> None:
    os.mkfifo(ckpt / "pipe")
    with pytest.warns(TrackingWarning, match="could not store 'best/model' "):
        run.log({"best": {"model": Artifact(ckpt)}})


class Simple(GeneralTracker):
    """What Accelerate asks for."""

    name = "simple"
    requires_logging_directory = False
    tracker = None

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[str] = []

    def log(self, values: Any, step: int | None = None, **kwargs: Any) -> None:
        self.logged.extend(values)


class Whole(Simple):
    """Has a library that takes folders."""

    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        self.logged.append(f"{artifact_path}: {os.path.basename(local_path)}")

    def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        self.logged.append(f"{artifact_path}: all of {os.path.basename(local_dir)}")


def row(**values: Any) -> list[Record]:
    return [Log(values, 0, 0, 0.0)]


def test_a_tracker_of_few_methods_is_given_files_one_by_one(ckpt: Path) -> None:
    (ckpt / "gone").symlink_to("nowhere")
    os.mkfifo(ckpt / "pipe")
    simple = Simple()
    with pytest.warns(TrackingWarning, match=r"but for 2 entries: 'gone' .*; 'pipe' "):
        simple.deliver(row(ckpt=LoggedFile(str(ckpt), "models", True)))
    with pytest.warns(TrackingWarning, match=r"ckpt/pipe' is a pipe"):
        simple.log_artifact(ckpt / "pipe")
    with pytest.warns(TrackingWarning, match=r"nowhere' is gone"):
        simple.log_artifacts(ckpt / "nowhere")
    assert simple.logged == [f"artifacts/models/{name}" for name in CKPT]


def test_a_library_that_takes_folders_is_given_none_that_it_would_wait_in(ckpt: Path) -> None:
    whole = Whole()
    whole.deliver(row(ckpt=LoggedFile(str(ckpt), "models", True)))
    assert whole.logged == ["models: all of ckpt"]
    os.mkfifo(ckpt / "pipe")
    with pytest.warns(TrackingWarning, match="but for one entry: 'pipe' "):
        whole.deliver(row(ckpt=LoggedFile(str(ckpt), "models", True)))
    with pytest.warns(TrackingWarning, match="ckpt/pipe' is a pipe"):
        whole.deliver(row(pipe=LoggedFile(str(ckpt / "pipe"))))
    whole.deliver(row(a=LoggedFile(str(ckpt / "a.txt"))))
    assert whole.logged[1:] == [
        "models: a.txt", "models/step 1: b.txt", "models/step 1: c.txt", "None: a.txt",
    ]  # fmt: skip
