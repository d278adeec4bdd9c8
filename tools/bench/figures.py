"""Numbers out of samples, and lines out of numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from statistics import median

__all__ = ["Table", "load", "median", "quantile", "verdict"]


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that `share` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def verdict(measured: float, wanted: float, *, at_least: bool = False) -> str:
    """Whether a figure was reached."""
    reached = measured >= wanted if at_least else measured <= wanted
    return "reached" if reached else "MISSED"


def load() -> str:
    """How busy the machine is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    averages = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"load {averages} on {cores} cores"


class Table:
    """Columns that line up: the first to the left, the others to the right."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self._rows: list[tuple[str, ...]] = [columns]

    def add(self, *cells: str) -> None:
        self._rows.append(cells)

    def print(self) -> None:
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        print(f"\n{self.title}")
        for number, (first, *others) in enumerate(self._rows):
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            print("  " + "  ".join(cells).rstrip())
            if number == 0:
                print("  " + "  ".join("-" * width for width in widths))
