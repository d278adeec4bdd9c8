"""The loggers that are compared: ours behind every lane, and Accelerate's."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tracking_core import Tracking, register_tracker_class
from tracking_core.facade import Delivery

from .trackers import BusyTracker, NoTracker

__all__ = ["Logger", "accelerate", "has_accelerate", "neighbour", "nothing", "ours", "use_sqlite"]

VALUES = {f"train/metric_{number}": 0.125 * number + 1e-3 for number in range(10)}


class Logger(NamedTuple):
    """One way to log.

    Attributes:
        log: logs `VALUES` at a step.
        begin: makes delivery as busy as it is meant to be.
        drain: waits until everything has arrived.
        close: ends the run.
        waiting: how many records the slowest tracker does not have yet.
    """

    log: Callable[[int], None]
    begin: Callable[[], object]
    drain: Callable[[], object]
    close: Callable[[], None]
    waiting: Callable[[], int]


def _nothing(*_: object) -> None:
    pass


def _none() -> int:
    return 0


def nothing() -> Logger:
    """No tracker, no call of one."""
    return Logger(_nothing, _nothing, _nothing, _nothing, _none)


def neighbour() -> Logger:
    """No tracker, and a stranger computing beside it: what this machine makes of two processes."""
    strangers: list[subprocess.Popen[bytes]] = []

    def leave() -> None:
        while strangers:
            strangers[-1].kill()
            strangers.pop().wait()

    def come() -> None:
        strangers.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))

    return Logger(_nothing, come, leave, leave, _none)


def use_sqlite() -> None:
    """MLflow keeps its runs in a database in the working directory, and asks nobody for news."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path('mlflow.db').absolute()}"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"


def ours(names: list[str], delivery: Delivery) -> Logger:
    """`Tracking`, with trackers by name: of "none" and "busy" there may be several."""
    use_sqlite()
    register_tracker_class(NoTracker)
    busy = [BusyTracker() for name in names if name == "busy"]
    chosen: list[Any] = [name for name in names if name not in ("none", "busy")]
    spare = names.count("none")
    chosen += [NoTracker() for _ in range(spare)] if delivery == "thread" else ["none"] * spare
    tracking = Tracking([*chosen, *busy], "logs", delivery=delivery)
    tracking.init_trackers("bench")

    def work(on: bool) -> None:
        for tracker in busy:
            tracker.busy = on

    def drain() -> None:
        work(False)
        tracking.flush(120)

    # With nothing to wait for, a flush would not wait for the trackers to start.
    tracking.log(VALUES, step=0)
    drain()
    return Logger(
        partial(tracking.log, VALUES),
        lambda: work(True),
        drain,
        tracking.end_training,
        lambda: max(status.pending for status in tracking.status().values()),
    )


def has_accelerate() -> bool:
    """Whether Accelerate and torch are installed here."""
    return all(importlib.util.find_spec(name) for name in ("accelerate", "torch"))


def accelerate(names: list[str]) -> Logger:
    """Accelerate's own trackers, called as its users do."""
    use_sqlite()
    accelerator = importlib.import_module("accelerate").Accelerator(
        log_with=names, project_dir="logs", cpu=True
    )
    accelerator.init_trackers("bench")
    return Logger(
        partial(accelerator.log, VALUES),
        _nothing,
        _nothing,
        accelerator.end_training,
        _none,
    )
