from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_comet_ml import CometMLTracker, read_run
from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker


class TestConformance(TrackerConformance):
    wall_time_resolution = 0.001
    lands: ClassVar = {
        "scalar": "native: metrics, 64-bit floats and integers",
        "nan and infinities": "native: metrics; a companion metric tells None from NaN",
        "text": "native: Text panel; the newest in Other",
        "nested dict": "native: one metric each, `parent/child`",
        "image": "native: Graphics panel, losslessly, captions as metadata",
        "table": "native: CSV asset, shown as a data table",
        "pictures in a table": "degraded: in the Graphics panel, where its cells name them",
        "histogram": "native: Histograms, in Comet's bins; exactly as JSON asset",
        "audio": "native: Audio panel, WAV",
        "video": "degraded: animated PNG in the Graphics panel; GIF and MP4 files native",
        "figure": "native: Graphics panel",
        "file and directory": "native: assets, in folders",
        "config": "native: hyperparameters; exactly as JSON asset",
        "tags": "native: tags; key-value tags in Other",
        "end status": "native: finished or crashed; exactly in Other",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return CometMLTracker(
            "conformance", online=False, experiment_config={"offline_directory": str(directory)}
        )

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        key = str(tracker.identity()["experiment_key"])
        return read_run(key, directory, download_to=directory / "downloads")
