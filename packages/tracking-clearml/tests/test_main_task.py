"""A program that has begun a task itself, with ``Task.init``: before the tracker, or after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tracking_clearml import read_run
from tracking_core.testing import Seen

from .server import Server

# ClearML's own configuration files are read with a parser that has been renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What `Task.init` does by itself is left on, but for what asks the internet.
BEGIN = """
import argparse, sys, threading, time, warnings
warnings.simplefilter("ignore")
from clearml.utilities.check_updates import CheckPackageUpdates
CheckPackageUpdates._package_version_checked = True
from clearml import Task
from tracking_core import Tracking, TrackingWarning
warnings.simplefilter("always", TrackingWarning)
parser = argparse.ArgumentParser()
parser.add_argument("--lr", default=0.5)
directory, delivery, mine = sys.argv[1:4]
sys.argv = sys.argv[:1]

# Its reporting process is told of a loss, and then never ends, if another thread says something in
# the moment in which it is forked; ClearML's own thread that looks for a repository does.
Task._Task__detect_repo_async = False

def begin_mine():
    task = Task.init("theirs", "theirs")
    parser.parse_args()
    task.connect({"a": 1}, name="mine")
    return task

def begin_ours(**arguments):
    tracking = Tracking("clearml", directory, delivery=delivery)
    tracking.init_trackers(
        "ours", config={"rate": 0.1, "net": {"depth": 2}}, init_kwargs={"clearml": arguments}
    )
    return tracking
"""

BEFORE = (
    BEGIN
    + """
task = begin_mine()
tracking = begin_ours()
tracking.log({"loss": 1.0}, step=0)
task.connect({"b": 1}, name="later")
tracking.log({"loss": 2.0, "note": "text"}, step=1)
tracking.set_tags("ours")
assert tracking.flush(60)
assert tracking.get_tracker("clearml").identity()["task_id"] == task.id
task.add_tags(["theirs"])
task.connect_configuration({"c": 3}, name="more")
tracking.get_tracker("clearml").store_init_configuration({"epochs": 3})
if mine == "closes":
    task.close()
tracking.end_training()
if mine != "closes":
    assert Task.current_task() is task
    task.connect({"d": 1}, name="last")
"""
)

AFTER = (
    BEGIN
    + """
tracking = begin_ours()
tracking.log({"loss": 1.0}, step=0)
assert tracking.flush(60)
task = begin_mine()
tracking.log({"loss": 2.0}, step=1)
tracking.end_training()
"""
)


def program(script: str, directory: Path, *arguments: object) -> str:
    """What `script` says on stderr; it ends in time and well."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory), *map(str, arguments)],
        env={**os.environ, "TMPDIR": str(directory)},  # the lock of a main task stays there
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def fields_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "task.json").read_text()))


class TestOffline:
    @pytest.mark.parametrize("delivery", ["auto", "thread", "inline"])
    def test_one_task_has_all_of_both(self, offline: Path, tmp_path: Path, delivery: str) -> None:
        said = program(BEFORE, tmp_path / "logs", delivery, "stays")
        assert "TrackingWarning" not in said
        (folder,) = (one for one in offline.iterdir() if one.is_dir())
        fields = fields_of(folder)
        assert {"Args", "mine", "later", "last", "General"} <= set(fields["hyperparams"])
        assert {"General", "tracking", "more"} <= set(fields["configuration"])
        assert {"ours", "theirs"} <= set(fields["tags"])
        with zipfile.ZipFile(f"{folder}.zip") as packed:
            packed.extractall(tmp_path / "packed")
        for place in (folder, tmp_path / "packed"):
            found = Seen(read_run(place, download_to=tmp_path / "downloads" / place.name))
            assert (found.values("loss"), found.values("note")) == ([1.0, 2.0], ["text"])
            ours = {"rate": 0.1, "net": {"depth": 2}, "epochs": 3}
            assert ours.items() <= found.config.items()

    def test_one_that_is_closed_first_is_whole_in_its_folder_and_that_is_said(
        self, offline: Path, tmp_path: Path
    ) -> None:
        said = program(BEFORE, tmp_path / "logs", "auto", "closes")
        (folder,) = (one for one in offline.iterdir() if one.is_dir())
        assert f"import the folder {folder}" in said
        found = Seen(read_run(folder, download_to=tmp_path / "downloads"))
        assert found.values("loss") == [1.0, 2.0]
        assert found.config["epochs"] == 3

    @pytest.mark.parametrize("delivery", ["auto", "thread"])
    def test_one_that_is_begun_after_it_is_named(
        self, offline: Path, tmp_path: Path, delivery: str
    ) -> None:
        said = program(AFTER, tmp_path / "logs", delivery, "stays")
        by_name = {fields_of(one)["name"]: one for one in offline.iterdir() if one.is_dir()}
        assert set(by_name) == {"ours", "theirs"}
        assert said.count("call Task.init() before init_trackers()") == 1
        assert by_name["ours"].name in said and by_name["theirs"].name in said
        found = Seen(read_run(by_name["ours"], download_to=tmp_path / "downloads"))
        assert (found.values("loss"), found.status) == ([1.0, 2.0], "finished")
        assert found.config == {"rate": 0.1, "net": {"depth": 2}}

    def test_the_delivery_process_is_refused_and_arguments_without_effect_are_named(
        self, offline: Path, tmp_path: Path
    ) -> None:
        script = """
task = begin_mine()
try:
    begin_ours()
except ValueError as error:
    print(error, file=sys.stderr)
delivery = "auto"
begin_ours(project_name="elsewhere", tags=["a"]).end_training()
# Another task that is named is logged to as ever.
delivery = "process"
begin_ours(continue_last_task="offline-other").end_training()
"""
        said = program(BEGIN + script, tmp_path / "logs", "process", "stays")
        assert "leave out delivery='process'" in said
        assert "'project_name', 'tags' has no effect: pass it to Task.init" in said
        assert "offline-other" in said


class TestOnAServer:
    @pytest.mark.parametrize("mine", ["stays", "closes"])
    def test_one_task_has_all_of_both(self, server: Server, tmp_path: Path, mine: str) -> None:
        said = program(BEFORE, tmp_path / "logs", "auto", mine)
        assert "TrackingWarning" not in said
        (task,) = server.tasks.values()
        assert task["name"] == "theirs"
        assert task["status"] == "completed"  # as their program ended it
        assert {"mine", "later", "General"} <= set(task["hyperparams"])
        assert {"General", "tracking", "more"} <= set(task["configuration"])
        assert {"ours", "theirs"} <= set(task["tags"])
        found = Seen(read_run(task["id"], download_to=tmp_path / "downloads"))
        assert (found.values("loss"), found.values("note")) == ([1.0, 2.0], ["text"])
        assert found.config["epochs"] == 3

    def test_one_that_is_begun_after_it_is_named(self, server: Server, tmp_path: Path) -> None:
        said = program(AFTER, tmp_path / "logs", "auto", "stays")
        assert {task["name"] for task in server.tasks.values()} == {"ours", "theirs"}
        assert said.count("call Task.init() before init_trackers()") == 1
        assert {task["status"] for task in server.tasks.values()} == {"completed"}
