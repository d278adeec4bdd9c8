from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from tracking_clearml import ClearMLTracker, read_run
from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker


# ClearML's own configuration files are read with a parser that has been renamed since.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("offline")
class TestConformance(TrackerConformance):
    wall_time_resolution = 0.001
    lands: ClassVar = {
        "scalar": "native: Scalars, 64-bit floats; without a step also in the single value table",
        "nan and infinities": "degraded: a gap in the line, and a plot beside it that says where",
        "text": "native: Debug Samples, whole; the first 5000 characters in Console",
        "nested dict": "native: `val/loss` is the series val of loss, `grad/norm` norm of grad",
        "image": "native: Debug Samples, losslessly; captions as a table in Plots",
        "table": "native: Plots",
        "pictures in a table": "degraded: Debug Samples beside it, which its cells name",
        "histogram": "native: Plots, bars as wide as the bins",
        "audio": "native: Debug Samples",
        "video": "native: Debug Samples",
        "figure": "native: Debug Samples, as a picture",
        "file and directory": "native: Artifacts; a directory as a zip file",
        "config": "native: Hyperparameters, flattened; whole as a configuration object",
        "tags": "native: tags, a key-value tag as `key: value`",
        "end status": "native: completed, failed, stopped",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return ClearMLTracker("conformance")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        folder = str(tracker.identity()["offline_folder"])
        return read_run(folder, download_to=directory / "downloads")
