"""What the core's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tracking_core import LOGGER_TYPE_TO_CLASS
from tracking_core.testing import MemoryTracker

RANK_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALRANKID",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_LOCALID",
)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves run below a launcher."""
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_exception_is_left() -> Iterator[None]:
    """A test that leaves Python handling one puts it on top of every traceback that comes."""
    yield
    assert sys.exc_info()[1] is None


@pytest.fixture
def memory() -> MemoryTracker:
    return MemoryTracker()


@pytest.fixture(autouse=True)
def _registered_classes_are_forgotten() -> Iterator[None]:
    yield
    LOGGER_TYPE_TO_CLASS._registered.clear()
