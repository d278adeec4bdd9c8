"""The published suite, run against the tracker that it brings itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from tracking_core import AlreadyStartedError, NotStartedError, register_tracker_class
from tracking_core.files import Unkept, in_words, keep
from tracking_core.installing import install_line
from tracking_core.records import End, Log, LoggedFile, LoggedImage, Record
from tracking_core.testing import KINDS, MemoryTracker, Seen, TrackerConformance
from tracking_core.tracker import GeneralTracker

REJECTED = object()
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
        if self.started:
            raise AlreadyStartedError("tracker 'stored' is running: call finish() first")
        self.started = True
        self.records = KEPT.setdefault(self.run_name, [])

    def deliver(self, records: Sequence[Record]) -> None:
        if not self.started:
            raise NotStartedError("tracker 'stored' is not running: call start() first")
        super().deliver([self._with_copies(record) for record in records])

    def _with_copies(self, record: Record) -> Record:
        if not isinstance(record, Log):
            return record
        values = {key: self._copy(key, value) for key, value in record.values.items()}
        there = {key: value for key, value in values.items() if value is not REJECTED}
        return msgspec.structs.replace(record, values=there)

    def _copy(self, key: str, value: Any) -> Any:
        if isinstance(value, list):
            copies = [self._copy(key, one) for one in value]
            return [copy for copy in copies if copy is not REJECTED]
        if not isinstance(value, LoggedFile):
            return value
        folder = Path(tempfile.mkdtemp(dir=self._folder()))
        try:
            places, left_out = keep(value, str(folder), str)
        except Unkept as reason:
            self.reject(key, value, str(reason))
            return REJECTED
        if left_out:
            self.reject(key, value, in_words(value, left_out))
        place = folder if value.directory else folder / places[0]
        return msgspec.structs.replace(value, path=str(place))

    def _folder(self) -> Path:
        folder = Path(f"{self.run_name} files")
        folder.mkdir(exist_ok=True)
        return folder

    def finish(self, status: str = "finished") -> None:
        if self.started:
            self.records.append(End(status, 0.0))  # type: ignore[arg-type]  # the lane checked it
        self.started = False


# --- what the suite says of itself ---


def standard_tests() -> dict[str, str]:
    tests = {name: test for name, test in vars(TrackerConformance).items() if callable(test)}
    return {name: test.__doc__ or "" for name, test in tests.items() if name.startswith("test_")}


def test_every_standard_test_says_what_to_do() -> None:
    assert len(standard_tests()) > 30
    assert [name for name, text in standard_tests().items() if len(text) < 20] == []


def test_every_kind_of_value_is_proven_by_standard_tests() -> None:
    assert {test for tests in KINDS.values() for test in tests} <= standard_tests().keys()
    assert all(KINDS.values())


# --- a conformance file with a mistake in it ---


class Complete(TrackerConformance):
    def make(self, directory: Path) -> GeneralTracker:
        return Stored(str(directory))

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        return KEPT[str(directory)]


def test_a_standard_test_is_overridden_only_with_a_reason() -> None:
    with pytest.raises(TypeError, match=r"Lazy.test_text overrides a standard test: mark it xfail"):

        class Lazy(TrackerConformance):
            def test_text(self) -> None:  # type: ignore[override]  # the point of the test
                pass

    with pytest.raises(TypeError, match=r"Reasonless.test_video overrides"):

        class Reasonless(TrackerConformance):
            @pytest.mark.xfail
            def test_video(self) -> None:  # type: ignore[override]  # the point of the test
                pass

    with pytest.raises(TypeError, match=r"Gone.test_audio overrides"):

        class Gone(TrackerConformance):
            test_audio = None  # type: ignore[assignment]  # the point of the test

    class Honest(TrackerConformance):
        @pytest.mark.xfail(reason="the library has no text")
        def test_text(self) -> None:  # type: ignore[override]  # a limitation
            raise NotImplementedError

    class Inherited(Honest):
        pass


def test_an_override_that_comes_from_another_class_is_one_too() -> None:
    class Mixin:
        def test_text(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"Mixed.test_text overrides a standard test"):

        class Mixed(Mixin, TrackerConformance):  # type: ignore[misc]  # the point of the test
            pass


def test_a_mark_on_the_standard_test_itself_reaches_no_other_tracker() -> None:
    with pytest.raises(
        TypeError, match=r"define a method test_text that calls super\(\).test_text"
    ):

        class Marked(TrackerConformance):
            test_text = pytest.mark.xfail(reason="no text")(TrackerConformance.test_text)

    kept = TrackerConformance.test_text.pytestmark  # type: ignore[attr-defined]  # of pytest
    assert [mark.name for mark in kept] == ["parametrize"]

    class Next(TrackerConformance):
        pass


@pytest.mark.parametrize("forgotten", ["make", "read_back"])
def test_what_every_suite_must_say_is_asked_for_by_name(forgotten: str) -> None:
    said = {name: getattr(Complete, name) for name in ("make", "read_back") if name != forgotten}
    with pytest.raises(TypeError, match=rf"^TestMine must define {forgotten}\(self, .*: return"):
        type("TestMine", (TrackerConformance,), said)
    # A class that pytest does not run may leave it to those that derive from it.
    base = type("Mine", (TrackerConformance,), said)
    type("TestMine", (base,), {forgotten: getattr(Complete, forgotten)})
    type("TestMine", (TrackerConformance,), {**said, "__test__": False})
    with pytest.raises(NotImplementedError, match=rf"^Mine must define {forgotten}\("):
        getattr(base(), forgotten)(*[None] * (2 if forgotten == "read_back" else 1))


@pytest.mark.parametrize(
    ("lands", "message"),
    [
        ({}, "Mine.lands is a dict of each kind of value"),
        ({}, "nothing is said of 'end status'"),
        ({"pictures": "native: a chart"}, "'pictures' is none of tracking_core.testing.KINDS"),
        ({"image": "a chart"}, "'image' has 'a chart', without one of the words"),
        ({"image": "native:"}, "'image' has 'native:'"),
    ],
)
def test_what_is_wrong_about_where_values_land_is_named(
    lands: dict[str, str], message: str
) -> None:
    suite = type("Mine", (Complete,), {"lands": lands})()
    with pytest.raises(AssertionError) as raised:
        suite.test_every_kind_has_a_place()
    assert message in str(raised.value)


def test_a_tracker_that_nobody_finds_hears_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"entry point 'stored' in the group 'tracking.track"):
        Complete().test_it_is_found_by_its_name(tmp_path)


@pytest.mark.parametrize(
    ("found", "message"),
    [(None, "Mine.read_back gave None: return or yield"), ([{"m": 1.0}], "'m': 1.0} is no record")],
)
def test_a_reader_that_gives_no_records_is_named(
    found: object, message: str, tmp_path: Path
) -> None:
    suite = type("Mine", (Complete,), {"read_back": lambda *_: found})()
    with pytest.raises(TypeError, match=message):
        suite.test_nested_dicts(tmp_path)


def test_a_standard_test_that_fails_says_what_to_do_and_what_it_saw(tmp_path: Path) -> None:
    (tmp_path / "test_late.py").write_text(
        "from tracking_core.records import Log\n"
        "from tracking_core.testing import MemoryTracker, TrackerConformance\n"
        "class TestLate(TrackerConformance):\n"
        "    def make(self, directory):\n"
        "        return MemoryTracker()\n"
        "    def read_back(self, tracker, directory):\n"
        "        for row in tracker.rows:\n"
        "            yield Log(row.values, row.step + 1, row.position, row.wall_time)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "keep_value", "."]
    said = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True
    ).stdout
    assert "never let the library take its own clock" in said
    assert "assert [1, 2, 3, 4, 5, 6, " in said
    assert "At index 0 diff: 1 != 0" in said


def test_without_the_extra_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['hypothesis'] = None; import tracking_core.testing"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stderr
    assert f"needs hypothesis: {install_line('tracking-core', 'testing')}" in said


def test_media_finds_all_of_a_numbered_list_at_every_step() -> None:
    image = LoggedImage(b"0", 1, 1, 1)
    many = {f"many/{number}": image for number in range(3)}
    rows = [Log({**many, "one": image}, step, step, 0.0) for step in range(2)]
    seen = Seen([*rows, Log({"one/0": image}, 2, 2, 0.0)])
    assert len(seen.media("many")) == 6
    assert len(seen.media("one")) == 2, "what has the key itself is not taken for a list"
    assert seen.media("none") == []
