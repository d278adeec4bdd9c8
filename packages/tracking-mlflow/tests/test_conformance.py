from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_mlflow import MLflowTracker, read_run


@pytest.mark.usefixtures("store")
class TestConformance(TrackerConformance):
    wall_time_resolution = 0.001
    lands: ClassVar = {
        "scalar": "native: metrics, 64-bit floats",
        "nan and infinities": "native: metrics; a companion metric tells ±inf and None apart",
        "text": "degraded: text artifacts, one file each",
        "nested dict": "native: one metric each, `parent/child`",
        "image": "native: image grid with its step slider, a panel for each of a list",
        "table": "native: `load_table` and the evaluation view",
        "pictures in a table": "native: in the evaluation view, as `log_table` has them",
        "histogram": "degraded: a picture of how it goes from step to step; counts and edges as JSON",
        "audio": "degraded: WAV artifact",
        "video": "degraded: animated PNG artifact",
        "figure": "native: image grid",
        "file and directory": "native: artifacts",
        "config": "native: params, flattened; whole as JSON artifact",
        "tags": "native: tags",
        "end status": "native: FINISHED, FAILED, KILLED",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return MLflowTracker("conformance", logging_dir=directory / "artifacts")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        run_id = str(tracker.identity()["run_id"])
        return read_run(run_id, download_to=directory / "downloads")


@pytest.mark.usefixtures("directory")
class TestConformanceInADirectory(TrackerConformance):
    """Where MLflow has a file for each name."""

    wall_time_resolution = 0.001
    lands = TestConformance.lands
    make = TestConformance.make
    read_back = TestConformance.read_back
