from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server


@pytest.fixture(autouse=True)
def _settings_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it, nor writes to their home."""
    for name in list(os.environ):
        if name.startswith(("CLEARML_", "TRAINS_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "none.conf"))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Offline mode; the folder that sessions are in."""
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    yield tmp_path / "cache" / "offline"
    forget_modes_and_servers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, with the settings that lead to it."""
    server = Server()
    server.start()
    for name in ("API", "WEB", "FILES"):
        monkeypatch.setenv(f"CLEARML_{name}_HOST", server.address)
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "key")
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "secret")
    yield server
    server.stop()
    forget_modes_and_servers()


def forget_modes_and_servers() -> None:
    """What ClearML's own ``Task`` keeps for the whole process."""
    if "clearml" in sys.modules:
        from clearml.backend_api import Session
        from clearml.backend_interface.base import InterfaceBase

        # What `Task.set_offline(True)` sets. Its opposite connects whatever session there still is.
        InterfaceBase._offline_mode = Session._offline_mode = False
        InterfaceBase._default_session = None
