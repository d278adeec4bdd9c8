"""What ClearML's server has after outages, of what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import pytest

from tracking_core.testing import OutageMatrix, Run

from .server import Server


class TestOutages(OutageMatrix):
    tracker = "clearml"
    metrics = r"/events\.add_batch$"
    file_store = r"^/$"
    short = ("down past the end", "403 for files", "fair weather", "delivery killed")
    has_ids = True  # an event is one of its task, iteration, metric and variant

    wrong_key: ClassVar[Mapping[str, str]] = {"CLEARML_API_SECRET_KEY": "another"}

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        self.server = Server()
        self.server.secret = "secret"
        self.server.start()
        yield self.server.address
        self.server.stop()

    def environment(self, url: str) -> Mapping[str, str]:
        hosts = {f"CLEARML_{name}_HOST": url for name in ("API", "WEB", "FILES")}
        return {**hosts, "CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}

    def rows(self, run: Run) -> Iterable[tuple[int, float]]:
        stored = self.server.stored.get(str(run.identity.get("task_id")), {})
        scalars = [one for one in stored.values() if one["type"] == "training_stats_scalar"]
        return [(one["iter"], one["value"]) for one in scalars if one["metric"] == "n"]

    def files(self, run: Run) -> Iterable[bytes]:
        task = str(run.identity.get("task_id"))
        return [content for path, content in self.server.files.items() if task in path]
