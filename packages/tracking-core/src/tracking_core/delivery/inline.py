"""The lane on the caller's thread: when a call returns, the library has the record."""

from __future__ import annotations

import contextlib
import threading

import msgspec

from tracking_core.delivery.lane import LaneState, TrackerStatus, unarrived_of
from tracking_core.errors import let_through
from tracking_core.journal.reentry import is_inside
from tracking_core.plain import text
from tracking_core.records import Config, Log, Status, Tags
from tracking_core.redaction import redacted
from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker, end

__all__ = ["InlineLane"]


class InlineLane:
    """Hands each record to `tracker` at once, and keeps what the tracker raises to itself."""

    needs_its_caller = True

    def __init__(self, tracker: GeneralTracker) -> None:
        self._tracker = tracker
        self._state: LaneState = "starting"
        self._called = False
        self._delivered = 0
        self._failed = 0
        self._last_error: str | None = None
        self._said: set[str] = set()
        # Re-entrant, because a tracker's code may log in turn.
        self._lock = threading.RLock()

    def trackers(self) -> list[GeneralTracker]:
        return [self._tracker]

    def start(self) -> None:
        self._called = True
        try:
            self._tracker.start()
        except BaseException as error:
            let_through(error)
            self._state = "failed"
            self._report("did not start, and this run is logged without it", error)
        else:
            self._state = "running"

    def undo(self) -> None:
        if self._called and self._state in ("starting", "running"):
            self._state = "ended"
            with contextlib.suppress(Exception):  # it may be half started
                end(self._tracker, "killed")

    @property
    def count(self) -> int:
        return self._delivered + self._failed

    def put(self, record: Config | Tags | Log) -> None:
        is_inside(self, self._lock)  # which lets go of what nobody holds
        with self._lock:
            if self._state != "running":
                return
            if isinstance(record, (Config, Tags)):
                # What a tracker shows must not depend on the lane.
                record = msgspec.structs.replace(record, values=redacted(record.values))
            try:
                self._tracker.deliver([record])
            except BaseException as error:
                let_through(error)
                self._failed += 1
                self._report(f"did not take a {type(record).__name__} record", error)
            else:
                self._delivered += 1

    put_row = put

    def flush(self, timeout: float | None) -> bool:
        return True

    def catch_up(self, timeout: float) -> None:
        """It has everything."""

    def sign_off(self, status: Status) -> None:
        """What is to be said is said by `end`."""

    @property
    def done(self) -> bool:
        return self._state == "ended"

    @property
    def in_trouble(self) -> bool:
        return False

    def end(self, status: Status, timeout: float) -> None:
        is_inside(self, self._lock)  # which lets go of what nobody holds
        with self._lock:
            if self._state != "running":
                return
            self._state = "ended"
            try:
                end(self._tracker, status)
            except BaseException as error:
                let_through(error)
                self._report("did not finish its run", error)
            with contextlib.suppress(Exception):  # a stranger's code
                for remark in self._tracker.remarks(self._tracker.identity()):
                    say(str(remark))

    def status(self) -> list[tuple[str, TrackerStatus]]:
        status = TrackerStatus(
            self._state,
            delivered=self._delivered,
            failed=self._failed,
            rejected=dict(self._tracker.rejections.counts),
            last_error=self._last_error,
            unarrived=unarrived_of(self._tracker),
        )
        return [(self._tracker.name, status)]

    def _report(self, what: str, error: BaseException) -> None:
        self._last_error = redacted(text(f"{type(error).__name__}: {error}"))
        kind = f"{what} {type(error).__name__}"
        if kind not in self._said:
            self._said.add(kind)
            say(f"tracker {self._tracker.name!r} {what}: {self._last_error}")
