"""The trackers' own servers show the run over HTTP."""

from __future__ import annotations

import sys
import time
import urllib.parse
from pathlib import Path

import numpy
import pytest
from servers import PATIENCE, free_port, get, mlflow_server, serving

from tracking_core import Histogram, Image, Table, Tracking


def log_a_run(tracking: Tracking) -> None:
    tracking.init_trackers("digits", config={"lr": 0.5, "optimizer": {"name": "adam"}})
    for step in range(5):
        tracking.log({"train/loss": 1 / (step + 1), "accuracy": step / 5}, step=step)
    tracking.log(
        {
            "note": "hello",
            "picture": Image(numpy.zeros((4, 4, 3), "uint8"), caption="black"),
            "weights": Histogram([1.0, 2.0, 3.0]),
            "wrong": Table(["label"], [["seven"]]),
        },
        step=5,
    )
    tracking.end_training()


@pytest.mark.parametrize("load_fast", ["false", "true"])
def test_tensorboard_shows_the_run(tmp_path: Path, load_fast: str) -> None:
    if load_fast == "true":
        pytest.importorskip("tensorboard_data_server", reason="the fast server is not installed")
    log_a_run(Tracking("tensorboard", tmp_path, delivery="inline"))
    port = free_port()
    data = f"http://127.0.0.1:{port}/data"
    command = [
        sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--host", "127.0.0.1",
        "--port", str(port), "--load_fast", load_fast,
    ]  # fmt: skip
    with serving(command, f"{data}/runs"):
        deadline = time.monotonic() + PATIENCE
        tags = get(f"{data}/plugin/scalars/tags")
        while "digits" not in tags and time.monotonic() < deadline:
            tags = get(f"{data}/plugin/scalars/tags")  # it reads the files while it answers
        assert list(get(f"{data}/runs")) == ["digits"]
        assert {"train/loss", "accuracy"} <= set(tags["digits"])
        points = get(f"{data}/plugin/scalars/scalars?run=digits&tag=train%2Floss")
        assert [step for _, step, _ in points] == [0, 1, 2, 3, 4]
        assert [value for _, _, value in points] == pytest.approx([1 / (s + 1) for s in range(5)])
        for plugin, tag in (("text", "note"), ("images", "picture"), ("histograms", "weights")):
            shown = get(f"{data}/plugin/{plugin}/tags")["digits"]
            assert any(name.startswith(tag) for name in shown), (plugin, shown)


def test_mlflow_shows_the_run(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(mlflow_uri, tmp_path / "artifacts", free_port()) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        tracking = Tracking("mlflow", delivery="inline")
        log_a_run(tracking)
        run_id = tracking.trackers[0].tracker.info.run_id
        assert tracking.status()["mlflow"].failed == 0

        api = f"{server}/api/2.0/mlflow"
        run = get(f"{api}/runs/get?run_id={run_id}")["run"]
        assert run["info"]["status"] == "FINISHED"
        params = {param["key"]: param["value"] for param in run["data"]["params"]}
        assert params["lr"] == "0.5"
        assert params["optimizer/name"] == "adam"
        key = urllib.parse.quote("train/loss", safe="")
        history = get(f"{api}/metrics/get-history?run_id={run_id}&metric_key={key}")["metrics"]
        points = sorted((int(point["step"]), point["value"]) for point in history)
        assert points == [(step, 1 / (step + 1)) for step in range(5)]
        shown = get(f"{api}/artifacts/list?run_id={run_id}")["files"]
        assert {"text", "images"} <= {file["path"] for file in shown}
