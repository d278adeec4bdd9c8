"""What a row costs once it is delivered: each tracker's `deliver` beside Accelerate's class for it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tracking_core.delivery.child import spare_the_libraries
from tracking_core.records import Log
from tracking_core.registry import LOGGER_TYPE_TO_CLASS
from tracking_core.tracker import GeneralTracker, end

from . import peers
from .figures import Table, load, median, verdict
from .remote import Remote

__all__ = ["AccelerateRun", "Cost", "OurRun", "measure"]

# How much less CPU time than Accelerate's class takes, at least.
WANTED = {
    "aim": 10.0, "clearml": 1.0, "comet_ml": 1.0, "dvclive": 10.0, "mlflow": 10.0, "swanlab": 1.0,
    "tensorboard": 10.0, "trackio": 1.0, "wandb": 1.0,
}  # fmt: skip
BATCH = 200  # what gathers in a lane while the batch before is on its way


class Cost(NamedTuple):
    """Of one row, in microseconds; `growth` is the last quarter's share of the first's."""

    cpu: float
    wall: float
    growth: float


class _Run:
    """One run of one tracker, offline, in the working directory."""

    def __init__(self) -> None:
        here = Path.cwd()
        os.environ |= {
            "HOME": str(here),
            "CLEARML_OFFLINE_MODE": "1",
            "CLEARML_CACHE_DIR": str(here / "clearml"),
            "COMET_START_ONLINE": "0",
            "COMET_OFFLINE_DIRECTORY": str(here / "comet"),
            "HF_HUB_OFFLINE": "1",
            "SWANLAB_MODE": "offline",
            "SWANLAB_LOG_DIR": str(here / "swanlab"),
            "TRACKIO_DIR": str(here / "trackio"),
            "WANDB_MODE": "offline",
        }
        peers.use_sqlite()

    def _measured(
        self, log: Callable[[int, int], object], finish: Callable[[], object], rows: int
    ) -> Cost:
        """`log` takes the first and the last of some rows, a quarter of them in all each time."""
        quarters = []
        cpu, wall = time.process_time(), time.perf_counter()
        for quarter in range(4):
            began = time.process_time()
            log(quarter * rows // 4, (quarter + 1) * rows // 4)
            quarters.append(time.process_time() - began)
        finish()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Cost(cpu / rows * 1e6, wall / rows * 1e6, quarters[3] / max(quarters[0], 1e-9))

    def close(self) -> None:
        pass


class OurRun(_Run):
    """What a lane does: batches of records to one tracker."""

    def __init__(self, name: str) -> None:
        super().__init__()
        made = LOGGER_TYPE_TO_CLASS[name]
        arguments = ("bench", "logs") if made.requires_logging_directory else ("bench",)
        self._tracker: GeneralTracker = made(*arguments)
        self._tracker.start()
        spare_the_libraries()  # as the delivery process does, in which all nine live by default

    def block(self, amount: float) -> Cost:
        """The cost of `amount` rows of ten numbers."""

        def log(first: int, last: int) -> None:
            for start in range(first, last, BATCH):
                now = time.time()
                steps = range(start, min(start + BATCH, last))
                records = [Log({**peers.VALUES}, step, step, now) for step in steps]
                self._tracker.deliver(records)

        return self._measured(log, lambda: end(self._tracker, "finished"), int(amount))


class AccelerateRun(_Run):
    """What Accelerate's users do."""

    def __init__(self, name: str) -> None:
        super().__init__()
        accelerate: Any = importlib.import_module("accelerate")
        self._accelerator = accelerate.Accelerator(log_with=[name], project_dir="logs", cpu=True)
        self._accelerator.init_trackers("bench")

    def block(self, amount: float) -> Cost:
        """The cost of `amount` rows of ten numbers."""

        def log(first: int, last: int) -> None:
            for step in range(first, last):
                self._accelerator.log(peers.VALUES, step=step)

        return self._measured(log, self._accelerator.end_training, int(amount))


def measure(folder: Path, *, quick: bool) -> None:
    """Print the table, of the trackers that are installed here."""
    rounds, rows = (1, 400) if quick else (3, 2000)
    table = Table(
        f"a row of 10 numbers, delivered in batches of {BATCH}, {rows} rows with the run's end, "
        f"beside Accelerate's class: {rounds} rounds, {load()}",
        *("", "CPU µs", "wall µs", "growth", "Accelerate: CPU µs", "wall µs", "growth"),
        *("less CPU", "less wall", "wanted of CPU"),
    )
    for name, wanted in WANTED.items():
        if not importlib.util.find_spec(f"tracking_{name}"):
            continue
        ours, theirs = [], []
        for number in range(rounds):
            place = folder / f"{name}{number}"
            with Remote(place / "ours", "delivery_cost:OurRun", name) as run:
                ours.append(Cost(*run.block(rows)))
            if peers.has_accelerate():
                with Remote(place / "theirs", "delivery_cost:AccelerateRun", name) as run:
                    theirs.append(Cost(*run.block(rows)))
        cells = [*_cells(ours)]
        if theirs:
            cpu, wall = (
                median([one[part] for one in theirs]) / median([one[part] for one in ours])
                for part in (0, 1)
            )
            reached = verdict(cpu, wanted, at_least=True)
            cells += [*_cells(theirs), f"{cpu:.1f} x", f"{wall:.1f} x", f">= {wanted:g}: {reached}"]
        else:
            cells += [""] * 6
        table.add(name, *cells)
    table.print()


def _cells(costs: list[Cost]) -> list[str]:
    cpu, wall, growth = (median([one[part] for one in costs]) for part in range(3))
    return [f"{cpu:.0f}", f"{wall:.0f}", f"{growth:.2f}"]
