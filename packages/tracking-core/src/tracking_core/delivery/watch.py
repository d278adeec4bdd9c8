"""Says while a run goes on which tracker is in trouble: its end, or a look at it, may be days away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from tracking_core.delivery.lane import LaneState, TrackerStatus
from tracking_core.faults import is_lasting
from tracking_core.rejections import Place, say, speak_for

__all__ = ["Watch"]

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_THAT_PASS_UNSAID = 3.0
SECONDS_OF_A_SLOW_CALL = 3.0
TROUBLE: dict[LaneState, str] = {
    "starting": "did not start",
    "retrying": "does not take what is logged",
    "hung": "has been stuck in one call for long",
}


class Watch:
    """Looks at the trackers now and then, from a thread, and warns once of each kind of trouble.

    What a person has to mend is said at its first sight, what may pass once it has lasted.

    Args:
        status: how each tracker is doing, by name.
        trouble: what is wrong with the journal itself; empty if nothing is.
        remarks: what else there is to say.
        place: the line of the user's that the warnings belong to.
    """

    def __init__(
        self,
        status: Callable[[], Iterable[tuple[str, TrackerStatus]]],
        trouble: Callable[[], str],
        remarks: Callable[[], Iterable[str]],
        place: Place,
    ) -> None:
        self._status = status
        self._trouble = trouble
        self._remarks = remarks
        self._place = place
        # Since when a tracker has been in trouble, by its name.
        self._since: dict[str, float] = {}
        self._said: set[tuple[str, str, str]] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="tracking-watch", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        speak_for(self._place)
        while not self._stopping.wait(SECONDS_BETWEEN_LOOKS):
            for name, status in self._status():
                self._look(name, status)
            trouble = self._trouble()
            if trouble:
                self._say(("", "journal", trouble.partition(":")[0]), trouble)
            self.say_remarks()

    def say_remarks(self) -> None:
        """Say what of the remarks was not said yet."""
        for remark in self._remarks():
            self._say(("", "remark", remark), remark)

    def _look(self, name: str, status: TrackerStatus) -> None:
        if status.busy >= SECONDS_OF_A_SLOW_CALL:
            self._say(
                (name, "busy", ""),
                f"tracker {name!r}: its server has not answered for {status.busy:.0f} s, or takes a "
                "large file; what is logged is kept, and nothing waits for it",
            )
        what = TROUBLE.get(status.state)
        error = status.last_error or ""
        # A tracker that is starting, and has not failed yet, is in no trouble.
        if what is None or not (error or status.state == "hung"):
            self._since.pop(name, None)
            return
        kind = name, status.state, error.partition(":")[0]
        reason = f": {error}" if error else ""
        now = time.monotonic()
        if is_lasting(status.fault):
            self._say(
                kind,
                f"tracker {name!r} {what}, and waiting will not help{reason}. "
                "What is logged is kept until that is mended",
            )
        elif (
            status.state == "hung"  # which has lasted already
            or now - self._since.setdefault(name, now) >= SECONDS_THAT_PASS_UNSAID
        ):
            self._say(
                kind,
                f"tracker {name!r} {what}; what is logged is kept, and it is tried again{reason}",
            )

    def _say(self, kind: tuple[str, str, str], message: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            say(message)
