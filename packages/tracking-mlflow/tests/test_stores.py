"""A store that is still to be made is made once, by one process, and is whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tracking_core.errors import StoreBusyError
from tracking_core.records import Log
from tracking_core.testing import Seen
from tracking_mlflow import MLflowSettingError, MLflowTracker, read_run, stores
from tracking_mlflow.settings import QUIET, chosen, imported

from .conftest import closed

# Forked once MLflow is imported: twenty imports at once are no part of what is tested.
PROGRAM = """
import os, sys, traceback
from tracking_core.records import Log
from tracking_mlflow import MLflowTracker
from tracking_mlflow.settings import imported
import mlflow.store.db.utils, mlflow.store.tracking.file_store, mlflow.store.tracking.sqlalchemy_store
imported()
waiting, go = os.pipe()
children = []
for number in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(waiting, 1)
        try:
            tracker = MLflowTracker("sweep", logging_dir=os.path.abspath("artifacts"))
            tracker.start()
            tracker.deliver([Log({"m": float(number)}, 1, 1, 1.0)])
            tracker.finish()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    children.append(child)
os.close(go)
for child in children:
    os.waitpid(child, 0)
"""


def side_by_side(processes: int, uri: str, directory: Path) -> str:
    """What so many processes say that begin a run at once, and log one row each."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(processes)],
        cwd=directory, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["database", "directory"])
def test_twenty_first_starts_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / ("mlflow.db" if kind == "database" else "mlruns")
    uri = f"sqlite:///{path}" if kind == "database" else path.as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert side_by_side(20, uri, tmp_path) == ""
    with chosen(QUIET):
        client = imported().MlflowClient(tracking_uri=uri)
        names = sorted(experiment.name for experiment in client.search_experiments())
        (experiment,) = client.search_experiments(filter_string="name = 'sweep'")
        runs = client.search_runs([experiment.experiment_id])
    assert names == ["Default", "sweep"]
    assert sorted(run.data.metrics["m"] for run in runs) == [float(n) for n in range(20)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert os.listdir(path.parent) == [path.name], "no lock and no draft is left"
    if kind == "database":
        closed(uri)


def test_a_database_that_is_there_is_not_waited_for(store: str) -> None:
    database = store.removeprefix("sqlite:///")
    before = set(os.listdir(os.path.dirname(database)))
    with stores.only_one(database):  # whoever waits for this waits for longer than a minute
        began = time.monotonic()
        tracker = MLflowTracker("exp")
        tracker.start()
        assert time.monotonic() - began < 30
    tracker.finish()
    assert set(os.listdir(os.path.dirname(database))) == before


def test_one_that_is_being_made_for_long_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    only_one = stores.only_one
    monkeypatch.setattr(stores, "only_one", lambda path: only_one(path, 0.1))
    tracker = MLflowTracker("exp")
    said = r"m\.db is being made"
    with only_one(tmp_path / "m.db"), pytest.raises(StoreBusyError, match=said) as refused:
        tracker.start()
    assert tracker.fault(refused.value) == "server"


# --- what a killed process leaves ---

MAKE = """
import os, sys
from tracking_mlflow.settings import imported
from mlflow.store.db import utils
import sqlalchemy
imported()
made = [0]
@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    made[0] += 1
    if made[0] == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
"""
OURS = MAKE + "from tracking_mlflow import stores\nstores._make(sys.argv[1])"
THEIRS = (
    MAKE
    + "import mlflow\nmlflow.MlflowClient(tracking_uri='sqlite:///' + sys.argv[1]).search_experiments()"
)


def killed(program: str, path: Path, statement: int) -> None:
    """Let a process make a database and die in the middle."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path), str(statement)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def logged(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = MLflowTracker("exp", logging_dir=tmp_path / "artifacts")
    tracker.start()
    tracker.deliver([Log({"m": 1.0}, 1, 1, 1.0)])
    tracker.finish()
    run_id = str(tracker.identity()["run_id"])
    found = Seen(read_run(run_id, download_to=tmp_path / "read")).values("m")
    closed(uri)
    return found


@pytest.mark.parametrize("statement", [40, 250])
def test_a_start_that_is_killed_leaves_no_half_database(
    statement: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.db"
    killed(OURS, path, statement)
    assert not path.exists()
    assert logged(f"sqlite:///{path}", tmp_path, monkeypatch) == [1.0]
    assert {"artifacts", "m.db", "read"} >= set(os.listdir(tmp_path)), "nor anything else"


def test_a_database_that_another_program_left_half_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.db"
    killed(THEIRS, path, 250)
    assert path.stat().st_size
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    # Perhaps somebody is still at it: that is waited for.
    with pytest.raises(
        StoreBusyError, match=r"half made: somebody is at it, or was killed"
    ) as found:
        MLflowTracker("exp").start()
    assert MLflowTracker("exp").fault(found.value) == "server"
    old = time.time() - 2 * stores.SECONDS_OF_A_MIGRATION
    for name in os.listdir(tmp_path):
        if name.startswith("m.db"):
            os.utime(tmp_path / name, (old, old))
    assert logged(f"sqlite:///{path}", tmp_path, monkeypatch) == [1.0]
    assert (tmp_path / "m.db.half-made").stat().st_size, "and the other is still there"


def test_one_that_holds_something_is_never_moved(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.db"
    shutil.copyfile(migrated, path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE _alembic_tmp_tags (a INTEGER)")
        database.commit()
    old = time.time() - 2 * stores.SECONDS_OF_A_MIGRATION
    os.utime(path, (old, old))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    tracker = MLflowTracker("exp")
    with pytest.raises(MLflowSettingError, match="Restore a backup") as refused:
        tracker.start()
    assert tracker.fault(refused.value) == "setup"
    assert path.exists()


def test_tables_of_others_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE trials (a INTEGER)")
        database.execute("INSERT INTO trials VALUES (7)")
        database.commit()
    assert logged(f"sqlite:///{path}", tmp_path, monkeypatch) == [1.0]
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT a FROM trials").fetchall() == [(7,)]


# --- a database that goes away ---


def test_a_database_that_is_moved_away_is_waited_for(store: str, tmp_path: Path) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    tracker = MLflowTracker("exp", logging_dir=tmp_path / "artifacts")
    tracker.start()
    rows = [Log({"m": float(step)}, step, step, float(step)) for step in range(3)]
    tracker.deliver(rows[:1])
    path.rename(tmp_path / "away")
    for call in (lambda: tracker.deliver(rows[1:2]), tracker.finish):
        with pytest.raises(FileNotFoundError, match="was deleted or moved away") as gone:
            call()
        assert tracker.fault(gone.value) == "run"
    # A copy is another file, which whoever has the old one open would not write to.
    shutil.copyfile(tmp_path / "away", path)
    tracker.deliver(rows[1:])
    tracker.finish()
    run_id = str(tracker.identity()["run_id"])
    seen = Seen(read_run(run_id, download_to=tmp_path / "read"))
    assert (seen.values("m"), seen.status) == ([0.0, 1.0, 2.0], "finished")


def test_another_database_in_its_place_has_no_such_run(
    store: str, migrated: Path, tmp_path: Path
) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    tracker = MLflowTracker("exp", logging_dir=tmp_path / "artifacts")
    tracker.start()
    path.unlink()
    shutil.copyfile(migrated, path)
    with pytest.raises(imported().exceptions.MlflowException, match="not found") as gone:
        tracker.deliver([Log({"m": 1.0}, 1, 1, 1.0)])
    assert tracker.fault(gone.value) == "run"
    assert tracker.rejections.counts == {}
