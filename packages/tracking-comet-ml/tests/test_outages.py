"""What Comet's server has after outages, of what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from tracking_core.testing import OutageMatrix, Run

from .server import API_KEY, Server


class TestOutages(OutageMatrix):
    tracker = "comet_ml"
    metrics = r"/experiment/metric$"
    wrong_key: ClassVar[Mapping[str, str]] = {"COMET_API_KEY": "another"}
    file_store = r"/(asset|visualizations)/upload$"
    short = ("down past the end", "403 for files", "fair weather", "delivery killed")

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        self.server = Server()
        self.server.start()
        yield self.server.url
        self.server.stop()

    def environment(self, url: str) -> Mapping[str, str]:
        return {"COMET_URL_OVERRIDE": f"{url}/clientlib/", "COMET_API_KEY": API_KEY}

    def rows(self, run: Run) -> Iterable[tuple[int, float]]:
        values = self._kept(run).get("metrics", [])
        return [(one["step"], one["metricValue"]) for one in values if one["metricName"] == "n"]

    def files(self, run: Run) -> Iterable[bytes]:
        return [asset["body"] for asset in self._kept(run).get("assets", {}).values()]

    def _kept(self, run: Run) -> dict[str, Any]:
        return self.server.experiments.get(str(run.identity.get("experiment_key")), {})
