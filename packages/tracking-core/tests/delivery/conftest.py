"""Makes the trackers of these tests importable here and, by way of `sys.path`, for the delivery
process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_core import register_tracker_class
from tracking_core.delivery import journaled

sys.path.insert(0, str(Path(__file__).parent))

from ledger_judge import Ledger  # found by the line above
from ledger_trackers import LedgerTracker, OtherTracker  # likewise

IMPATIENT = {"first_wait": 0.05, "longest_wait": 0.2, "interval": 0.05}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def other(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "other")


@pytest.fixture(autouse=True)
def _registered(
    _registered_classes_are_forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """The trackers have their names, and journals lie below `tmp_path`."""
    register_tracker_class(LedgerTracker)
    register_tracker_class(OtherTracker)
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))
    yield


@pytest.fixture(params=["thread", "process"])
def lane(request: pytest.FixtureRequest) -> str:
    """Either lane."""
    return str(request.param)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lanes try again soon, and take a call of three quarters of a second for hung."""
    for name in ("THREAD_POLICY", "PROCESS_POLICY"):
        policy = getattr(journaled, name)._replace(deadline=0.75, **IMPATIENT)
        monkeypatch.setattr(journaled, name, policy)
