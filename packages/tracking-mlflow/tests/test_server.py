from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tracking_core import Artifact
from tracking_core.capture import capture
from tracking_core.faults import fault_of
from tracking_core.records import Config, Log, Record, Tags
from tracking_core.testing import Seen, TrackerConformance, refusing
from tracking_core.tracker import GeneralTracker
from tracking_mlflow import MLflowLoginError, MLflowTracker, read_run
from tracking_mlflow.settings import imported

from . import test_conformance
from .server import Server, wait_for

NOW = 1_760_000_000.25


@pytest.mark.usefixtures("address")
class TestConformanceOnAServer(TrackerConformance):
    wall_time_resolution = 0.001
    lands = test_conformance.TestConformance.lands

    def make(self, directory: Path) -> GeneralTracker:
        return MLflowTracker("conformance")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        run_id = str(tracker.identity()["run_id"])
        return read_run(run_id, download_to=directory / "downloads")


def records(model: Path) -> list[Record]:
    model.write_bytes(b"weights")
    values, _ = capture({"loss": 0.5, "note": "text", "model": Artifact(model, "models")})
    return [Config({"lr": 0.1}, NOW), Tags({"a": None}, NOW), Log(values, 1, 1, NOW)]


def test_nothing_is_printed(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = MLflowTracker("quiet")
    tracker.start()
    tracker.deliver(records(tmp_path / "model.bin"))
    tracker.finish()
    list(read_run(tracker.active_run.info.run_id, download_to=tmp_path / "downloads"))
    assert capfd.readouterr() == ("", "")


def test_identity_leads_back_to_the_server(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = MLflowTracker("identity")
    first.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    second = MLflowTracker("identity")
    second.resume(first.identity())
    second.start()
    assert second.identity() == first.identity()
    assert not (tmp_path / "elsewhere.db").exists()


def test_an_outage_raises_at_once_and_what_is_sent_again_lands_once(
    address: str, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = MLflowTracker("outage")
    tracker.start()
    batch = records(tmp_path / "model.bin")
    tracker.deliver(batch[:1])
    server.stop()
    began = time.monotonic()
    with pytest.raises(imported().exceptions.MlflowException):
        tracker.deliver(batch)
    with pytest.raises(imported().exceptions.MlflowException):
        tracker.finish()
    with pytest.raises(imported().exceptions.MlflowException) as refused:
        MLflowTracker("outage").start()
    assert fault_of(refused.value) in ("server", "login")
    assert time.monotonic() - began < 8
    server.start()
    wait_for(server)
    tracker.deliver(batch)
    tracker.deliver(batch)
    tracker.finish()
    run_id = tracker.active_run.info.run_id
    seen = Seen(read_run(run_id, download_to=tmp_path / "downloads"))
    assert [(point.step, point.value) for point in seen.points("loss")] == [(1, 0.5)]
    assert seen.values("note") == ["text"]
    assert seen.files() == {"models/model.bin": b"weights"}
    assert (seen.config, seen.tags, seen.status) == ({"lr": 0.1}, {"a": None}, "finished")
    assert capfd.readouterr() == ("", "")


def test_a_server_that_says_no_for_now_is_tried_again(
    address: str, server: Server, tmp_path: Path
) -> None:
    tracker = MLflowTracker("refused")
    tracker.start()
    batch = records(tmp_path / "model.bin")
    server.stop()
    for status in (401, 429, 500, 503):
        with refusing(server.port, status):
            calls = (lambda: tracker.deliver(batch), tracker.finish, MLflowTracker("refused").start)
            for call in calls:
                errors = (imported().exceptions.MlflowException, MLflowLoginError)
                with pytest.raises(errors) as refused:
                    call()
                expected = "login" if status == 401 else "server"
                assert tracker.fault(refused.value) == expected, (status, refused.value)
    server.start()
    wait_for(server)
    tracker.deliver(batch)
    tracker.finish()
    assert tracker.rejections.counts == {}
    run_id = tracker.active_run.info.run_id
    seen = Seen(read_run(run_id, download_to=tmp_path / "downloads"))
    assert (seen.values("loss"), seen.values("note"), seen.status) == ([0.5], ["text"], "finished")


def test_a_server_that_hangs_is_given_up(
    address: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MLflowTracker("hang")
    tracker.start()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(imported().exceptions.MlflowException, match="timeout"):
            tracker.deliver(records(tmp_path / "model.bin"))
        assert time.monotonic() - began < 10
    finally:
        os.kill(server.pid, signal.SIGCONT)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    tracker.deliver(records(tmp_path / "model.bin"))
    run_id = tracker.active_run.info.run_id
    seen: Any = Seen(read_run(run_id, download_to=tmp_path / "downloads"))
    assert seen.values("loss") == [0.5]
