"""The delivery process, started by `Supervisor`.

It reads its order from standard input, delivers the journal of the training process while that
lives, delivers the rest when it has ended or died, ends the native runs, and exits.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tracking_core.delivery.remarks import Remarks
from tracking_core.delivery.requests import taken_request
from tracking_core.delivery.supervisor import HEARTBEAT, LENGTH_BYTES, SOMEBODY_ELSE, Order
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.errors import JournalError
from tracking_core.journal import DrainLock, open_regular, trim
from tracking_core.journal.files import CREATE_OR_OPEN
from tracking_core.rejections import listen

__all__ = ["run", "spare_the_libraries"]

SECONDS_FOR_A_DYING_PREDECESSOR = 10.0
SECONDS_FOR_LIBRARIES_TO_EXIT = 10.0
SECONDS_BETWEEN_SIGNS_OF_LIFE = 1.0
# No thread of Python's has run for so long: a library holds the interpreter's lock.
SECONDS_STUCK = 90.0
# A batch system ends the training and this process alike, not always in this order.
SECONDS_A_SIGNAL_COUNTS = 60.0


def main() -> int:
    """Deliver what standard input orders; the exit status."""
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH_BYTES), "little")
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(length), type=Order)
    # Libraries note which program made a run, and that is the training.
    sys.argv[:] = order.argv
    asked_to_go = _hear_signals()
    lock = DrainLock(order.directory)
    deadline = time.monotonic() + SECONDS_FOR_A_DYING_PREDECESSOR
    while not lock.acquire():
        if time.monotonic() > deadline:
            return SOMEBODY_ELSE
        time.sleep(0.05)
    directory = Path(order.directory)
    # Of one that was there before, and is not any more.
    taken_request(directory)
    pulse = _Pulse(directory)
    listen(Remarks(directory).add)

    def live() -> bool:
        return os.getppid() == order.parent

    policy = Policy(*order.policy)
    alone = threading.Lock() if order.blamed else None
    workers = [
        Worker(
            directory,
            spec.name,
            spec.build,
            live=live,
            policy=policy,
            blamed=order.blamed,
            training_pid=order.parent,
            alone=alone,
            originals=True,
        )
        for spec in order.trackers
    ]
    threads = [
        threading.Thread(target=worker.run, name=f"tracking-{worker.name}", daemon=True)
        for worker in workers
    ]
    for thread in threads:
        thread.start()
    until: float | None = None
    patience = policy.deadline
    begun = 0
    while any(thread.is_alive() for thread in threads):
        now = time.monotonic()
        pulse.beat(now)
        if until is None and not live():
            # The training is over: from now on for no longer than it is worth.
            until = now + order.linger
            _give_up_at(until, workers)
        request = taken_request(directory)
        if request == "hurry":
            for worker in workers:
                worker.hurry()
        told_to_go = until is not None and now - asked_to_go[0] < SECONDS_A_SIGNAL_COUNTS
        if request == "hand over" or told_to_go:
            # What the trackers take without waiting they still get.
            until, patience = min(until or now, now), SECONDS_FOR_LIBRARIES_TO_EXIT
            _give_up_at(until, workers)
        if until is not None and now > until + patience:
            break
        for worker, thread in zip(workers, threads, strict=True):
            thread.join(0.2 / len(threads))
            worker.watch()
        if (now_begun := sum(worker.started.is_set() for worker in workers)) > begun:
            begun = now_begun
            spare_the_libraries()
    trim(order.directory)
    return 0


def _hear_signals() -> list[float]:
    """When SIGTERM came last (``time.monotonic``), in a list of one; other signals do nothing.

    A batch system sends these to every process of a job that it ends. Handlers, since SIG_IGN would
    be inherited by the programs that trackers start.
    """
    came = [float("-inf")]

    def note(*_: object) -> None:
        came[0] = time.monotonic()

    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            handler = note if name == "SIGTERM" else lambda *_: None
            signal.signal(getattr(signal, name), handler)
    return came


def _give_up_at(when: float, workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.give_up_at(when)


class _Pulse:
    """Signs of life: for the training process a file's time, for the interpreter a deadline."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / HEARTBEAT
        self._last = float("-inf")
        with contextlib.suppress(OSError, JournalError):  # a full disk: the deadline is left
            os.close(open_regular(self._path, CREATE_OR_OPEN))

    def beat(self, now: float) -> None:
        if now - self._last < SECONDS_BETWEEN_SIGNS_OF_LIFE:
            return
        self._last = now
        with contextlib.suppress(OSError):
            os.utime(self._path, follow_symlinks=False)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            # Runs without the interpreter's lock: it writes where every thread is, and exits.
            faulthandler.dump_traceback_later(SECONDS_STUCK, exit=True, file=sys.stderr)


def spare_the_libraries() -> None:
    """Take what there is, which is what the libraries have loaded, out of garbage collection.

    It stays as long as this process, and going through it again and again was a third of the time
    that MLflow's rows took. In the training process this would be none of our business.
    """
    gc.freeze()


def _leave(status: int) -> None:
    """Exit, even if a library's threads or exit handlers don't want to."""
    guard = threading.Timer(SECONDS_FOR_LIBRARIES_TO_EXIT, os._exit, [status])
    guard.daemon = True
    guard.start()
    sys.exit(status)


def run() -> None:
    """The whole life of the delivery process."""
    _leave(main())
