"""Trackers that cost nothing, too much, or never work, so that a figure shows one thing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tracking_core.records import Record, Status
from tracking_core.tracker import RecordTracker

__all__ = ["BusyTracker", "DownTracker", "NoTracker"]


class NoTracker(RecordTracker):
    """Takes everything and keeps nothing."""

    name = "none"
    requires_logging_directory = False

    def __init__(self, run_name: str = "run", **kwargs: Any) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    def deliver(self, records: Sequence[Record]) -> None:
        pass

    def finish(self, status: Status = "finished") -> None:
        pass


class BusyTracker(NoTracker):
    """Computes in Python for as long as `busy` is set: the worst thread to share a process with."""

    name = "busy"
    busy = False

    def deliver(self, records: Sequence[Record]) -> None:
        until = time.monotonic() + 50.0
        while self.busy and time.monotonic() < until:
            sum(number * number for number in range(200))


class DownTracker(NoTracker):
    """Its server is away."""

    name = "down"

    def deliver(self, records: Sequence[Record]) -> None:
        raise ConnectionError("there is no server")
