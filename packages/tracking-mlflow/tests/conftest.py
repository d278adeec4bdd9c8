from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_mlflow.settings import QUIET, chosen, imported

from .server import Server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds, copying it none."""
    database = tmp_path_factory.mktemp("template") / "mlflow.db"
    mlflow = imported()
    with chosen(QUIET):
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def store(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a database of this test's own, chosen by the variable that users set."""
    database = tmp_path / "mlflow.db"
    shutil.copyfile(migrated, database)
    uri = f"sqlite:///{database}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri
    closed(uri)


def closed(uri: str) -> None:
    """MLflow keeps each store's connections for good; a test's database is gone after it."""
    from mlflow.tracking._tracking_service import utils

    utils._get_store(uri).engine.dispose()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a directory of this test's own, of the kind that MLflow had before databases."""
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return uri


@pytest.fixture(scope="module")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    shutil.copyfile(migrated, directory / "mlflow.db")
    server = Server(directory / "mlflow.db", directory / "artifacts")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def address(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    # The first request waits for a server that is still starting, on a machine that may be busy.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    imported().MlflowClient(tracking_uri=server.uri).search_experiments()
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    return server.uri
