"""The matrix passes a tracker that keeps what it was given, and finds those that don't."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tracking_core.records import Plain
from tracking_core.testing import OutageMatrix, Run
from tracking_core.testing.gateway import Hang, Status
from tracking_core.testing.outages import CASES, Case, Verdict

sys.path.insert(0, str(Path(__file__).parent))

from posting import PostingServer  # found by the line above


class TestPosting(OutageMatrix):
    tracker = "posting"
    reference = "posting:PostingTracker"
    metrics, file_store = "^/rows/", "^/files/"
    short = (
        "two at once",
        "down at the start",
        "down past the end",
        "page",
        "lost answer",
        "413 for files",
        "delivery killed",
    )

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        with PostingServer() as self.server:
            yield self.server.url

    def init_kwargs(self, url: str) -> Mapping[str, Plain]:
        return {"url": url}

    def rows(self, run: Run) -> Iterable[tuple[int, float]]:
        return self.server.rows.get(str(run.identity.get("run")), [])

    def files(self, run: Run) -> Iterable[bytes]:
        return self.server.files.get(str(run.identity.get("run")), [])


def judged(name: str, case: Case, directory: Path) -> list[str]:
    """What the matrix says of one of the trackers in `posting`."""
    with PostingServer() as server:
        matrix = TestPosting()
        matrix.server = server
        vars(matrix).update(tracker=name, reference=f"posting:{name.title()}Tracker")
        return matrix.faults_of(case, matrix.judged(case, server.url, directory))


def test_a_tracker_that_loses_rows_is_found(tmp_path: Path) -> None:
    (found,) = judged("losing", CASES["500"], tmp_path)
    assert "rows are missing, and no command named" in found


def test_a_tracker_that_doubles_rows_is_found(tmp_path: Path) -> None:
    (found,) = judged("doubling", CASES["lost answer"], tmp_path)
    assert "rows are there more than once" in found


def test_a_tracker_that_is_silent_is_found(tmp_path: Path) -> None:
    (found,) = judged("silent", Case(Status(500), seconds=6.0), tmp_path)
    assert "the first word about it came after None s" in found


def test_a_tracker_that_mixes_runs_is_found(tmp_path: Path) -> None:
    (found,) = judged("mixing", CASES["two at once"], tmp_path)
    assert "logged by another run" in found


def test_a_file_store_that_holds_up_rows_is_found(tmp_path: Path) -> None:
    found = judged("posting", Case(Hang(), "past the end", path="files"), tmp_path)
    assert any("held up by the file store" in one for one in found)


class TestWords:
    """What is said of a verdict."""

    def test_nothing_of_a_good_one(self) -> None:
        good = Verdict(logged=10, lasted=9.0, first_word=4.0, doubled=3, one_batch=5)
        assert TestPosting().faults_of(CASES["down"], good) == []
        told = Verdict(logged=10, at_the_end=3, commands=[(["recover"], 0)], lacking=["a"])
        assert TestPosting().faults_of(CASES["down"], told) == []

    @pytest.mark.parametrize(
        ("case", "verdict", "words"),
        [
            ("down", Verdict(missing=1, commands=[(["recover", "x"], 1)]), "missing after"),
            ("down", Verdict(commands=[(["recover", "x"], 1)]), "does not say so"),
            ("down", Verdict(unnamed=["file-5.bin"]), "nobody names them"),
            ("down", Verdict(lasted=6.0, first_word=5.5), "came after 5.5 s"),
            ("fair weather", Verdict(per_second=2.1), "2.1 requests a second"),
            ("fair weather", Verdict(doubled=1), "more than once"),
        ],
    )
    def test_what_is_wrong(self, case: str, verdict: Verdict, words: str) -> None:
        (found,) = TestPosting().faults_of(CASES[case], verdict)
        assert words in found


def test_an_unknown_case_is_refused() -> None:
    class Misspelt(TestPosting):
        short = ("down at the strat",)

    with pytest.raises(AssertionError, match="down at the strat"):
        Misspelt().cases()
    assert "service killed" not in TestPosting().cases()
