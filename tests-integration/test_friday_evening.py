"""What a user meets: a server that goes away in the middle, and a training that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nine import HERE, Place
from servers import free_port, mlflow_server
from waiting import wait_until

from tracking_core import Tracking
from tracking_core.testing import Seen

TRAINING = """
import json, os, signal, sys
from tracking_core import Tracking

trackers, logging_dir, delivery, project, options = json.loads(sys.argv[1])
tracking = Tracking(trackers, logging_dir, delivery=delivery)
tracking.init_trackers(project, config={"lr": 0.5}, init_kwargs=options)
print(tracking.run_dir, flush=True)
for step in range(200):
    tracking.log({"loss": step / 2}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("delivery", ["process", "thread"])
def test_after_a_kill_all_rows_are_there_and_the_run_is_killed(
    tmp_path: Path, place: Place, delivery: str
) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    given = (HERE, place.logging_dir, delivery, place.project, place.init_kwargs)
    training = subprocess.run(
        [sys.executable, str(script), json.dumps(given)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert training.returncode == -signal.SIGKILL
    run_dir = Path(training.stdout.strip())
    if delivery == "process":
        # Nobody helps: the delivery process sees the death and does the rest.
        (writer,) = run_dir.iterdir()
        from tracking_core.delivery.notes import read_note

        wait_until(lambda: all(read_note(writer, name).state == "ended" for name in HERE))
    else:
        statuses = Tracking.recover(run_dir)
        states = {name: one.state for name, one in statuses.items()}
        assert states == dict.fromkeys(HERE, "ended")
    for name in HERE:
        seen = place.read(name)
        points = [(point.step, point.value) for point in seen.points("loss")]
        assert points == [(step, step / 2) for step in range(200)], name
        assert (seen.config, seen.status) == ({"lr": 0.5}, "killed"), name


def test_a_server_that_goes_away_costs_nothing(
    tmp_path: Path,
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    read_tensorboard: Callable[[Path], Seen],
    read_mlflow: Callable[..., Seen],
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    tracking = Tracking(["tensorboard", "mlflow"], tmp_path / "tb", delivery="process")
    with mlflow_server(mlflow_uri, tmp_path / "artifacts", port):
        tracking.init_trackers("project", config={"lr": 0.5})
        for step in range(50):
            tracking.log({"loss": step / 2}, step=step)
        assert tracking.flush(timeout=120)

    for step in range(50, 100):
        tracking.log({"loss": step / 2}, step=step)
    wait_until(lambda: tracking.status()["mlflow"].state == "retrying")
    status = tracking.status()
    assert status["mlflow"].pending == 50
    assert status["mlflow"].last_error
    wait_until(lambda: tracking.status()["tensorboard"].pending == 0)

    with mlflow_server(mlflow_uri, tmp_path / "artifacts", port) as server:
        assert tracking.flush(timeout=240)
        tracking.end_training()
        assert {one.state for one in tracking.status().values()} == {"ended"}
        # While the server is there: it is what hands the artifacts out.
        for seen in (read_tensorboard(tmp_path / "tb" / "project"), read_mlflow(server)):
            points = [(point.step, point.value) for point in seen.points("loss")]
            assert points == [(step, step / 2) for step in range(100)]
            assert seen.status == "finished"


def test_a_whole_run_is_sent_to_a_tracker_that_was_not_there(
    tmp_path: Path, mlflow_uri: str, read_mlflow: Callable[..., Seen]
) -> None:
    with Tracking("tensorboard", tmp_path / "tb", delivery="thread") as tracking:
        tracking.init_trackers("project", config={"lr": 0.5})
        before = time.time()
        for step in range(100):
            tracking.log(
                {"loss": step / 2, "note": "first"} if not step else {"loss": step / 2}, step
            )
        after = time.time()
    assert tracking.run_dir is not None
    for _ in range(2):
        statuses = Tracking.replay(tracking.run_dir, log_with="mlflow")
        assert (statuses["mlflow"].state, statuses["mlflow"].pending) == ("ended", 0)
    seen = read_mlflow()
    assert [(p.step, p.value) for p in seen.points("loss")] == [(s, s / 2) for s in range(100)]
    assert all(before - 0.001 <= p.wall_time <= after + 0.001 for p in seen.points("loss"))
    assert seen.values("note") == ["first"]
    assert seen.status == "finished"
