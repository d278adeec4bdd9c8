"""How much slower a training loop gets that is made of Python, the worst case for any logger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from . import peers
from .figures import Table, load, median, verdict
from .remote import Remote

__all__ = ["Loop", "measure"]

WANTED = 3.0
Log: TypeAlias = Callable[[int], None]
BOTH = ["tensorboard", "mlflow"]


class Loop:
    """Trains for a while, logging ten numbers in each step."""

    def __init__(self, kind: str, arguments: list[Any]) -> None:
        way: Callable[..., peers.Logger] = getattr(peers, kind)
        self._way = way(*arguments)
        self._step = 0

    def block(self, amount: float) -> tuple[list[tuple[float, float, float]], float]:
        """What a step took without logging, with it, and without it again, in ms.

        And what share of the records logged had arrived when the block was over.

        On the wall, on the wall less waiting for a core, and of CPU. All in one process, since two
        of them run the same code at paces that differ by more than what is looked for here.
        """
        idle = self._measured(amount / 2, _nothing)
        self._way.begin()
        # Delivery of the first steps has begun when the measured ones come.
        first, waiting = self._step, self._way.waiting()
        self._train(min(1.0, amount / 2), self._way.log)
        busy = self._measured(amount, self._way.log)
        arrived = 1 - (self._way.waiting() - waiting) / (self._step - first)
        self._way.drain()
        return [idle, busy, self._measured(amount / 2, _nothing)], arrived

    def close(self) -> None:
        self._way.close()

    def _measured(self, seconds: float, log: Log) -> tuple[float, float, float]:
        waited, used, before = _waited(), time.thread_time(), time.perf_counter()
        steps = self._train(seconds, log)
        taken = time.perf_counter() - before
        used, waited = time.thread_time() - used, _waited() - waited
        return taken * 1000 / steps, (taken - waited) * 1000 / steps, used * 1000 / steps

    def _train(self, seconds: float, log: Log) -> int:
        first, until = self._step, time.perf_counter() + seconds
        while time.perf_counter() < until:
            _work()
            log(self._step)
            self._step += 1
        return self._step - first


def _nothing(step: int) -> None:
    pass


def _work() -> None:
    """1 to 2 ms of what training code in Python does: numbers, lists, dicts, text."""
    rows = [{"x": number, "y": number * 0.5} for number in range(4000)]
    total = sum(row["x"] * row["y"] for row in rows)
    sorted(str(row["y"]) for row in rows)
    assert total > 0


def _waited() -> float:
    """Seconds that this thread was ready and had no core: the doing of other processes."""
    try:
        line = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(line.split()[1]) / 1e9


def measure(folder: Path, *, quick: bool) -> None:
    """Print the table."""
    rounds, seconds = (2, 1.0) if quick else (9, 2.0)
    variants: dict[str, tuple[str, list[Any]]] = {
        "no tracker (so much is chance)": ("nothing", []),
        'TensorBoard + MLflow, "auto"': ("ours", [BOTH, "auto"]),
    }
    if not quick:
        variants |= {
            "no tracker, beside any busy process": ("neighbour", []),
            'TensorBoard + MLflow, "thread"': ("ours", [BOTH, "thread"]),
            'TensorBoard + MLflow, "inline"': ("ours", [BOTH, "inline"]),
            'TensorBoard, "thread"': ("ours", [["tensorboard"], "thread"]),
            'TensorBoard, "auto"': ("ours", [["tensorboard"], "auto"]),
            'MLflow, "thread"': ("ours", [["mlflow"], "thread"]),
            'MLflow, "auto"': ("ours", [["mlflow"], "auto"]),
        }
    if peers.has_accelerate():
        variants["TensorBoard + MLflow, Accelerate"] = ("accelerate", [BOTH])
    began = load()
    found: dict[str, list[list[list[float]]]] = {name: [] for name in variants}
    arrived: dict[str, list[float]] = {name: [] for name in variants}
    for number, (name, (kind, arguments)) in enumerate(variants.items()):
        # One after the other: each is compared with itself, and the delivery processes of the
        # others, idle as they are, would want a core now and then.
        with Remote(folder / f"loop{number}", "training_loop:Loop", kind, arguments) as remote:
            remote.ready()
            for _ in range(rounds):
                block, share = remote.block(seconds)
                found[name].append(block)
                arrived[name].append(share)
    table = Table(
        f"a training loop in Python, 10 numbers a step: {rounds} rounds, {began}",
        *("", "ms a step", "slower", "less waiting for a core", "CPU of the thread"),
        "arrived meanwhile",
        f'wanted of "auto": <= {WANTED:g} %',
    )
    for name, blocks in found.items():
        slower = [
            median(
                [200 * own[kind] / (before[kind] + after[kind]) for before, own, after in blocks]
            )
            - 100
            for kind in range(3)
        ]
        table.add(
            *(name, f"{median([own[0] for _, own, _ in blocks]):.2f}"),
            *(f"{percent:+.1f} %" for percent in slower),
            "" if name.startswith("no ") else f"{100 * median(arrived[name]):.0f} %",
            verdict(slower[0], WANTED) if name.endswith('"auto"') else "",
        )
    table.print()
