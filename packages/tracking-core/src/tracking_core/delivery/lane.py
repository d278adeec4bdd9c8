"""What every lane can do, and what it tells of itself."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

from tracking_core.records import Config, Log, Status, Tags
from tracking_core.rejections import Rejection
from tracking_core.tracker import GeneralTracker

__all__ = ["Lane", "LaneState", "TrackerStatus"]

LaneState: TypeAlias = Literal["running", "failed", "ended"]


class TrackerStatus(msgspec.Struct, frozen=True):
    """How one tracker is doing.

    Attributes:
        state: ``"running"``; ``"failed"`` if the tracker did not start and takes nothing;
            ``"ended"`` after `end_training`.
        delivered: records that the tracker took.
        pending: records that are still on their way to it.
        failed: records that it was given and raised on.
        rejected: values that could not be stored, with their number; the others of their call were.
        last_error: what it raised last, as ``"Type: message"``.
    """

    state: LaneState
    delivered: int
    pending: int
    failed: int
    rejected: dict[Rejection, int]
    last_error: str | None


class Lane(Protocol):
    """The way of records to one tracker. No method raises for what the tracker does."""

    tracker: GeneralTracker

    def start(self) -> None: ...

    def deliver(self, record: Config | Tags | Log) -> None: ...

    def end(self, status: Status) -> None: ...

    def status(self) -> TrackerStatus: ...
