"""What every lane can do, and what it tells of itself."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

from tracking_core.faults import Fault
from tracking_core.records import Config, Log, Status, Tags
from tracking_core.rejections import Rejection
from tracking_core.tracker import GeneralTracker

__all__ = ["Lane", "LaneState", "TrackerStatus", "unarrived_of"]

LaneState: TypeAlias = Literal[
    "starting", "running", "retrying", "hung", "failed", "ended", "stopped"
]


class TrackerStatus(msgspec.Struct, frozen=True):
    """How one tracker is doing.

    Attributes:
        state: ``"starting"``; ``"running"``; ``"retrying"`` while it refuses and is asked again;
            ``"hung"`` if a call outlived its deadline; ``"failed"`` if it did not start and takes
            nothing (inline lane only); ``"ended"``; ``"stopped"`` if something is left for later.
        delivered: records that it took.
        unarrived: of these, those that its library has taken and will send, and that the place where
            people look is not known to have yet; 0 where a library sends at once.
        pending: records that are still on their way to it.
        failed: records that it refused for good.
        lost: records that damage or a full disk made unreadable before they reached it.
        rejected: values that could not be stored, with their number; the others of their call were.
        busy: for how many seconds the call that is under way has gone on, of a tracker that asks a
            server (`GeneralTracker.pace`).
        last_error: what it raised last, as ``"Type: message"``; None once it works again.
        fault: whose fault that was: the ``"record"``'s, the ``"run"``'s, the ``"server"``'s, the
            ``"login"``'s or the ``"setup"``'s (`tracking_core.faults.Fault`).
    """

    state: LaneState
    delivered: int = 0
    pending: int = 0
    failed: int = 0
    lost: int = 0
    rejected: dict[Rejection, int] = {}
    last_error: str | None = None
    fault: Fault | None = None
    unarrived: int = 0
    busy: float = 0.0


def unarrived_of(tracker: GeneralTracker | None) -> int:
    """What a tracker says of `TrackerStatus.unarrived`, which may be anything."""
    said: object = getattr(tracker, "unarrived", 0)
    return max(said, 0) if type(said) is int else 0


class Lane(Protocol):
    """The way of records to one or several trackers. No method raises for what a tracker does."""

    needs_its_caller: bool
    """Whether it does its work in the caller's thread, and nothing beside it."""

    def trackers(self) -> list[GeneralTracker]:
        """What users get for the trackers of this lane."""

    def start(self) -> None:
        """Start the trackers, or begin to."""

    def undo(self) -> None:
        """Give back what was made and started: the run was not begun after all."""

    @property
    def count(self) -> int:
        """How many records it has taken."""

    def put(self, record: Config | Tags | Log) -> None:
        """Take a record; it is safe when this returns."""

    def put_row(self, row: Log) -> None:
        """`put` for a row of numbers without options, which nearly all records are."""

    def flush(self, timeout: float | None) -> bool:
        """Wait until the trackers have everything; whether they do."""

    def catch_up(self, timeout: float) -> None:
        """Wait until the trackers that live in this process have everything, or are in trouble.

        That takes `timeout` seconds at most, and half a minute if one is still being started.
        """

    def sign_off(self, status: Status) -> None:
        """Say that the run is over, and wait for nothing; a finaliser may do that."""

    @property
    def done(self) -> bool:
        """Whether the native runs have ended."""

    @property
    def in_trouble(self) -> bool:
        """Whether nobody can tell how long it will take what it has: something is in its way."""

    def end(self, status: Status, timeout: float) -> None:
        """End the native runs, once they have everything or `timeout` seconds have passed."""

    def status(self) -> list[tuple[str, TrackerStatus]]:
        """How each tracker is doing, with its name."""
