"""What proves that a tracker keeps the contract: the core with its extra ``testing``.

Subclass `TrackerConformance` in a test module, say how to make a tracker and how to read a run back
with the *library's own* reader, and pytest runs the rest.
"""

# ruff: noqa: E402 - what is imported at the end needs what stands before it
from importlib.util import find_spec

from tracking_core.installing import install_line

_missing = [name for name in ("hypothesis", "numpy", "PIL", "pytest") if find_spec(name) is None]
if _missing:
    raise ModuleNotFoundError(
        f"tracking_core.testing needs {', '.join(_missing)}: {install_line('tracking-core', 'testing')}"
    )

import pytest

# Without it a standard test that fails says AssertionError, and not what it saw.
pytest.register_assert_rewrite("tracking_core.testing.conformance", "tracking_core.testing.outages")

from tracking_core.testing.commands import named_command, named_commands
from tracking_core.testing.conformance import KINDS, TrackerConformance
from tracking_core.testing.gateway import Gateway
from tracking_core.testing.outages import OutageMatrix, Run
from tracking_core.testing.seen import Point, Seen, frames_of, pixels_of, samples_of
from tracking_core.testing.servers import refusing, self_signed
from tracking_core.testing.snippets import (
    assert_is_the_readmes_run,
    python_of,
    run_python,
    run_readme,
)
from tracking_core.testing.trackers import MemoryTracker, MisbehavingTracker

__all__ = [
    "KINDS",
    "Gateway",
    "MemoryTracker",
    "MisbehavingTracker",
    "OutageMatrix",
    "Point",
    "Run",
    "Seen",
    "TrackerConformance",
    "assert_is_the_readmes_run",
    "frames_of",
    "named_command",
    "named_commands",
    "pixels_of",
    "python_of",
    "refusing",
    "run_python",
    "run_readme",
    "samples_of",
    "self_signed",
]
