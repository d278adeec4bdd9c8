from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy
import pytest

from tracking_clearml import ClearMLServerError, ClearMLSettingError, ClearMLTracker, read_run
from tracking_clearml import connection as connection_module
from tracking_core import Artifact, Histogram, Image, Table
from tracking_core.errors import TrackingWarning
from tracking_core.faults import fault_of
from tracking_core.records import Config, End, Record, Tags
from tracking_core.testing import Seen, TrackerConformance, pixels_of
from tracking_core.tracker import GeneralTracker

from .logged import NOW, row, started
from .server import Server
from .test_conformance import TestConformance as Offline

# ClearML's own configuration files are read with a parser that has been renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DOTS = numpy.array([[0, 255]], dtype="uint8")


@pytest.mark.usefixtures("server")
class TestConformanceOnAServer(TrackerConformance):
    wall_time_resolution = 0.001
    lands: ClassVar = Offline.lands

    def make(self, directory: Path) -> GeneralTracker:
        return ClearMLTracker("conformance")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(str(tracker.identity()["task_id"]), download_to=directory / "downloads")

    @pytest.mark.xfail(
        reason="a ClearML server keeps one point of a series at a step: the newest", strict=True
    )
    def test_steps_of_every_kind(self, tmp_path: Path) -> None:
        super().test_steps_of_every_kind(tmp_path)


def seen(tracker: ClearMLTracker, directory: Path) -> Seen:
    return Seen(read_run(str(tracker.identity()["task_id"]), download_to=directory / "downloads"))


def seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


class TestWhatTheServerGets:
    def test_the_task_is_made_in_its_project(self, server: Server) -> None:
        tracker = started(task_name="the task", tags=["a"], task_type="testing")
        (task,) = server.tasks.values()
        assert (task["name"], task["type"], task["tags"]) == ("the task", "testing", ["a"])
        assert server.projects["project"] == task["project"]
        assert task["status"] == "in_progress"
        assert tracker.identity() == {"task_id": task["id"], "api_server": server.address}
        tracker.finish()
        started().finish()
        assert list(server.projects) == ["project"]
        assert len(server.tasks) == 2  # never the newest of the name, which ClearML would wipe

    def test_a_short_name_is_made_long_enough(self, server: Server) -> None:
        tracker = ClearMLTracker("x")
        tracker.start()
        assert [task["name"] for task in server.tasks.values()] == ["x task"]
        assert list(server.projects) == ["x project"]
        tracker.finish()

    def test_points_have_their_own_time(self, server: Server) -> None:
        tracker = started()
        tracker.deliver([row(3, train_loss=0.5, eval_loss=0.25)])
        found = server.events(tracker.task_id, "training_stats_scalar")
        where = [(event["metric"], event["variant"], event["iter"]) for event in found]
        assert where == [("loss", "train", 3), ("loss", "eval", 3)]
        assert {event["timestamp"] for event in found} == {round((NOW + 3) * 1000)}
        tracker.finish()

    @pytest.mark.parametrize(
        ("status", "native"),
        [("finished", "completed"), ("failed", "failed"), ("killed", "stopped")],
    )
    def test_the_end_is_the_servers(
        self, server: Server, tmp_path: Path, status: Any, native: str
    ) -> None:
        tracker = started()
        tracker.deliver([End(status, NOW + 9)])
        tracker.finish(status)
        assert server.tasks[tracker.task_id]["status"] == native
        records = read_run(tracker.task_id, download_to=tmp_path)
        assert list(records)[-1] == End(status, NOW + 9)

    def test_artifacts_and_samples_are_on_the_file_server(
        self, server: Server, tmp_path: Path
    ) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        tracker = started()
        tracker.deliver([row(0, i=Image(DOTS), model=Artifact(model, "models"))])
        tracker.finish()
        (artifact,) = server.tasks[tracker.task_id]["execution"]["artifacts"]
        assert artifact["key"] == "models/model.bin"
        assert server.files[artifact["uri"].removeprefix(f"{server.address}/")] == b"weights"
        (sample,) = server.events(tracker.task_id, "training_debug_image")
        assert sample["url"].startswith(f"{server.address}/project/project.{tracker.task_id}/metr")
        assert server.files[sample["key"]].startswith(b"\x89PNG")

    def test_output_uri_is_where_artifacts_go(self, server: Server, tmp_path: Path) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        tracker = started(output_uri=f"file://{tmp_path}/storage")
        tracker.deliver([row(0, model=Artifact(model))])
        tracker.finish()
        (artifact,) = server.tasks[tracker.task_id]["execution"]["artifacts"]
        assert Path(artifact["uri"].removeprefix("file://")).read_bytes() == b"weights"
        assert (
            server.tasks[tracker.task_id]["output"]["destination"] == f"file://{tmp_path}/storage"
        )
        assert seen(tracker, tmp_path).files() == {"model/model.bin": b"weights"}

    def test_thousands_of_points_go_in_requests_of_five_hundred(self, server: Server) -> None:
        tracker = started()
        tracker.deliver([row(step, a=1.0, b=2.0) for step in range(600)])
        assert server.calls.count("events.add_batch") == 3
        assert len(server.events(tracker.task_id, "training_stats_scalar")) == 1200
        tracker.finish()

    def test_a_single_event_that_is_refused_is_named_and_the_rest_lands(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match="could not store 'refused'.*server refuses it"):
            tracker.deliver([row(step, good=1.0, refused=2.0) for step in range(10)])
        tracker.finish()
        assert seen(tracker, tmp_path).values("good") == [1.0] * 10

    def test_names_that_the_server_would_take_for_one_stay_apart(
        self, server: Server, tmp_path: Path
    ) -> None:
        first = started()
        first.deliver([row(0, **{"a-b/c": 1.0, "a/b-c": 2.0, "x/y-z": 3.0, "v-w/x": 4.0})])
        again = ClearMLTracker("project")
        again.resume(first.identity())
        again.start()
        again.deliver([row(0, **{"x-y/z": 5.0, "v/w-x": 6.0})])
        again.finish()
        found = seen(again, tmp_path)
        keys = ("a-b/c", "a/b-c", "x/y-z", "v-w/x", "x-y/z", "v/w-x")
        assert [found.values(key) for key in keys] == [[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]

    def test_sent_again_it_is_there_once(self, server: Server, tmp_path: Path) -> None:
        tracker = started()
        batch: list[Record] = [
            Config({"lr": 1}, NOW),
            Tags({"a": None}, NOW),
            row(0, m=1.0, t="text"),
        ]
        tracker.deliver(batch)
        tracker.deliver(batch)
        tracker.finish()
        found = seen(tracker, tmp_path)
        assert (found.values("m"), found.values("t")) == ([1.0], ["text"])
        assert (found.config, found.tags) == ({"lr": 1}, {"a": None})

    def test_a_deleted_task_is_an_error_and_costs_no_row(self, server: Server) -> None:
        tracker = started()
        del server.tasks[tracker.task_id]
        with pytest.raises(ClearMLServerError, match="Invalid task id"):
            tracker.deliver([row(0, m=1.0)])
        assert tracker.rejections.counts == {}


class TestTroubles:
    def test_without_credentials_the_error_says_what_to_do(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CLEARML_API_ACCESS_KEY")
        monkeypatch.delenv("CLEARML_API_SECRET_KEY")
        with pytest.raises(ClearMLSettingError, match=r"clearml-init.*CLEARML_OFFLINE_MODE=1"):
            started()
        assert server.calls == []

    def test_a_task_that_is_not_there_is_named(self, server: Server) -> None:
        with pytest.raises(ClearMLSettingError, match="there is no task 'abc' at http"):
            started(continue_last_task="abc")

    @pytest.mark.parametrize("status", [401, 429, 500, 503])
    def test_a_server_that_says_no_for_now_is_tried_again(
        self, server: Server, tmp_path: Path, status: int
    ) -> None:
        tracker = started()
        server.answer = lambda endpoint: status
        for call in (
            lambda: tracker.deliver([row(0, m=1.0)]),
            lambda: tracker.deliver([row(0, i=Image(DOTS))]),
            tracker.finish,
            lambda: started(),
        ):
            with pytest.raises(Exception) as raised:
                assert seconds(call) < 5
            assert fault_of(raised.value) in ("server", "login"), raised.value
        server.answer = lambda endpoint: None
        tracker.deliver([row(0, m=1.0)])
        tracker.finish("failed")
        assert seen(tracker, tmp_path).values("m") == [1.0]
        assert seen(tracker, tmp_path).status == "failed"

    def test_a_start_that_failed_half_way_goes_on_with_the_task_that_it_made(
        self, server: Server
    ) -> None:
        tracker = ClearMLTracker("project")
        for failing in ("tasks.started", "tasks.get_by_id", "projects.get_by_id"):
            server.answer = lambda endpoint, failing=failing: 500 if endpoint == failing else None
            with pytest.raises(ClearMLServerError):
                tracker.start()
        server.answer = lambda endpoint: None
        tracker.start()
        tracker.finish()
        assert [task["status"] for task in server.tasks.values()] == ["completed"]

    def test_a_login_that_has_run_out_is_renewed(self, server: Server, tmp_path: Path) -> None:
        tracker = started()
        tracker.deliver([row(0, m=1.0)])
        expired = iter([401])
        server.answer = lambda endpoint: None if endpoint == "auth.login" else next(expired, None)
        tracker.deliver([row(0, m=1.0)])
        assert server.calls[-3:] == ["events.add_batch", "auth.login", "events.add_batch"]
        tracker.finish()

    def test_what_is_refused_for_good_does_not_pass(self, server: Server) -> None:
        tracker = started()
        server.answer = lambda endpoint: 400 if endpoint == "tasks.edit_configuration" else None
        with pytest.raises(ClearMLServerError, match=r"tasks.edit_configuration \(400\)") as raised:
            tracker.deliver([Config({"a": 1}, NOW)])
        assert fault_of(raised.value) not in ("server", "login")

    def test_an_outage_raises_at_once_and_nothing_is_lost(
        self, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        tracker = started()
        tracker.deliver([row(0, m=0.0)])
        server.stop()
        for call in (lambda: tracker.deliver([row(1, m=1.0)]), tracker.finish, lambda: started()):
            with pytest.raises(Exception) as raised:
                assert seconds(call) < 5
            assert fault_of(raised.value) in ("server", "login"), raised.value
        server.start()
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
        assert seen(tracker, tmp_path).values("m") == [0.0, 1.0]
        assert seen(tracker, tmp_path).status == "finished"
        assert tuple(capfd.readouterr()) == ("", "")

    def test_a_server_that_never_answers_is_given_up(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tracker = started()
        monkeypatch.setattr(connection_module, "ANSWER_SECONDS", 0.3)
        server.hanging = True
        for call in (lambda: tracker.deliver([row(1, m=1.0)]), tracker.finish, lambda: started()):
            with pytest.raises(Exception) as raised:
                assert seconds(call) < 3
            assert fault_of(raised.value) in ("server", "login"), raised.value

    def test_a_failure_in_the_middle_leaves_what_was_sent_and_takes_the_rest(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started()
        tags: dict[str, str | None] = {"team": "vision"}
        batch: list[Record] = [
            Config({"a": 1}, NOW),
            Tags(tags, NOW),
            row(1, val={"loss": 1.0}, note="text"),
        ]
        for endpoint in (
            "tasks.edit_configuration",
            "tasks.edit_hyper_params",
            "tasks.edit",
            "files",
            "events.add_batch",
        ):
            server.answer = lambda called, failing=endpoint: 500 if called == failing else None
            with pytest.raises(ClearMLServerError):
                tracker.deliver(batch)
        server.answer = lambda endpoint: None
        tracker.deliver(batch)
        tracker.finish()
        found = seen(tracker, tmp_path)
        assert (found.values("val/loss"), found.values("note")) == ([1.0], ["text"])
        assert (found.config, found.tags) == ({"a": 1}, tags)

    def test_a_bad_address_is_named(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answer = lambda endpoint: None if endpoint == "auth.login" else 404
        with pytest.raises(ClearMLServerError, match=r"refused projects.get_all \(404\)"):
            started()

    def test_no_thread_is_left(self, server: Server) -> None:
        before = threading.active_count()
        tracker = started()
        tracker.deliver([row(0, m=1.0)])
        tracker.finish()
        ours = [one for one in threading.enumerate() if "process_request" not in one.name]
        assert len(ours) <= before


IMPORT = """
import sys
from clearml import Task
print("imported as", Task.import_offline_session(sys.argv[1]))
"""


def test_an_offline_session_is_brought_to_a_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    with monkeypatch.context() as patched:
        patched.setenv("CLEARML_OFFLINE_MODE", "1")
        tracker = started(tags=["a"])
        tracker.deliver(
            [
                Config({"lr": 0.1, "optimizer": {"name": "adam"}}, NOW),
                Tags({"team": "vision"}, NOW),
                row(1, val={"loss": 0.5}, m=float("nan"), note="a text"),
                row(2, i=Image(DOTS, caption="a cat"), t=Table(["x"], [[1]]), m=1.0),
                row(3, h=Histogram([1, 2, 3]), model=Artifact(model, "models")),
            ]
        )
        tracker.finish("failed")
        folder = Path(str(tracker.identity()["offline_folder"]))
        before = Seen(read_run(folder, download_to=tmp_path / "before"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(folder)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    task = done.stdout.partition("imported as ")[2].strip()
    assert task in server.tasks, done.stderr
    after = Seen(read_run(task, download_to=tmp_path / "after"))
    assert server.tasks[task]["status"] == "completed"  # the import knows no other
    assert after.status == "failed"
    assert (after.config, after.tags) == (before.config, before.tags)
    assert after.keys == before.keys
    for key in ("val/loss", "note", "t", "h"):
        assert after.points(key) == before.points(key)
    assert [point.wall_time for point in after.points("m")] == [NOW + 1, NOW + 2]
    (image,) = after.media("i")
    assert (image.caption, pixels_of(image).tolist()) == ("a cat", [[[0], [255]]])
    assert after.files() == before.files() == {"models/model.bin": b"weights"}
