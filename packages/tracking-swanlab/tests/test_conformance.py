from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_swanlab import SwanLabTracker, read_run


class TestConformance(TrackerConformance):
    lands: ClassVar[dict[str, str]] = {
        "scalar": "native: a chart a key, as 64-bit floats",
        "nan and infinities": "native: in the run file; SwanLab's server makes NaN of infinities",
        "text": "native: Text",
        "nested dict": "native: sections, `parent/child`",
        "image": "native: Images with captions, losslessly",
        "table": "native: swanlab.echarts.Table",
        "pictures in a table": "degraded: Images beside it, which its cells name",
        "histogram": "degraded: ECharts bars, one a bin, that hold the distribution exactly",
        "audio": "native: Audio, as WAV",
        "video": "degraded: Images, as animated PNG; GIF as Video, other formats as a saved file",
        "figure": "native: Images, as PNG",
        "file and directory": "native: saved files, copied into the run",
        "config": "native: the run's config; exactly in the saved file tracking.json",
        "tags": "native: tags, `key: value`; exactly in the saved file tracking.json",
        "end status": "native: success, crashed, aborted",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return SwanLabTracker("conformance", mode="offline", log_dir=str(directory))

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(str(tracker.identity()["run_dir"]))
