from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_clearml import ClearMLSettingError, ClearMLTracker, read_run
from tracking_clearml.series import Places
from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.records import Config, End, Log, Record, Tags
from tracking_core.testing import Seen

NOW = 1_760_000_000.25
DOTS = numpy.array([[0, 255]], dtype="uint8")

pytestmark = [
    pytest.mark.usefixtures("offline"),
    # ClearML's own configuration files are read with a parser that has been renamed since.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def started(**kwargs: Any) -> ClearMLTracker:
    tracker = ClearMLTracker("project", **kwargs)
    tracker.start()
    return tracker


def row(step: int, values: dict[str, Any]) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step)


def folder_of(tracker: ClearMLTracker) -> Path:
    return Path(str(tracker.identity()["offline_folder"]))


def task_of(tracker: ClearMLTracker) -> dict[str, Any]:
    return dict(json.loads((folder_of(tracker) / "task.json").read_text()))


def events_of(tracker: ClearMLTracker, kind: str) -> list[dict[str, Any]]:
    lines = (folder_of(tracker) / "metrics.jsonl").read_text().splitlines()
    return [event for line in lines for event in json.loads(line) if event["type"] == kind]


def seen(tracker: ClearMLTracker) -> Seen:
    folder = folder_of(tracker)
    return Seen(read_run(folder, download_to=folder / "downloads"))


def in_another_process(script: str, *arguments: object, **environment: str) -> str:
    """What `script` prints. It may die: whoever calls this looks at what it left."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


class TestLaziness:
    def test_importing_and_constructing_import_no_clearml(self, offline: Path) -> None:
        script = """if True:
            import sys
            from tracking_clearml import ClearMLTracker, read_run
            ClearMLTracker("run", auto_connect_frameworks=False)
            print(sorted({"clearml", "numpy", "requests"} & set(sys.modules)))
        """
        assert in_another_process(script).strip() == "[]"
        assert not offline.exists()

    def test_a_users_own_import_of_clearml_stays_as_it_was(self) -> None:
        script = """if True:
            import argparse
            import clearml
            theirs = argparse.ArgumentParser.parse_args
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            tracker.finish()
            assert argparse.ArgumentParser.parse_args is theirs
            print("Patch" in theirs.__qualname__)
        """
        assert in_another_process(script).strip() == "True"

    def test_nothing_is_made_off_the_main_process(self, offline: Path) -> None:
        script = """if True:
            import sys
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            tracker.log({"loss": 1.0})
            tracker.finish()
            print("clearml" in sys.modules)
        """
        printed = in_another_process(script, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
        assert printed.strip() == "False"
        assert not offline.exists()

    def test_no_socket_is_opened_offline(self) -> None:
        script = """if True:
            import socket, sys
            def refused(*args):
                raise AssertionError(args)
            import clearml
            socket.socket.connect = socket.getaddrinfo = refused
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            tracker.log({"loss": 1.0, "note": "text"})
            tracker.finish()
            print("done")
        """
        assert in_another_process(script).strip() == "done"


class TestWhichTask:
    def test_offline_by_a_call_holds_when_its_variable_is_taken_back(
        self, offline: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from clearml import Task

        Task.set_offline(True)
        monkeypatch.delenv("CLEARML_OFFLINE_MODE")  # as unittest.mock.patch.dict(os.environ) does
        tracker = started()
        tracker.finish()
        assert str(tracker.identity()["task_id"]).startswith("offline-")

    def test_the_name_is_that_of_project_and_task(self) -> None:
        tracker = started()
        task = task_of(tracker)
        assert (task["project_name"], task["name"], task["type"]) == (
            "project",
            "project",
            "training",
        )
        tracker.finish()

    def test_variables_name_it_and_arguments_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLEARML_PROJECT", "the project")
        monkeypatch.setenv("CLEARML_TASK", "the task")
        for kwargs, name in [({}, "the task"), ({"task_name": "mine"}, "mine")]:
            tracker = started(**kwargs)
            assert (task_of(tracker)["project_name"], task_of(tracker)["name"]) == (
                "the project",
                name,
            )
            tracker.finish()

    def test_no_name_is_needed(self) -> None:
        tracker = ClearMLTracker()
        tracker.start()
        assert task_of(tracker)["name"] == "Untitled"
        tracker.finish()

    def test_an_unknown_argument_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"no argument 'projectname'.*project_name"):
            started(projectname="x")

    @pytest.mark.parametrize("value", [True, {"pytorch": True}])
    def test_what_needs_a_main_task_says_so(self, value: object) -> None:
        with pytest.raises(ClearMLSettingError, match=r"no auto_connect_frameworks.*Task\.init"):
            started(auto_connect_frameworks=value)

    def test_switching_it_off_is_fine(self) -> None:
        started(auto_connect_frameworks=False, auto_resource_monitoring={"gpu": False}).finish()

    def test_tags_of_the_constructor_are_the_tasks(self) -> None:
        tracker = started(tags=["a"])
        tracker.set_tags({"b": None, "team": "vision"})
        tracker.set_tags({"team": "nlp"})
        assert task_of(tracker)["tags"] == ["a", "b", "team: nlp"]
        tracker.finish()
        assert seen(tracker).tags == {"a": None, "b": None, "team": "nlp"}

    @pytest.mark.parametrize("argument", ["continue_last_task", "reuse_last_task_id"])
    def test_a_task_is_gone_on_with_by_its_id(self, argument: str) -> None:
        first = started()
        first.deliver([row(6, {"m": 1.0})])
        first.finish("failed")
        second = started(**{argument: first.task_id})
        assert task_of(second)["status"] == "in_progress"
        assert seen(second).status is None
        second.deliver([row(6, {"m": 2.0})])
        second.finish()
        assert second.identity() == first.identity()
        assert [(p.step, p.value) for p in seen(second).points("m")] == [(6, 1.0), (6, 2.0)]

    def test_the_last_task_is_not_guessed(self) -> None:
        with pytest.raises(ClearMLSettingError, match=r"continue_last_task='<id>'"):
            started(continue_last_task=True)

    def test_the_task_of_an_agent_is_gone_on_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = started()
        monkeypatch.setenv("CLEARML_TASK_ID", first.task_id)
        assert started().identity() == first.identity()

    def test_a_session_that_is_gone_is_named(self) -> None:
        with pytest.raises(ClearMLSettingError, match=r"offline-abc.*CLEARML_CACHE_DIR"):
            started(continue_last_task="offline-abc")

    def test_resuming_needs_an_identity_of_this_tracker(self) -> None:
        with pytest.raises(ValueError, match=r"'clearml' can't resume .* 'task_id'"):
            ClearMLTracker("run").resume({"run_id": "x"})


class TestLifeCycle:
    def test_before_the_start_there_is_no_task(self) -> None:
        tracker = ClearMLTracker("run")
        tracker.finish()
        for attribute in ("task", "tracker", "task_id"):
            with pytest.raises(NotStartedError, match="'clearml' has no task"):
                getattr(tracker, attribute)
        with pytest.raises(NotStartedError, match="'clearml' is not started"):
            tracker.log({"m": 1.0})
        assert tracker.identity() == {}

    def test_a_second_start_is_refused(self) -> None:
        tracker = started()
        with pytest.raises(AlreadyStartedError, match="'clearml' is running"):
            tracker.start()
        tracker.finish()

    def test_nothing_is_written_after_the_end(self) -> None:
        tracker = started()
        tracker.finish("failed")
        before = task_of(tracker)
        tracker.finish()
        with pytest.raises(NotStartedError, match="'clearml' is finished"):
            tracker.log({"m": 1.0})
        assert task_of(tracker) == before

    def test_starting_again_begins_another_task(self) -> None:
        tracker = started()
        tracker.finish()
        first = tracker.task_id
        tracker.start()
        tracker.log({"m": 2.0}, step=0)
        tracker.finish()
        assert tracker.task_id != first
        assert seen(tracker).values("m") == [2.0]

    @pytest.mark.parametrize(
        ("status", "native"),
        [("finished", "completed"), ("failed", "failed"), ("killed", "stopped")],
    )
    def test_the_end_is_when_it_was(self, tmp_path: Path, status: Any, native: str) -> None:
        tracker = started()
        tracker.deliver([End(status, NOW + 9)])
        tracker.finish(status)
        assert task_of(tracker)["status"] == native
        assert list(read_run(folder_of(tracker), download_to=tmp_path))[-1] == End(status, NOW + 9)


class TestPlaces:
    def test_keys_lie_where_accelerate_puts_them(self) -> None:
        tracker = started()
        values = {"should_be_under_train": 1, "eval_value": 2, "test_value": 3.1, "train_value": 4}
        tracker.log(values, step=1)
        tracker.log({"single_value_1": 1.1, "single_value_2": 2.2})
        tracker.finish()
        found = events_of(tracker, "training_stats_scalar")
        where = {(one["metric"], one["variant"]): one["value"] for one in found if one["iter"] == 1}
        assert where == {
            ("should_be_under_train", "train"): 1,
            ("value", "eval"): 2,
            ("value", "test"): 3.1,
            ("value", "train"): 4,
        }
        singles = {one["variant"]: one["value"] for one in found if one["metric"] == "Summary"}
        assert singles == {"single_value_1": 1.1, "single_value_2": 2.2}
        assert [(p.step, p.value) for p in seen(tracker).points("single_value_1")] == [(2, 1.1)]

    def test_splits_share_a_plot_and_groups_a_title(self) -> None:
        places = Places({}, resumed=False)
        assert places.of("val/loss") == ("loss", "val")
        assert places.of("train/loss") == ("loss", "train")
        assert places.of("grad/norm") == ("grad", "norm")
        assert places.of("val/top/k") == ("top/k", "val")

    def test_keys_that_ask_for_one_place_stay_apart(self) -> None:
        keys = [
            "loss",
            "train_loss",
            "train/loss",
            "loss/train",
            "loss/value (1)",
            "loss (not finite)",
        ]
        tracker = started()
        tracker.deliver([row(0, {key: float(i)}) for i, key in enumerate(keys)])
        tracker.deliver([row(1, {key: math.nan}) for key in keys])
        tracker.finish()
        again = started(continue_last_task=tracker.task_id)
        again.deliver([row(2, {key: float(i)}) for i, key in reversed(list(enumerate(keys)))])
        again.finish()
        for number, key in enumerate(keys):
            first, gap, last = seen(again).values(key)
            assert (first, last) == (number, number)
            assert isinstance(gap, float) and math.isnan(gap)

    def test_a_place_that_was_taken_without_a_word_stays_taken(self) -> None:
        first = started()
        first.log({"loss": 1.0}, step=0)
        again = ClearMLTracker("project")
        again.resume(first.identity())
        again.start()
        again.log({"train_loss": 2.0}, step=1)
        again.finish()
        assert (seen(again).values("loss"), seen(again).values("train_loss")) == ([1.0], [2.0])


class TestWhatItsUsersSee:
    def test_what_json_can_not_say_leaves_a_gap_and_a_plot_beside_it(self) -> None:
        tracker = started()
        values = [1.0, math.nan, math.inf, -math.inf, None]
        tracker.deliver([row(step, {"loss": value}) for step, value in enumerate(values)])
        tracker.finish()
        found = events_of(tracker, "training_stats_scalar")
        assert [(one["metric"], one["variant"], one["iter"], one["value"]) for one in found] == [
            ("loss", "train", 0, 1.0),
            ("loss (not finite)", "train", 1, 0.0),
            ("loss (not finite)", "train", 2, 1.0),
            ("loss (not finite)", "train", 3, -1.0),
            ("loss (not finite)", "train", 4, 2.0),
        ]

    def test_config_is_the_object_that_accelerate_makes_and_parameters(self) -> None:
        config = {
            "num_iterations": 12,
            "learning_rate": 1e-2,
            "some_string": "some_value",
            "n": {"a": [1]},
        }
        tracker = started()
        tracker.store_init_configuration(config)
        tracker.finish()
        task = task_of(tracker)
        general = task["configuration"]["General"]
        assert (general["type"], json.loads(general["value"])) == ("dictionary", config)
        from clearml.utilities.config import text_to_config_dict

        assert text_to_config_dict(general["value"]) == config
        shown = {name: one["value"] for name, one in task["hyperparams"]["General"].items()}
        assert shown == {
            "num_iterations": "12",
            "learning_rate": "0.01",
            "some_string": "some_value",
            "n/a": "[1]",
        }

    def test_a_table_is_drawn_as_clearmls_own(self) -> None:
        tracker = started()
        tracker.log_table("from lists", columns=["A", "B"], data=[[1, 3], [5, math.nan]], step=1)
        tracker.finish()
        (event,) = events_of(tracker, "plot")
        (trace,) = json.loads(event["plot_str"])["data"]
        assert (trace["type"], trace["header"]["values"]) == ("table", ["A", "B"])
        assert trace["cells"]["values"] == [[1, 5], [3, "nan"]]
        (table,) = seen(tracker).media("from lists")
        assert table.rows[0] == [1, 3] and math.isnan(table.rows[1][1])

    def test_a_dataframe_is_a_table(self) -> None:
        pandas = pytest.importorskip("pandas", reason="a dataframe is optional")
        tracker = started()
        tracker.log_table(
            "t", dataframe=pandas.DataFrame({"A": [1, 2]}), extra_layout={"height": 9}
        )
        tracker.finish()
        (event,) = events_of(tracker, "plot")
        plot = json.loads(event["plot_str"])
        assert plot["data"][0]["cells"]["values"] == [[1, 2]]
        assert plot["layout"]["height"] == 9

    def test_a_histogram_is_bars(self) -> None:
        tracker = started()
        tracker.log({"h": Histogram(counts=[1, 2], edges=[0.0, 1.0, 3.0])})
        tracker.finish()
        (event,) = events_of(tracker, "plot")
        (trace,) = json.loads(event["plot_str"])["data"]
        assert trace["type"] == "bar"
        assert (trace["x"], trace["width"], trace["y"]) == ([0.5, 2.0], [1.0, 2.0], [1, 2])

    def test_pictures_are_not_compressed_and_none_takes_anothers_place(self) -> None:
        tracker = started()
        for step in range(120):
            tracker.log_images({"i": numpy.full((2, 2, 3), step, dtype="uint8")}, step=step)
        tracker.finish()
        found = events_of(tracker, "training_debug_image")
        assert len({event["url"] for event in found}) == 120
        assert all(Path(event["url"]).read_bytes().startswith(b"\x89PNG") for event in found)

    def test_captions_and_rates_are_a_table_beside_the_media(self) -> None:
        tracker = started()
        sound = Audio(numpy.zeros(8, dtype="float32"), 8000, caption="beep")
        tracker.log({"i": [Image(DOTS, caption="a"), Image(DOTS)], "s": sound}, step=1)
        tracker.finish()
        plots = {one["metric"]: json.loads(one["plot_str"]) for one in events_of(tracker, "plot")}
        assert plots["i"]["data"][0]["header"]["values"] == ["", "caption"]
        assert plots["i"]["data"][0]["cells"]["values"] == [["0", "1"], ["a", ""]]
        assert plots["s"]["data"][0]["header"]["values"] == [
            "", "sample_rate", "channels", "caption",
        ]  # fmt: skip
        names = [one["variant"] for one in events_of(tracker, "training_debug_image")]
        assert names == ["train/0", "train/1", "train"]

    def test_text_is_whole_in_a_sample_and_begins_in_the_console(self) -> None:
        tracker = started()
        tracker.log({"note": "long " * 4000}, step=3)
        tracker.finish()
        (line,) = (folder_of(tracker) / "log.jsonl").read_text().splitlines()
        (event,) = json.loads(line)
        assert event["msg"].startswith("note [3]: long long") and len(event["msg"]) == 5000
        (sample,) = events_of(tracker, "training_debug_image")
        assert Path(sample["url"]).read_text() == "long " * 4000

    def test_a_directory_is_a_zip_file_that_says_what_is_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "tree" / "inner").mkdir(parents=True)
        (tmp_path / "tree" / "inner" / "b.txt").write_text("b")
        tracker = started()
        tracker.log_artifacts(tmp_path / "tree", "models")
        tracker.finish()
        (artifact,) = task_of(tracker)["execution"]["artifacts"]
        assert (artifact["key"], artifact["type"]) == ("models/tree", "archive")
        assert artifact["type_data"]["preview"] == "inner/b.txt"
        assert zipfile.ZipFile(artifact["uri"]).namelist() == ["inner/b.txt"]
        assert artifact["content_size"] == os.path.getsize(artifact["uri"])

    def test_an_axis_of_its_own_is_noted(self) -> None:
        tracker = started()
        tracker.log({"val": {"loss": 1.0}}, step=1, step_axis="epoch")
        tracker.finish()
        notes = json.loads(task_of(tracker)["configuration"]["tracking"]["value"])
        assert notes["axes"] == {"val/loss": "epoch"}


class TestRejections:
    def test_an_unknown_option_is_named_and_the_row_lands(self) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['iteration'\].*step_axis"):
            tracker.log({"m": 1.0}, step=0, iteration=5, max_image_history=3)
        tracker.finish()
        assert seen(tracker).values("m") == [1.0]

    def test_a_step_beyond_64_bits_is_named(self) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match="64 bits"):
            tracker.deliver([Log({"m": 1.0}, 2**63, 2**63, NOW), row(1, {"m": 2.0})])
        tracker.finish()
        assert seen(tracker).values("m") == [2.0]

    def test_a_number_beyond_a_float_is_named(self) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match="64-bit float"):
            tracker.deliver([Log({"m": 10**400, "n": 1.0}, 0, 0, NOW)])
        tracker.finish()
        assert seen(tracker).keys == {"n"}

    def test_a_file_that_is_gone_is_named(self, tmp_path: Path) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        record = row(0, {"model": Artifact(model), "m": 1.0})
        model.unlink()
        tracker = started()
        with pytest.warns(TrackingWarning, match="model.bin' is gone"):
            tracker.deliver([record])
        tracker.finish()
        assert seen(tracker).values("m") == [1.0]


class TestDelivery:
    def test_killed_after_deliver_all_rows_are_there(self, offline: Path) -> None:
        script = """if True:
            import os, signal, numpy
            from tracking_core import Image
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            for step in range(50):
                tracker.log({"m": float(step), "note": "text"}, step=step)
            tracker.log({"i": Image(numpy.zeros((2, 2), "uint8"))}, step=50)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        in_another_process(script)
        (folder,) = offline.iterdir()
        found = Seen(read_run(folder, download_to=folder / "downloads"))
        assert found.values("m") == [float(step) for step in range(50)]
        assert found.values("note") == ["text"] * 50
        assert len(found.media("i")) == 1
        assert (found.config, found.status) == ({"lr": 0.1}, None)

    def test_a_process_can_be_ended_while_it_logs(self) -> None:
        script = """if True:
            import os, signal
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            os.kill(os.getpid(), signal.SIGTERM)
            print("still alive")
        """
        assert in_another_process(script) == ""

    def test_half_a_line_is_taken_off_before_the_next(self) -> None:
        tracker = started()
        tracker.log({"m": 1.0}, step=0)
        with open(folder_of(tracker) / "metrics.jsonl", "ab") as file:
            file.write(b'[{"type": "training_st')
        assert seen(tracker).values("m") == [1.0]
        again = ClearMLTracker("project")
        again.resume(tracker.identity())
        again.start()
        again.log({"m": 2.0}, step=1)
        again.finish()
        assert seen(again).values("m") == [1.0, 2.0]

    def test_a_full_disk_costs_no_row(self) -> None:
        resource = pytest.importorskip("resource", reason="limits are Unix's")
        tracker = started()
        tracker.log({"m": 0.0}, step=0)
        metrics = folder_of(tracker) / "metrics.jsonl"
        before = metrics.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        batch: list[Record] = [row(step, {"m": float(step)}) for step in range(1, 9)]
        try:
            with pytest.raises(OSError):
                tracker.deliver(batch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert metrics.read_bytes() == before
        tracker.deliver(batch)
        tracker.finish()
        assert seen(tracker).values("m") == [float(step) for step in range(9)]

    def test_a_whole_training_through_the_facade(self, tmp_path: Path) -> None:
        with Tracking("clearml", tmp_path, delivery="thread") as tracking:
            tracking.init_trackers("project", config={"lr": 0.1})
            tracking.log({"loss": 0.5}, step=1, log_kwargs={"clearml": {"step_axis": "epoch"}})
            tracking.set_tags("good")
            tracking.flush(30)
            identity = tracking.get_tracker("clearml").identity()
        found = Seen(read_run(str(identity["task_id"]), download_to=tmp_path / "downloads"))
        assert (found.values("loss"), found.config, found.tags) == (
            [0.5],
            {"lr": 0.1},
            {"good": None},
        )
        assert found.status == "finished"


class TestNativeTask:
    def test_it_reports_to_the_same_session_and_changes_nothing_of_ours(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import sys
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            task = tracker.task
            assert tracker.tracker is task and task.id == tracker.task_id
            task.get_logger().report_scalar("theirs", "series", 2.0, 7)
            task.connect_configuration({"b": 1}, name="more")
            tracker.store_init_configuration({"epochs": 3})
            tracker.log({"ours": 1.0}, step=0)
            tracker.set_tags("good")
            tracker.finish("failed")
            open(sys.argv[1], "w").write(tracker.identity()["offline_folder"])
        """
        in_another_process(script, tmp_path / "folder")
        folder = (tmp_path / "folder").read_text()
        found = Seen(read_run(folder, download_to=tmp_path / "downloads"))
        assert (found.values("ours"), found.values("theirs/series")) == ([1.0], [2.0])
        assert found.config == {"lr": 0.1, "epochs": 3, "more": {"b": 1}}
        assert (found.tags, found.status) == ({"good": None}, "failed")

    def test_a_users_main_task_is_logged_to_and_left_running(self, tmp_path: Path) -> None:
        script = """if True:
            import os, sys
            from clearml.utilities.check_updates import CheckPackageUpdates
            CheckPackageUpdates._package_version_checked = True  # it would ask the internet
            from clearml import Task
            Task._report_subprocess_enabled = False
            task = Task.init("theirs", "theirs", auto_connect_arg_parser=False,
                auto_connect_frameworks=False, auto_resource_monitoring=False,
                auto_connect_streams=False)
            from tracking_clearml import ClearMLTracker
            tracker = ClearMLTracker("run")
            tracker.start()
            assert tracker.task is task
            tracker.store_init_configuration({"lr": 0.1})
            tracker.log({"ours": 1.0}, step=0)
            tracker.finish()
            assert Task.current_task() is task
            task.connect({"theirs": 1}, name="Args")
            open(sys.argv[1], "w").write(tracker.identity()["offline_folder"])
            os._exit(0)
        """
        in_another_process(script, tmp_path / "folder")
        folder = (tmp_path / "folder").read_text()
        found = Seen(read_run(folder, download_to=tmp_path / "downloads"))
        assert found.values("ours") == [1.0]
        assert found.config == {"lr": 0.1, "Args": {"theirs": "1"}}
        assert found.status is None


def test_the_batch_of_everything_has_no_traps(tmp_path: Path) -> None:
    """Config again, tags again, a list of tables: what raised in other trackers."""
    tracker = started()
    records: list[Record] = [Config({"a": 1}, NOW), Config({"a": 1}, NOW), Tags({"t": None}, NOW)]
    tables = [Table(["x"], [[number]]) for number in range(3)]
    tracker.deliver([*records, row(0, {"tables": tables}), *records])
    tracker.finish()
    assert [table.rows for table in seen(tracker).media("tables")] == [[[0]], [[1]], [[2]]]
