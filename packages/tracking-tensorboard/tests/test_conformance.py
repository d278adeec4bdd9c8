from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_tensorboard import TensorBoardTracker, read_run


class TestConformance(TrackerConformance):
    scalar_format = "f"

    def make(self, directory: Path) -> GeneralTracker:
        return TensorBoardTracker("run", directory)

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(directory / "run")
