from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_comet_ml import CometLoginError, CometMLTracker, CometSettingError, layout, read_run
from tracking_comet_ml.settings import imported
from tracking_core import (
    Artifact,
    Audio,
    Histogram,
    Image,
    PartialState,
    Table,
    Tracking,
    TrackingWarning,
    Video,
)
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedVideo, Record, Tags
from tracking_core.testing import Seen

NOW = 1_760_000_000.25
KEY = "0123456789abcdef0123456789abcdef"


def make(directory: Path, run_name: str = "project", **kwargs: Any) -> CometMLTracker:
    config = {"offline_directory": str(directory), **kwargs.pop("experiment_config", {})}
    return CometMLTracker(run_name, online=False, experiment_config=config, **kwargs)


def started(directory: Path, run_name: str = "project", **kwargs: Any) -> CometMLTracker:
    tracker = make(directory, run_name, **kwargs)
    tracker.start()
    return tracker


def row(values: dict[str, Any], step: int = 0, time: float = NOW, **options: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, time, {"comet_ml": options})


def archives(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix == ".zip")


def member(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as packed:
        return packed.read(name)


def meta(archive: Path) -> dict[str, Any]:
    return dict(json.loads(member(archive, "experiment.json")))


def messages(archive: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, member(archive, "messages.json").splitlines())
    return [line["payload"] for line in lines if line["type"] == kind]


def others(archive: Path) -> dict[str, Any]:
    return {message["key"]: message["value"] for message in messages(archive, "log_other")}


def uploads(archive: Path) -> dict[str, dict[str, Any]]:
    return {
        message["additional_params"].get("figName")
        or message["additional_params"]["fileName"]: message
        for message in messages(archive, "file_upload")
    }


def delivered(directory: Path, *records: Record, **kwargs: Any) -> Path:
    """The one archive of a run of `records`."""
    tracker = started(directory, **kwargs)
    tracker.deliver(records)
    tracker.finish()
    (archive,) = archives(directory)
    return archive


def seen(directory: Path, key: str | None = None) -> Seen:
    return Seen(read_run(key, directory, download_to=directory / "downloads"))


def in_another_process(
    script: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


class TestManners:
    def test_importing_and_constructing_import_no_comet_ml(self) -> None:
        script = """if True:
            import sys, tracking_comet_ml
            tracking_comet_ml.CometMLTracker("p", api_key="k")
            assert "comet_ml" not in sys.modules
        """
        done = in_another_process(script)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_whole_run_leaves_no_trace(self, tmp_path: Path) -> None:
        script = """if True:
            import logging, os, sys, threading
            asked = []
            sys.addaudithook(
                lambda event, args: event in ("socket.connect", "socket.getaddrinfo", "builtins.input")
                and asked.append((event, args))
            )
            def state():
                return (
                    dict(os.environ), sys.excepthook, threading.excepthook, list(sys.meta_path[:1]),
                    sys.stdout.write, logging.root.handlers[:], threading.active_count(),
                )
            from tracking_comet_ml import CometMLTracker, read_run
            before = state()
            tracker = CometMLTracker("p", online=False)
            tracker.start()
            assert state() == before
            tracker.log({"loss": 1.0, "note": "text"}, step=1)
            tracker.store_init_configuration({"lr": 1})
            tracker.finish()
            list(read_run(None, ".cometml-runs", download_to="down"))
            assert state() == before
            assert asked == [], asked
        """
        home = tmp_path / "home"
        home.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path, env={**os.environ, "HOME": str(home)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        # matplotlib, where it is installed, is imported by comet_ml and has its own folders.
        found = [path.relative_to(home) for path in home.rglob("*")]
        assert [path for path in found if "matplotlib" not in str(path) and path.suffix] == []
        assert sorted(path.name for path in tmp_path.iterdir()) == [".cometml-runs", "home"]

    def test_no_step_is_recorded_but_the_rows_own(self, tmp_path: Path) -> None:
        archive = delivered(tmp_path, row({"a": 1.0}, 5), row({"b": 2.0}, 3))
        found = {
            message["metric"]["metricName"]: message["metric"]["step"]
            for message in messages(archive, "metric_msg")
        }
        assert found == {"a": 5, "b": 3}

    def test_the_users_own_experiment_goes_on(self, tmp_path: Path) -> None:
        script = """if True:
            import sys, comet_ml
            from tracking_comet_ml import CometMLTracker
            def config(name):
                return comet_ml.ExperimentConfig(
                    offline_directory=f"{sys.argv[1]}/{name}", log_code=False, log_graph=False,
                    parse_args=False, log_git_metadata=False, log_git_patch=False,
                    log_env_details=False, auto_output_logging=False,
                )
            theirs = comet_ml.start(online=False, experiment_config=config("theirs"))
            tracker = CometMLTracker("p", online=False, experiment_config=config("ours"))
            tracker.start()
            tracker.writer.log_metric("native", 1.0, step=1)
            assert comet_ml.get_running_experiment() is theirs
            tracker.finish()
            assert comet_ml.get_running_experiment() is theirs
            theirs.log_metric("m", 2.0, step=2)
            theirs.end()
        """
        done = in_another_process(script, tmp_path, COMET_LOGGING_CONSOLE="ERROR")
        assert (done.returncode, done.stderr) == (0, "")
        assert seen(tmp_path / "theirs").values("m") == [2.0]
        assert seen(tmp_path / "ours").values("native") == [1.0]
        assert len(archives(tmp_path / "ours")) == 2

    def test_nothing_happens_off_the_main_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setattr(PartialState, "_shared_state", {})
        tracker = make(tmp_path / "run")
        tracker.start()
        tracker.log({"m": 1.0})
        tracker.finish()
        assert not (tmp_path / "run").exists()


class TestSettings:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"offline_directory": "runs"}, "'offline_directory': it goes into experiment_config"),
            (
                {"experiment_kye": KEY},
                "no argument 'experiment_kye': did you mean 'experiment_key'",
            ),
            (
                {"experiment_config": {"tgas": ["a"]}},
                "'tgas': did you mean 'tags'.*ExperimentConfig",
            ),
            ({"experiment_config": "runs"}, "experiment_config is a dict or"),
        ],
    )
    def test_an_argument_that_comet_does_not_have_is_named_before_comet_is_imported(
        self, tmp_path: Path, arguments: dict[str, Any], said: str
    ) -> None:
        script = """if True:
            import sys
            from tracking_core import Tracking
            try:
                Tracking("comet_ml", "logs").init_trackers("p", init_kwargs={"comet_ml": eval(sys.argv[1])})
            except TypeError as error:
                assert "comet_ml" not in sys.modules
                print(error)
        """
        done = in_another_process(script, repr(arguments), TRACKING_DIR=str(tmp_path))
        assert re.search(said, done.stdout), done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"mode": "get_or_crate"}, "did you mean 'get_or_create'"),
            ({"experiment_key": "short"}, "32 to 50"),
            ({"experiment_key": "0-" * 16}, "32 to 50"),
        ],
    )
    def test_a_value_that_comet_does_not_take_is_refused_at_once(
        self, arguments: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            CometMLTracker("p", **arguments)

    def test_the_run_name_is_the_project_unless_there_is_another(self, tmp_path: Path) -> None:
        plain = delivered(tmp_path / "plain", run_name="digits")
        named = delivered(tmp_path / "named", run_name="digits", project_name="vision")
        assert (meta(plain)["project_name"], "Name" in others(plain)) == ("digits", False)
        assert (meta(named)["project_name"], others(named)["Name"]) == ("vision", "digits")

    def test_an_experiment_config_is_taken_as_object_too(self, tmp_path: Path) -> None:
        config = imported().ExperimentConfig(
            offline_directory=str(tmp_path), name="first", tags=["a", "b"], log_env_details=False
        )
        tracker = CometMLTracker("p", online=False, experiment_config=config)
        tracker.start()
        tracker.finish()
        (archive,) = archives(tmp_path)
        assert meta(archive)["tags"] == ["a", "b"]
        assert others(archive)["Name"] == "first"
        assert seen(tmp_path).tags == {"a": None, "b": None, "Name": "first"}
        assert config.log_code is None

    def test_comets_variables_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COMET_START_ONLINE", "0")
        monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path))
        monkeypatch.setenv("COMET_WORKSPACE", "team")
        monkeypatch.setenv("COMET_EXPERIMENT_KEY", KEY)
        tracker = CometMLTracker("p")
        tracker.start()
        tracker.finish()
        (archive,) = archives(tmp_path)
        assert (meta(archive)["workspace"], meta(archive)["offline_id"]) == ("team", KEY)

    def test_without_an_api_key_it_says_what_to_do(self) -> None:
        tracker = CometMLTracker("p", online=True)
        with pytest.raises(CometLoginError, match=r"COMET_API_KEY.*online=False") as raised:
            tracker.start()
        assert tracker.fault(raised.value) == "login"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"mode": "get"}, "experiment_key"),
            ({"experiment_config": {"disabled": True}}, "switched off"),
        ],
    )
    def test_settings_of_no_use(self, tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
        tracker = make(tmp_path / "run", **arguments)
        with pytest.raises(CometSettingError, match=said) as raised:
            tracker.start()
        assert tracker.fault(raised.value) == "setup"
        assert not (tmp_path / "run").exists()

    def test_creating_an_experiment_twice_is_refused(self, tmp_path: Path) -> None:
        archive = delivered(tmp_path, row({"m": 1.0}), experiment_key=KEY, mode="create")
        with pytest.raises(CometSettingError, match=rf"{KEY}.*get_or_create"):
            make(tmp_path, experiment_key=KEY, mode="create").start()
        assert archives(tmp_path) == [archive]
        assert seen(tmp_path).values("m") == [1.0]

    def test_what_comet_records_by_itself_is_asked_for(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, experiment_config={"log_env_details": False, "log_graph": True})
        assert tracker.writer.log_graph
        assert not tracker.writer.log_env_details
        tracker.finish()
        assert len(archives(tmp_path)) == 2


class TestWhatGoesWhere:
    def test_metrics_have_the_rows_step_and_time(self, tmp_path: Path) -> None:
        values = {"a": 0.5, "n": 2**70, "b": True, "nan": math.nan, "inf": -math.inf, "none": None}
        archive = delivered(tmp_path, row(values, 7))
        found = {
            message["metric"]["metricName"]: message["metric"]["metricValue"]
            for message in messages(archive, "metric_msg")
        }
        assert found == {
            "a": 0.5, "n": 2**70, "b": 1, "nan": "NaN", "inf": "-Infinity",
            "none": "NaN", "none/_x_none": 1,
        }  # fmt: skip
        assert {m["local_timestamp"] for m in messages(archive, "metric_msg")} == {NOW * 1000}
        assert {m["metric"]["step"] for m in messages(archive, "metric_msg")} == {7}

    def test_every_message_fits_comets_own_schemas(self, tmp_path: Path) -> None:
        from comet_ml import schemas

        (tmp_path / "model.bin").write_bytes(b"weights")
        picture = numpy.zeros((2, 3, 3), "uint8")
        values = {
            "m": 1.0, "new\nline": 2.0, "t": "text", "i": Image(picture), "is": [Image(picture)] * 2,
            "w": Table(["a"], [[1]]), "h": Histogram(numpy.arange(9.0)), "v": Video(numpy.stack([picture] * 2)),
            "s": Audio(numpy.zeros(8, "float32"), 8000), "f": Artifact(tmp_path / "model.bin"),
        }  # fmt: skip
        config = {"lr": 0.1, "l": [1, 2], "none": None, "deep": {"a": {"b": [{}]}}, "x": "y" * 2000}
        tags = Tags({"a": None, "b": "c"}, NOW)
        archive = delivered(tmp_path / "run", Config(config, NOW), tags, row(values, epoch=2))
        schemas.get_experiment_file_validator().validate(meta(archive))
        for kind, validator in {
            "metric_msg": schemas.get_metric_msg_validator(),
            "parameter_msg": schemas.get_parameter_msg_validator(),
            "log_other": schemas.get_log_other_msg_validator(),
            "file_upload": schemas.get_upload_msg_validator(),
        }.items():
            assert messages(archive, kind)
            for message in messages(archive, kind):
                validator.validate(message)

    def test_assets_are_of_comets_own_kinds(self, tmp_path: Path) -> None:
        picture = numpy.zeros((2, 3, 3), "uint8")
        gif = LoggedVideo(b"GIF89a", 0, 0, 0, 0, 5.0, "gif")
        values = {
            "image": Image(picture, caption="c"), "table": Table(["a"], [[1]]),
            "bins": Histogram(numpy.arange(9.0)), "clip": Video(numpy.stack([picture] * 2)), "gif": gif,
            "sound": Audio(numpy.zeros(8, "float32"), 8000), "note": "a text",
        }  # fmt: skip
        archive = delivered(
            tmp_path, Log(capture(values | {"gif": 0})[0] | {"gif": gif}, 3, 3, NOW)
        )
        found = uploads(archive)
        kinds = {name: message["upload_type"] for name, message in found.items()}
        assert kinds == {
            "image": "visualization", "table.csv": "asset", "bins": "histogram3d",
            "tracking/histogram.json": "asset", "clip": "visualization", "gif.gif": "video",
            "sound.wav": "audio", "auto-generated-in-the-backend": "text-sample",
        }  # fmt: skip
        assert found["image"]["metadata"]["caption"] == "c"
        assert {message["additional_params"]["step"] for message in found.values()} == {3}
        text = found["auto-generated-in-the-backend"]
        assert member(archive, text["file_path"]) == b"a text"
        assert others(archive)["note"] == "a text"

    def test_a_histogram_lies_in_comets_bins(self, tmp_path: Path) -> None:
        numbers = numpy.array([-1.0, 0.5, 0.5, 200.0])
        archive = delivered(tmp_path, row({"h": Histogram(numbers, bins=400)}))
        bars = json.loads(member(archive, uploads(archive)["h"]["file_path"]))
        borders = imported().Histogram().values
        found = [(round(borders[at], 1), count) for at, count in bars["index_values"]]
        assert [count for _, count in found] == [1.0, 2.0, 1.0]
        assert found[0][0] < 0 < found[1][0] < 1 < 150 < found[2][0] <= 200

    def test_parameters_keep_their_types_and_are_cut_to_comets_limits(self, tmp_path: Path) -> None:
        config = {
            "lr": 0.1, "n": 3, "amp": True, "none": None, "betas": [0.9, 0.99], "": 0,
            "optimizer": {"name": "adam"}, "a|b": 1, "a": {"b": 2}, "x": "y" * 5000, "z" * 200: 1,
        }  # fmt: skip
        archive = delivered(tmp_path, Config(config, NOW))
        found = {}
        for message in messages(archive, "parameter_msg"):
            given = message.get("param") or message["params"]
            found[given["paramName"]] = given["paramValue"]
        long = found.pop(next(name for name in found if name.startswith("z")))
        assert long == 1
        assert found == {
            "lr": 0.1, "n": 3, "amp": True, "none": None, "betas": [0.9, 0.99], "_x_": 0,
            "optimizer|name": "adam", "a_x7C_b": 1, "a|b": 2, "x": "y" * 1000,
        }  # fmt: skip
        assert others(archive)["hasNestedParams"] is True
        assert seen(tmp_path).config == config

    def test_tags_are_tags_and_key_value_tags_others(self, tmp_path: Path) -> None:
        tags = {"good": None, "team": "vision", "tracking/status": "mine", "long": "l" * 3000}
        archive = delivered(tmp_path, Tags(tags, NOW))
        assert meta(archive)["tags"] == ["good"]
        assert others(archive)["team"] == "vision"
        assert others(archive)["tracking/status"] == "finished"
        assert seen(tmp_path).tags == tags
        assert seen(tmp_path).status == "finished"

    def test_options_of_a_row(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['bogus'\]"):
            tracker.deliver([row({"m": 1.0}, 1, epoch=4, include_context=False, bogus=1)])
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['epoch'\]"):
            tracker.deliver([row({"m": 2.0}, 2, epoch="four")])
        tracker.deliver([row({"val/loss": 3.0}, 5, step_axis="epoch")])
        tracker.deliver([row({"val/acc": 4.0}, 6, step_axis="val_step")])
        tracker.finish()
        (archive,) = archives(tmp_path)
        found = [
            (m["metric"]["metricName"], m["metric"]["step"], m["metric"]["epoch"])
            for m in messages(archive, "metric_msg")
        ]
        assert found == [("m", 1, 4), ("m", 2, None), ("val/loss", 5, 5), ("val/acc", 6, None)]
        assert others(archive)["tracking/step_axis/val/acc"] == "val_step"
        rows = [one for one in read_run(None, tmp_path, download_to=tmp_path) if type(one) is Log]
        assert rows[0] == Log({"m": 1.0}, 1, 1, NOW, {"comet_ml": {"epoch": 4}})

    def test_a_step_beyond_64_bits_costs_only_its_row(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match="64 bits"):
            tracker.deliver([row({"m": 1.0}, 2**63), row({"m": 2.0}, -(2**63))])
        tracker.finish()
        assert [(p.step, p.value) for p in seen(tmp_path).points("m")] == [(-(2**63), 2.0)]

    def test_a_file_that_is_gone_costs_only_itself(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"weights")
        (tmp_path / "empty").mkdir()
        record = row({"model": Artifact(tmp_path / "model.bin"), "loss": 1.0})
        empty = row({"tree": Artifact(tmp_path / "empty")})
        (tmp_path / "model.bin").unlink()
        tracker = started(tmp_path / "run")
        with pytest.warns(TrackingWarning, match="gone"):
            tracker.deliver([record])
        with pytest.warns(TrackingWarning, match="holds no file"):
            tracker.deliver([empty])
        tracker.finish()
        assert seen(tmp_path / "run").keys == {"loss"}

    def test_files_of_any_name_come_back(self, tmp_path: Path) -> None:
        names = ["config.json", "100% #1?.txt", ".hidden", "é 損.txt", 'q".txt', "back\\slash"]
        tree = tmp_path / "tree"
        (tree / "tracking").mkdir(parents=True)
        (tree / "tracking" / "config.json").write_text("theirs")
        for name in names:
            (tree / name).write_text(name)
        tracker = started(tmp_path / "run")
        tracker.store_init_configuration({"lr": 1})
        tracker.log_artifacts(tree)
        tracker.log_artifact(tree / "config.json", "../../up")
        tracker.finish()
        found = seen(tmp_path / "run")
        expected = {name: name.encode() for name in names}
        expected |= {"tracking/config.json": b"theirs", "../../up/config.json": b"config.json"}
        assert found.files() == expected
        assert found.config == {"lr": 1}

    @given(st.text(), st.text())
    def test_every_key_has_a_name_of_its_own_that_leads_back(self, key: str, other: str) -> None:
        name = layout.name_of(key)
        assert len(name + layout.NONE) <= 100
        assert not name.endswith(layout.NONE)
        assert "\n" not in name
        assert unescape(layout.whole_name(key)) == key
        assert (layout.name_of(other) == name) == (other == key)
        assert not layout.other_name(key).startswith(layout.OURS)


class TestTheRun:
    def test_before_and_after_it_says_so(self, tmp_path: Path) -> None:
        tracker = make(tmp_path)
        with pytest.raises(NotStartedError, match="not started"):
            tracker.deliver([row({"m": 1.0})])
        tracker.finish()
        tracker.start()
        with pytest.raises(AlreadyStartedError):
            tracker.start()
        tracker.finish("killed")
        tracker.finish()
        with pytest.raises(NotStartedError, match="finished"):
            tracker.log({"m": 1.0})
        with pytest.raises(AttributeError, match="finished"):
            tracker.writer  # noqa: B018  # reading it is what is tested
        assert seen(tmp_path).status == "killed"

    def test_beginning_and_end_are_when_they_were(self, tmp_path: Path) -> None:
        tracker = make(tmp_path)
        tracker.began_at = NOW - 1
        tracker.start()
        tracker.deliver([row({"m": 1.0}), End("failed", NOW + 60)])
        tracker.finish("failed")
        (archive,) = archives(tmp_path)
        assert meta(archive)["start_time"] == (NOW - 1) * 1000
        assert meta(archive)["stop_time"] == (NOW + 60) * 1000
        assert meta(archive)["customer_error_message"] == "the run failed"
        ends = [one for one in read_run(None, tmp_path, download_to=tmp_path) if type(one) is End]
        assert ends == [End("failed", NOW + 60)]

    def test_sessions_of_one_experiment_are_read_together(self, tmp_path: Path) -> None:
        identity: dict[str, Any] = {}
        for number, status in enumerate(["failed", "killed", "finished"]):
            tracker = make(tmp_path)
            if identity:
                tracker.resume(identity)
            tracker.start()
            tracker.deliver(
                [Config({"n": number, str(number): 1}, NOW), Tags({str(number): None}, NOW)]
            )
            tracker.deliver([row({"m": float(number)}, number)])
            tracker.finish(status)  # type: ignore[arg-type]  # they are statuses
            identity = tracker.identity()
        assert len(archives(tmp_path)) == 3
        assert {meta(archive)["offline_id"] for archive in archives(tmp_path)} == {
            identity["experiment_key"]
        }
        found = seen(tmp_path)
        assert found.values("m") == [0.0, 1.0, 2.0]
        assert found.config == {"n": 2, "0": 1, "1": 1, "2": 1}
        assert found.tags == {"0": None, "1": None, "2": None}
        assert found.status == "finished"

    def test_an_experiment_that_is_named_before_it_begins_is_begun_once(
        self, tmp_path: Path
    ) -> None:
        first, second = make(tmp_path), make(tmp_path)
        named = first.identity()
        second.resume(named)  # the first died before it had begun, or while it began
        second.start()
        second.deliver([row({"m": 1.0})])
        second.finish()
        (archive,) = archives(tmp_path)
        assert meta(archive)["offline_id"] == named["experiment_key"]
        assert seen(tmp_path).values("m") == [1.0]
        first.start()
        first.finish()
        assert first.identity()["experiment_key"] == named["experiment_key"]

    @pytest.mark.parametrize("arguments", [{"experiment_key": KEY}, {"mode": "get"}])
    def test_an_experiment_that_arguments_name_is_theirs_to_begin(
        self, tmp_path: Path, arguments: dict[str, Any]
    ) -> None:
        assert make(tmp_path, **arguments).identity() == {}

    def test_an_identity_that_names_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="experiment_key"):
            make(tmp_path).resume({"run_id": "x"})

    def test_the_native_experiment_adds_to_the_run(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row({"ours": 1.0}, 1)])
        assert tracker.tracker is tracker.writer
        assert isinstance(tracker.writer, imported().OfflineExperiment)
        tracker.writer.log_metric("theirs", 2.0, step=2)
        tracker.writer.log_html("<b>report</b>")
        tracker.finish()
        assert imported().get_running_experiment() is None
        found = seen(tmp_path)
        assert (found.values("ours"), found.values("theirs")) == ([1.0], [2.0])
        assert len({meta(archive)["offline_id"] for archive in archives(tmp_path)}) == 1

    def test_it_lives_in_the_delivery_process(self, tmp_path: Path) -> None:
        options = {"online": False, "experiment_config": {"offline_directory": str(tmp_path / "c")}}
        with Tracking("comet_ml", tmp_path / "logs", delivery="process") as tracking:
            tracking.init_trackers("digits", {"lr": 0.1}, {"comet_ml": options})
            tracking.log({"loss": 0.5, "note": "text"}, step=3)
        status = tracking.status()["comet_ml"]
        assert (status.state, status.last_error, status.failed) == ("ended", None, 0)
        found = seen(tmp_path / "c")
        assert [(p.step, p.value) for p in found.points("loss")] == [(3, 0.5)]
        assert (found.config, found.status) == ({"lr": 0.1}, "finished")


class TestSurviving:
    def test_what_was_delivered_survives_kill_9(self, tmp_path: Path) -> None:
        script = """if True:
            import os, signal, sys
            from tracking_comet_ml import CometMLTracker
            config = {"offline_directory": sys.argv[1]}
            tracker = CometMLTracker("p", online=False, experiment_config=config)
            tracker.start()
            tracker.set_tags(["doomed"])
            for step in range(50):
                tracker.log({"m": float(step), "note": f"at {step}"}, step=step)
            print(tracker.identity()["experiment_key"], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        done = in_another_process(script, tmp_path)
        assert done.returncode == -signal.SIGKILL
        key = done.stdout.strip()
        (left,) = tmp_path.iterdir()
        with open(left / "messages.json", "ab") as file:
            file.write(b'{"payload":{"metric":{"metr')  # it might have died in the middle of one
        found = seen(tmp_path)
        assert found.values("m") == [float(step) for step in range(50)]
        assert (found.status, found.tags) == (None, {"doomed": None})

        again = make(tmp_path)
        again.resume({"experiment_key": key, "online": False, "offline_directory": str(tmp_path)})
        again.start()
        again.deliver([row({"m": 50.0}, 50)])
        again.finish()
        assert [path for path in tmp_path.iterdir() if path.name.endswith(".running")] == []
        assert len(archives(tmp_path)) == 2
        found = seen(tmp_path)
        assert found.values("m") == [float(step) for step in range(51)]
        assert found.values("note") == [f"at {step}" for step in range(50)]
        assert found.status == "finished"

    def test_a_session_that_lives_is_left_alone(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_comet_ml import CometMLTracker
            config = {"offline_directory": sys.argv[1]}
            tracker = CometMLTracker(
                "p", online=False, experiment_config=config, experiment_key=sys.argv[2]
            )
            tracker.start()
            tracker.log({"other process": 1.0})
            print("running", flush=True)
            sys.stdin.read()
            tracker.finish()
        """
        other = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), KEY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "running\n"
            first = started(tmp_path, experiment_key=KEY)
            second = started(tmp_path, experiment_key=KEY)
            first.deliver([row({"first": 1.0})])
            second.deliver([row({"second": 2.0})])
            assert archives(tmp_path) == []
            first.finish()
            second.finish()
        finally:
            other.communicate("", timeout=60)
        assert other.returncode == 0
        assert seen(tmp_path).keys == {"other process", "first", "second"}

    def test_a_full_disk_costs_nothing_and_the_same_records_may_come_again(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import resource, signal, sys
            from tracking_comet_ml import CometMLTracker
            from tracking_core.records import Log
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            config = {"offline_directory": sys.argv[1]}
            tracker = CometMLTracker("p", online=False, experiment_config=config)
            tracker.start()
            tracker.log({"m": 0.0}, step=0)
            rows = [Log({"m": float(step)}, step, step, 1e9) for step in range(1, 100)]
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
            try:
                tracker.deliver(rows)
            except OSError as error:
                print("raised")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            tracker.deliver(rows)
            tracker.finish()
        """
        done = in_another_process(script, tmp_path)
        assert (done.stdout.strip(), done.stderr) == ("raised", "")
        assert seen(tmp_path).values("m") == [float(step) for step in range(100)]

    def test_a_session_that_somebody_deleted_goes_on_in_a_new_one(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row({"m": 1.0}, 1)])
        (left,) = tmp_path.iterdir()
        left.rename(tmp_path.parent / "elsewhere")
        tracker.deliver([row({"m": 2.0}, 2)])
        tracker.finish()
        assert seen(tmp_path).values("m") == [2.0]


class TestReading:
    def test_what_was_delivered(self, tmp_path: Path) -> None:
        config = Config({"lr": 0.5, "nested": {"n": [1, None, 2**70]}}, NOW)
        tags = Tags({"baseline": None, "team": "vision"}, NOW)
        rows = [
            Log({"loss": 0.25}, 1, 1, NOW + 3),
            Log({"loss": 0.5, "note": "text", "missing": None}, 3, 3, NOW + 4),
        ]
        tracker = started(tmp_path)
        tracker.deliver([config, tags, *rows, End("killed", NOW + 5)])
        tracker.finish("killed")
        first, second, *rest = read_run(None, tmp_path, download_to=tmp_path)
        assert isinstance(first, Config)
        assert isinstance(second, Tags)
        assert (first.values, second.values) == (config.values, tags.values)
        assert rest == [*rows, End("killed", NOW + 5)]

    def test_runs_of_comets_own_client(self, tmp_path: Path) -> None:
        from comet_ml import ExperimentConfig, start
        from PIL.Image import new

        config = ExperimentConfig(
            offline_directory=str(tmp_path), name="theirs", tags=["t"], log_code=False,
            log_graph=False, parse_args=False, log_git_metadata=False, log_git_patch=False,
            log_env_details=False, auto_output_logging=False, display_summary_level=0,
        )  # fmt: skip
        experiment = start(project_name="p", online=False, experiment_config=config)
        experiment.log_parameters({"lr": 0.1, "optimizer": {"name": "adam"}, "betas": [0.9, 0.99]})
        experiment.log_metric("loss", 0.5, step=3)
        with experiment.train():
            experiment.log_metric("loss", math.nan, step=4, epoch=1)
        experiment.log_metric("word", "good", step=4)
        experiment.log_text("hello", step=5)
        experiment.log_image(new("RGB", (4, 3)), name="black", step=6)
        experiment.log_histogram_3d([1.0, 2.0, 2.0], name="h", step=7)
        experiment.log_asset_data({"a": 1}, name="a.json")
        experiment.log_other("team", "vision")
        experiment.end()
        found = seen(tmp_path)
        assert found.config == {"lr": 0.1, "optimizer": {"name": "adam"}, "betas": [0.9, 0.99]}
        assert found.tags == {"t": None, "team": "vision", "Name": "theirs"}
        assert [(point.step, point.value) for point in found.points("loss")] == [(3, 0.5)]
        assert math.isnan(found.values("train_loss")[0])  # type: ignore[arg-type]  # a number
        assert (found.values("word"), found.values("text")) == (["good"], ["hello"])
        (image,) = found.media("black")
        assert (image.width, image.height, image.format) == (4, 3, "png")
        (histogram,) = found.media("h")
        assert (histogram.num, round(histogram.sum)) == (3.0, 5)
        assert found.files() == {"a.json": b'{"a":1}'}
        assert found.status == "finished"

    def test_errors_say_what_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no offline archive"):
            read_run(None, tmp_path, download_to=tmp_path)
        delivered(tmp_path / "one")
        with pytest.raises(FileNotFoundError, match=KEY):
            read_run(KEY, tmp_path / "one", download_to=tmp_path)
        tracker = started(tmp_path / "one")
        tracker.finish()
        with pytest.raises(ValueError, match="several experiments"):
            read_run(None, tmp_path / "one", download_to=tmp_path)
        (tmp_path / "bad.zip").write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"bad\.zip"):
            read_run(None, tmp_path / "bad.zip", download_to=tmp_path)
        with pytest.raises(ValueError, match="experiment_key"):
            read_run(download_to=tmp_path)

    def test_one_archive_alone(self, tmp_path: Path) -> None:
        archive = delivered(tmp_path, row({"m": 1.0}, 1))
        found = Seen(read_run(None, archive, download_to=tmp_path))
        assert found.values("m") == [1.0]


class TestWhatAccelerateTests:
    """Accelerate's own tests of its Comet tracker, against ours."""

    @staticmethod
    def value_of(directory: Path, key: str, *, parameter: bool = False) -> object:
        (archive,) = directory.iterdir()
        for line in member(archive, "messages.json").decode().split("\n")[:-1]:
            payload = json.loads(line)["payload"]
            if parameter and payload.get("param", {}).get("paramName") == key:
                return payload["param"]["paramValue"]
            if payload.get("metric", {}).get("metricName") == key:
                return payload["metric"]["metricValue"]
            if payload.get("key") == key:
                return payload["value"]
        return None

    @staticmethod
    def tracker(directory: Path) -> CometMLTracker:
        config = imported().ExperimentConfig(offline_directory=str(directory))
        return CometMLTracker("test_project_with_config", online=False, experiment_config=config)

    def test_init_trackers(self, tmp_path: Path) -> None:
        tracking = Tracking(self.tracker(tmp_path), delivery="inline")
        config = {"num_iterations": 12, "learning_rate": 1e-2, "some_boolean": False, "s": "text"}
        tracking.init_trackers("ignored", config)
        tracking.end_training()
        for key, value in config.items():
            found = self.value_of(tmp_path, key, parameter=True)
            assert (found, type(found)) == (value, type(value))

    def test_log(self, tmp_path: Path) -> None:
        tracking = Tracking(self.tracker(tmp_path), delivery="inline")
        tracking.init_trackers("ignored")
        tracking.log({"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}, step=0)
        tracking.end_training()
        assert self.value_of(tmp_path, "curr_step", parameter=True) == 0
        assert self.value_of(tmp_path, "total_loss") == 0.1
        assert self.value_of(tmp_path, "iteration") == 1
        assert self.value_of(tmp_path, "my_text") == "some_value"

    def test_the_names_of_accelerate(self, tmp_path: Path) -> None:
        tracker = self.tracker(tmp_path)
        assert (tracker.run_name, tracker.init_kwargs["online"]) == (
            "test_project_with_config",
            False,
        )
        tracker.start()
        assert tracker.writer is tracker.tracker
        tracker.finish()
