from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_comet_ml.settings import imported

from .server import API_KEY, Server


@pytest.fixture(autouse=True, scope="session")
def _imported() -> None:
    # A dependency of comet_ml asks for the encoding of sys.stdin when it is imported, which tests
    # may have replaced. What importing it leaves behind is looked at in a process of its own.
    imported()


@pytest.fixture(autouse=True)
def _nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("COMET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "no.comet.config"))


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("COMET_URL_OVERRIDE", shared.url)
    monkeypatch.setenv("COMET_API_KEY", API_KEY)
    shared.says_yes()
    yield shared
    shared.says_yes()
