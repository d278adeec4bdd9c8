"""The runs of this process that are not over, and how they end when nobody ends them.

A run is open for as long as somebody holds it. When nobody does, it ends by itself and holds up
nobody: its end is put behind its records, and whoever delivers those ends the native runs. What is
still open when the program exits is ended then, and the program waits for it, but not for long.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple

from tracking_core import exits
from tracking_core.aside import Aside
from tracking_core.delivery.lane import Lane
from tracking_core.records import Status
from tracking_core.rejections import Place, say, speak_for

__all__ = ["Hold", "Run", "end_at_exit", "end_before_libraries", "end_those_let_go"]

SECONDS_TO_TELL = 2.0
"""How long a run that was let go waits for its end: ``sys.exit(main())`` tells how it ended."""
SECONDS_FOR_THE_ONE_BEFORE = 10.0
SECONDS_OF_A_TASK = 10.0
SECONDS_TO_LEAVE = 5.0
SECONDS_BETWEEN_LOOKS = 0.1

_PACKAGE = __name__.partition(".")[0]


class Hold:
    """Whoever has it keeps the run open."""

    def keep(self) -> None:
        """Keep the run open until somebody ends it, or the program exits.

        For what is given out and can't be seen to be let go: a library's own object.
        """
        _kept.add(self)


class Run:
    """A run, from `init_trackers` until its lanes have ended.

    Args:
        lanes: of this run, started.
        place: the user's line that began it.
        last_words: what is to be said once it has ended.
    """

    def __init__(self, lanes: Sequence[Lane], place: Place, last_words: str = "") -> None:
        self.over = False
        self._place = place
        self._last_words = last_words
        self.let_go = False
        self._lanes = lanes
        # Then nothing of it happens unless a caller waits for it.
        self._needs_its_caller = any(lane.needs_its_caller for lane in lanes)
        self._hold: weakref.ref[Hold] | None = None
        # Who is first says how it ended. Not a lock: it may be said in a finaliser.
        self._said: dict[str, list[Status]] = {}
        self._ending = threading.RLock()
        self._told = threading.Event()

    def open(self) -> Hold:
        """What keeps it open."""
        hold = Hold()
        _open[id(self)] = self
        exits.watch(_look)
        if _is_child_of_multiprocessing():
            exits.have_pools_let_go()
        self._hold = weakref.ref(hold, self._on_let_go)
        return hold

    def sign_off(self, status: Status) -> None:
        """Put the end behind the records, unless that was done."""
        said = [status]
        if self._said.setdefault("status", said) is said:
            for lane in self._lanes:
                lane.sign_off(status)

    def end(self, status: Status, timeout: float) -> None:
        """End the native runs, and wait for that `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        self.sign_off(status)
        with self._ending:
            if self.over:
                return
            try:
                for lane in self._lanes:
                    lane.end(self._said["status"][0], max(0.0, deadline - time.monotonic()))
                if self._last_words:
                    say(self._last_words)
            finally:
                self.forget()

    def leave(self) -> None:
        """End it: nobody holds it, and the program goes on."""
        if self._needs_its_caller:
            self.end("finished", SECONDS_TO_LEAVE)
        else:
            self.sign_off("finished")
            self._told.set()

    def forget(self) -> None:
        """It is over."""
        self.over = True
        _open.pop(id(self), None)
        hold = self._hold and self._hold()
        if hold is not None:
            _kept.discard(hold)
        if not _open:
            exits.unwatch()

    @property
    def on_its_way(self) -> bool:
        """Whether what is left of it is being delivered, without trouble."""
        return not (self.over or any(lane.in_trouble for lane in self._lanes))

    @property
    def count(self) -> int:
        """How many records were logged so far."""
        return sum(lane.count for lane in self._lanes)

    def catch_up(self, timeout: float) -> None:
        """Wait until what lives in this process has what was logged."""
        deadline = time.monotonic() + timeout
        for lane in self._lanes:
            lane.catch_up(max(0.0, deadline - time.monotonic()))

    # --- when it is let go ---

    def _on_let_go(self, hold: object) -> None:
        """The last one who held it is gone.

        This may be called at any instruction of any thread, whatever locks that holds, so it takes
        none that is not made for it.
        """
        if self.over or id(self) not in _open:
            return
        self.let_go = True
        if _is_task():
            self._end_with_the_task()
        if not self._needs_its_caller:
            with contextlib.suppress(RuntimeError):  # the interpreter exits: that ends it
                Aside(self._leave_slowly).start()

    def _end_with_the_task(self) -> None:
        """A pool may end its worker as soon as it has the task's result, so end the run before."""
        status = exits.status_of(exits.error_of_the_task())
        self.sign_off(status)
        if threading.get_ident() != threading.main_thread().ident or _is_in_here():
            return
        if self._needs_its_caller:
            self.end(status, SECONDS_OF_A_TASK)
        else:
            self.catch_up(SECONDS_OF_A_TASK)

    def _leave_slowly(self) -> None:
        speak_for(self._place)
        self._told.wait(SECONDS_TO_TELL)
        exits_now = _exit is not None and _exit.begun
        self.sign_off(_status_at_the_end(self) if exits_now else "finished")
        while not (self.over or all(lane.done for lane in self._lanes)):
            self._told.clear()
            self._told.wait(SECONDS_BETWEEN_LOOKS)
        if not self.over:
            self.end("finished", SECONDS_TO_LEAVE)


def end_those_let_go() -> None:
    """End the runs that nobody holds any more, before another begins.

    They end beside it; but where one is begun after the other, in a notebook or a sweep, they must
    not pile up: one is still on its way when this returns, or those that are in trouble.
    """
    for run in list(_open.values()):
        if run.let_go:
            run.leave()
    deadline = time.monotonic() + SECONDS_FOR_THE_ONE_BEFORE
    pause = threading.Event()
    while sum(run.let_go and run.on_its_way for run in list(_open.values())) > 1:
        if time.monotonic() > deadline:
            break
        pause.wait(SECONDS_BETWEEN_LOOKS)


def end_at_exit(seconds: Callable[[], float], on_end: Callable[[], None]) -> None:
    """See to it that open runs are ended when this process exits, in whatever way it does.

    Args:
        seconds: how long that may take.
        on_end: called before.
    """
    global _exit
    if _exit is not None and _exit.process == os.getpid():
        return
    _exit = _Exit(seconds, on_end)
    atexit.register(_exit.end)
    # The name is private, and without it only libraries that need executors lose something.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with contextlib.suppress(RuntimeError):  # it is too late for that
            register(_exit.catch_up)
    # A child that was forked by multiprocessing leaves without all this.
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _is_child_of_multiprocessing():
        util.Finalize(None, _exit.end, exitpriority=0)


def end_before_libraries() -> None:
    """When a tracker's library has just been started: end the runs before it ends itself.

    What `atexit` has registered last is called first, and such a library registers itself there.
    """
    if _exit is not None:
        _exit.go_first()


class _Exit:
    """The exit of this process, in two steps.

    The first comes before the interpreter shuts down the executors that a library may need; other
    threads may still be logging. The second comes when they have ended.
    """

    def __init__(self, seconds: Callable[[], float], on_end: Callable[[], None]) -> None:
        self.process = os.getpid()
        self._seconds = seconds
        self._on_end = on_end
        self._caught_up: tuple[float, float] | None = None
        self._too_late = False
        self.begun = False

    def go_first(self) -> None:
        # Once more, and not anew: what is registered while they are called never is.
        if not self._too_late:
            atexit.register(self.end)

    def catch_up(self) -> None:
        self.begun = True
        began = time.monotonic()
        deadline = began + self._seconds()
        for run in list(_open.values()):
            run.catch_up(max(0.0, deadline - time.monotonic()))
        self._caught_up = began, time.monotonic()
        self._too_late = True

    def end(self) -> None:
        self._too_late = True
        self._on_end()
        deadline = time.monotonic() + self._left()
        found = list(_open.values())
        for run in found:
            run.sign_off(_status_at_the_end(run))
        for run in found:
            run.end("finished", max(0.0, deadline - time.monotonic()))

    def _left(self) -> float:
        """Seconds that there are left: those in which other threads were running do not count."""
        seconds = self._seconds()
        if self._caught_up is not None:
            began, ended = self._caught_up
            seconds = min(seconds, seconds - (ended - began) + (time.monotonic() - ended))
        return max(1.0, seconds)


def _status_at_the_end(run: Run) -> Status:
    def counted(sight: object) -> bool:
        seen = _seen_of(run, sight)
        return seen is None or seen.records == run.count

    # What a framework has caught would still hold the run that it came from.
    before = _seen_of(run, exits.sight_at_an_error())
    if before is not None and before.let_go:
        return "finished"
    return exits.status_of(exits.error_of_the_end(counted))


class _Seen(NamedTuple):
    """A run as it was when the program asked for its exit."""

    records: int
    let_go: bool


def _look() -> dict[int, _Seen]:
    return {key: _Seen(run.count, run.let_go) for key, run in list(_open.items())}


def _seen_of(run: Run, sight: object) -> _Seen | None:
    return sight.get(id(run)) if isinstance(sight, dict) else None


def _is_task() -> bool:
    """Whether this process was made to do something for another one."""
    return _forked or _is_child_of_multiprocessing()


def _is_child_of_multiprocessing() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _is_in_here() -> bool:
    """Whether what let go of a run, two frames up, did so in the middle of a call of ours.

    That may hold a lock for which those wait who deliver.
    """
    try:
        frame: FrameType | None = sys._getframe(3)
    except ValueError:
        return False
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
            return True
        frame = frame.f_back
    return False


_open: dict[int, Run] = {}
_kept: set[Hold] = set()
_exit: _Exit | None = None
_forked = False


def _leave_to_the_parent() -> None:
    """In a forked child: the runs are its parent's, to log to and to end."""
    global _forked
    _forked = True
    _open.clear()
    _kept.clear()
    exits.unwatch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
