"""Waiting for what another process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tracking_core.journal import DrainLock


def wait_until(done: Callable[[], bool], seconds: float = 240) -> None:
    """Wait for another process to have done something."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.1)


def wait_until_let_go(run_dir: Path) -> None:
    """Wait for the delivery process of a run, if it has one, to be through with it."""
    (writer,) = run_dir.iterdir()

    def free() -> bool:
        with DrainLock(writer) as held:
            return held

    wait_until(free)
