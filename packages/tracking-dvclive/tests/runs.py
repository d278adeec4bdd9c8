"""Runs of the tests: begun here or in another process, and what of DVCLive reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tracking_core.records import Log
from tracking_dvclive import DVCLiveTracker

# Without types, as dvclive is.
Live: Any = import_module("dvclive").Live
load_yaml: Any = import_module("dvclive.serialize").load_yaml
parse_metrics: Any = import_module("dvclive.utils").parse_metrics
parse_tsv: Any = import_module("dvclive.utils").parse_tsv

WALL_TIME = 1_760_000_000.25


def started(directory: Path | str = "dvclive", **kwargs: Any) -> DVCLiveTracker:
    tracker = DVCLiveTracker(dir=str(directory), **kwargs)
    tracker.start()
    return tracker


def row(step: int, **values: Any) -> Log:
    return Log(values, step, step, WALL_TIME + step)


def in_another_process(script: str, *arguments: object, **environment: str) -> str:
    """What `script` prints. It may die: whoever calls this looks at what it left."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr
