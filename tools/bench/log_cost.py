"""What one `log` of ten numbers costs the thread that trains."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from tracking_core.records import Log

from . import peers
from .figures import Table, load, median, quantile, verdict
from .remote import Remote

__all__ = ["Calls", "floor", "logger", "measure"]

SEGMENT = 64 * 1024 * 1024
HEADER = bytes(24)
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
    """Encode, two checksums, and the bytes into the page cache: nothing can promise with less."""
    encode = msgspec.msgpack.Encoder().encode
    record = Log(dict(peers.VALUES), 1, 1, time.time(), {})
    descriptor = os.open("floor", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    end = 0
    if way == "map":
        os.posix_fallocate(descriptor, 0, SEGMENT)
        view = mmap.mmap(descriptor, SEGMENT)

        def log(step: int) -> None:
            nonlocal end
            payload = encode(record)
            crc32(payload, 1)
            crc32(HEADER, 1)
            data = HEADER + payload
            start = end
            end = start + len(data)
            if end > SEGMENT:
                start, end = 0, len(data)
            view[start:end] = data

    else:

        def log(step: int) -> None:
            payload = encode(record)
            crc32(payload, 1)
            crc32(HEADER, 1)
            os.write(descriptor, HEADER + payload)

    working = threading.Event()

    def compute() -> None:
        while working.wait():
            sum(number * number for number in range(200))

    if busy:
        threading.Thread(target=compute, daemon=True).start()
    return Calls(peers.Logger(log, working.set, working.clear, lambda: None, lambda: 0))


def logger(kind: str, arguments: list[Any]) -> Calls:
    """One of `peers`, by name."""
    way: Callable[..., peers.Logger] = getattr(peers, kind)
    return Calls(way(*arguments))


def measure(folder: Path, *, quick: bool) -> None:
    """Print the table."""
    rounds, calls = (3, 1000) if quick else (15, 4000)
    variants: dict[str, tuple[float, str, list[Any]]] = {
        "floor: map": (calls, "floor", ["map", False]),
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
        *("", "calls", "median µs", "x floor", "p99 µs", "max ms"),
        *(f"wanted: median <= {MEDIAN_WANTED:g} x floor", f"p99 <= {P99_WANTED:g} µs"),
    )
    least = [median(taken) for taken in samples["floor: map"]]
    for name, found in samples.items():
        every = [value for taken in found for value in taken]
        # Of one round each, because the machine changes its pace between rounds.
        ratio = median([median(taken) / low for taken, low in zip(found, least, strict=True)])
        p99 = median([quantile(taken, 0.99) for taken in found])
        wanted = name.startswith("Tracking")
        table.add(
            *(name, str(len(every)), f"{median(every):.1f}", f"{ratio:.1f}", f"{p99:.1f}"),
            f"{max(every) / 1000:.1f}",
            verdict(ratio, MEDIAN_WANTED) if wanted else "",
            verdict(p99, P99_WANTED) if wanted else "",
        )
    table.print()
