"""The trackers' own servers show the run over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Histogram, Image, Table, Tracking

PATIENCE = 180  # seconds that a server may take to answer on a busy machine


@contextmanager
def serving(command: list[str], answers: str, **variables: str) -> Iterator[None]:
    """Run a server until the block ends; `answers` is an address that it answers when it is up."""
    server = subprocess.Popen(command, env={**os.environ, **variables})
    try:
        wait_for(answers, server)
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            get(address)
            return
        except (urllib.error.URLError, OSError):
            # A server that is gone will not answer; one that is starting says so by ending early.
            try:
                status = server.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"no answer from {address}"
            else:
                raise AssertionError(f"the server ended with status {status}") from None


def get(address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
    return (
        json.loads(content)
        if answer.headers["Content-Type"].startswith("application/json")
        else content
    )


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


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
    port = free_port()
    server = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", mlflow_uri,
        "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, f"{server}/health", **quiet):
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
