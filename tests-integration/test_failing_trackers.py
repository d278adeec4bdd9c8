"""Some trackers fail, at the start, in the middle or at the end, and the others have everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nine import HERE, Place, read_experiment
from servers import free_port, mlflow_server
from waiting import wait_until_let_go

from tracking_core import LOGGER_TYPE_TO_CLASS, Tracking
from tracking_core.testing import Seen

STEPS = 100
POINTS = [(step, step / 2) for step in range(STEPS)]

TRAINING = """
import json, sys, threading
from tracking_core import LOGGER_TYPE_TO_CLASS, Tracking
from tracking_core.delivery import journaled

journaled.LINGER = 1.0  # seconds; the delivery process tries for ten minutes otherwise
trackers, logging_dir, delivery, project, options, bad, steps = json.loads(sys.argv[1])
tracking = Tracking(trackers, logging_dir, delivery=delivery)
tracking.init_trackers(project, config={"lr": 0.5}, init_kwargs=options)
for step in range(steps):
    tracking.log({"loss": step / 2}, step=step)

def all_is_said_and_done():
    status = tracking.status()
    failures = [status.pop(name).last_error for name in bad]
    return all(failures) and not any(one.pending for one in status.values())

pause = threading.Event()
while not all_is_said_and_done():
    pause.wait(0.05)
print(tracking.run_dir, flush=True)
tracking.end_training(timeout=2)
"""


def in_the_way(place: Place, name: str) -> Path:
    """Where a tracker makes its directory or its database."""
    return {
        "aim": Path(place.logging_dir, ".aim"),
        "clearml": place.root / "clearml",
        "comet_ml": place.root / "comet",
        "dvclive": place.root / "dvclive",
        "swanlab": place.root / "swanlab",
        "tensorboard": Path(place.logging_dir, place.project),
        "trackio": Path(os.environ["TRACKIO_DIR"], f"{place.project}.db"),
        "wandb": place.root / "wandb",
    }[name]


def assert_complete(seen: Seen, name: str) -> None:
    assert [(point.step, point.value) for point in seen.points("loss")] == POINTS, name
    assert (seen.config, seen.status) == ({"lr": 0.5}, "finished"), name


# Each of them is once among the bad and once among the others.
@pytest.mark.parametrize(
    ("delivery", "bad"), [("process", HERE[::2]), ("thread", HERE[1::2])], ids=["process", "thread"]
)
def test_those_that_do_not_start_cost_the_others_nothing_and_get_everything_later(
    tmp_path: Path, place: Place, bad: list[str], delivery: str
) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    files = [in_the_way(place, name) for name in bad if name != "mlflow"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("somebody left a file here")
    variables = dict(os.environ)
    if "mlflow" in bad:
        # Nobody answers there, or it is no address at all.
        nobody = f"http://127.0.0.1:{free_port()}"
        variables["MLFLOW_TRACKING_URI"] = nobody if delivery == "process" else "nowhere://at/all"
    given = (HERE, place.logging_dir, delivery, place.project, place.init_kwargs, bad, STEPS)
    training = subprocess.run(
        [sys.executable, str(script), json.dumps(given)],
        capture_output=True,
        env=variables,
        text=True,
        timeout=300,
    )
    assert training.returncode == 0, training.stderr
    run_dir = Path(training.stdout.splitlines()[-1])
    for name in bad:
        assert f"for tracker {name!r} are still to be delivered" in training.stderr
    wait_until_let_go(run_dir)
    for name in HERE:
        if name not in bad:
            assert_complete(place.read(name), name)

    for file in files:
        file.unlink()
    statuses = Tracking.recover(run_dir, timeout=240)
    assert {name: one.state for name, one in statuses.items()} == dict.fromkeys(HERE, "ended")
    for name in bad:
        assert_complete(place.read(name), name)


OUTAGE = """
import json, sys, threading
from tracking_core import LOGGER_TYPE_TO_CLASS, Tracking
from tracking_core.delivery import journaled

journaled.LINGER = 1.0
logging_dir, delivery, steps = json.loads(sys.argv[1])
runs = {}
for phase in ("middle", "end"):
    runs[phase] = Tracking(["mlflow", "tensorboard"], logging_dir, delivery=delivery)
    runs[phase].init_trackers(f"{delivery}-{phase}", config={"lr": 0.5})
for step in range(steps):
    runs["end"].log({"loss": step / 2}, step=step)
    if step < steps // 2:
        runs["middle"].log({"loss": step / 2}, step=step)
assert all(run.flush(240) for run in runs.values())
print("delivered", flush=True)
sys.stdin.readline()  # the server is gone
for step in range(steps // 2, steps):
    runs["middle"].log({"loss": step / 2}, step=step)
pause = threading.Event()
while runs["middle"].status()["tensorboard"].pending:
    pause.wait(0.05)
for run in runs.values():
    run.end_training(timeout=2)
print(json.dumps({phase: str(run.run_dir) for phase, run in runs.items()}), flush=True)
"""


def test_a_server_gone_in_the_middle_or_at_the_end_costs_the_others_nothing(
    tmp_path: Path,
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    read_tensorboard: Callable[[Path], Seen],
) -> None:
    script = tmp_path / "training.py"
    script.write_text(OUTAGE)
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    trainings = {}
    try:
        with mlflow_server(mlflow_uri, tmp_path / "artifacts", port):
            for delivery in ("process", "thread"):
                given = json.dumps([str(tmp_path / "tb"), delivery, STEPS])
                trainings[delivery] = subprocess.Popen(
                    [sys.executable, str(script), given],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            for training in trainings.values():
                assert training.stdout is not None
                assert training.stdout.readline() == "delivered\n"
        run_dirs = {}
        for delivery, training in trainings.items():
            told, said = training.communicate("\n", timeout=240)
            assert training.returncode == 0, said
            assert said.count("for tracker 'mlflow' are still to be delivered") == 2
            for phase, run_dir in json.loads(told).items():
                run_dirs[f"{delivery}-{phase}"] = Path(run_dir)
    finally:
        for training in trainings.values():
            training.kill()
    for name, run_dir in run_dirs.items():
        wait_until_let_go(run_dir)
        assert_complete(read_tensorboard(tmp_path / "tb" / name), name)

    with mlflow_server(mlflow_uri, tmp_path / "artifacts", port) as server:
        for name, run_dir in run_dirs.items():
            statuses = Tracking.recover(run_dir, timeout=240)
            assert {one.state for one in statuses.values()} == {"ended"}, name
            # While the server is there: it is what hands the artifacts out.
            assert_complete(read_experiment(server, name, tmp_path), name)


@pytest.mark.parametrize("name", HERE)
def test_one_whose_directory_is_relative_to_one_that_was_deleted_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    kind: Any = LOGGER_TYPE_TO_CLASS[name]
    kind("p", "runs") if kind.requires_logging_directory else kind("p")
