from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tracking_core import Tracking
from tracking_core.errors import AlreadyStartedError, NotStartedError, TrackingWarning
from tracking_core.records import Log, LoggedFile, LoggedImage
from tracking_core.testing import Seen
from tracking_core.tracker import GeneralTracker
from tracking_my_tool import MyToolTracker, read_run


@pytest.fixture
def tracker(tmp_path: Path) -> GeneralTracker:
    tracker = MyToolTracker("run", tmp_path)
    tracker.start()
    return tracker


def seen(tracker: GeneralTracker, directory: Path) -> Seen:
    return Seen(read_run(str(tracker.identity()["run_id"]), directory))


def test_importing_it_imports_no_library() -> None:
    program = "import sys, tracking_my_tool\n"
    program += "sys.exit(any(name.endswith('.stand_in') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_second_start_is_refused(tracker: GeneralTracker) -> None:
    with pytest.raises(AlreadyStartedError, match="'my_tool' is running"):
        tracker.start()


def test_a_run_that_has_ended_takes_nothing(tracker: GeneralTracker) -> None:
    tracker.finish()
    with pytest.raises(NotStartedError, match="'my_tool' is not running"):
        tracker.log({"m": 1.0})


def test_a_second_finish_changes_nothing(tracker: GeneralTracker, tmp_path: Path) -> None:
    tracker.finish("failed")
    tracker.finish()
    assert seen(tracker, tmp_path).status == "failed"


def test_what_names_no_run_is_not_resumed(tmp_path: Path) -> None:
    tracker = MyToolTracker("run", tmp_path)
    with pytest.raises(ValueError, match=r"'my_tool' can't .*'run_id'"):
        tracker.resume({"id": 5})


def test_an_unknown_option_is_named(tracker: GeneralTracker, tmp_path: Path) -> None:
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['epoch'\].*step_axis"):
        tracker.log({"m": 1.0}, step=0, epoch=3)
    tracker.finish()
    assert seen(tracker, tmp_path).values("m") == [1.0]


def test_what_is_damaged_costs_only_itself(tracker: GeneralTracker, tmp_path: Path) -> None:
    damaged, gone = LoggedImage(b"", 2, 2, 5), LoggedFile(str(tmp_path / "gone"))
    with pytest.warns(TrackingWarning, match="could not store"):
        tracker.deliver([Log({"i": damaged, "f": gone, "m": 1.0}, 0, 0, 0.0)])
    tracker.finish()
    assert len(tracker.rejections.counts) == 2
    assert seen(tracker, tmp_path).values("m") == [1.0]


def test_it_works_in_a_process_of_its_own(tmp_path: Path) -> None:
    with Tracking("my_tool", tmp_path) as tracking:
        tracking.init_trackers("project")
        tracking.log({"m": 1.0}, step=0)
    (lines,) = tmp_path.glob("*/run.jsonl")
    found = Seen(read_run(lines.parent.name, tmp_path))
    assert (found.values("m"), found.status) == ([1.0], "finished")
