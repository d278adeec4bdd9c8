"""Trackers for tests: one that keeps what it is told in memory, and ones that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracking_core.records import Config, Log, Plain, Record, Status, Tags, flat
from tracking_core.tracker import RecordTracker

__all__ = ["MemoryTracker", "MisbehavingTracker"]


class MemoryTracker(RecordTracker):
    """Keeps everything in `records`, and nothing anywhere else.

    Attributes:
        records: what was delivered, in order.
        calls: names of the methods that were called, in order.
        status: how the run ended; None while it is running.
    """

    name = "memory"
    requires_logging_directory = False

    def __init__(self, run_name: str = "run", **kwargs: Any) -> None:
        super().__init__()
        self.run_name = run_name
        self.kwargs = kwargs
        self.records: list[Record] = []
        self.calls: list[str] = []
        self.status: Status | None = None

    @property
    def tracker(self) -> list[Record]:
        return self.records

    def start(self) -> None:
        self.calls.append("start")

    def deliver(self, records: Sequence[Record]) -> None:
        self.calls.append("deliver")
        self.records.extend(records)

    def finish(self, status: Status = "finished") -> None:
        self.calls.append("finish")
        self.status = status

    def identity(self) -> dict[str, Plain]:
        return {"run_name": self.run_name}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self.run_name = str(identity["run_name"])

    @property
    def config(self) -> dict[str, Any]:
        """All configuration, later entries over earlier ones."""
        merged: dict[str, Any] = {}
        for record in self.records:
            if isinstance(record, Config):
                merged.update(record.values)
        return merged

    @property
    def tags(self) -> dict[str, str | None]:
        """All tags likewise."""
        merged: dict[str, str | None] = {}
        for record in self.records:
            if isinstance(record, Tags):
                merged.update(record.values)
        return merged

    @property
    def rows(self) -> list[Log]:
        """What was logged, one row for each call."""
        return [record for record in self.records if isinstance(record, Log)]

    def values(self, key: str) -> list[Any]:
        """The values of `key` in the order they came."""
        return [value for row in self.rows for name, value in flat(row.values) if name == key]


class MisbehavingTracker(MemoryTracker):
    """Does what it is told, then calls ``misbehave(method name)``, which may raise or hang."""

    name = "misbehaving"

    def __init__(self, misbehave: Callable[[str], None]) -> None:
        super().__init__()
        self._misbehave = misbehave

    def start(self) -> None:
        super().start()
        self._misbehave("start")

    def deliver(self, records: Sequence[Record]) -> None:
        super().deliver(records)
        self._misbehave("deliver")

    def finish(self, status: Status = "finished") -> None:
        super().finish(status)
        self._misbehave("finish")
