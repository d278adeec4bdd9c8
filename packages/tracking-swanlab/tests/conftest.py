from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server


@pytest.fixture(autouse=True)
def _no_settings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's login nor its variables reach a test, nor what it writes the checkout."""
    for variable in [name for name in os.environ if name.startswith("SWANLAB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("SWANLAB_SAVE_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("SWANLAB_API_HOST", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as running:
        monkeypatch.setenv("SWANLAB_API_HOST", running.url)
        monkeypatch.setenv("SWANLAB_WEB_HOST", running.url)
        monkeypatch.setenv("SWANLAB_API_KEY", "key")
        yield running
        forget_login()


def forget_login() -> None:
    """The library keeps one login for the whole process."""
    from swanlab.sdk.internal.core_python import client

    client._default_client = None
