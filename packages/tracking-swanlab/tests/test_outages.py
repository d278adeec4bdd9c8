"""What SwanLab's server has after outages, of what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import pytest

from tracking_core.testing import OutageMatrix, Run

from .server import Server


class TestOutages(OutageMatrix):
    tracker = "swanlab"
    metrics = r"/house/metrics$"
    file_store = r"^/put/|/presigned/put$|/files/"
    short = (
        "down for long",
        "403 for files past the end",
        "down past the end",
        "lost answer",
        "delivery killed",
    )

    wrong_key: ClassVar[Mapping[str, str]] = {"SWANLAB_API_KEY": "another"}

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        with Server() as self.server:
            self.server.key = "key"
            yield self.server.url

    def environment(self, url: str) -> Mapping[str, str]:
        self.server.front = url
        return {"SWANLAB_API_HOST": url, "SWANLAB_WEB_HOST": url, "SWANLAB_API_KEY": "key"}

    def rows(self, run: Run) -> Iterable[tuple[int, float]]:
        points = self.server.by_run.get(str(run.identity.get("run_id")), [])
        return [
            (step, value) for kind, key, step, value, _ in points if (kind, key) == ("scalar", "n")
        ]

    def files(self, run: Run) -> Iterable[bytes]:
        return self.server.contents
