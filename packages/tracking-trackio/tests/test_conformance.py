from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tracking_core.records import Record
from tracking_core.testing import TrackerConformance
from tracking_core.tracker import GeneralTracker
from tracking_trackio import TrackioTracker, read_run

LANDS = {
    "scalar": "native: Metrics, integers and 64-bit floats exactly",
    "nan and infinities": "native: as Trackio keeps them, not drawn; None as null",
    "text": "native: Markdown under Reports",
    "nested dict": "native: one metric each, grouped by `parent/`",
    "image": "native: Media, with captions; a list as `key/0`, `key/1`, ...",
    "table": "native: table under Media",
    "pictures in a table": "native: in its cells",
    "histogram": "native: histogram with exactly its bins",
    "audio": "native: Media, as WAV",
    "video": "degraded: animated PNG among the images; mp4, webm and the like natively",
    "figure": "native: image under Media",
    "file and directory": "native: versioned artifacts",
    "config": "native: config of the run, nested dicts as they are",
    "tags": "degraded: `tracking/tags` in the run's config",
    "end status": "degraded: `tracking/status` in the run's config",
}


class TestConformance(TrackerConformance):
    wall_time_resolution = 1e-6  # Trackio keeps a text with microseconds
    lands: ClassVar = LANDS

    def make(self, directory: Path) -> GeneralTracker:
        return TrackioTracker(f"conformance {directory}")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        identity = tracker.identity()
        run = str(identity["run_id"])
        return read_run(str(identity["project"]), run, download_to=directory / "downloads")
