"""Says while a run goes on which tracker is in trouble: its end, or a look at it, may be days away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from tracking_core.delivery.lane import LaneState, TrackerStatus
from tracking_core.rejections import say

__all__ = ["Watch"]

SECONDS_BETWEEN_LOOKS = 5.0
TROUBLE: dict[LaneState, str] = {
    "starting": "did not start",
    "retrying": "does not take what is logged",
    "hung": "has been stuck in one call for long",
}


class Watch:
    """Looks at the trackers now and then, from a thread, and warns once of each kind of trouble.

    Args:
        status: how each tracker is doing, by name.
    """

    def __init__(self, status: Callable[[], Iterable[tuple[str, TrackerStatus]]]) -> None:
        self._status = status
        self._said: set[tuple[str, str, str]] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="tracking-watch", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(SECONDS_BETWEEN_LOOKS):
            for name, status in self._status():
                self._look(name, status)

    def _look(self, name: str, status: TrackerStatus) -> None:
        what = TROUBLE.get(status.state)
        error = status.last_error or ""
        # A tracker that is starting, and has not failed yet, is in no trouble.
        if what is None or not (error or status.state == "hung"):
            return
        kind = name, status.state, error.partition(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            reason = f": {error}" if error else ""
            say(f"tracker {name!r} {what}; what is logged is kept, and it is tried again{reason}")
