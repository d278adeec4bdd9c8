"""Trackio takes its directory from the environment when it is imported, so it gets one here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

from .server import Server, wait_for

_directory = tempfile.TemporaryDirectory(prefix="trackio-")
os.environ["TRACKIO_DIR"] = _directory.name
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing in here may ask Hugging Face
for _name in ("TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID", "TRACKIO_WRITE_TOKEN"):
    os.environ.pop(_name, None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    _directory.cleanup()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    wait_for(server)
    yield server
    server.stop()
