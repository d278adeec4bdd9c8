"""How long `init_trackers` keeps the training waiting in the process lane."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tracking_core import Tracking

from . import peers
from .figures import Table, load, median, verdict
from .remote import Remote

__all__ = ["Start", "measure"]

WANTED = 50.0


class Start:
    """Begins a run in the process lane, as often as it is asked to."""

    def __init__(self) -> None:
        peers.use_sqlite()
        self._runs: list[Tracking] = []

    def block(self, amount: float) -> float:
        """Milliseconds of one `init_trackers` with a configuration."""
        tracking = Tracking(["tensorboard", "mlflow"], "logs", delivery="process")
        before = time.perf_counter()
        tracking.init_trackers("bench", config={"lr": 0.1, "model": {"depth": 12}})
        taken = (time.perf_counter() - before) * 1000
        tracking.end_training(timeout=60)
        return taken

    def close(self) -> None:
        pass


def measure(folder: Path, *, quick: bool) -> None:
    """Print the table."""
    fresh = 1 if quick else 6
    began = load()
    first, second = [], []
    for number in range(fresh):
        with contextlib.ExitStack() as stack:
            remote = stack.enter_context(Remote(folder / str(number), "start_up:Start"))
            first.append(remote.block(1))
            second.append(remote.block(1))
    table = Table(
        f"init_trackers in the process lane, TensorBoard and MLflow: {fresh} processes, {began}",
        *("", "median ms", "worst ms", f"wanted: <= {WANTED:g} ms"),
    )
    for name, taken in ("the first of a process", first), ("the next", second):
        table.add(name, f"{median(taken):.1f}", f"{max(taken):.1f}", verdict(median(taken), WANTED))
    table.print()
