"""What a run takes from the process that began it, and what its user is told of that process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracking_core import Tracking, TrackingWarning
from tracking_core.delivery import journaled
from tracking_core.testing import MemoryTracker, refusing
from tracking_mlflow import MLflowTracker, runs
from tracking_mlflow.settings import QUIET, chosen, imported

from .server import Server, wait_for

LATE = 1_760_000_000.25


@pytest.fixture(autouse=True)
def _another_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if this one had begun no run yet; and its journals lie below `tmp_path`."""
    monkeypatch.setattr(runs, "_taken", set())
    monkeypatch.setattr(runs, "_seen", {})
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))


@pytest.fixture
def client(store: str) -> Any:
    return imported().MlflowClient(tracking_uri=store)


def named_run(client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that a launcher has made for this process."""
    run_id = str(client.create_run(client.create_experiment("launcher")).info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


def logged_once(lane: str, value: float) -> tuple[str, Path | None]:
    """The run that one more `Tracking` of this process makes, and its journal."""
    with Tracking("mlflow", delivery=lane) as tracking:  # type: ignore[arg-type]  # it is one
        tracking.init_trackers("second")
        tracking.log({"v": value}, step=1)
        tracking.flush(120)
        return str(tracking.get_tracker("mlflow").identity()["run_id"]), tracking.run_dir


# --- which run ---


@pytest.mark.parametrize("lane", ["inline", "thread", "process"])
def test_a_run_id_of_a_launcher_is_for_the_first_run(
    lane: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = named_run(client, monkeypatch)
    first, second = logged_once(lane, 1.0)[0], logged_once(lane, 2.0)[0]
    assert first == given != second
    assert [point.value for point in client.get_metric_history(given, "v")] == [1.0]
    assert [point.value for point in client.get_metric_history(second, "v")] == [2.0]
    assert os.environ["MLFLOW_RUN_ID"] == given, "the environment is left as it was"
    # A launcher that names another one names the next run.
    other = named_run_again(client, monkeypatch)
    assert logged_once("inline", 3.0)[0] == other


def named_run_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    experiment = client.get_experiment_by_name("launcher").experiment_id
    run_id = str(client.create_run(experiment).info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


def test_a_start_that_is_tried_again_and_a_recovery_are_the_same_run(
    address: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = imported().MlflowClient(tracking_uri=address)
    given = named_run(client, monkeypatch)
    policy = journaled.THREAD_POLICY._replace(first_wait=0.05, longest_wait=0.2)
    monkeypatch.setattr(journaled, "THREAD_POLICY", policy)
    server.stop()
    tracking = Tracking("mlflow", delivery="thread")
    with warnings.catch_warnings(), refusing(server.port, 503):
        warnings.simplefilter("ignore", TrackingWarning)
        tracking.init_trackers("p")
        tracking.log({"v": 1.0}, step=1)
        # It never starts; another run of the process does, elsewhere.
        assert not tracking.flush(2)
        tracking.end_training(timeout=1)
        wait_until(lambda: tracking.status()["mlflow"].state == "stopped")
    server.start()
    wait_for(server)
    # The recovering program has a launcher of its own.
    elsewhere = named_run_again(client, monkeypatch)
    assert tracking.run_dir is not None
    status = Tracking.recover(tracking.run_dir)["mlflow"]
    assert (status.state, status.pending) == ("ended", 0)
    assert [point.value for point in client.get_metric_history(given, "v")] == [1.0]
    assert client.get_run(elsewhere).data.metrics == {}


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_replay_is_a_run_of_its_own(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryTracker()
    with Tracking(memory, delivery="thread") as tracking:
        tracking.init_trackers("p")
        tracking.log({"v": 1.0}, step=1)
    assert tracking.run_dir is not None
    given = named_run(client, monkeypatch)
    logged_once("inline", 2.0)
    status = Tracking.replay(tracking.run_dir, "mlflow")["mlflow"]
    assert (status.state, status.pending) == ("ended", 0)
    assert [point.value for point in client.get_metric_history(given, "v")] == [2.0]


@pytest.mark.parametrize("lane", ["inline", "thread", "process"])
def test_a_nested_run_hangs_below_what_is_active_where_it_is_begun(lane: str, client: Any) -> None:
    mlflow = imported()
    tracking = Tracking("mlflow", delivery=lane)  # type: ignore[arg-type]  # it is one
    with chosen(QUIET), mlflow.start_run() as parent, tracking:
        tracking.init_trackers("nested", init_kwargs={"mlflow": {"nested_run": True}})
        tracking.log({"v": 1.0}, step=1)
        tracking.flush(120)
        run_id = str(tracking.get_tracker("mlflow").identity()["run_id"])
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id


# --- who made it ---


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A training program in a git repository."""
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        git(folder, *command)
    yield folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


TRAIN = """
import os, sys
from tracking_core import Tracking
tracking = Tracking("mlflow", delivery=sys.argv[1])
tracking.init_trackers("provenance")
tracking.log({"v": 1.0}, step=1)
if sys.argv[2] == "ends":
    tracking.end_training(timeout=120)
print(tracking.run_dir, flush=True)
if sys.argv[2] == "dies":
    os._exit(9)
"""


def trained(repository: Path, *arguments: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "train.py", *arguments],
        cwd=repository, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return Path(done.stdout.strip())


def only_run(client: Any) -> Any:
    experiment = client.get_experiment_by_name("provenance")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


@pytest.mark.parametrize("lane", ["thread", "process"])
def test_the_program_and_its_commit_are_the_trainings(
    lane: str, client: Any, repository: Path
) -> None:
    trained(repository, lane, "ends")
    tags = only_run(client).data.tags
    assert tags["mlflow.source.name"] == "train.py"
    assert tags["mlflow.source.git.commit"] == git(repository, "rev-parse", "HEAD")
    assert tags["mlflow.user"]


def test_a_recovery_says_nothing_of_itself(
    client: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The training dies before a thread could begin the run; this program recovers it.
    run_dir = trained(repository, "thread", "dies")
    status = Tracking.recover(run_dir)["mlflow"]
    assert (status.state, status.pending) == ("ended", 0)
    run = only_run(client)
    assert run.data.tags["mlflow.source.name"] == "train.py"
    assert {name for name in run.data.tags if name.startswith("mlflow.source.git")} == set()
    assert run.info.status == "KILLED"


def test_a_late_start_has_what_was_seen_when_it_was_tried_in_time(client: Any) -> None:
    first, later = MLflowTracker("exp"), MLflowTracker("exp")
    first.began_at = later.began_at = LATE
    first.start()
    seen = {
        name: value
        for name, value in client.get_run(str(first.identity()["run_id"])).data.tags.items()
        if name.startswith(("mlflow.source", "mlflow.user"))
    }
    later.late = True
    later.start()
    assert (
        seen and client.get_run(str(later.identity()["run_id"])).data.tags.items() >= seen.items()
    )
    nobody = MLflowTracker("exp")
    nobody.began_at, nobody.late, nobody.launch = LATE + 1, True, {}
    nobody.start()
    tags = client.get_run(str(nobody.identity()["run_id"])).data.tags
    assert {name for name in tags if name.startswith(("mlflow.source", "mlflow.user"))} == set()


# --- what goes elsewhere ---


def said_of(lane: str, body: Any, **options: Any) -> list[str]:
    """What is said of a run in which `body(tracking)` is done."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Tracking("mlflow", delivery=lane) as tracking:  # type: ignore[arg-type]  # it is one
            tracking.init_trackers("ours", init_kwargs={"mlflow": options})
            tracking.log({"v": 1.0}, step=1)
            tracking.flush(120)
            body(tracking)
    messages = [str(one.message) for one in said if issubclass(one.category, TrackingWarning)]
    # A busy machine may say that it is waited for.
    return [message for message in messages if "the end of the run waits" not in message]


@pytest.mark.parametrize("lane", ["inline", "thread", "process"])
def test_calls_of_mlflow_itself_that_go_to_another_run_are_said_once(
    lane: str, client: Any
) -> None:
    mlflow = imported()

    def stray(tracking: Tracking) -> None:
        with chosen(QUIET):
            mlflow.log_metric("astray", 1.0)
            mlflow.log_metric("astray", 2.0)

    try:
        (remark,) = said_of(lane, stray)
    finally:
        with chosen(QUIET):
            mlflow.end_run()
    assert "goes to another run" in remark
    assert "mlflow.start_run(run_id=" in remark


def test_they_land_in_the_run_that_was_named_and_nothing_is_said(client: Any) -> None:
    mlflow = imported()
    found = []

    def attached(tracking: Tracking) -> None:
        run_id = str(tracking.get_tracker("mlflow").identity()["run_id"])
        with chosen(QUIET), mlflow.start_run(run_id=run_id):
            mlflow.log_metric("mine", 1.0)
        found.append(run_id)

    assert said_of("thread", attached) == []
    assert client.get_run(found[0]).data.metrics == {"mine": 1.0, "v": 1.0}


def test_what_ended_before_and_what_it_hangs_below_is_no_stray(client: Any) -> None:
    mlflow = imported()
    with chosen(QUIET):
        with mlflow.start_run():
            pass
        assert said_of("thread", lambda tracking: None) == []
        with mlflow.start_run():
            assert said_of("thread", lambda tracking: None, nested_run=True) == []

        def logged(tracking: Tracking) -> None:
            with mlflow.start_run():  # as autolog does, over before anybody looks
                pass

        (remark,) = said_of("thread", logged)
    assert "goes to another run" in remark


def test_a_switch_that_does_nothing_is_named(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    (remark,) = said_of("thread", lambda tracking: None)
    assert "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING does nothing here" in remark
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    assert said_of("thread", lambda tracking: None) == []


def test_mlflows_own_monitor_lands_in_the_run(client: Any) -> None:
    """As the README says."""
    found = []

    def monitored(tracking: Tracking) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        run_id = str(tracking.get_tracker("mlflow").identity()["run_id"])
        with chosen(QUIET):
            monitor = SystemMetricsMonitor(run_id, sampling_interval=0.1, samples_before_logging=1)
            monitor.start()
            wait_until(lambda: len(client.get_run(run_id).data.metrics) > 1)
            monitor.finish()
        found.append(run_id)

    pytest.importorskip("psutil")
    said_of("thread", monitored)
    assert "system/cpu_utilization_percentage" in client.get_run(found[0]).data.metrics
