from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy
import pytest

from tracking_comet_ml import CometLoginError, CometMLTracker, CometSettingError, read_run
from tracking_core import Artifact, Image, Table, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.faults import fault_of
from tracking_core.records import Config, Log, Record, Tags
from tracking_core.testing import Seen, TrackerConformance
from tracking_core.tracker import GeneralTracker

from .server import Server
from .test_conformance import TestConformance as Offline

NOW = 1_760_000_000.25


@pytest.mark.usefixtures("server")
class TestConformanceOnAServer(TrackerConformance):
    wall_time_resolution = 0.001
    lands: ClassVar = Offline.lands

    def make(self, directory: Path) -> GeneralTracker:
        return CometMLTracker("conformance")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        key = str(tracker.identity()["experiment_key"])
        return read_run(key, download_to=directory / "downloads")


def started(**kwargs: Any) -> CometMLTracker:
    tracker = CometMLTracker("digits", **kwargs)
    tracker.start()
    return tracker


def key_of(tracker: CometMLTracker) -> str:
    return str(tracker.identity()["experiment_key"])


def row(values: dict[str, Any], step: int = 0) -> Log:
    return Log(capture(values)[0], step, step, NOW)


def everything(tmp_path: Path) -> list[Record]:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    values = {
        "loss": 0.5, "none": None, "note": "a text", "image": Image(numpy.zeros((2, 2), "uint8"), caption="c"),
        "table": Table(["a"], [[1]]), "model": Artifact(model, "models"),
    }  # fmt: skip
    return [Config({"lr": 0.1}, NOW), Tags({"a": None, "team": "vision"}, NOW), row(values, 3)]


def kept(server: Server, tracker: CometMLTracker) -> dict[str, Any]:
    found: dict[str, Any] = server.experiments[key_of(tracker)]
    return found


def points(server: Server, tracker: CometMLTracker) -> list[tuple[str, int, object]]:
    return [
        (value["metricName"], value["step"], value["metricValue"])
        for value in kept(server, tracker)["metrics"]
    ]


class TestARun:
    def test_what_the_server_gets(self, server: Server, tmp_path: Path) -> None:
        tracker = started(workspace="team", experiment_config={"tags": ["t"]})
        tracker.deliver(everything(tmp_path))
        tracker.finish()
        found = kept(server, tracker)
        assert (found["project"], found["workspace"], found["alive"]) == ("digits", "team", False)
        assert (found["tags"], found["crashed"]) == (["t", "a"], False)
        assert found["parameters"] == {"lr": 0.1, "curr_step": 3}
        assert found["others"] == {
            "tracking/status": "finished", "team": "vision", "note": "a text",
        }  # fmt: skip
        (loss,) = [value for value in found["metrics"] if value["metricName"] == "loss"]
        assert loss == {
            "metricName": "loss", "metricValue": 0.5, "step": 3, "epoch": None, "context": None,
            "timestamp": NOW * 1000,
        }  # fmt: skip
        assets = {
            asset.get("fileName") or asset["figName"]: asset for asset in found["assets"].values()
        }
        assert set(assets) == {
            "tracking/config.json", "tracking/tags.json", "auto-generated-in-the-backend", "image",
            "table.csv", "models/model.bin",
        }  # fmt: skip
        assert assets["image"]["uploaded_to"] == "visualizations/upload"
        assert json.loads(assets["image"]["metadata"])["caption"] == "c"
        assert assets["auto-generated-in-the-backend"]["type"] == "text-sample"
        assert assets["models/model.bin"]["body"] == b"weights"
        assert found["ended"] >= found["began"] > NOW * 1000

    @pytest.mark.parametrize("status", ["failed", "killed"])
    def test_one_that_did_not_finish_has_crashed(self, server: Server, status: Any) -> None:
        tracker = started()
        tracker.finish(status)
        found = kept(server, tracker)
        assert (found["alive"], found["crashed"]) == (False, True)
        assert status in found["error"]

    def test_it_says_that_it_lives(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tracking_comet_ml.online.BEATS", [0.01] * 10)
        tracker = started()
        server.beaten.clear()
        assert server.beaten.wait(30)
        tracker.finish()

    def test_the_native_experiment_is_the_same_run(self, server: Server) -> None:
        tracker = started()
        tracker.deliver([row({"ours": 1.0}, 1)])
        tracker.writer.log_metric("theirs", 2.0, step=2)
        assert tracker.writer.get_key() == key_of(tracker)
        tracker.finish()
        assert {"ours", "theirs"} <= {name for name, *_ in points(server, tracker)}

    def test_nothing_is_printed(
        self, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        tracker = started()
        tracker.deliver(everything(tmp_path))
        server.refusals["experiment/metric"] = [500]
        with pytest.raises(Exception, match="500"):
            tracker.deliver([row({"a": 1.0})])
        tracker.finish()
        list(read_run(key_of(tracker), download_to=tmp_path / "down"))
        assert capfd.readouterr() == ("", "")

    def test_an_offline_archive_is_uploaded_with_its_times(
        self, server: Server, tmp_path: Path
    ) -> None:
        config = {"offline_directory": str(tmp_path / "runs")}
        first = CometMLTracker("digits", online=False, experiment_config=config)
        first.start()
        first.deliver(everything(tmp_path))
        first.finish("failed")
        second = CometMLTracker("digits", online=False, experiment_config=config)
        second.resume(first.identity())
        second.start()
        second.deliver([row({"loss": 0.25}, 4)])
        second.finish()
        # The later session first: the order must not matter.
        archives = sorted((tmp_path / "runs").iterdir(), key=os.path.getmtime, reverse=True)
        program = "from comet_ml.scripts.comet import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, "upload", *map(str, archives)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = kept(server, first)
        losses = [value for value in found["metrics"] if value["metricName"] == "loss"]
        assert sorted((one["step"], one["metricValue"], one["timestamp"]) for one in losses) == [
            (3, 0.5, NOW * 1000), (4, 0.25, NOW * 1000),
        ]  # fmt: skip
        seen = Seen(read_run(key_of(first), download_to=tmp_path / "down"))
        assert (seen.config, seen.tags) == ({"lr": 0.1}, {"a": None, "team": "vision"})
        assert seen.values("note") == ["a text"]
        assert seen.values("none") == [None]
        assert seen.files() == {"models/model.bin": b"weights"}


class TestWhichRun:
    def test_a_key_that_the_server_does_not_know(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(CometLoginError, match="COMET_API_KEY") as raised:
            started(api_key="another-key")
        assert "another-key" not in str(raised.value)

    def test_modes(self, server: Server) -> None:
        first = started()
        first.finish()
        key = key_of(first)
        with pytest.raises(CometSettingError, match="mode='create'"):
            started(experiment_key=key, mode="create")
        with pytest.raises(CometSettingError, match="no experiment"):
            started(experiment_key="0" * 32, mode="get")
        second = started(experiment_key=key, mode="get")
        second.finish()
        assert key_of(second) == key

    def test_an_experiment_that_is_not_there_is_said_to_be_missing(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(ValueError, match="has no experiment"):
            read_run("0" * 32, download_to=tmp_path)
        monkeypatch.delenv("COMET_API_KEY")
        with pytest.raises(CometLoginError, match="offline_directory"):
            read_run("0" * 32, download_to=tmp_path)


class TestTrouble:
    def test_an_outage_raises_at_once_and_what_is_sent_again_lands_once(
        self, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        tracker = started()
        batch = everything(tmp_path)
        tracker.deliver(batch[:1])
        server.stop()
        began = time.monotonic()
        for call in (lambda: tracker.deliver(batch), tracker.finish, lambda: started()):
            with pytest.raises(OSError) as raised:
                call()
            assert fault_of(raised.value) in ("server", "login")
        assert time.monotonic() - began < 5
        server.start()
        tracker.deliver(batch)
        tracker.finish()
        assert points(server, tracker) == [
            ("loss", 3, 0.5),
            ("none", 3, "NaN"),
            ("none/_x_none", 3, 1),
        ]
        seen = Seen(read_run(key_of(tracker), download_to=tmp_path / "down"))
        assert seen.files() == {"models/model.bin": b"weights"}
        assert (seen.config, seen.status) == ({"lr": 0.1}, "finished")
        assert capfd.readouterr() == ("", "")

    def test_what_the_server_has_taken_is_not_sent_again(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started()
        batch = everything(tmp_path)
        paths = ["experiment/parameter", "log-other", "asset/upload", "visualizations/upload"]
        for trouble in paths:
            server.refusals[trouble] = [503]
            with pytest.raises(Exception, match="503") as raised:
                tracker.deliver(batch)
            assert fault_of(raised.value) in ("server", "login")
        tracker.deliver(batch)
        assert [name for name, *_ in points(server, tracker)] == ["loss", "none", "none/_x_none"]
        # But the same row, logged anew, is another row.
        tracker.deliver(batch[2:])
        tracker.finish()
        assert len(points(server, tracker)) == 6

    def test_what_is_said_once_for_a_key_is_said_again_after_an_outage(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started()
        record = Log({"k" * 300: 1.0}, 1, 1, NOW, {"comet_ml": {"step_axis": "epoch"}})
        server.refusals["experiment/metric"] = [503]
        with pytest.raises(Exception, match="503"):
            tracker.deliver([record])
        tracker.deliver([record])
        tracker.finish()
        assert "epoch" in kept(server, tracker)["others"].values()
        seen = Seen(read_run(key_of(tracker), download_to=tmp_path))
        assert seen.values("k" * 300) == [1.0]

    @pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502])
    def test_a_server_that_says_no_for_now(self, server: Server, status: int) -> None:
        server.refusals["add/run"] = [status]
        with pytest.raises(Exception, match=str(status)) as raised:
            started()
        assert fault_of(raised.value) in ("server", "login")
        tracker = started()
        for path in ("experiment/metric", "log-other", "status-report/update"):
            server.refusals[path] = [status]
            with pytest.raises(Exception, match=str(status)) as raised:
                tracker.deliver([row({"m": 1.0}, 1)])
                tracker.finish()
            assert fault_of(raised.value) in ("server", "login")
        tracker.finish()
        assert not kept(server, tracker)["alive"]

    def test_one_refused_point_costs_only_itself(self, server: Server) -> None:
        tracker = started()
        # Two of them, three halves: the whole, the half, the one, and that once more.
        server.refusals["experiment/metric"] = [400, 400, 400, 400]
        with pytest.warns(TrackingWarning, match=r"'a'.*HTTP status 400"):
            tracker.deliver([row({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, 1)])
        tracker.finish()
        assert [name for name, *_ in points(server, tracker)] == ["b", "c", "d"]

    def test_an_experiment_that_takes_nothing_costs_no_value_its_name(self, server: Server) -> None:
        tracker = started()
        deleted = server.experiments.pop(key_of(tracker))
        with pytest.raises(Exception, match="404"):
            tracker.deliver([row({"a": 1.0, "b": 2.0})])
        server.experiments[key_of(tracker)] = deleted
        server.refusals["experiment/metric"] = [400, 400]
        server.refusals["status-report/update"] = [400]
        with pytest.raises(Exception, match="400"):
            tracker.deliver([row({"a": 1.0, "b": 2.0})])
        assert tracker.rejections.counts == {}
        tracker.finish()

    def test_a_file_that_the_server_does_not_take_costs_only_itself(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started()
        server.refusals["asset/upload"] = [413]
        (tmp_path / "large.bin").write_bytes(b"large")
        with pytest.warns(TrackingWarning, match=r"large\.bin"):
            tracker.deliver([row({"file": Artifact(tmp_path / "large.bin", ""), "m": 1.0})])
        tracker.finish()
        assert points(server, tracker) == [("m", 0, 1.0)]

    def test_a_server_that_never_answers_is_given_up(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COMET_TIMEOUT_HTTP", "1")
        monkeypatch.setenv("COMET_TIMEOUT_FILE_UPLOAD", "1")
        tracker = started()
        server.hanging.set()
        began = time.monotonic()
        (tmp_path / "model.bin").write_bytes(b"weights")
        file = row({"model": Artifact(tmp_path / "model.bin", "")})
        calls = (started, lambda: tracker.deliver([row({"m": 1.0})]), tracker.finish)
        for call in calls:
            with pytest.raises(OSError, match="timed out") as raised:
                call()
            assert fault_of(raised.value) in ("server", "login")
        assert time.monotonic() - began < 10
        server.stop()
        server.start()
        tracker.deliver([row({"m": 1.0}), file])
        tracker.finish()
        assert ("m", 0, 1.0) in points(server, tracker)

    def test_the_facade_goes_on_while_the_server_is_gone(
        self, server: Server, tmp_path: Path
    ) -> None:
        with Tracking("comet_ml", tmp_path, delivery="thread") as tracking:
            tracking.init_trackers("digits", {"lr": 0.1})
            tracking.log({"m": 1.0}, step=1)
            assert tracking.flush(30)
            server.stop()
            tracking.log({"m": 2.0}, step=2)
            tracking.flush(0.1)
            tracker = tracking.get_tracker("comet_ml")
            server.start()
        assert points(server, tracker) == [("m", 1, 1.0), ("m", 2, 2.0)]
        assert kept(server, tracker)["others"]["tracking/status"] == "finished"
