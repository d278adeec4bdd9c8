"""The tests that every tracker passes.

A tracker's whole conformance file is a subclass with three methods::

    class TestConformance(TrackerConformance):
        lands = {"scalar": "native: a chart", ...}   # one entry for each of KINDS
        def make(self, directory): return MyTracker("run", directory)
        def make_again(self, directory): ...   # only if it differs from make
        def make_with(self, directory, **arguments): ...   # only if the constructor is unusual
        def read_back(self, tracker, directory): return my_reader.read_run(...)

What is asserted is what `read_back` sees, and that must go through the library's own reading API.
When a test fails, the first line of its text says what to do in the tracker. A standard test may be
overridden only to mark it, and the reasons are the tracker's list of limitations (``pytest -rx``)::

        @pytest.mark.xfail(reason="the library has no sound")
        def test_audio(self, tmp_path):
            super().test_audio(tmp_path)
"""

from __future__ import annotations

import argparse
import builtins
import io
import itertools
import logging
import math
import os
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy
import pytest
from hypothesis import given

from tracking_core.capture import capture
from tracking_core.config import plain_config
from tracking_core.encoding import image_file
from tracking_core.errors import (
    AlreadyStartedError,
    NotStartedError,
    StepError,
    TrackingWarning,
)
from tracking_core.facade import Tracking
from tracking_core.process import PartialState
from tracking_core.records import (
    Config,
    Log,
    LoggedFile,
    LoggedHistogram,
    LoggedTable,
    Record,
    Status,
    Tags,
)
from tracking_core.registry import LOGGER_TYPE_TO_CLASS
from tracking_core.testing.hostile import HOSTILE_KEYS, configs, few_examples, rows
from tracking_core.testing.outspoken import WORDS, outspoken
from tracking_core.testing.seen import Seen, frames_of, pixels_of, samples_of
from tracking_core.testing.trackers import MemoryTracker
from tracking_core.tracker import GeneralTracker, end
from tracking_core.values import Artifact, Audio, Histogram, Image, Table, Video

__all__ = ["KINDS", "TrackerConformance"]

LONGEST_DELIVERY = 60.0  # seconds
AN_HOUR_AGO = 1_760_000_000.25  # any time that is not now, and that binary fractions hold exactly

KINDS: Mapping[str, Sequence[str]] = {
    "scalar": ["test_numbers_keep_value_step_and_time"],
    "nan and infinities": [
        "test_nan_and_infinities_are_values",
        "test_none_is_kept_apart_from_nan",
    ],
    "text": ["test_text"],
    "nested dict": ["test_nested_dicts"],
    "image": ["test_images", "test_lists_of_images", "test_images_of_several_steps"],
    "table": ["test_tables"],
    "pictures in a table": ["test_pictures_in_a_table"],
    "histogram": ["test_histograms"],
    "audio": ["test_audio"],
    "video": ["test_video"],
    "figure": ["test_figures"],
    "file and directory": [
        "test_files_and_directories",
        "test_whatever_a_folder_holds_its_files_are_kept_and_the_rest_is_named",
        "test_what_is_no_file_costs_only_itself",
    ],
    "config": ["test_config_of_any_shape", "test_config_given_twice", "test_many_parameters"],
    "tags": ["test_tags"],
    "end status": ["test_end_status"],
}
"""Every kind of value, and the tests that show where it lands."""

LANDING = re.compile(r"(native|degraded|impossible): \S.*")


class TrackerConformance:
    """Subclass this in a test module; see the module's own text.

    Attributes:
        lands: for each of `KINDS` what becomes of it in the tool: ``"native: ..."``,
            ``"degraded: ..."`` or ``"impossible: ..."`` (and why). It is what the published table
            of values says.
        scalar_format: how the library stores numbers: ``"d"`` for float64, ``"f"`` for float32.
        wall_time_resolution: seconds between two times that the library can tell apart; 0 if it
            keeps them as they are.
    """

    lands: ClassVar[Mapping[str, str]] = {}
    scalar_format: ClassVar[Literal["d", "f"]] = "d"
    wall_time_resolution: ClassVar[float] = 0.0

    # --- what a subclass says ---

    def make(self, directory: Path) -> GeneralTracker:
        """A new tracker that keeps its run below `directory`; not started."""
        raise NotImplementedError(_undefined(type(self), "make"))

    def make_again(self, directory: Path) -> GeneralTracker:
        """A tracker like that of `make`, for going on with its run; not started."""
        return self.make(directory)

    def make_with(self, directory: Path, **arguments: Any) -> GeneralTracker:
        """A tracker that is constructed with `arguments`, as `init_kwargs` hands them over.

        Only where a constructor takes more than a run's name and a directory by place.
        """
        kind: Any = type(self.make(directory))
        places = [directory] if kind.requires_logging_directory else []
        made: GeneralTracker = kind("conformance", *places, **arguments)
        return made

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        """The finished run of `tracker`, read through the library's own reader."""
        raise NotImplementedError(_undefined(type(self), "read_back"))

    # --- the suite's own means ---

    def __init_subclass__(cls) -> None:
        for name in STANDARD_TESTS:
            standard, test = getattr(TrackerConformance, name), getattr(cls, name)
            if test is standard and _marks(standard, "xfail", "skip", "skipif"):
                # pytest keeps marks on the function, which all trackers share: off with it again.
                standard.pytestmark = _marks(standard, "parametrize")
                raise TypeError(
                    f"{cls.__name__}.{name} is the standard test itself, marked for every tracker: "
                    f"define a method {name} that calls super().{name}(...), and mark that"
                )
            reasons = [mark.kwargs.get("reason") for mark in _marks(test, "xfail")]
            if test is not standard and not any(reasons):
                raise TypeError(
                    f"{cls.__name__}.{name} overrides a standard test: "
                    "mark it xfail(reason=...), which makes it a documented limitation"
                )
        if cls.__name__.startswith("Test") and getattr(cls, "__test__", True):
            for name in ("make", "read_back"):
                if getattr(cls, name) is getattr(TrackerConformance, name):
                    raise TypeError(_undefined(cls, name))

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Whatever a library writes beside itself must not land in the checkout.
        elsewhere = tmp_path / "cwd"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)

    def _run(self, directory: Path, records: Sequence[Record], status: Status = "finished") -> Seen:
        tracker = self.make(directory)
        tracker.start()
        tracker.deliver(records)
        end(tracker, status)
        return self._seen(tracker, directory)

    def _seen(self, tracker: GeneralTracker, directory: Path) -> Seen:
        records = self.read_back(tracker, directory)
        if not isinstance(records, Iterable):
            raise TypeError(
                f"{type(self).__name__}.read_back gave {records!r}: "
                "return or yield the records of the run"
            )
        return Seen(records)

    def _logged(self, directory: Path, **values: Any) -> Seen:
        return self._run(directory, [_log(values, step=3)])

    def _stored(self, number: float) -> float:
        if self.scalar_format == "d" or not math.isfinite(number):
            return float(number)
        with numpy.errstate(over="ignore"):
            return float(numpy.float32(number))

    # --- what it is ---

    def test_constructing_does_nothing(self, tmp_path: Path) -> None:
        """Keep the arguments in `__init__`; import, open and connect in `start`.

        Until then `tracker` raises `NotStartedError`.
        """
        PartialState._shared_state.clear()
        directory = tmp_path / "run"
        tracker = self.make(directory)
        assert not directory.exists()
        assert os.listdir() == []
        assert PartialState._shared_state == {}
        with pytest.raises(AttributeError):
            tracker.tracker  # noqa: B018  # reading it is what is tested

    def test_an_argument_that_the_library_does_not_have_is_refused(self, tmp_path: Path) -> None:
        """Refuse in `__init__`, by name, an argument that neither you nor the library has.

        Where the library is told of it, an hour may have passed: `tracking_core.arguments` reads
        off its source what it takes.
        """
        unknown = "no_such_argument"
        with pytest.raises(TypeError, match=unknown):
            self.make_with(tmp_path, **{unknown: True})

    def test_the_process_is_left_as_it_was(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Switch off what the library patches, prints, asks and reports, or put it back."""
        monkeypatch.setattr(sys, "stdin", Unasked())
        before = _process_state()
        self._run(tmp_path, [Config({"lr": 0.1}, AN_HOUR_AGO), _log({"m": 1.0}, step=0)], "failed")
        for part, state in _process_state().items():
            assert state == before[part], part
        assert tuple(capfd.readouterr()) == ("", "")

    def test_it_is_found_by_its_name(self, tmp_path: Path) -> None:
        """Declare the entry point ``tracking.trackers`` under the tracker's `name`."""
        tracker = self.make(tmp_path)
        assert tracker.name in LOGGER_TYPE_TO_CLASS, (
            f"no installed package has an entry point {tracker.name!r} in the group "
            "'tracking.trackers': add it to pyproject.toml and install the package again "
            "(pip install -e .)"
        )
        assert LOGGER_TYPE_TO_CLASS[tracker.name] is type(tracker)

    def test_every_kind_has_a_place(self) -> None:
        """Say in `lands` what becomes of each kind of value."""
        wrong = [f"nothing is said of {kind!r}" for kind in KINDS if kind not in self.lands]
        for kind, text in self.lands.items():
            if kind not in KINDS:
                wrong.append(f"{kind!r} is none of tracking_core.testing.KINDS")
            elif not LANDING.fullmatch(text):
                wrong.append(f"{kind!r} has {text!r}, without one of the words before a colon")
        assert not wrong, (
            f"{type(self).__name__}.lands is a dict of each kind of value and where it lands, as "
            "'native: a chart', 'degraded: a file' or 'impossible: why':\n" + "\n".join(wrong)
        )

    # --- scalars ---

    def test_numbers_keep_value_step_and_time(self, tmp_path: Path) -> None:
        """Pass step and wall time of the record on; never let the library take its own clock."""
        numbers = [0.0, -0.0, 1.5, 0.1, -1e-30, 1e30, 3, -7, 2**31, 2**53 + 1, True, False]
        records = [
            _log({"metric": number}, step=step, wall_time=AN_HOUR_AGO + step)
            for step, number in enumerate(numbers)
        ]
        points = self._run(tmp_path, records).points("metric")
        assert [point.step for point in points] == list(range(len(numbers)))
        # float() first: a library may well keep integers that no float holds.
        found = [float(point.value) for point in points]  # type: ignore[arg-type]  # numbers
        assert found == [self._stored(float(number)) for number in numbers]
        for point in points:
            expected = AN_HOUR_AGO + point.step
            assert point.wall_time == pytest.approx(expected, rel=0, abs=self.wall_time_resolution)

    def test_nan_and_infinities_are_values(self, tmp_path: Path) -> None:
        """Where the library changes them, keep the truth beside the value."""
        numbers = [math.nan, math.inf, -math.inf, 1.0]
        seen = self._run(tmp_path, [_log({"m": n}, step=i) for i, n in enumerate(numbers)])
        nan, positive, negative, one = seen.values("m")
        assert isinstance(nan, float) and math.isnan(nan)
        assert (positive, negative, one) == (math.inf, -math.inf, 1.0)

    def test_none_is_kept_apart_from_nan(self, tmp_path: Path) -> None:
        """A missing value is a fact too: store it in the nearest form that a reader can tell."""
        seen = self._run(tmp_path, [_log({"m": None}, step=0), _log({"m": 2.0}, step=1)])
        assert [point.value for point in seen.points("m")] == [None, 2.0]

    @pytest.mark.parametrize("text", ["plain", "", "naïve\nlines 损失 😀", "long " * 4000])
    def test_text(self, tmp_path: Path, text: str) -> None:
        """Store text natively, else as a text artifact that the UI shows."""
        assert self._logged(tmp_path, note=text).values("note") == [text]

    def test_nested_dicts(self, tmp_path: Path) -> None:
        """Use native groups, else keys joined by a slash (`tracking_core.records.flat`)."""
        seen = self._logged(tmp_path, val={"loss": 1.0, "top": {"k": 2.0}}, loss=3.0)
        assert seen.values("val/loss") == [1.0]
        assert seen.values("val/top/k") == [2.0]
        assert seen.values("loss") == [3.0]

    # --- media ---

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((5, 7), "uint8"), ((5, 7, 3), "uint8"), ((3, 5, 7), "float32"), ((5, 7, 4), "uint8")],
    )
    def test_images(self, tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
        """Encode with `tracking_core.encoding.image_file`; keep the caption."""
        picture = _picture(shape, dtype)
        expected = pixels_of(_captured(Image(picture)))
        (image,) = self._logged(tmp_path, image=Image(picture, caption="a cat")).media("image")
        assert numpy.array_equal(pixels_of(image), expected)
        assert image.caption == "a cat"

    def test_lists_of_images(self, tmp_path: Path) -> None:
        """Keep every picture of a list, in order, each with its caption."""
        pictures = [_picture((4, 6, 3), "uint8", seed) for seed in range(3)]
        images = [Image(picture, caption=f"no. {i}") for i, picture in enumerate(pictures)]
        found = self._logged(tmp_path, samples=images).media("samples")
        assert [image.caption for image in found] == ["no. 0", "no. 1", "no. 2"]
        for image, picture in zip(found, pictures, strict=True):
            assert numpy.array_equal(pixels_of(image), picture)

    def test_images_of_several_steps(self, tmp_path: Path) -> None:
        """The step of an image is part of it: a later one must not replace an earlier one."""
        pictures = [_picture((4, 4, 3), "uint8", seed) for seed in range(3)]
        records = [_log({"i": Image(picture)}, step=10 * n) for n, picture in enumerate(pictures)]
        seen = self._run(tmp_path, records)
        assert [point.step for point in seen.points("i")] == [0, 10, 20]
        for image, picture in zip(seen.media("i"), pictures, strict=True):
            assert numpy.array_equal(pixels_of(image), picture)

    def test_tables(self, tmp_path: Path) -> None:
        """Use the native table, else Markdown that the UI shows plus the data as CSV."""
        rows: list[list[object]] = [
            ["seven", 0.5, 1],
            ['a|b, c\n"d"', None, True],
            ["损失", -1e-9, 10**12],
        ]
        seen = self._logged(tmp_path, wrong=Table(["label", "p | q", "n"], rows))
        (table,) = seen.media("wrong")
        assert isinstance(table, LoggedTable)
        assert table.columns == ["label", "p | q", "n"]
        assert _texts(table.rows) == _texts(rows)

    def test_pictures_in_a_table(self, tmp_path: Path) -> None:
        """Use the native table with pictures, else `tracking_core.tables.pictures_beside`."""
        first, second, third = (_picture((4, 6, 3), "uint8", seed) for seed in range(3))
        rows: list[list[Any]] = [
            [1, Image(first, caption="a cat"), "x"],
            [2, None, "seen/input/0 is a text"],
            [3, Image(second), Image(third)],
        ]
        seen = self._logged(tmp_path, seen=Table(["id", "input", "note"], rows), loss=0.5)
        (table,) = seen.media("seen")
        assert table.columns == ["id", "input", "note"]
        assert _texts([[row[0]] for row in table.rows]) == [["1"], ["2"], ["3"]]
        assert _texts([table.rows[1]]) == _texts([rows[1]])
        assert _texts([table.rows[0][2:]]) == [["x"]]
        for cell, picture in (
            (table.rows[0][1], first),
            (table.rows[2][1], second),
            (table.rows[2][2], third),
        ):
            if isinstance(cell, str):
                key, _, number = cell.rpartition("/")
                cell = seen.media(key)[int(number)]
            assert numpy.array_equal(pixels_of(cell), picture)
            assert cell.caption == ("a cat" if picture is first else None)
        assert seen.values("loss") == [0.5]

    def test_histograms(self, tmp_path: Path) -> None:
        """Use the native distribution; where there is none, store counts and edges as data.

        Halve edges before you add or subtract them: they may be huge (`LoggedHistogram.middles`).
        """
        given = {
            "weights": numpy.random.default_rng(0).normal(size=1000),
            "nearly equal": [1.0, 1.0 + 2**-52],
            "huge": [-1.7e308, 0.0, 1.7e308],
            "tiny": [0.0, 5e-324],
        }
        logged = {key: Histogram(numbers, bins=20) for key, numbers in given.items()}
        seen = self._logged(tmp_path, **logged)
        for key, histogram in logged.items():
            expected = _captured(histogram)
            (found,) = seen.media(key)
            assert isinstance(found, LoggedHistogram)
            assert found.counts == pytest.approx(expected.counts)
            assert found.edges == pytest.approx(expected.edges)
            for name in ("min", "max", "num", "sum", "sum_squares"):
                assert getattr(found, name) == pytest.approx(getattr(expected, name)), key

    def test_audio(self, tmp_path: Path) -> None:
        """Encode with `tracking_core.encoding.audio_file`."""
        wave = numpy.sin(numpy.linspace(0, 100, 800)).astype("float32")
        expected, _ = samples_of(_captured(Audio(wave, 8000)))
        (audio,) = self._logged(tmp_path, beep=Audio(wave, 8000, caption="beep")).media("beep")
        samples, rate = samples_of(audio)
        assert rate == 8000
        assert numpy.array_equal(samples, expected)

    def test_video(self, tmp_path: Path) -> None:
        """Encode with `tracking_core.encoding.video_file`."""
        frames = _picture((5, 6, 8, 3), "uint8")
        (video,) = self._logged(tmp_path, clip=Video(frames, fps=5)).media("clip")
        assert numpy.array_equal(frames_of(video), frames)

    def test_figures(self, tmp_path: Path) -> None:
        """A figure arrives as an encoded picture; store those bytes as they are."""
        drawn = _captured(Image(_picture((20, 30, 3), "uint8")))
        figure = _encoded_figure(drawn)
        (image,) = self._run(tmp_path, [_log_plain({"confusion": figure})]).media("confusion")
        assert numpy.array_equal(pixels_of(image), pixels_of(drawn))

    def test_files_and_directories(self, tmp_path: Path) -> None:
        """Upload artifacts, or copy them beside the run."""
        model = tmp_path / "model.bin"
        model.write_bytes(bytes(range(256)))
        (tmp_path / "tree" / "inner").mkdir(parents=True)
        (tmp_path / "tree" / "a.txt").write_text("a")
        (tmp_path / "tree" / "inner" / "b.txt").write_text("b")
        files = self._logged(
            tmp_path / "run",
            model=Artifact(model, "models/best"),
            tree=Artifact(tmp_path / "tree"),
        ).files()
        assert files["models/best/model.bin"] == bytes(range(256))
        assert files["tree/a.txt"] == b"a"
        assert files["tree/inner/b.txt"] == b"b"

    def test_whatever_a_folder_holds_its_files_are_kept_and_the_rest_is_named(
        self, tmp_path: Path
    ) -> None:
        """Look at a `LoggedFile` by `tracking_core.files` alone: `keep` copies, `files_of` lists.

        The library is handed files one by one: it would follow a link in a circle, or wait for a
        pipe. What is left out is rejected in one sentence (`in_words`).
        """
        tree, expected, left_out = _tree_of_everything(tmp_path / "tree")
        tracker = self.make(tmp_path / "run")
        tracker.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrackingWarning)
            values = {"tree": Artifact(tree), "one of it": Artifact(tree / ODD, "odd"), "m": 1.0}
            _without_waiting(tree, tracker, _log(values, step=3))
        end(tracker, "finished")
        seen = self._seen(tracker, tmp_path / "run")
        assert seen.values("m") == [1.0]
        found = seen.files()
        for path, content in expected.items():
            # A name that a tool can't show is its own affair; what is in the file is not.
            assert found.get(path) == content or path not in PLAIN, path
        assert sorted(found.values()) == sorted([*expected.values(), expected[f"tree/{ODD}"]])
        assert sum(tracker.rejections.counts.values()) == bool(left_out)
        said = "".join(rejection.reason for rejection in tracker.rejections.counts)
        assert [name for name in left_out if repr(name) not in said] == []

    def test_what_is_no_file_costs_only_itself(self, tmp_path: Path) -> None:
        """Reject a `LoggedFile` of which `tracking_core.files` says `Unkept`, and go on."""
        (tmp_path / "model.bin").write_bytes(b"weights")
        values: dict[str, Any] = {
            "gone": LoggedFile(str(tmp_path / "gone")),
            "gone folder": LoggedFile(str(tmp_path / "gone"), "folder", directory=True),
            "device": LoggedFile(os.devnull),
            "list": [
                LoggedFile(str(tmp_path / "gone too")),
                LoggedFile(str(tmp_path / "model.bin")),
            ],
            "m": 1.0,
        }
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe")
            values["pipe"] = LoggedFile(str(tmp_path / "pipe"))
        tracker = self.make(tmp_path / "run")
        tracker.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrackingWarning)
            _without_waiting(tmp_path, tracker, Log(values, 3, 3, AN_HOUR_AGO))
        end(tracker, "finished")
        seen = self._seen(tracker, tmp_path / "run")
        assert seen.values("m") == [1.0]
        assert seen.files() == {"model.bin": b"weights"}
        assert sum(tracker.rejections.counts.values()) == len(values) - 1

    # --- config, tags, status ---

    def test_config_of_any_shape(self, tmp_path: Path) -> None:
        """Store hyperparameters natively; what the library's limits refuse goes to an artifact."""
        config = plain_config(
            {
                "lr": 1e-3, "epochs": 3, "big": 2**60, "amp": True, "name": "résumé", "none": None,
                "empty": {}, "none at all": [], "long": "y" * 20_000, "nan": math.nan,
                "betas": (0.9, 0.999), "optimizer": {"name": "adam", "groups": [{"lr": 1}, {}]},
                "a/b": "slash", "a": {"b": "nested"}, "with space": 1, "x" * 300: 1, "": 0, "@": 1,
                5: "five", "types": [int, Path("/tmp"), numpy.float32(2), numpy.arange(3)],
                "allow_val_change": True,
            }
        )  # fmt: skip
        found = self._run(tmp_path, [Config(config, AN_HOUR_AGO)]).config
        assert _comparable(found) == _comparable(config)

    def test_config_given_twice(self, tmp_path: Path) -> None:
        """New values add to the old ones or replace them; they never raise."""
        seen = self._run(
            tmp_path,
            [Config({"a": 1, "b": 1}, AN_HOUR_AGO), Config({"b": 2, "c": 3}, AN_HOUR_AGO + 1)],
        )
        assert seen.config == {"a": 1, "b": 2, "c": 3}

    def test_many_parameters(self, tmp_path: Path) -> None:
        """Mind the library's limits for one call."""
        config = {f"parameter {number}": number for number in range(500)}
        assert self._run(tmp_path, [Config(config, AN_HOUR_AGO)]).config == config

    def test_tags(self, tmp_path: Path) -> None:
        """Labels (value None) and key-value tags; later calls add to earlier ones."""
        seen = self._run(
            tmp_path,
            [
                Tags({"baseline": None, "team": "vision"}, AN_HOUR_AGO),
                Tags({"team": "nlp", "a (b)": "long " * 3000}, AN_HOUR_AGO + 1),
            ],
        )
        assert seen.tags == {"baseline": None, "team": "nlp", "a (b)": "long " * 3000}

    @pytest.mark.parametrize("status", ["finished", "failed", "killed"])
    def test_end_status(self, tmp_path: Path, status: Status) -> None:
        """Say natively how the run ended; where the library has no word for it, in its config."""
        assert self._run(tmp_path, [_log({"a": 1.0}, step=0)], status).status == status

    # --- steps and keys ---

    def test_steps_of_every_kind(self, tmp_path: Path) -> None:
        """No row is lost, wherever its step lies."""
        steps = [5, 5, 3, 0, -2, 2**53, 7]
        records = [
            _log({"m": float(place)}, step=step, wall_time=AN_HOUR_AGO + place)
            for place, step in enumerate(steps)
        ]
        found = [(point.step, point.value) for point in self._run(tmp_path, records).points("m")]
        expected = sorted(
            zip(steps, map(float, range(len(steps))), strict=True), key=lambda p: p[0]
        )
        assert sorted(found, key=lambda p: (p[0], str(p[1]))) == sorted(
            expected, key=lambda p: (p[0], str(p[1]))
        )

    def test_rows_without_a_step_follow_one_another(self, tmp_path: Path) -> None:
        """Use `Log.position`, not 0, for a row that has no step."""
        tracker = self.make(tmp_path)
        tracker.start()
        for value, step in [(0.0, None), (1.0, None), (2.0, 10), (3.0, None)]:
            tracker.log({"m": value}, step=step)
        end(tracker, "finished")
        points = self._seen(tracker, tmp_path).points("m")
        assert [(point.step, point.value) for point in points] == [(0, 0), (1, 1), (10, 2), (11, 3)]

    def test_rows_on_an_axis_of_their_own(self, tmp_path: Path) -> None:
        """The option `step_axis` names what a row's step counts, beside the other rows' steps."""
        tracker = self.make(tmp_path)
        tracker.start()
        for step in (998, 999):
            tracker.log({"train": {"loss": float(step)}}, step=step)
            tracker.log({"val": {"loss": step / 2}}, step=step - 998, step_axis="epoch")
        end(tracker, "finished")
        assert tracker.rejections.counts == {}
        seen = self._seen(tracker, tmp_path)
        train, val = seen.points("train/loss"), seen.points("val/loss")
        assert [(point.step, point.value) for point in train] == [(998, 998.0), (999, 999.0)]
        assert [(point.step, point.value) for point in val] == [(0, 499.0), (1, 499.5)]

    def test_hostile_keys_stay_apart(self, tmp_path: Path) -> None:
        """Escape what the library can't take reversibly (`tracking_core.names`)."""
        records = [_log({key: float(i)}, step=i) for i, key in enumerate(HOSTILE_KEYS)]
        records.append(_log({key: float(i) for i, key in enumerate(HOSTILE_KEYS)}, step=1000))
        seen = self._run(tmp_path, records)
        for i, key in enumerate(HOSTILE_KEYS):
            assert [(p.step, p.value) for p in seen.points(key)] == [(i, i), (1000, i)], key

    def test_hostile_keys_of_media_and_text(self, tmp_path: Path) -> None:
        """The same for whatever is stored in files."""
        picture = _picture((4, 4, 3), "uint8")
        values: dict[str, Any] = {f"i {key}": Image(picture) for key in HOSTILE_KEYS}
        values.update({f"t {key}": f"text of {key}" for key in HOSTILE_KEYS})
        seen = self._run(tmp_path, [_log(values, step=0)])
        for key in HOSTILE_KEYS:
            assert seen.values(f"t {key}") == [f"text of {key}"]
            (image,) = seen.media(f"i {key}")
            assert numpy.array_equal(pixels_of(image), picture), key

    def test_names_that_are_each_others_parents(self, tmp_path: Path) -> None:
        """Where names are files or groups, name one of the two apart (`tracking_core.names.Names`).

        In whichever order they come, and also when the run is gone on with.
        """
        picture = _picture((4, 4, 3), "uint8")
        sides = ["loss", "loss/ce", "loss/ce/top"], ["acc/top/k", "acc/top", "acc"]
        first, second = self.make(tmp_path), self.make_again(tmp_path)
        for number, keys in enumerate(zip(*sides, strict=True)):
            tracker = first if number < 2 else second
            if number == 2:
                end(first, "finished")
                second.resume(first.identity())
            if number in (0, 2):
                tracker.start()
            values: dict[str, Any] = {}
            for key in keys:
                values |= {key: math.inf, f"n/{key}": None, f"t/{key}": f"text of {key}"}
                values[f"i/{key}"] = Image(picture)
            plain: dict[str, Any] = {key: f"of {key}" for key in keys}
            tracker.deliver([Config(plain, AN_HOUR_AGO), Tags(plain, AN_HOUR_AGO)])
            tracker.deliver([_log(values, step=number)])
            tracker.deliver([_log(dict.fromkeys(keys, float(number)), step=10 + number)])
        end(second, "finished")
        seen = self._seen(second, tmp_path)
        for side in sides:
            for number, key in enumerate(side):
                points = [(point.step, point.value) for point in seen.points(key)]
                assert points == [(number, math.inf), (10 + number, number)], key
                assert seen.values(f"n/{key}") == [None], key
                assert seen.values(f"t/{key}") == [f"text of {key}"], key
                (image,) = seen.media(f"i/{key}")
                assert numpy.array_equal(pixels_of(image), picture), key
        expected = {key: f"of {key}" for side in sides for key in side}
        assert seen.config == expected
        assert seen.tags == expected

    # --- delivery ---

    def test_a_batch_lands_like_single_records(self, tmp_path: Path) -> None:
        """`deliver` takes any number of records of all kinds, in order."""
        records: list[Record] = [Config({"lr": 0.1}, AN_HOUR_AGO), Tags({"t": None}, AN_HOUR_AGO)]
        for i in range(300):
            values = {"loss": 1 / (i + 1), "acc": i / 300}
            records.append(_log(values, step=i, wall_time=AN_HOUR_AGO + i))
        records.append(_log({"note": "done"}, step=300))
        seen = self._run(tmp_path, records)
        assert seen.config == {"lr": 0.1}
        assert seen.values("loss") == [self._stored(1 / (i + 1)) for i in range(300)]
        assert seen.values("acc") == [self._stored(i / 300) for i in range(300)]
        assert seen.values("note") == ["done"]

    def test_a_run_is_resumed(self, tmp_path: Path) -> None:
        """`identity` names the run, and `resume` before `start` goes on with it."""
        first = self.make(tmp_path)
        first.start()
        first.deliver([Config({"a": 1}, AN_HOUR_AGO), _log({"m": 1.0}, step=0)])
        end(first, "failed")
        second = self.make_again(tmp_path)
        second.resume(first.identity())
        second.start()
        second.deliver([Config({"a": 1, "b": 2}, AN_HOUR_AGO), _log({"m": 2.0}, step=1)])
        end(second, "finished")
        assert second.identity() == first.identity()
        seen = self._seen(second, tmp_path)
        assert [(point.step, point.value) for point in seen.points("m")] == [(0, 1.0), (1, 2.0)]
        assert seen.config == {"a": 1, "b": 2}
        assert seen.status == "finished"

    def test_a_run_that_is_named_before_it_begins_is_that_run(self, tmp_path: Path) -> None:
        """Before `start`, `identity` names the run that `start` begins, or nothing.

        The delivery resumes it, so that a death in the middle of `start` leaves no second run.
        """
        first, second = self.make(tmp_path), self.make_again(tmp_path)
        try:
            named = first.identity()
        except Exception:  # many can't say it before
            named = {}
        if named:
            second.resume(named)
        second.start()
        second.deliver([_log({"m": 1.0}, step=0)])
        end(second, "finished")
        assert named.items() <= second.identity().items()
        assert self._seen(second, tmp_path).values("m") == [1.0]

    def test_a_started_tracker_has_a_native_object(self, tmp_path: Path) -> None:
        """`tracker` is what the library's users know."""
        tracker = self.make(tmp_path)
        tracker.start()
        assert tracker.tracker is not None
        end(tracker, "finished")

    def test_a_second_start_is_refused(self, tmp_path: Path) -> None:
        """Raise `AlreadyStartedError` from `start` while the run is going on."""
        tracker = self.make(tmp_path)
        tracker.start()
        identity = dict(tracker.identity())
        with pytest.raises(AlreadyStartedError, match=tracker.name):
            tracker.start()
        assert tracker.identity() == identity
        tracker.deliver([_log({"m": 1.0}, step=0)])
        end(tracker, "finished")
        assert self._seen(tracker, tmp_path).values("m") == [1.0]

    def test_nothing_is_taken_after_the_end(self, tmp_path: Path) -> None:
        """Raise `NotStartedError` from `deliver` after `finish`; what is lost in silence is worse."""
        tracker = self.make(tmp_path)
        tracker.start()
        tracker.deliver([_log({"m": 1.0}, step=0)])
        end(tracker, "failed")
        with pytest.raises(NotStartedError, match=tracker.name):
            tracker.deliver([_log({"m": 2.0}, step=1)])
        end(tracker, "finished")
        seen = self._seen(tracker, tmp_path)
        assert (seen.values("m"), seen.status) == ([1.0], "failed")

    def test_identity_is_plain(self, tmp_path: Path) -> None:
        """It travels between processes, so it holds text and numbers and names the run."""
        tracker = self.make(tmp_path)
        tracker.start()
        end(tracker, "finished")
        assert tracker.identity()
        assert all(type(value) in (str, int, float, bool) for value in tracker.identity().values())

    def test_logging_from_another_thread(self, tmp_path: Path) -> None:
        """Name the run in every call of the library; a thread-local current run is none."""
        tracker = self.make(tmp_path)
        tracker.start()
        thread = threading.Thread(target=tracker.deliver, args=([_log({"m": 1.0}, step=0)],))
        thread.start()
        thread.join()
        end(tracker, "finished")
        assert self._seen(tracker, tmp_path).values("m") == [1.0]

    def test_two_runs_at_once_stay_apart(self, tmp_path: Path) -> None:
        """Nothing of a run lives in the library's globals."""
        directories = tmp_path / "one", tmp_path / "two"
        trackers = [self.make(directory) for directory in directories]
        for tracker in trackers:
            tracker.start()
        for step in range(3):
            for number, tracker in enumerate(trackers):
                tracker.deliver([_log({"m": float(number)}, step=step)])
        for tracker, directory, value in zip(trackers, directories, (0.0, 1.0), strict=True):
            end(tracker, "finished")
            assert self._seen(tracker, directory).values("m") == [value] * 3

    # --- the methods that users call ---

    def test_methods_take_what_the_facade_takes(self, tmp_path: Path) -> None:
        """`RecordTracker` does this for you."""
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        batch = _picture((2, 4, 5, 3), "uint8")
        tracker = self.make(tmp_path / "run")
        tracker.start()
        tracker.store_init_configuration({"lr": numpy.float32(0.5), "nested": {"a": [1]}})
        tracker.log({"a": numpy.float32(1.5), "b": numpy.array(2)}, step=numpy.int64(4))  # type: ignore[arg-type]  # users do
        tracker.log_images({"batch": batch}, step=5)
        tracker.log_table("table", columns=["x"], data=[[1]], step=6)
        tracker.log_artifact(model)
        tracker.set_tags(["good"])
        end(tracker, "finished")
        seen = self._seen(tracker, tmp_path / "run")
        assert [(p.step, p.value) for p in seen.points("a")] == [(4, 1.5)]
        assert seen.values("b") == [2.0]
        assert [pixels_of(image).tolist() for image in seen.media("batch")] == batch.tolist()
        (table,) = seen.media("table")
        assert _texts(table.rows) == [["1"]]
        assert seen.files()["model.bin"] == b"weights"
        assert seen.config == {"lr": 0.5, "nested": {"a": [1]}}
        assert seen.tags == {"good": None}

    def test_a_step_that_is_no_integer_is_refused_by_name(self, tmp_path: Path) -> None:
        """`RecordTracker` does this for you; the facade keeps the row and warns."""
        tracker = self.make(tmp_path)
        tracker.start()
        with pytest.raises(StepError, match=tracker.name):
            tracker.log({"m": 1.0}, step="ten")  # type: ignore[arg-type]  # the point of the test
        end(tracker, "finished")

    def test_the_facade_brings_everything(self, tmp_path: Path) -> None:
        """The whole way: `Tracking` in, the library's reader out."""
        tracker = self.make(tmp_path)
        with Tracking(tracker, tmp_path, delivery="inline") as tracking:
            tracking.init_trackers("project", config={"lr": 0.1})
            with pytest.warns(TrackingWarning, match="could not store 'bad'"):
                tracking.log({"loss": numpy.float32(0.5), "bad": object()}, step=1)
        seen = self._seen(tracker, tmp_path)
        assert seen.values("loss") == [0.5]
        assert seen.config == {"lr": 0.1}
        assert seen.status == "finished"
        assert tracking.status()[tracker.name].failed == 0

    def test_what_is_said_in_the_delivery_process_reaches_the_user(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Say with `tracking_core.rejections.say` what users should know; logs they do not read."""
        monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))
        kind, arguments = self._constructed(tmp_path / "run", monkeypatch)
        if LOGGER_TYPE_TO_CLASS.is_registered(kind.name):
            pytest.skip("no installed package has this class, which another process has to find")
        monkeypatch.setitem(LOGGER_TYPE_TO_CLASS._registered, kind.name, outspoken(kind))
        tracking = Tracking(kind.name, tmp_path / "run", delivery="process")
        with pytest.warns(TrackingWarning, match=WORDS):
            tracking.init_trackers("conformance", init_kwargs={kind.name: arguments})
            tracking.log({"m": 1.0}, step=0)
            tracking.end_training(timeout=LONGEST_DELIVERY)
        assert tracking.status()[kind.name].state == "ended"

    def _constructed(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[type[GeneralTracker], dict[str, Any]]:
        """The class that `make` constructs, and the keyword arguments that it does it with."""
        kind = type(self.make(directory))
        given: dict[str, Any] = {}
        construct = kind.__init__

        def noted(tracker: GeneralTracker, *places: Any, **arguments: Any) -> None:
            paths = {key: os.fspath(one) for key, one in arguments.items() if _is_path(one)}
            given.update(arguments | paths)
            construct(tracker, *places, **arguments)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "__init__", noted)
            self.make(directory)
        return kind, given

    def test_whatever_is_logged_lands_or_is_named(self, tmp_path: Path) -> None:
        """Nothing raises out of `Tracking.log`, and nothing is lost without a word."""
        places = itertools.count()

        @few_examples
        @given(config=configs, rows=rows)
        def check(config: dict[Any, Any], rows: list[tuple[dict[Any, Any], Any]]) -> None:
            directory = tmp_path / f"example{next(places)}"
            tracker, memory = self.make(directory), MemoryTracker()
            with warnings.catch_warnings(), Tracking([tracker, memory], delivery="inline") as run:
                warnings.simplefilter("ignore", TrackingWarning)
                run.init_trackers("project", config=config)
                for values, step in rows:
                    run.log(values, step=step)
            status = run.status()[tracker.name]
            assert (status.state, status.failed, status.last_error) == ("ended", 0, None)
            named = {rejection.key for rejection in status.rejected}
            found = self._seen(tracker, directory)
            expected = Seen(memory.records)
            for key in expected.keys - named:
                assert self._points(found, key) == self._points(expected, key), key
            assert _comparable(found.config) == _comparable(expected.config)

        check()

    def _points(self, seen: Seen, key: str) -> list[tuple[int, str]]:
        """Steps and values of `key`, sorted; numbers as the library stores them."""
        return sorted((point.step, self._said(point.value)) for point in seen.points(key))

    def _said(self, value: object) -> str:
        # No library is asked to tell -0.0 from 0.0: plus zero makes it 0.0.
        return repr(self._stored(float(value)) + 0.0 if isinstance(value, (int, float)) else value)


STANDARD_TESTS = sorted(name for name in vars(TrackerConformance) if name.startswith("test_"))

MUST_RETURN = {
    "make": "(self, directory): return a new tracker that keeps its run below `directory`, not started",
    "read_back": "(self, tracker, directory): return the records of the finished run of `tracker`, "
    "read through its library's own reader",
}


def _undefined(cls: type, name: str) -> str:
    return f"{cls.__name__} must define {name}{MUST_RETURN[name]}"


def _is_path(value: object) -> bool:
    return isinstance(value, os.PathLike)


def _marks(test: object, *names: str) -> list[pytest.Mark]:
    return [mark for mark in getattr(test, "pytestmark", []) if mark.name in names]


class Unasked(io.TextIOBase):
    """A standard input that nobody may read; what it is called and whether it is a terminal it says."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True  # where a library would ask

    def _asked(self, *_: object) -> Any:
        raise AssertionError("sys.stdin was read: a tracker must never ask")

    read = readline = readlines = fileno = __next__ = _asked


def _process_state() -> dict[str, object]:
    """What of the process a library might change."""
    return {
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.stdout.write, sys.stderr.write),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "signals": {name: signal.getsignal(name) for name in signal.valid_signals()},
        "logging": (logging.root.level, list(logging.root.handlers)),
        "patched": (builtins.print, os.fork, os._exit, argparse.ArgumentParser.parse_args),
    }


def _log(values: dict[str, Any], step: int, wall_time: float = AN_HOUR_AGO) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, wall_time)


def _log_plain(values: dict[str, Any]) -> Log:
    return Log(values, 0, 0, AN_HOUR_AGO)


def _captured(value: object) -> Any:
    return capture({"value": value})[0]["value"]


def _encoded_figure(drawn: Any) -> Any:
    data, suffix = image_file(drawn)
    return type(drawn)(data, drawn.width, drawn.height, 0, format=suffix, figure=True)


def _picture(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    numbers = numpy.random.default_rng(seed)
    if dtype == "uint8":
        return numbers.integers(0, 256, shape, dtype="uint8")
    return numbers.random(shape, dtype="float32")


ODD = "odd 50%" if os.name == "nt" else "odd \udcff\udcfe"  # bytes that are no text
PLAIN = {"tree/a.txt", "tree/inner/b.txt", "tree/linked/b.txt", "tree/latest.txt"}
"""Files of `_tree_of_everything` with names that every tool can show."""


def _tree_of_everything(tree: Path) -> tuple[Path, dict[str, bytes], list[str]]:
    """A folder, the files in it that can be kept, as artifacts, and what else is in it."""
    deep = "/".join(["deep"] * 40)
    contents = {
        "a.txt": b"a",
        "inner/b.txt": b"b",
        "empty": b"",
        f"{deep}/c.txt": b"c",
        "old": b"from 1970",
        ODD: b"odd",
        **({} if os.name == "nt" else {"new\nline": b"n"}),
    }
    for name, content in contents.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    os.utime(tree / "old", (0, 0))
    left_out = []
    try:
        (tree / "latest.txt").symlink_to("a.txt")
        (tree / "linked").symlink_to("inner")
        (tree / "nowhere").symlink_to("gone")
        (tree / "self").symlink_to(".")
    except OSError:  # Windows, without the right to make one
        pass
    else:
        contents |= {"latest.txt": b"a", "linked/b.txt": b"b"}
        left_out += ["nowhere", "self"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tree / "pipe")
        left_out.append("pipe")
    if hasattr(socket, "AF_UNIX"):
        here = os.getcwd()
        os.chdir(tree)  # the whole path of a socket must be short
        try:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("socket")
        finally:
            os.chdir(here)
        left_out.append("socket")
    (tree / "unreadable").write_bytes(b"secret")
    (tree / "unreadable").chmod(0)
    if os.access(tree / "unreadable", os.R_OK):  # root may read everything
        (tree / "unreadable").unlink()
    else:
        left_out.append("unreadable")
    return tree, {f"tree/{name}": content for name, content in contents.items()}, left_out


def _without_waiting(folder: Path, tracker: GeneralTracker, record: Record) -> None:
    """Have `tracker` take `record`, in a thread, because a pipe would be waited for for ever."""
    done: list[BaseException | None] = []

    def deliver() -> None:
        try:
            tracker.deliver([record])
        except BaseException as error:
            done.append(error)
        else:
            done.append(None)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(LONGEST_DELIVERY)
    if thread.is_alive():
        # Whoever waits for it may go on.
        os.close(os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK))
        thread.join(LONGEST_DELIVERY)
        pytest.fail("deliver() waits for a pipe, as if it were a file")
    if done[0] is not None:
        raise done[0]


def _texts(rows: Iterable[Iterable[object]]) -> list[list[str]]:
    """Cells as text: a table kept as CSV has no other type."""
    return [["" if cell is None else str(cell) for cell in row] for row in rows]


def _comparable(config: Any) -> Any:
    """`config` with NaN, which differs from itself, replaced by its name."""
    if isinstance(config, dict):
        return {key: _comparable(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_comparable(value) for value in config]
    return "nan" if isinstance(config, float) and math.isnan(config) else config
