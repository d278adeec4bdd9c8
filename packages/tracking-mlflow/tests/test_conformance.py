from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_mlflow import MLflowTracker, read_run


@pytest.mark.usefixtures("store")
class TestConformance(TrackerConformance):
    wall_time_resolution = 0.001

    def make(self, directory: Path) -> GeneralTracker:
        return MLflowTracker("conformance", logging_dir=directory / "artifacts")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        run_id = str(tracker.identity()["run_id"])
        return read_run(run_id, download_to=directory / "downloads")
