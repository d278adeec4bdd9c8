"""What W&B's server has after outages, of what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from tracking_core.records import Plain
from tracking_core.testing import OutageMatrix, Run

from .conftest import KEY
from .server import Server


class Resumed(Server):
    """Tells whoever resumes the run what it has, as W&B's server does."""

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if self.history:
            self.resumable = self.resumed_bucket(self.runs[0]["name"])
        return super().graphql(query, variables)


class TestOutages(OutageMatrix):
    tracker = "wandb"
    metrics = r"/file_stream$"
    file_store = r"^/upload/"
    service = r"wandb-core"
    short = ("service killed", "403 for files past the end", "413 for files", "page")
    left_out = ("two at once",)  # the server keeps one run

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        with Resumed() as self.server:
            yield self.server.url

    def environment(self, url: str) -> Mapping[str, str]:
        self.server.front = url
        return {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}

    def init_kwargs(self, url: str) -> Mapping[str, Plain]:
        # By default 15 seconds: what fails is to fail within a case.
        return {"settings": {"x_file_stream_transmit_interval": 1.0}}

    def rows(self, run: Run) -> Iterable[tuple[int, float]]:
        rows = [row for _, row in sorted(self.server.history.items()) if "n" in row]
        return [(row["tracking/step"], row["n"]) for row in rows]

    def files(self, run: Run) -> Iterable[bytes]:
        return self.server.files.values()
