"""What MLflow's server has after outages, of what was logged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tracking_core.records import Record
from tracking_core.testing import OutageMatrix, Run
from tracking_mlflow import read_run


class TestOutages(OutageMatrix):
    tracker = "mlflow"
    metrics = r"/runs/log-batch$"
    file_store = r"/mlflow-artifacts/"
    short = ("down past the end", "403 for files", "delivery killed")
    has_ids = True  # a value is one of its key, step and time

    @pytest.fixture
    def upstream(self, address: str, tmp_path: Path) -> str:
        self.address, self.folder = address, tmp_path
        return address

    def environment(self, url: str) -> Mapping[str, str]:
        return {"MLFLOW_TRACKING_URI": url}

    def read(self, run: Run) -> Iterable[Record]:
        if "run_id" not in run.identity:
            return []
        folder = tempfile.mkdtemp(dir=self.folder)
        return read_run(str(run.identity["run_id"]), self.address, download_to=folder)
