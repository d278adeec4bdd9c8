"""What tests of more than one module log, and log with."""

from __future__ import annotations

from typing import Any

from tracking_clearml import ClearMLTracker
from tracking_core.capture import capture
from tracking_core.records import Log

NOW = 1_760_000_000.25


def started(**kwargs: Any) -> ClearMLTracker:
    tracker = ClearMLTracker("project", **kwargs)
    tracker.start()
    return tracker


def row(step: int, **values: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step)
