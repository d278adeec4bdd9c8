"""The same tracker more than once: in one run, and in two runs of one process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nine import read_experiment

from tracking_core import Tracking
from tracking_core.testing import Seen

ReadMLflow = Callable[..., Seen]

POINTS = [(step, step / 2) for step in range(50)]


def assert_complete(seen: Seen, status: str = "finished") -> None:
    assert [(point.step, point.value) for point in seen.points("loss")] == POINTS
    assert (seen.config, seen.status) == ({"lr": 0.5}, status)


@pytest.mark.parametrize("delivery", ["inline", "thread", "process"])
def test_two_of_a_kind_in_one_run_both_have_it(
    tmp_path: Path,
    mlflow_uri: str,
    read_tensorboard: Callable[[Path], Seen],
    delivery: str,
) -> None:
    from tracking_mlflow import MLflowTracker
    from tracking_tensorboard import TensorBoardTracker

    chosen = [
        "tensorboard",
        TensorBoardTracker("second", tmp_path / "elsewhere"),
        "mlflow",
        MLflowTracker("second"),
    ]
    tracking = Tracking(chosen, tmp_path / "tb", delivery=delivery)  # type: ignore[arg-type]  # it is a lane
    tracking.init_trackers("first", config={"lr": 0.5})
    for step, loss in POINTS:
        tracking.log({"loss": loss}, step=step)
    tracking.trackers[0].log({"only": 1.0}, step=0)
    tracking.end_training(timeout=240)
    states = {name: one.state for name, one in tracking.status().items()}
    names = ["tensorboard", "tensorboard#2", "mlflow", "mlflow#2"]
    assert states == dict.fromkeys(names, "ended")

    boards = [
        read_tensorboard(tmp_path / "tb" / "first"),
        read_tensorboard(tmp_path / "elsewhere" / "second"),
    ]
    runs = [read_experiment(mlflow_uri, name, tmp_path) for name in ("first", "second")]
    for seen in (*boards, *runs):
        assert_complete(seen)
    assert [seen.values("only") for seen in (*boards, *runs)] == [[1.0], [], [], []]


@pytest.mark.parametrize("delivery", ["inline", "thread", "process"])
def test_two_runs_at_once_stay_apart_each_in_its_own_store(
    tmp_path: Path,
    migrated_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_tensorboard: Callable[[Path], Seen],
    read_mlflow: ReadMLflow,
    delivery: str,
) -> None:
    begun = {}
    for name in ("one", "two"):
        shutil.copy(migrated_store, tmp_path / f"{name}.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / name}.db")
        tracking = Tracking(["tensorboard", "mlflow"], tmp_path / "tb", delivery=delivery)  # type: ignore[arg-type]  # it is a lane
        tracking.init_trackers(name, config={"lr": 0.5})
        # A thread takes the address when it starts the tracker; the delivery process took it along.
        assert delivery == "process" or tracking.flush(timeout=240)
        begun[name] = tracking
    for step, loss in POINTS:
        for name, tracking in begun.items():
            tracking.log({"loss": loss, name: step}, step=step)
    for tracking in begun.values():
        tracking.end_training(timeout=240)
        assert {one.state for one in tracking.status().values()} == {"ended"}
    for name in begun:
        store = f"sqlite:///{tmp_path / name}.db"
        for seen in (read_tensorboard(tmp_path / "tb" / name), read_mlflow(store)):
            assert seen.keys == {"loss", name}
            assert_complete(seen)


KILLED = """
import json, os, signal, sys
from tracking_core import Tracking
from tracking_tensorboard import TensorBoardTracker

folder, points = json.loads(sys.argv[1])
chosen = ["tensorboard", TensorBoardTracker("second", f"{folder}/elsewhere")]
tracking = Tracking(chosen, f"{folder}/tb", delivery="thread")
tracking.init_trackers("first", config={"lr": 0.5})
print(tracking.run_dir, flush=True)
for step, loss in points:
    tracking.log({"loss": loss}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_the_second_of_a_kind_is_recovered_by_its_name(
    tmp_path: Path, read_tensorboard: Callable[[Path], Seen]
) -> None:
    script = tmp_path / "training.py"
    script.write_text(KILLED)
    training = subprocess.run(
        [sys.executable, str(script), json.dumps([str(tmp_path), POINTS])],
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    assert training.returncode == -signal.SIGKILL
    run_dir = training.stdout.strip()
    # What the instance was made with is known to nobody any more.
    statuses = Tracking.recover(run_dir, timeout=0)
    assert statuses["tensorboard"].state == "ended"
    assert statuses["tensorboard#2"].state == "stopped"
    assert "init_kwargs={'tensorboard#2': {...}}" in str(statuses["tensorboard#2"].last_error)

    arguments = {"run_name": "second", "logging_dir": str(tmp_path / "elsewhere")}
    statuses = Tracking.recover(run_dir, init_kwargs={"tensorboard#2": arguments}, timeout=240)
    assert {one.state for one in statuses.values()} == {"ended"}
    for seen in (
        read_tensorboard(tmp_path / "tb" / "first"),
        read_tensorboard(tmp_path / "elsewhere" / "second"),
    ):
        assert_complete(seen, "killed")
