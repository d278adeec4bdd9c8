from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_tensorboard import TensorBoardTracker, read_run


class TestConformance(TrackerConformance):
    scalar_format = "f"
    lands: ClassVar = {
        "scalar": "native: Scalars, as 32-bit floats",
        "nan and infinities": "native: Scalars; None as Text",
        "text": "native: Text",
        "nested dict": "native: one tag each, `parent/child`",
        "image": "native: Images, a list as `key/0`, `key/1`, ...; captions in Text",
        "table": "degraded: Markdown in Text, whole as CSV beside the run",
        "pictures in a table": "degraded: Images beside it, which its cells name",
        "histogram": "native: Histograms and Distributions, with exactly its bins",
        "audio": "native: Audio",
        "video": "native: Images, as animated PNG or GIF",
        "figure": "native: Images",
        "file and directory": "degraded: copied beside the run, its place in Text",
        "config": "native: HParams; exactly, as JSON, in Text",
        "tags": "degraded: Text",
        "end status": "native: HParams (success or failure); exactly in Text",
    }

    def make(self, directory: Path) -> GeneralTracker:
        return TensorBoardTracker("run", directory)

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return read_run(directory / "run")
