"""The training of the outage matrix, a program of its own: `tracking_core.testing.outages` runs it.

It logs about twenty rows a second, with a picture and a file now and then, until its standard input
ends, and says on standard output what it has logged, once the call that logged it has returned.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy

from tracking_core import Image, Tracking, register_tracker_class

SECONDS_BETWEEN_ROWS = 0.05
SECONDS_BETWEEN_LOOKS = 0.05
# Of the files: every other one is what a server with a limit refuses.
SIZES = (100, 200_000)


def main(tracker: str, reference: str, project: str, first: int, kwargs: dict[str, Any]) -> None:
    over, order = threading.Event(), {"timeout": 30.0}
    threading.Thread(target=_listen, args=(over, order), daemon=True).start()
    if reference:
        module, _, name = reference.partition(":")
        register_tracker_class(getattr(importlib.import_module(module), name))
    tracking = Tracking(tracker, logging_dir="logs")
    tracking.init_trackers(project, config={"lr": 0.1}, init_kwargs={tracker: kwargs})
    say(run_dir=str(tracking.run_dir))
    threading.Thread(target=_look, args=(tracking, tracker), daemon=True).start()
    step = 0
    while not over.wait(SECONDS_BETWEEN_ROWS):
        tracking.log({"n": float(first + step)}, step=step)
        say(row=[step, float(first + step)])
        if step % 40 == 5:
            tracking.log({"picture": Image(_picture(step))}, step=step)
            say(picture=step)
        if step % 20 == 15:
            name, content = f"file-{step}.bin", os.urandom(SIZES[step // 20 % len(SIZES)])
            Path(name).write_bytes(content)
            tracking.log_artifact(name)
            say(file=name, digest=hashlib.sha256(content).hexdigest())
        step += 1
    tracking.end_training(timeout=order["timeout"])
    say(ended=True)


def say(**what: Any) -> None:
    """Add a line to the ledger: it is short, and a pipe takes it whole."""
    os.write(1, json.dumps({"at": time.monotonic(), **what}).encode() + b"\n")


def _listen(over: threading.Event, order: dict[str, float]) -> None:
    """Hear how long the end may take, or nothing: then whoever had this started is gone."""
    order.update(json.loads(sys.stdin.readline() or "{}"))
    over.set()


def _look(tracking: Tracking, tracker: str) -> None:
    """Say when the tracker is in trouble for all that `Tracking.status` tells."""
    trouble = False
    while True:
        error = tracking.status()[tracker].last_error
        if error and not trouble:
            say(trouble=error)
        trouble = bool(error)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _picture(number: int) -> Any:
    """A picture that tells its number."""
    return numpy.full((8, 8, 3), (number // 256, number % 256, 77), "uint8")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
