from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a new repository: making one takes seconds, copying it none."""
    from tracking_aim.runs import repository

    path = tmp_path_factory.mktemp("template")
    repository(str(path))
    return path


@pytest.fixture(autouse=True)
def copied_repositories(empty_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repositories are copied where they would be made."""

    def make(path: str) -> None:
        shutil.copytree(empty_repository / ".aim", os.path.join(path, ".aim"))

    monkeypatch.setattr("tracking_aim.runs._make_repository", make)
