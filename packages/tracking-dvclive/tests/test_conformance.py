from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_dvclive import DVCLiveTracker, read_run


class TestConformance(TrackerConformance):
    lands: ClassVar[dict[str, str]] = {
        "scalar": "native: Metrics and Plots, exactly, with step and time",
        "nan and infinities": 'native: Plots; the text "nan", "inf" in Metrics, as DVCLive has it',
        "text": "native: Metrics; whole in the metric's file",
        "nested dict": "native: folders of metrics",
        "image": "native: Images, with a slider over the steps",
        "table": "degraded: newest as a Plot of its columns, each whole as CSV in media/",
        "pictures in a table": "degraded: Images beside it, which its cells name",
        "histogram": "degraded: newest as a Plot of its counts, all with their bins in the index",
        "audio": "degraded: a WAV file in media/",
        "video": "degraded: animated PNG among the Images",
        "figure": "native: Images",
        "file and directory": "native: artifacts/, tracked by DVC where there is a repository",
        "config": "native: Params",
        "tags": "degraded: Params, from tracking/run.json",
        "end status": "degraded: Params, from tracking/run.json",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return DVCLiveTracker(dir=str(directory / "dvclive"))

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(directory / "dvclive")
