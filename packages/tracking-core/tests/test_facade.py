"""One call in, every tracker behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import (
    AlreadyStartedError,
    Artifact,
    GeneralTracker,
    Image,
    NoTrackerError,
    NotStartedError,
    TrackerNotInstalledError,
    Tracking,
    TrackingError,
    TrackingWarning,
    UnknownTrackerError,
    register_tracker_class,
    runs,
)
from tracking_core.records import Config, Log
from tracking_core.testing import MemoryTracker, MisbehavingTracker


def test_one_call_reaches_every_tracker() -> None:
    trackers = [MemoryTracker(), MemoryTracker()]
    with Tracking(trackers, delivery="inline") as tracking:
        before = time.time()
        tracking.init_trackers("project", config={"lr": 0.1})
        tracking.log({"loss": 0.5, "val": {"acc": 1}}, step=3)
        tracking.log_images({"cat": numpy.zeros((2, 2, 3), "uint8")}, step=4)
        tracking.log_table("wrong", columns=["x"], data=[[1]])
        tracking.set_tags(["good"])
    for tracker in trackers:
        assert tracker.calls[0] == "start"
        assert isinstance(tracker.records[0], Config)
        assert tracker.config == {"lr": 0.1}
        assert [(row.step, row.position) for row in tracker.rows] == [(3, 3), (4, 4), (None, 5)]
        assert tracker.values("val/acc") == [1]
        assert tracker.tags == {"good": None}
        assert tracker.status == "finished"
        assert all(before <= record.wall_time <= time.time() for record in tracker.records)


def test_trackers_are_built_by_name_with_their_arguments(tmp_path: Path) -> None:
    class Shelf(MemoryTracker):
        name = "shelf"
        requires_logging_directory = True

        def __init__(self, run_name: str, logging_dir: Path, colour: str = "") -> None:
            super().__init__(run_name)
            self.place, self.colour = logging_dir, colour

    register_tracker_class(Shelf)
    register_tracker_class(MemoryTracker)
    tracking = Tracking(["shelf", "memory"], logging_dir=tmp_path, delivery="inline")
    tracking.init_trackers(
        "project", init_kwargs={"shelf": {"colour": "red"}, "memory": {"entity": "me"}}
    )
    shelf, memory = tracking.trackers
    assert isinstance(shelf, Shelf) and isinstance(memory, MemoryTracker)
    assert (shelf.run_name, shelf.place, shelf.colour) == ("project", tmp_path, "red")
    assert (memory.run_name, memory.kwargs) == ("project", {"entity": "me"})
    assert shelf.config == {}, "no config was given, so none is stored"
    tracking.end_training()


def test_options_go_to_the_tracker_that_they_name(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    tracking.log({"a": 1}, step=0, log_kwargs={"memory": {"commit": False}, "wandb": {"x": 1}})
    assert memory.rows[0].options["memory"] == {"commit": False}
    tracking.end_training()


def test_init_kwargs_for_a_name_that_nobody_knows_are_said(memory: MemoryTracker) -> None:
    with pytest.warns(TrackingWarning, match="init_kwargs names the tracker 'wanbd'"):
        Tracking(memory, delivery="inline").init_trackers(
            "p", init_kwargs={"wanbd": {}, "wandb": {}}
        )


@pytest.mark.parametrize("first", ["instance", "name"])
def test_init_kwargs_are_for_the_tracker_that_is_made_beside_an_instance_of_its_name(
    memory: MemoryTracker, first: str
) -> None:
    register_tracker_class(MemoryTracker)
    chosen = [memory, "memory"] if first == "instance" else ["memory", memory]
    tracking = Tracking(chosen, delivery="inline")
    tracking.init_trackers("p", init_kwargs={"memory": {"entity": "me"}})
    (made,) = [tracker for tracker in tracking.trackers if tracker is not memory]
    assert isinstance(made, MemoryTracker)
    assert made.kwargs == {"entity": "me"}
    tracking.end_training()


def test_a_constructor_that_refuses_its_arguments_raises(memory: MemoryTracker) -> None:
    class Strict(MemoryTracker):
        def __init__(self, run_name: str) -> None:
            super().__init__(run_name)

    register_tracker_class(Strict)
    tracking = Tracking("memory", delivery="inline")
    with pytest.raises(TypeError, match="colour"):
        tracking.init_trackers("p", init_kwargs={"memory": {"colour": "red"}})
    with pytest.raises(TypeError, match=r"init_kwargs\['memory'\] must be a dict .* not a int"):
        tracking.init_trackers("p", init_kwargs={"memory": 5})  # type: ignore[dict-item]  # the point of the test
    with pytest.raises(TypeError, match=r"init_kwargs must be a dict .* not a list"):
        tracking.init_trackers("p", init_kwargs=["memory"])  # type: ignore[arg-type]  # likewise
    tracking.init_trackers("p")
    assert len(tracking.trackers) == 1, "the failed attempt must not count as a start"
    tracking.end_training()


class TestALife:
    def test_a_second_start_is_refused(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        with pytest.raises(AlreadyStartedError, match="call end_training"):
            tracking.init_trackers("p")
        assert len(tracking.trackers) == 1
        tracking.end_training()

    def test_a_next_run_may_follow_the_end(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        first = tracking.run_id
        tracking.end_training()
        tracking.init_trackers("p")
        assert tracking.run_id not in (None, first)
        tracking.end_training()
        assert memory.calls == ["start", "finish", "start", "finish"]

    def test_nothing_is_logged_before_the_start_and_after_the_end(
        self, memory: MemoryTracker
    ) -> None:
        tracking = Tracking(memory, delivery="inline")
        with pytest.warns(
            TrackingWarning, match=r"log\(\) .* call init_trackers\(\) first"
        ) as early:
            tracking.log({"a": 1})
            tracking.log({"a": 1})
        tracking.init_trackers("p")
        tracking.end_training()
        with pytest.warns(TrackingWarning, match=r"set_tags\(\) .* end_training\(\)") as late:
            tracking.set_tags(["a"])
            tracking.set_tags(["a"])
        tracking.end_training()
        assert memory.calls == ["start", "finish"]
        assert (len(early), len(late)) == (1, 1), "once is enough"
        assert {rejection.key: count for rejection, count in tracking.rejected.items()} == {
            "log() before init_trackers()": 2,
            "set_tags() after end_training()": 2,
        }

    def test_without_trackers_nothing_is_said(self, recwarn: pytest.WarningsRecorder) -> None:
        tracking = Tracking()
        tracking.log({"a": 1})
        tracking.init_trackers("p")
        tracking.end_training()
        tracking.log({"a": 1})
        assert not recwarn.list

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (None, "finished"),
            (ValueError("x"), "failed"),
            (KeyboardInterrupt(), "killed"),
            (SystemExit(0), "finished"),
            (SystemExit(3), "failed"),
        ],
    )
    def test_a_block_says_how_it_ended(
        self, memory: MemoryTracker, error: BaseException | None, status: str
    ) -> None:
        try:
            with Tracking(memory, delivery="inline") as tracking:
                tracking.init_trackers("p")
                if error is not None:
                    raise error
        except BaseException as raised:
            assert raised is error
        assert memory.status == status

    def test_an_unknown_status_is_refused(self, memory: MemoryTracker) -> None:
        with pytest.raises(ValueError, match="'done' is none of finished, failed, killed"):
            Tracking(memory, delivery="inline").end_training("done")  # type: ignore[arg-type]  # the point of the test

    def test_an_unknown_lane_is_refused(self) -> None:
        with pytest.raises(ValueError, match="delivery='fast' is none of"):
            Tracking(delivery="fast")  # type: ignore[arg-type]  # the point of the test


class TestGetTracker:
    def test_it_gives_the_tracker_or_its_native_object(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        assert tracking.get_tracker("memory") is memory
        assert tracking.get_tracker("memory", unwrap=True) is memory.records
        with pytest.raises(
            UnknownTrackerError, match=r"wandb is not an available tracker .* log_with"
        ):
            tracking.get_tracker("wandb")
        tracking.end_training()
        assert tracking.get_tracker("memory") is memory, "its run can still be looked at"

    @pytest.mark.parametrize("delivery", ["inline", "thread"])
    def test_of_two_with_one_name_the_second_has_a_number(self, delivery: Any) -> None:
        first, second = MemoryTracker(), MemoryTracker()
        tracking = Tracking([first, second], delivery=delivery)
        tracking.init_trackers("p")
        assert tracking.get_tracker("memory") is first
        assert tracking.get_tracker("memory#2") is second
        assert list(tracking.status()) == ["memory", "memory#2"]
        with pytest.raises(UnknownTrackerError, match="it has memory, memory#2;"):
            tracking.get_tracker("memory#3")
        tracking.end_training()

    def test_too_early_is_an_error(self, memory: MemoryTracker) -> None:
        with pytest.raises(NotStartedError, match="call init_trackers"):
            Tracking(memory, delivery="inline").get_tracker("memory")

    def test_without_trackers_it_gives_one_that_does_nothing(self) -> None:
        tracking = Tracking()
        tracking.init_trackers("p")
        assert not tracking.get_tracker("wandb")
        tracking.get_tracker("wandb", unwrap=True).run.log({})


class TestOffTheMainProcess:
    @pytest.fixture(autouse=True)
    def _rank_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")

    def test_every_call_does_nothing(self, memory: MemoryTracker, tmp_path: Path) -> None:
        register_tracker_class(MemoryTracker)
        with Tracking(["memory", memory], logging_dir=tmp_path) as tracking:
            tracking.init_trackers("p", config={"a": 1})
            tracking.log({"a": 1}, step=0)
            tracking.log_images({"a": numpy.zeros((2, 2))})
            tracking.log_table("t", columns=["a"], data=[[1]])
            tracking.log_artifact(tmp_path)
            tracking.set_tags(["a"])
            assert tracking.flush()
            assert tracking.trackers == []
            assert tracking.status() == {}
            null = tracking.get_tracker("memory")
            null.log_images({"a": 1}, step=0)
            assert not null
        assert memory.calls == []
        assert list(tmp_path.iterdir()) == []

    def test_a_second_start_is_refused_there_too(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        with pytest.raises(AlreadyStartedError):
            tracking.init_trackers("p")


class TestNothingRaisesOutOfLog:
    @pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
    @pytest.mark.parametrize("values", [None, 3, "text", [1, 2], object(), numpy.zeros(3)])
    def test_values_that_are_no_dict(self, memory: MemoryTracker, values: Any) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        tracking.log(values)
        tracking.log_images(values)
        assert memory.rows == []
        (rejection, *_) = tracking.rejected
        assert "must be a dict" in rejection.reason
        tracking.end_training()

    def test_a_step_that_is_no_integer_is_named_and_the_row_kept(
        self, memory: MemoryTracker
    ) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        tracking.log({"a": 1}, step=7)
        with pytest.warns(TrackingWarning, match="'step'.*must be an integer, not a str"):
            tracking.log({"a": 2}, step="ten")  # type: ignore[arg-type]  # the point of the test
        assert [(row.step, row.position) for row in memory.rows] == [(7, 7), (None, 8)]
        tracking.end_training()

    def test_the_other_values_of_the_call_land(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        with pytest.warns(TrackingWarning) as said:
            for _ in range(3):
                tracking.log({"good": 1.0, "bad": object(), "nested": {"worse": {1, 2}}})
        assert memory.values("good") == [1.0] * 3
        assert sorted((r.key, r.type, n) for r, n in tracking.rejected.items()) == [
            ("bad", "object", 3),
            ("nested/worse", "set", 3),
        ]
        assert len(said) == 2, "once for each key"
        assert said[0].filename == __file__, "the warning points at the user's line"
        tracking.end_training()

    def test_what_is_lost_of_a_value_is_said_once_and_counted(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        picture = numpy.array([[-1.0, 1.0]])
        with pytest.warns(TrackingWarning) as said:
            for _ in range(3):
                tracking.log({"sample": Image(picture), "fine": Image(abs(picture))})
                tracking.log_images({"batch": picture[None, ..., None]})
            tracking.log_table("table", ["x"], [[Image("/no such.png")]])
        assert len(memory.values("sample")) == len(memory.values("batch")) == 3
        assert [(r.key, r.type, n) for r, n in tracking.changed.items()] == [
            ("sample", "tracking_core.values.Image", 3),
            ("batch", "numpy.ndarray", 3),
            ("table", "tracking_core.values.Table", 1),
        ]
        assert tracking.rejected == {}
        assert len(said) == 3, "once for each key"
        assert str(said[0].message).startswith("log() took 'sample'")
        assert said[0].filename == __file__, "the warning points at the user's line"
        tracking.end_training()

    def test_a_configuration_that_raises_begins_its_run_all_the_same(
        self, memory: MemoryTracker
    ) -> None:
        class Proxy:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p", config={"proxy": Proxy(), "lr": 0.1})
        tracking.log({"a": 1})
        tracking.end_training()
        assert memory.config == {"proxy": "<reading it raised RuntimeError>", "lr": 0.1}
        assert memory.values("a") == [1]

    def test_a_missing_file_is_named(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        with pytest.warns(TrackingWarning) as said:
            tracking.log_artifact("/no/such/file")
            tracking.log({"m": Artifact("/no/such/file"), "i": Image("/no/such.png"), "ok": 1})
        assert [str(warning.message).partition(" could not")[0] for warning in said] == [
            "log()"
        ] * 3
        assert "no such file or directory: '/no/such/file'" in str(said[0].message)
        assert memory.values("ok") == [1]
        tracking.end_training()

    @pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
    @pytest.mark.parametrize("options", [3, {"memory": 3}, [1], {"memory": None}, numpy.zeros(3)])
    def test_options_that_are_no_dicts(self, memory: MemoryTracker, options: Any) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        tracking.log({"a": 1}, log_kwargs=options)
        tracking.log_artifact(None)  # type: ignore[arg-type]  # the point of the test
        tracking.set_tags(3)  # type: ignore[arg-type]  # likewise
        assert memory.values("a") == [1]
        tracking.end_training()

    def test_warnings_turned_into_errors_do_not_raise_either(self, memory: MemoryTracker) -> None:
        tracking = Tracking(memory, delivery="inline")
        tracking.init_trackers("p")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tracking.log({"bad": object(), "good": 1})
        assert memory.values("good") == [1]
        tracking.end_training()


class TestOneTrackerCanNotHurtAnother:
    @pytest.mark.parametrize("method", ["start", "deliver", "finish"])
    def test_one_that_raises_is_named_and_left_behind(self, method: str) -> None:
        def misbehave(called: str) -> None:
            if called == method:
                raise ConnectionError("server went away")

        bad, good = MisbehavingTracker(misbehave), MemoryTracker()
        tracking = Tracking([bad, good], delivery="inline")
        with pytest.warns(
            TrackingWarning, match="'misbehaving' did not .*server went away"
        ) as said:
            tracking.init_trackers("p", config={"a": 1})
            for step in range(3):
                tracking.log({"loss": 1.0}, step=step)
            tracking.end_training()
        kinds = 2 if method == "deliver" else 1
        assert len(said) == kinds, "once for each kind of failure"
        assert good.values("loss") == [1.0] * 3
        assert good.status == "finished"
        status = tracking.status()
        assert status["misbehaving"].last_error == "ConnectionError: server went away"
        assert status["misbehaving"].failed == (4 if method == "deliver" else 0)
        assert status["memory"].delivered == 4
        assert status["memory"].last_error is None
        if method == "start":
            assert status["misbehaving"].state == "failed"
            assert bad.calls == ["start"], "what did not start gets nothing"

    def test_what_must_stop_the_program_stops_it(self) -> None:
        def misbehave(called: str) -> None:
            if called == "deliver":
                raise KeyboardInterrupt

        tracking = Tracking(MisbehavingTracker(misbehave), delivery="inline")
        tracking.init_trackers("p")
        with pytest.raises(KeyboardInterrupt):
            tracking.log({"a": 1})
        tracking.end_training()


def test_two_trackers_of_one_name_are_told_apart_in_the_status() -> None:
    tracking = Tracking([MemoryTracker(), MemoryTracker()], delivery="inline")
    tracking.init_trackers("p")
    assert list(tracking.status()) == ["memory", "memory#2"]
    tracking.end_training()


def test_values_are_copied_at_the_call(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    picture, inner = numpy.zeros((2, 2), "uint8"), {"a": 1}
    tracking.log({"image": Image(picture), "inner": inner})
    picture[:], inner["a"] = 255, 2
    row = memory.rows[0]
    assert row.values["image"].data == b"\0" * 4  # type: ignore[union-attr]  # an image
    assert row.values["inner"] == {"a": 1}
    tracking.end_training()


def test_threads_may_log_at_once(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")

    def work(name: str) -> None:
        for step in range(200):
            tracking.log({name: step}, step=step)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        assert memory.values(f"t{number}") == list(range(200))
    tracking.end_training()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_a_forked_child_neither_logs_nor_ends_the_run(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    child = os.fork()
    if not child:
        try:
            tracking.log({"a": 1})
            tracking.end_training()
            os._exit(0 if memory.calls == ["start"] else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    tracking.log({"a": 2})
    assert memory.values("a") == [2]
    tracking.end_training()


class TestInterpreterExit:
    """A run that nobody ended."""

    def run(self, program: str) -> str:
        script = """
            from tracking_core import Tracking
            from tracking_core.testing import MemoryTracker
            class Talking(MemoryTracker):
                def finish(self, status="finished"):
                    print(status, self.values("a"))
            def train():
                tracking = Tracking(Talking(), delivery="inline")
                tracking.init_trackers("p")
                tracking.log({"a": 1})
            train()
        """
        code = textwrap.dedent(script) + textwrap.dedent(program)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def test_it_is_ended_as_finished(self) -> None:
        assert self.run("") == "finished [1]\n"

    def test_after_an_uncaught_error_it_failed(self) -> None:
        assert self.run("raise ValueError('boom')") == "failed [1]\n"

    def test_an_interrupt_killed_it(self) -> None:
        assert self.run("raise KeyboardInterrupt") == "killed [1]\n"

    def test_an_ended_run_is_left_alone(self) -> None:
        assert (
            self.run(
                "import gc; [o.end_training() for o in gc.get_objects() if isinstance(o, Tracking)]"
            )
            == "finished [1]\n"
        )


def test_a_tracker_written_for_accelerate_works_by_instance_and_by_name(tmp_path: Path) -> None:
    class Custom(GeneralTracker):
        name = "custom"
        requires_logging_directory = True

        def __init__(self, run_name: str, logging_dir: str, **kwargs: Any) -> None:
            super().__init__()
            self.run_name, self.logging_dir, self.kwargs = run_name, logging_dir, kwargs
            self.values: dict[str, Any] = {}

        @property
        def tracker(self) -> None:
            return None

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            self.values.update(values)

        def log(self, values: dict[str, Any], step: int | None) -> None:  # type: ignore[override]  # as written for Accelerate
            self.values.update(values)

    register_tracker_class(Custom)
    for log_with in ("custom", Custom("p", str(tmp_path))):
        tracking = Tracking(log_with, logging_dir=tmp_path, delivery="inline")
        tracking.init_trackers("p", config={"lr": 0.5}, init_kwargs=None)
        tracking.log({"loss": 0.1}, step=1, log_kwargs=None)
        tracking.end_training()
        (tracker,) = tracking.trackers
        assert isinstance(tracker, Custom)
        assert tracker.values == {"lr": 0.5, "loss": 0.1}
        assert str(tracker.logging_dir) == str(tmp_path)


def test_a_row_carries_step_position_and_time(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    for step in (None, 5, None, 2, None):
        tracking.log({"a": 1}, step=step)
    assert [row.position for row in memory.rows] == [0, 5, 6, 2, 3]
    assert all(isinstance(row, Log) and row.wall_time > 1e9 for row in memory.rows)
    tracking.end_training()


def test_no_row_lies_beyond_the_steps_that_trackers_can_store(memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    tracking.log({"a": 1}, step=2**63 - 1)
    tracking.log({"a": 2})
    with pytest.warns(TrackingWarning, match="beyond 63 bits"):
        tracking.log({"a": 3}, step=2**63)
    assert [row.position for row in memory.rows] == [2**63 - 1] * 3
    tracking.end_training()


class TestTrackersThatAreNotInstalled:
    @pytest.fixture(autouse=True)
    def _none_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tracking_core.registry._installed", dict)

    def test_the_others_go_on_and_it_is_said_again_at_the_end(
        self, memory: MemoryTracker, tmp_path: Path
    ) -> None:
        with pytest.warns(TrackingWarning, match="'wandb' is not installed and left out: .*pip"):
            tracking = Tracking(["wandb", memory], tmp_path, delivery="thread")
        with pytest.warns(TrackingWarning) as said, tracking:
            tracking.init_trackers("p")
            assert not said.list
            tracking.log({"a": 1})
        (end,) = said
        text = str(end.message)
        assert text.startswith("this run was not logged to wandb: tracker 'wandb' is not installed")
        assert "pip install " in text
        assert f"Tracking.replay({str(tracking.run_dir)!r}, log_with=...)" in text
        assert end.filename == __file__
        assert memory.values("a") == [1]

    @pytest.mark.parametrize("how", ["with", "without an end"])
    def test_a_run_without_any_other_is_said_to_be_nowhere(self, how: str) -> None:
        with pytest.warns(TrackingWarning, match="'aim' is not installed"):
            tracking = Tracking("aim")
        with pytest.warns(TrackingWarning) as said:
            for _ in range(2):
                tracking.init_trackers("p")
                if how == "with":
                    tracking.end_training()
                else:
                    assert runs._exit is not None
                    runs._exit.end()  # as the interpreter does
        nowhere, *ends = map(str, [one.message for one in said])
        assert nowhere.startswith("this run is logged nowhere: none of the trackers")
        assert all(end.startswith("this run was not logged to aim:") for end in ends), ends
        assert len(ends) == 2, "once for each run"

    def test_strict_makes_it_an_error_at_once(self, memory: MemoryTracker) -> None:
        with pytest.raises(TrackerNotInstalledError) as caught:
            Tracking(["wandb", memory, "aim"], strict=True)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, ImportError)
        assert isinstance(caught.value, TrackingError)
        for name in ("wandb", "aim"):
            assert f"tracker '{name}' is not installed" in str(caught.value)

    def test_off_the_main_process_nothing_is_said(
        self, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        for tracking in (Tracking("wandb"), Tracking(logging_dir="runs")):
            with tracking:
                tracking.init_trackers("p")
        assert not recwarn.list

    def test_all_of_nothing_is_nowhere(self) -> None:
        with pytest.warns(TrackingWarning, match="nowhere: no tracker is installed here"):
            Tracking("all").init_trackers("p")


class TestARunThatIsLoggedNowhere:
    def test_without_log_with_it_is_said_once(self, tmp_path: Path) -> None:
        tracking = Tracking(logging_dir=tmp_path)
        with pytest.warns(TrackingWarning, match=r"no tracker was named.*log_with=\[\]") as said:
            for _ in range(2):
                tracking.init_trackers("p")
                tracking.log({"a": 1})
                tracking.end_training()
        assert len(said) == 1
        assert said[0].filename == __file__
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("log_with", [[], (), iter([]), set()])
    def test_an_empty_list_is_meant_so(self, tmp_path: Path, log_with: Any) -> None:
        with Tracking(log_with, logging_dir=tmp_path, strict=True) as tracking:
            tracking.init_trackers("p")
            tracking.log({"a": 1})

    @pytest.mark.parametrize("more", [{}, {"logging_dir": "runs"}])
    def test_strict_makes_it_an_error_at_once(self, more: dict[str, Any]) -> None:
        with pytest.raises(NoTrackerError, match="no tracker was named") as caught:
            Tracking(**more, strict=True)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, TrackingError)


class TestRepr:
    def test_it_tells_the_run_its_state_and_each_tracker(
        self, memory: MemoryTracker, tmp_path: Path
    ) -> None:
        tracking = Tracking([memory, MemoryTracker()], tmp_path, delivery="thread")
        assert repr(tracking) == "<Tracking: not started; memory, memory>"
        tracking.init_trackers("p")
        tracking.log({"loss": 0.5})
        assert tracking.flush(60)
        run = f"<Tracking 'p' {tracking.run_id}:"
        place = f"run_dir {str(tracking.run_dir)!r}>"
        assert repr(tracking) == f"{run} running; memory running, memory#2 running; {place}"
        tracking.end_training()
        assert repr(tracking) == f"{run} ended; memory ended, memory#2 ended; {place}"

    def test_it_names_what_is_missing_and_what_is_nowhere(
        self, memory: MemoryTracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert repr(Tracking([])) == "<Tracking: not started; no tracker>"
        tracking = Tracking([])
        tracking.init_trackers("p")
        assert repr(tracking).endswith(": logs nowhere; no tracker>")
        monkeypatch.setattr("tracking_core.registry._installed", dict)
        with pytest.warns(TrackingWarning):
            tracking = Tracking([memory, "aim"], delivery="inline")
        assert repr(tracking) == "<Tracking: not started; memory; left out: aim>"

    def test_off_the_main_process(
        self, memory: MemoryTracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        tracking = Tracking(memory)
        expected = ": logs nothing, because this is not the main process; memory>"
        assert repr(tracking).endswith(expected)
        tracking.init_trackers("p")
        assert repr(tracking).endswith(expected)

    def test_it_never_raises(self, tmp_path: Path) -> None:
        class Odd(MemoryTracker):
            @property
            def name(self) -> str:  # type: ignore[override]  # the point of the test
                raise RuntimeError("no name today")

        register_tracker_class(MemoryTracker)
        tracking = Tracking("memory", tmp_path, delivery="thread")
        tracking.init_trackers("p")
        tracking.end_training()
        assert tracking.run_dir is not None
        shutil.rmtree(tracking.run_dir)
        assert tracking.run_id in repr(tracking)
        broken = Tracking([], tmp_path)
        broken._chosen = [Odd()]
        assert repr(broken) == "<Tracking: describing it raised RuntimeError>"


def test_secrets_are_masked_in_every_lane_before_a_tracker_shows_them(
    memory: MemoryTracker,
) -> None:
    with Tracking(memory, delivery="inline") as tracking:
        tracking.init_trackers("p", config={"api_key": "canary", "lr": 0.1, "max_tokens": 5})
        tracking.set_tags({"token": "canary", "kind": "test"})
        tracking.log({"token": 0.5, "password": "logged as it is"})
    assert memory.config == {"api_key": "***", "lr": 0.1, "max_tokens": 5}
    assert memory.tags == {"token": "***", "kind": "test"}
    assert memory.values("token") == [0.5] and memory.values("password") == ["logged as it is"]


def test_an_error_in_the_inline_lane_is_told_without_its_secrets() -> None:
    class Chatty(MemoryTracker):
        def deliver(self, records: object) -> None:
            raise ValueError("https://me:canary@host?api_key=canary said no")

    tracking = Tracking(Chatty(), delivery="inline")
    tracking.init_trackers("p")
    with pytest.warns(TrackingWarning, match=r"https://me:\*\*\*@host\?api_key=\*\*\*") as said:
        tracking.log({"a": 1})
    assert "canary" not in str(said[0].message) + str(tracking.status())
