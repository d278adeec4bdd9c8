from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_my_tool import MyToolTracker, read_run


class TestConformance(TrackerConformance):
    lands: ClassVar = {
        "scalar": "native: a number of the row",
        "nan and infinities": "native: a number of the row; None as null",
        "text": "native: a text of the row",
        "nested dict": "native: one key each, `parent/child`",
        "image": "degraded: a PNG file in the run's folder",
        "table": "native: a table of the row",
        "pictures in a table": "degraded: PNG files beside it, which its cells name",
        "histogram": "native: counts and edges of the row",
        "audio": "degraded: a WAV file in the run's folder",
        "video": "degraded: an animated PNG file in the run's folder",
        "figure": "degraded: a file in the run's folder",
        "file and directory": "degraded: copied into the run's folder",
        "config": "native: an entry of the run",
        "tags": "native: an entry of the run",
        "end status": "native: an entry of the run",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return MyToolTracker("run", directory)

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(str(tracker.identity()["run_id"]), directory)
