"""What a tracker is: the contract, its defaults, and the short way to write one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import GeneralTracker, PartialState, StepError, Tracking, on_main_process
from tracking_core.records import Config, Log, LoggedTable, Tags
from tracking_core.testing import MemoryTracker
from tracking_core.tracker import NullTracker, RecordTracker, end, whole_step


class Notebook(GeneralTracker):
    """Only what Accelerate asks for."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[dict[str, Any], int | None]] = []
        self.configs: list[dict[str, Any]] = []

    @property
    def tracker(self) -> list[tuple[dict[str, Any], int | None]]:
        return self.rows

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configs.append(values)

    def log(self, values: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]  # as written for Accelerate
        self.rows.append((values, step))


def test_everything_that_is_missing_is_named_in_one_message() -> None:
    class Nothing(GeneralTracker):
        pass

    with pytest.raises(NotImplementedError) as caught:
        Nothing()
    assert "`name`, `requires_logging_directory`, `tracker`" in str(caught.value)


def test_a_single_missing_attribute_is_named() -> None:
    class Nameless(GeneralTracker):
        requires_logging_directory = False

        @property
        def tracker(self) -> None:
            return None

    with pytest.raises(NotImplementedError, match=r"Nameless\).* `name`$"):
        Nameless()


def test_a_blank_tracker_needs_nothing() -> None:
    blank = GeneralTracker(_blank=True)
    blank.start()
    blank.log({"a": 1}, step=0)
    blank.finish()


def test_the_rank_is_looked_at_when_the_method_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Notebook):
        @on_main_process
        def log(self, values: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]  # as written for Accelerate
            super().log(values, step)

    PartialState._shared_state.clear()
    tracker = Counting()
    assert PartialState._shared_state == {}
    tracker.log({"a": 1})
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    tracker.log({"a": 2})
    assert tracker.rows == [({"a": 1}, None)]
    tracker.main_process_only = False
    PartialState._shared_state.clear()
    tracker.log({"a": 3})
    assert tracker.rows[-1] == ({"a": 3}, None)
    assert PartialState._shared_state == {}, "the process must not be looked at without need"


class TestDefaults:
    """What a tracker that has only `log` makes of everything else."""

    def test_scalars_and_nested_dicts_arrive_as_they_are(self) -> None:
        notebook = Notebook()
        notebook.deliver([Log({"a": 1.0, "g": {"b": 2}}, 3, 3, 0.0)])
        assert notebook.rows == [({"a": 1.0, "g": {"b": 2}}, 3)]

    def test_images_become_notes(self) -> None:
        notebook = Notebook()
        notebook.log_images({"cats": [numpy.zeros((4, 6, 3), "uint8")] * 2}, step=1)
        assert notebook.rows == [({"cats": "image 6x4, image 6x4"}, 1)]

    def test_tables_become_markdown(self) -> None:
        notebook = Notebook()
        notebook.log_table("t", columns=["a"], data=[[1]], step=2)
        assert notebook.rows == [({"t": "| a |\n| --- |\n| 1 |"}, 2)]

    def test_artifacts_become_their_place_and_size(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.txt").write_text("bb")
        (tmp_path / "a.txt").write_text("a")
        notebook = Notebook()
        notebook.log_artifact(tmp_path / "a.txt", "models")
        notebook.log_artifacts(tmp_path, "all")
        assert [row for row, _ in notebook.rows] == [
            {"artifacts/models/a.txt": f"{tmp_path}/a.txt (1 bytes)"},
            {"artifacts/all/a.txt": f"{tmp_path}/a.txt (1 bytes)"},
            {"artifacts/all/sub/b.txt": f"{tmp_path}/sub/b.txt (2 bytes)"},
        ]

    def test_tags_become_configuration(self) -> None:
        notebook = Notebook()
        notebook.set_tags(["good", "final"])
        notebook.deliver([Tags({"team": "vision"}, 0.0), Config({"lr": 1}, 0.0)])
        assert notebook.configs == [
            {"tags": {"good": None, "final": None}},
            {"tags": {"team": "vision"}},
            {"lr": 1},
        ]

    def test_one_row_of_all_kinds_reaches_every_method(self, tmp_path: Path) -> None:
        (tmp_path / "m.bin").write_bytes(b"123")
        notebook = Notebook()
        from tracking_core import Artifact, Histogram, Image, Table
        from tracking_core.capture import capture

        values, rejected = capture(
            {
                "loss": 1.0,
                "group": {"acc": 0.5, "image": Image(numpy.zeros((2, 2)))},
                "table": Table(["x"], [[1]]),
                "weights": Histogram([1.0, 2.0]),
                "model": Artifact(tmp_path / "m.bin"),
            }
        )
        assert not rejected
        notebook.deliver([Log(values, None, 7, 0.0)])
        said: dict[str, Any] = {}
        for row, step in notebook.rows:
            assert step is None
            said.update(row)
        assert said["loss"] == 1.0
        assert said["group"] == {"acc": 0.5}
        assert said["group/image"] == "image 2x2"
        assert said["table"].startswith("| x |")
        assert said["weights"] == "histogram"
        assert said["artifacts/model/m.bin"].endswith("(3 bytes)")

    def test_options_that_its_log_does_not_take_are_named(self) -> None:
        notebook = Notebook()
        with pytest.warns(UserWarning, match="its log\\(\\) has no such argument"):
            notebook.deliver([Log({"a": 1}, 0, 0, 0.0, {"notebook": {"commit": True}})])
        assert notebook.rows == [({"a": 1}, 0)]

    def test_overridden_methods_get_media_that_numpy_understands(self) -> None:
        class Gallery(Notebook):
            def log_images(self, values: Any, step: int | None = None, **kwargs: Any) -> None:
                self.pictures = {key: [numpy.asarray(i) for i in v] for key, v in values.items()}

        gallery = Gallery()
        picture = numpy.arange(24, dtype="uint8").reshape(2, 4, 3)
        Tracking(gallery).init_trackers("p")
        from tracking_core import Image
        from tracking_core.capture import capture

        gallery.deliver([Log(capture({"cat": Image(picture)})[0], 0, 0, 0.0)])
        assert numpy.array_equal(gallery.pictures["cat"][0], picture)


class TestRecordTracker:
    """Whatever a user calls arrives in `deliver` as one record."""

    def test_every_method_becomes_a_record(self, memory: MemoryTracker, tmp_path: Path) -> None:
        (tmp_path / "m").write_text("x")
        memory.store_init_configuration({"lr": numpy.float32(0.5)})
        memory.set_tags({"team": "nlp"})
        memory.log({"a": numpy.float64(1)}, step=numpy.int64(4), commit=True)  # type: ignore[arg-type]  # users do
        memory.log_images({"i": numpy.zeros((2, 3, 2, 2))}, dataformats="NCHW")
        memory.log_table("t", columns=["a"], data=[[1]])
        memory.log_artifacts(tmp_path)
        config, tags, row, images, table, files = memory.records
        assert isinstance(config, Config) and config.values == {"lr": 0.5}
        assert isinstance(tags, Tags) and tags.values == {"team": "nlp"}
        assert isinstance(row, Log) and (row.values, row.step) == ({"a": 1.0}, 4)
        assert row.options == {"memory": {"commit": True}}
        assert isinstance(images, Log) and (images.step, images.position) == (None, 5)
        assert [image.channels for image in images.values["i"]] == [3, 3]  # type: ignore[union-attr]  # a list of images
        assert isinstance(table, Log) and isinstance(table.values["t"], LoggedTable)
        assert isinstance(files, Log) and files.values[tmp_path.name].directory  # type: ignore[union-attr]  # a file

    def test_it_must_define_deliver(self) -> None:
        class Forgetful(RecordTracker):
            name = "forgetful"
            requires_logging_directory = False
            tracker = None  # type: ignore[assignment]  # any attribute will do

        with pytest.raises(NotImplementedError, match="Forgetful must define deliver"):
            Forgetful().log({"a": 1})

    def test_what_it_can_not_store_is_counted_and_said_once(self, memory: MemoryTracker) -> None:
        with pytest.warns(
            UserWarning, match=r"tracker 'memory' could not store 'x' \(object\)"
        ) as w:
            memory.log({"x": object(), "ok": 1})
            memory.log({"x": object()})
        assert len(w) == 1
        assert list(memory.rejections.counts.values()) == [2]
        assert memory.values("ok") == [1]

    def test_a_wrong_step_names_the_tracker(self, memory: MemoryTracker) -> None:
        with pytest.raises(
            StepError, match="tracker 'memory': a step must be an integer, not a float"
        ):
            memory.log({"a": 1}, step=1.5)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("step", "expected"),
    [(None, None), (3, 3), (True, 1), (numpy.int64(2**40), 2**40), (numpy.array(5), 5), (4.0, 4)],
)
def test_whole_steps(step: object, expected: int | None) -> None:
    found = whole_step(step)
    assert found == expected
    assert found is None or type(found) in (int, bool)


@pytest.mark.parametrize("step", [1.5, "1", float("nan"), float("inf"), object(), [1], 1j])
def test_other_steps_are_refused(step: object) -> None:
    with pytest.raises(StepError, match="a step must be an integer"):
        whole_step(step)


def test_finish_gets_the_status_only_if_it_takes_one() -> None:
    class Old(Notebook):
        def finish(self) -> None:  # type: ignore[override]  # as written for Accelerate
            self.ended = "without status"

    class New(Notebook):
        def finish(self, status: str = "finished") -> None:
            self.ended = status

    old, new = Old(), New()
    end(old, "killed")
    end(new, "killed")
    assert (old.ended, new.ended) == ("without status", "killed")


def test_a_type_error_of_finish_itself_is_not_swallowed() -> None:
    class Broken(Notebook):
        def finish(self, status: str = "finished") -> None:
            raise TypeError("broken inside")

    with pytest.raises(TypeError, match="broken inside"):
        end(Broken(), "finished")


def test_a_null_tracker_takes_everything() -> None:
    null = NullTracker()
    assert isinstance(null, GeneralTracker)
    assert not null
    null.start()
    null.log({"a": 1}, step=0)
    null.log_images({}).anything.at.all(1, two=2)
    null.tracker.watch(object())
    null.run.config.update({"a": 1})
    with null as inside:
        inside.log({})


def test_the_defaults_write_what_csv_users_expect(tmp_path: Path) -> None:
    """A tracker in the style of Accelerate's own test suite: no base constructor, no kwargs."""

    class CsvTracker(GeneralTracker):
        name = "csv"
        requires_logging_directory = False

        def __init__(self, folder: Path) -> None:
            self.file = open(folder / "log.csv", "w", newline="")  # noqa: SIM115 - closed by finish
            self.writer = csv.DictWriter(self.file, ["total_loss", "text"])
            self.writer.writeheader()

        @property
        def tracker(self) -> Any:
            return self.writer

        def log(self, values: dict[str, Any], step: int | None) -> None:  # type: ignore[override]  # as written for Accelerate
            self.writer.writerow(values)

        def finish(self) -> None:  # type: ignore[override]  # as written for Accelerate
            self.file.close()

    tracking = Tracking(CsvTracker(tmp_path), delivery="inline")
    tracking.init_trackers("project")
    tracking.log({"total_loss": numpy.float32(0.5), "text": "hi"}, step=0)
    tracking.end_training()
    assert (tmp_path / "log.csv").read_text().splitlines() == ["total_loss,text", "0.5,hi"]
