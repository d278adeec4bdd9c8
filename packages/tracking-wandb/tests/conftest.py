from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracking_wandb import WandBTracker
from tracking_wandb.session import imported

from .server import Server

KEY = "local-" + "a" * 40
IMPATIENT = {"init_timeout": 1.0, "finish_timeout": 1.0}

Make = Callable[..., WandBTracker]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no key of the person who runs the tests, and nothing left in their home."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.chdir(tmp_path)  # the `wandb` command keeps its log in the working directory


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def make(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes trackers that log to `server`, and give up soon."""
    imported().teardown()  # it reads variables, and looks for a login, once
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    def make(**settings: Any) -> WandBTracker:
        return WandBTracker("digits", dir=str(tmp_path), settings={**IMPATIENT, **settings})

    yield make
    imported().teardown()
