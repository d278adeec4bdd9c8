from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_mlflow.settings import QUIET, chosen, imported


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
