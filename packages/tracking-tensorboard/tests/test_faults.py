"""Whose fault an error is, what it says, and what a start that failed leaves."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from tracking_core import Tracking, TrackingWarning
from tracking_core.faults import Fault, fault_of_start
from tracking_core.records import Log
from tracking_core.testing import Seen
from tracking_tensorboard import TensorBoardDirectoryError, TensorBoardTracker, read_run
from tracking_tensorboard.event_file import EventFile

NOW = 1_760_000_000.25


def fault_of_starting(tracker: TensorBoardTracker, kind: type[Exception], match: str) -> Fault:
    with pytest.raises(kind, match=match) as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value)


def refusing(number: int) -> Any:
    """A call of the system's that fails: the tests may run as root, who is refused nothing."""

    def refused(path: Any, *args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), os.fspath(path))

    return refused


@pytest.mark.parametrize("place", ["logs", "logs/run"])
def test_a_file_where_the_run_goes_is_named_and_nobody_waits_for_it(
    tmp_path: Path, place: str
) -> None:
    in_the_way = tmp_path / place
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("in the way")
    tracker = TensorBoardTracker("run", tmp_path / "logs")
    said = "logs/run'.*Give a logging_dir"
    assert fault_of_starting(tracker, TensorBoardDirectoryError, said) == "setup"
    assert in_the_way.read_text() == "in the way"
    in_the_way.unlink()
    tracker.start()
    tracker.finish()
    assert Seen(read_run(tmp_path / "logs" / "run")).status == "finished"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_directory_that_can_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tracker = TensorBoardTracker("run", tmp_path / "logs")
    with monkeypatch.context() as patched:
        patched.setattr(os, "makedirs", refusing(number))
        said = "can't write to.*logs/run'.*Give a logging_dir"
        assert fault_of_starting(tracker, TensorBoardDirectoryError, said) == "setup"
    assert list(tmp_path.iterdir()) == []
    tracker.start()
    with monkeypatch.context() as patched:
        (tmp_path / "logs" / "run").rename(tmp_path / "away")
        patched.setattr(os, "makedirs", refusing(number))
        with pytest.raises(OSError) as raised:
            tracker.deliver([Log({"m": 1.0}, 0, 0, NOW)])
    assert tracker.fault(raised.value) == "setup"
    tracker.deliver([Log({"m": 1.0}, 0, 0, NOW)])
    tracker.finish()
    assert Seen(read_run(tmp_path / "logs" / "run")).values("m") == [1.0]


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    tracker = TensorBoardTracker("run", tmp_path / ("x" * 300))
    assert fault_of_starting(tracker, TensorBoardDirectoryError, "Give a logging_dir") == "setup"


@pytest.mark.parametrize("name", ["run", "sweep/3"])
@pytest.mark.parametrize("what", ["file", "first", "later"])
def test_a_full_disk_may_pass_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    logs = tmp_path / "logs"
    options: dict[str, Any] = {}
    if what == "first":
        options = {"purge_step": 1}
    elif what == "later":
        TensorBoardTracker(name, logs).start()
    before = sorted(logs.rglob("*"))
    tracker = TensorBoardTracker(name, logs, **options)
    if what == "later":
        tracker.resume({"run_dir": str(logs / name)})
    writes = iter([0] if what == "file" else [1, 0])
    write = EventFile._write

    def full(self: EventFile, data: bytes) -> None:
        if not next(writes):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(EventFile, "_write", full)
        assert fault_of_starting(tracker, OSError, "No space left") == "server"
    assert sorted(logs.rglob("*")) == before
    assert logs.exists() == bool(before)
    tracker.start()
    tracker.finish()
    assert Seen(read_run(logs / name)).status == "finished"


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    tracker = TensorBoardTracker("run", tmp_path, purge_step="no number")
    assert fault_of_starting(tracker, TypeError, "no number|integer|int") == "setup"
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_a_misspelt_argument_is_refused_by_init_trackers(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from tracking_core import Tracking
        tracking = Tracking("tensorboard", logging_dir=sys.argv[1])
        try:
            tracking.init_trackers("run", init_kwargs={"tensorboard": {"purge_stp": 3}})
        except TypeError as error:
            print("tensorboard" in sys.modules, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("False") and "'purge_step'" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_end_does_not_wait_for_a_directory_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracking = Tracking("tensorboard", logging_dir=tmp_path / "logs", delivery="thread")
        tracking.init_trackers("run")
        tracking.log({"loss": 1.0}, step=0)
        assert not tracking.flush(2)
        assert tracking.status()["tensorboard"].fault == "setup"
        run_dir = tracking.run_dir
        tracking.end_training(timeout=600)
    said = [str(one.message) for one in caught if issubclass(one.category, TrackingWarning)]
    assert any("Give a logging_dir" in one for one in said), said
    (tmp_path / "logs" / "run").unlink()
    assert run_dir is not None
    Tracking.recover(run_dir)
    assert Seen(read_run(tmp_path / "logs" / "run")).values("loss") == [1.0]


def test_processes_that_begin_a_run_of_one_name_at_once_stay_apart(tmp_path: Path) -> None:
    script = """if True:
        import os, sys
        import tracking_tensorboard.event_file, tracking_tensorboard.summaries
        from tracking_tensorboard import TensorBoardTracker
        tracker = TensorBoardTracker("run", sys.argv[1])
        os.read(int(sys.argv[2]), 1)  # returns when all are there
        tracker.start()
        tracker.log({"m": float(sys.argv[3])}, step=0)
        tracker.finish()
    """
    waiting, go = os.pipe()
    arguments = [sys.executable, "-c", script, str(tmp_path / "logs"), str(waiting)]
    children = [
        subprocess.Popen([*arguments, str(number)], pass_fds=[waiting]) for number in range(10)
    ]
    os.close(waiting)
    os.close(go)
    assert [child.wait(120) for child in children] == [0] * 10
    runs = sorted((tmp_path / "logs").iterdir())
    assert len(runs) == 10
    assert sorted(Seen(read_run(run)).values("m") for run in runs) == [[n] for n in range(10)]
