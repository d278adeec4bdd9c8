"""A long run behind a tracker that is down: memory, cost of each record, and reading it back."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tracking_core import Tracking
from tracking_core.codec import decode
from tracking_core.journal import Entry, Reader

from . import peers
from .figures import Table, load, median, verdict
from .remote import Remote
from .trackers import DownTracker

__all__ = ["Backlog", "measure"]

MEMORY_WANTED = 32.0
SPEED_WANTED = 200_000
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Backlog:
    """Logs to a tracker that never takes anything."""

    def __init__(self) -> None:
        self._tracking = Tracking([DownTracker()], "logs")
        self._tracking.init_trackers("bench")
        for step in range(2000):
            self._tracking.log(peers.VALUES, step=step)
        self._before = _resident()

    def block(self, amount: float) -> tuple[float, float, str, int]:
        """Microseconds a record, MiB that the process grew by, where the journal is, what waits."""
        before = time.perf_counter()
        for step in range(int(amount)):
            self._tracking.log(peers.VALUES, step=step)
        taken = (time.perf_counter() - before) / amount * 1e6
        run = self._tracking.run_dir
        assert run is not None
        waiting = self._tracking.status()["down"].pending
        return taken, _resident() - self._before, str(run.absolute()), waiting

    def close(self) -> None:
        os._exit(0)  # the tracker is down: there is nothing to wait for


def _resident() -> float:
    """Memory of this process in MiB, the mapped segment of the journal included."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * PAGE / 2**20


def measure(folder: Path, *, quick: bool) -> None:
    """Print the tables."""
    blocks = 10
    amount = 20_000 if quick else 100_000
    began = load()
    with Remote(folder, "backlog:Backlog") as remote:
        found = [remote.block(amount) for _ in range(blocks)]
        table = Table(
            f"{blocks * amount:,} records behind a tracker that is down, {began}",
            *("after records", "µs a record", "memory grew by MiB", "waiting"),
        )
        for number, (taken, grown, _, waiting) in enumerate(found, 1):
            if number in (1, 2, 4, 6, 8, 10):
                count = number * amount
                table.add(f"{count:,}", f"{taken:.2f}", f"{grown:.1f}", f"{waiting:,}")
        table.print()
        growth = max(grown for _, grown, _, _ in found)
        print(f"  memory wanted: <= {MEMORY_WANTED:g} MiB: {verdict(growth, MEMORY_WANTED)}")
        early = median([taken for taken, *_ in found[: blocks // 2]])
        late = median([taken for taken, *_ in found[blocks // 2 :]])
        print(f"  a record of the second half costs {late / early:.2f} x one of the first half")
        (writer,) = Path(found[0][2]).iterdir()
        _print_reading(writer, 1 if quick else 5)


def _print_reading(writer: Path, rounds: int) -> None:
    speeds: dict[str, list[float]] = {"read": [], "read and decoded": []}
    for _ in range(rounds):
        for name in speeds:
            before, count = time.perf_counter(), 0
            with Reader(writer) as reader:
                while batch := reader.read(1000):
                    if name != "read":
                        for item in batch:
                            assert isinstance(item, Entry)
                            decode(item.payload)
                    count += len(batch)
            speeds[name].append(count / (time.perf_counter() - before))
    table = Table(
        f"reading that journal, {rounds} interleaved rounds",
        *("", "records/s", f"wanted: >= {SPEED_WANTED:,}"),
    )
    for name, found in speeds.items():
        reached = verdict(median(found), SPEED_WANTED, at_least=True) if name == "read" else ""
        table.add(name, f"{median(found):,.0f}", reached)
    table.print()
