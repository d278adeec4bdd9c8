"""What Aim's server has after outages, of what was logged."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from aim.sdk.errors import MissingRunError

from tracking_aim import read_run
from tracking_core.records import Plain, Record
from tracking_core.testing import OutageMatrix, Run

from .server import AimServer


class TestOutages(OutageMatrix):
    tracker = "aim"
    metrics = r"/write-instruction/$"
    short = ("down past the end",)
    not_wrong = ("https for http",)  # an address says nothing of TLS: the tracker finds out
    has_ids = True  # a value is one of its sequence and step

    @pytest.fixture
    def upstream(self, empty_repository: Path, tmp_path: Path) -> Iterator[str]:
        self.repository = tmp_path / "served"
        shutil.copytree(empty_repository, self.repository)
        with AimServer(self.repository) as server:
            yield f"http://127.0.0.1:{server.port}"

    def init_kwargs(self, url: str) -> Mapping[str, Plain]:
        return {"repo": f"aim://{url.partition('://')[2]}"}

    def read(self, run: Run) -> Iterable[Record]:
        try:
            yield from read_run(str(run.identity.get("run_hash")), self.repository)
        except MissingRunError:
            return
