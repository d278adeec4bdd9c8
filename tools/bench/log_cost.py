"""What one `log` of ten numbers costs the thread that trains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import floors, peers
from .figures import Table, load, median, quantile, verdict
from .remote import Remote

__all__ = ["Calls", "floor", "logger", "measure"]

MEDIAN_WANTED = 2.0
P99_WANTED = 25.0


class Calls:
    """Times single calls, with a little of Python's work between them, as a training loop has."""

    def __init__(self, way: peers.Logger) -> None:
        self._way = way
        self._step = 0

    def block(self, amount: float) -> list[int]:
        """Nanoseconds of each of `amount` calls."""
        log, clock, steps = self._way.log, time.perf_counter_ns, range(int(amount))
        self._way.begin()
        for _ in range(min(200, len(steps))):
            log(self._step)
            self._step += 1
        # What delivers is at work by now, if it ever is.
        time.sleep(0.6 if len(steps) > 500 else 0.0)
        taken = []
        for _ in steps:
            sum(range(1000))
            before = clock()
            log(self._step)
            taken.append(clock() - before)
            self._step += 1
        self._way.drain()
        return taken

    def close(self) -> None:
        self._way.close()


def floor(way: str, busy: bool) -> Calls:
    """One of `floors`, by name."""
    return Calls(floors.floor(way, busy))


def logger(kind: str, arguments: list[Any]) -> Calls:
    """One of `peers`, by name."""
    way: Callable[..., peers.Logger] = getattr(peers, kind)
    return Calls(way(*arguments))


def measure(folder: Path, *, quick: bool) -> None:
    """Print the table."""
    rounds, calls = (3, 1000) if quick else (15, 4000)
    variants: dict[str, tuple[float, str, list[Any]]] = {
        "floor: map": (calls, "floor", ["map", False]),
        "prepared floor: map": (calls, "floor", ["prepared", False]),
        "floor: os.write": (calls, "floor", ["write", False]),
        "Tracking, thread lane, 1 tracker": (calls, "logger", ["ours", [["none"], "thread"]]),
        "Tracking, thread lane, 5 trackers": (calls, "logger", ["ours", [["none"] * 5, "thread"]]),
        "Tracking, process lane": (calls, "logger", ["ours", [["none"], "process"]]),
        "floor: map, busy thread": (calls, "floor", ["map", True]),
        "floor: os.write, busy thread": (min(calls, 1000), "floor", ["write", True]),
        "Tracking, busy delivery thread": (calls, "logger", ["ours", [["busy"], "thread"]]),
    }
    if peers.has_accelerate():
        for name, count in ("tensorboard", calls // 10), ("mlflow", calls // 100):
            variants[f"Accelerate, {name}"] = (count, "logger", ["accelerate", [[name]]])
    samples: dict[str, list[list[float]]] = {name: [] for name in variants}
    began = load()
    with contextlib.ExitStack() as stack:
        remotes = {
            name: stack.enter_context(
                Remote(folder / f"log{number}", f"log_cost:{factory}", *arguments)
            )
            for number, (name, (_, factory, arguments)) in enumerate(variants.items())
        }
        for remote in remotes.values():
            remote.ready()
        for _ in range(rounds):
            for name, remote in remotes.items():
                taken = remote.block(variants[name][0])
                samples[name].append([value / 1000 for value in taken])
    table = Table(
        f"log() of 10 numbers on the training thread: {rounds} interleaved rounds, {began}",
        *("", "calls", "median µs", "x floor", "x prepared", "p99 µs", "max ms"),
        *(f"wanted: median <= {MEDIAN_WANTED:g} x floor", f"p99 <= {P99_WANTED:g} µs"),
    )
    least = [median(taken) for taken in samples["floor: map"]]
    prepared = [median(taken) for taken in samples["prepared floor: map"]]
    for name, found in samples.items():
        every = [value for taken in found for value in taken]
        # Of one round each, because the machine changes its pace between rounds.
        ratio = median([median(taken) / low for taken, low in zip(found, least, strict=True)])
        beside = median([median(taken) / low for taken, low in zip(found, prepared, strict=True)])
        p99 = median([quantile(taken, 0.99) for taken in found])
        wanted = name.startswith("Tracking")
        table.add(
            *(name, str(len(every)), f"{median(every):.2f}", f"{ratio:.2f}", f"{beside:.2f}"),
            *(f"{p99:.1f}", f"{max(every) / 1000:.1f}"),
            verdict(ratio, MEDIAN_WANTED) if wanted else "",
            verdict(p99, P99_WANTED) if wanted else "",
        )
    table.print()
