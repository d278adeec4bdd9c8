"""The Python of a page in Markdown, run as a reader would who pastes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tracking_core.testing.seen import Seen

__all__ = ["assert_is_the_readmes_run", "python_of", "run_python", "run_readme"]

# A busy machine is no fault of the page: the end has more time, and need not say that it waits.
_PATIENTLY = """
import warnings
import tracking_core
def patiently(run, *arguments, end=tracking_core.Tracking.end_training, **options):
    return end(run, *arguments, **{"timeout": 240.0, **options})
tracking_core.Tracking.end_training = patiently
warnings.filterwarnings("ignore", "the end of the run waits")
del patiently, tracking_core, warnings
"""
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 300


def python_of(page: Path) -> list[str]:
    """The blocks of Python on `page`, in their order."""
    return _BLOCK.findall(page.read_text("utf-8"))


def run_python(program: str, folder: Path) -> str:
    """Run `program` in an interpreter of its own, in `folder`; what it printed.

    Raises:
        AssertionError: it ended with an error, or a `TrackingWarning` was said. Other libraries may
            say what they like.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PATIENTLY + program],
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "TrackingWarning" not in done.stderr, done.stderr
    return done.stdout


def run_readme(page: Path, tracker: str, folder: Path) -> Mapping[str, Any]:
    """Run what a tracker's README shows; the `identity` of the run that it made.

    Args:
        page: the README; its Python ends with a `Tracking` called ``tracking``.
        tracker: the tracker's name.
        folder: where to run it.
    """
    say = f"import json\nprint(json.dumps(tracking.get_tracker({tracker!r}).identity()))\n"
    printed = run_python("\n".join([*python_of(page), say]), folder)
    identity: Mapping[str, Any] = json.loads(printed)
    return identity


def assert_is_the_readmes_run(seen: Seen) -> None:
    """Check that `seen`, read back with the library's own reader, is what READMEs log."""
    assert seen.values("loss") == pytest.approx([1 / (step + 1) for step in range(100)])
    assert [point.step for point in seen.points("val/accuracy")] == list(range(100))
    assert seen.values("note") == ["done"]
    (sample,) = seen.media("sample")
    assert sample.caption == "a line"
    assert [Path(path).name for path in seen.files()] == ["model.bin"]
    assert seen.config["optimizer"] == {"name": "adam"}
    assert seen.status == "finished"
