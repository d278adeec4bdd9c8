"""What Trackio's server has after outages, of what was logged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from tracking_core.records import Record
from tracking_core.testing import OutageMatrix, Run
from tracking_trackio import read_run

from .server import TOKEN, Server


class TestOutages(OutageMatrix):
    tracker = "trackio"
    metrics = r"/api/bulk_log$"
    file_store = r"/(upload|bulk_upload_\w+|artifact_log|check_artifact_blobs)$"
    has_ids = True
    short = ("down past the end", "403 for files", "fair weather", "delivery killed")

    wrong_key: ClassVar[Mapping[str, str]] = {"TRACKIO_WRITE_TOKEN": "another"}

    @pytest.fixture
    def upstream(self, server: Server, tmp_path: Path) -> str:
        self.server, self.folder = server, tmp_path
        return server.url

    def environment(self, url: str) -> Mapping[str, str]:
        return {"TRACKIO_SERVER_URL": url, "TRACKIO_WRITE_TOKEN": TOKEN}

    def read(self, run: Run) -> Iterable[Record]:
        found, folder = str(run.identity.get("run_id")), tempfile.mkdtemp(dir=self.folder)
        return read_run(run.project, found, download_to=folder, server_url=self.server.url)
