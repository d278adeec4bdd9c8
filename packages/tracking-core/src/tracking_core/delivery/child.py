"""The delivery process, started by `Supervisor`.

It reads its order from standard input, delivers the journal of the training process while that
lives, delivers the rest when it has ended or died, ends the native runs, and exits.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from tracking_core.delivery.supervisor import LENGTH_BYTES, SOMEBODY_ELSE, Order
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.journal import DrainLock, trim

__all__ = ["run", "spare_the_libraries"]

SECONDS_FOR_A_DYING_PREDECESSOR = 10.0
SECONDS_FOR_LIBRARIES_TO_EXIT = 10.0


def main() -> int:
    """Deliver what standard input orders; the exit status."""
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH_BYTES), "little")
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(length), type=Order)
    # Libraries note which program made a run, and that is the training.
    sys.argv[:] = order.argv
    # A batch system sends these to every process of a job that it ends. A handler that does
    # nothing, since SIG_IGN would be inherited by the programs that trackers start.
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    lock = DrainLock(order.directory)
    deadline = time.monotonic() + SECONDS_FOR_A_DYING_PREDECESSOR
    while not lock.acquire():
        if time.monotonic() > deadline:
            return SOMEBODY_ELSE
        time.sleep(0.05)

    def live() -> bool:
        return os.getppid() == order.parent

    policy = Policy(*order.policy)
    alone = threading.Lock() if order.blamed else None
    workers = [
        Worker(
            Path(order.directory),
            spec.name,
            spec.build,
            live=live,
            policy=policy,
            blamed=order.blamed,
            alone=alone,
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
    begun = 0
    while any(thread.is_alive() for thread in threads):
        if until is None and not live():
            # The training is over: from now on for no longer than it is worth.
            until = time.monotonic() + order.linger
            for worker in workers:
                worker.give_up_at(until)
        if until is not None and time.monotonic() > until + policy.deadline:
            break
        for worker, thread in zip(workers, threads, strict=True):
            thread.join(0.2)
            worker.watch()
        if (now_begun := sum(worker.started.is_set() for worker in workers)) > begun:
            begun = now_begun
            spare_the_libraries()
    trim(order.directory)
    return 0


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
