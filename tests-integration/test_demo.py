"""The README's first command, on a short training."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking_core.testing import Seen

DEMO = Path(__file__).resolve().parent.parent / "tools" / "demo.py"


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(DEMO), *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_demo_trains_and_both_tools_have_its_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_tensorboard: Callable[[Path], Seen],
    read_mlflow: Callable[..., Seen],
) -> None:
    output = tmp_path / "a folder"  # what is printed has to be fit to be typed
    output.mkdir()
    (tmp_path / "mlflow.db").rename(output / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    store = f"sqlite:///{output / 'mlflow.db'}"
    done = run_demo("--epochs", "3", "--output", str(output))
    look, _, after = done.stdout.partition("Look at digits:\n")
    assert after, look
    commands = [shlex.split(line) for line in after.splitlines() if "dev.py" in line]
    assert [command[-1] for command in commands] == [
        str(output / "tensorboard"),
        store,
    ]
    assert "/model-metrics?workflowType=machine_learning" in after
    assert "0 failed" not in done.stdout and " failed" not in done.stdout
    assert "training: 100%" in done.stderr

    for seen in (read_tensorboard(output / "tensorboard" / "digits"), read_mlflow(store)):
        losses = seen.points("train/loss")
        assert [point.step for point in losses] == list(range(3 * 22))
        assert losses[-1].value < losses[0].value / 2, "it really trains"
        assert seen.values("test/accuracy")[-1] > 0.8
        assert len(seen.media("confusion")) == 1
        assert seen.media("samples")[0].caption
        assert seen.media("misclassified")[0].columns[0] == "index"
        assert len(seen.media("samples")) == 3 * 4, "at the first step, and after each epoch"
        assert len(seen.media("weights/layer 0")) == 3
        assert seen.files()["model/model.pkl"]
        assert seen.config["optimizer"] == {"name": "adam", "lr": 0.003}
        assert seen.status == "finished"


def test_two_runs_of_the_demo_can_be_told_apart(
    tmp_path: Path,
    mlflow_uri: str,
    read_tensorboard: Callable[[Path], Seen],
) -> None:
    from mlflow import MlflowClient

    for _ in range(2):
        done = run_demo("--epochs", "1", "--output", str(tmp_path))
    assert "Look at digits-2:" in done.stdout
    first, second = (
        read_tensorboard(tmp_path / "tensorboard" / name) for name in ("digits", "digits-2")
    )
    assert (first.config["seed"], second.config["seed"]) == (0, 1)
    assert first.values("train/loss") != second.values("train/loss")
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("digits")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.data.params["seed"] for name, run in runs.items()} == {
        "digits": "0",
        "digits-2": "1",
    }
    # What a person has logged, and nothing else.
    for run in runs.values():
        assert set(run.data.metrics) == {"train/loss", "train/accuracy", "test/accuracy"}
