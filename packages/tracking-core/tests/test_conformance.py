"""The published suite, run against the tracker that it brings itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from tracking_core import register_tracker_class
from tracking_core.records import End, Record
from tracking_core.testing import KINDS, MemoryTracker, TrackerConformance
from tracking_core.tracker import GeneralTracker

KEPT: dict[str, list[Record]] = {}


class TestMemory(TrackerConformance):
    """What a library would do: records of one directory belong to one run."""

    lands: ClassVar = dict.fromkeys(KINDS, "native: a list in memory")

    @pytest.fixture(autouse=True)
    def _registered(self) -> None:
        register_tracker_class(Stored)

    def make(self, directory: Path) -> GeneralTracker:
        return Stored(str(directory))

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return KEPT[str(directory)]


class Stored(MemoryTracker):
    name = "stored"

    def __init__(self, run_name: str) -> None:
        super().__init__(run_name)
        self.started = False

    @property
    def tracker(self) -> list[Record]:
        if not self.started:
            raise AttributeError("not started")
        return self.records

    def start(self) -> None:
        self.started = True
        self.records = KEPT.setdefault(self.run_name, [])

    def finish(self, status: str = "finished") -> None:
        self.records.append(End(status, 0.0))  # type: ignore[arg-type]  # the lane checked it


def test_a_standard_test_is_overridden_only_with_a_reason() -> None:
    with pytest.raises(TypeError, match=r"test_text overrides a standard test: mark it xfail"):

        class Lazy(TrackerConformance):
            def test_text(self) -> None:  # type: ignore[override]  # the point of the test
                pass

    with pytest.raises(TypeError, match=r"test_video overrides"):

        class Reasonless(TrackerConformance):
            test_video = pytest.mark.xfail(TrackerConformance.test_video)

    class Honest(TrackerConformance):
        @pytest.mark.xfail(reason="the library has no text")
        def test_text(self) -> None:  # type: ignore[override]  # a limitation
            raise NotImplementedError
