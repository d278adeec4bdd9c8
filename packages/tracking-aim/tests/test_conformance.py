from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_aim import AimTracker, read_run
from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker


class TestConformance(TrackerConformance):
    lands: ClassVar[dict[str, str]] = {
        "scalar": "native: Metrics, 64-bit, with the time of the call",
        "nan and infinities": "native: Metrics",
        "text": "native: Text",
        "nested dict": "native: names parent/child",
        "image": "native: Images with captions, lists as one step's images",
        "table": "degraded: Markdown in Text, whole as CSV artifact",
        "pictures in a table": "degraded: Images beside it, which its cells name",
        "histogram": "native: Distributions",
        "audio": "native: Audio; other formats than WAV, MP3 and FLAC as an artifact",
        "video": "degraded: animated picture in Images; other formats as an artifact",
        "figure": "degraded: picture in Images",
        "file and directory": "native: Artifacts",
        "config": "native: Run params, hparams",
        "tags": "native: labels are Tags; key-value tags are Run params",
        "end status": "degraded: Run param status, beside Aim's end time",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return AimTracker("run", directory / "repository")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(str(tracker.identity()["run_hash"]), directory / "repository")
