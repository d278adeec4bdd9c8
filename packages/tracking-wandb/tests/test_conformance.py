from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_wandb import WandBTracker, read_run


class TestConformance(TrackerConformance):
    lands: ClassVar[Mapping[str, str]] = {
        "scalar": "native: a chart over Step",
        "nan and infinities": "native: NaN, Infinity, -Infinity",
        "text": "native: text in the row and the summary",
        "nested dict": "native: `parent/child`, a section of charts for each parent",
        "image": "native: Images, with captions and a step slider",
        "table": "native: Table, from the run's files",
        "pictures in a table": "degraded: Images beside it, which its cells name",
        "histogram": "native: Histogram, up to 512 bins drawn",
        "audio": "native: Audio",
        "video": "degraded: animated PNG in Images; native Video for gif, mp4, webm, ogg files",
        "figure": "native: Images",
        "file and directory": "native: Files, below `artifacts/`",
        "config": "native: Config; NaN, infinities and the like as text, exact in an entry of JSON",
        "tags": "native: labels; key-value tags `key:value`, exact in an entry of Config",
        "end status": "native: the exit code: finished, failed, killed",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return WandBTracker("conformance", mode="offline", dir=str(directory))

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(directory, str(tracker.identity()["run_id"]))
