"""What the integration tests share: one MLflow database, and runs read back by name."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nine import HERE, NINE, Place, needs

from tracking_core.testing import Seen

# Trackio takes it from the environment when it is imported.
os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="trackio-")


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["TRACKIO_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def torch() -> Any:
    return needs("torch")


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables made, which takes seconds: tests copy it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_uri(migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)  # MLflow keeps artifacts beside it
    return uri


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where a run of all trackers that are installed is to lie; all nine, where they must be."""
    if os.environ.get("TRACKING_REQUIRE") == "1":
        assert HERE == NINE
    place = Place(tmp_path / "place", f"p{uuid.uuid4().hex[:8]}")
    place.root.mkdir()
    for name, value in place.variables().items():
        monkeypatch.setenv(name, value)
    if "mlflow" in HERE:
        shutil.copy(request.getfixturevalue("migrated_store"), place.root / "mlflow.db")
    monkeypatch.chdir(place.root)
    return place


@pytest.fixture
def read_tensorboard() -> Callable[[Path], Seen]:
    from tracking_tensorboard.reader import read_run

    return lambda directory: Seen(read_run(directory))


@pytest.fixture
def read_mlflow(mlflow_uri: str, tmp_path: Path) -> Callable[..., Seen]:
    """Reads the only run of the database, through another store if that is named."""
    from mlflow import MlflowClient

    from tracking_mlflow.reader import read_run

    def read(store: str = mlflow_uri) -> Seen:
        client = MlflowClient(tracking_uri=store)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        (run,) = client.search_runs(experiments)
        return Seen(read_run(run.info.run_id, store, download_to=tmp_path))

    return read
