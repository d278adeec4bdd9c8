from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning, Video
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.records import Config, End, Log, LoggedImage, LoggedVideo, Tags
from tracking_core.testing import Seen, pixels_of
from tracking_wandb import WandBLoginError, WandBServiceError, WandBTracker, read_run
from tracking_wandb.session import imported

from .native import Native

NOW = 1_760_000_000.25
PIXELS = numpy.arange(48, dtype="uint8").reshape(4, 4, 3)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[WandBTracker]:
    tracker = started(tmp_path)
    yield tracker
    tracker.finish()


def started(directory: Path, **arguments: Any) -> WandBTracker:
    tracker = WandBTracker("digits", mode="offline", dir=str(directory), **arguments)
    tracker.start()
    return tracker


def row(values: dict[str, Any], step: int = 0, **options: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step, {"wandb": options})


def native(tracker: WandBTracker) -> Native:
    return Native(tracker.run.settings.sync_file)


def seen(tracker: WandBTracker) -> Seen:
    return Seen(read_run(str(tracker.identity()["dir"]), tracker.run.id))


def in_another_process(script: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


class TestManners:
    def test_importing_and_constructing_import_no_wandb(self) -> None:
        script = """if True:
            import sys
            import tracking_wandb
            tracking_wandb.WandBTracker("p", mode="offline")
            assert "wandb" not in sys.modules
        """
        assert in_another_process(script) == (0, "", "")

    def test_a_whole_run_says_nothing_and_leaves_the_process_as_it_was(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import logging, os, sys, threading
            import tracking_core  # which puts its own sys.exit in place, that raises the same
            logging.basicConfig(level=logging.INFO)
            def state():
                return (dict(os.environ), sys.excepthook, sys.exit, sys.stdout.write,
                        sys.stderr.write, threading.excepthook, list(sys.meta_path))
            before = state()
            from tracking_wandb import WandBTracker, read_run
            tracker = WandBTracker("p", mode="offline", dir=sys.argv[1])
            tracker.start()
            assert state()[:-1] == before[:-1]
            tracker.log({"loss": 1.0, "note": "text"}, step=5)
            tracker.log({"loss": 2.0}, step=3)
            tracker.finish()
            list(read_run(sys.argv[1], tracker.run.id))
            assert state()[:-1] == before[:-1]
        """
        assert in_another_process(script, tmp_path) == (0, "", "")
        assert list((tmp_path / "home").rglob("*netrc*")) == []

    def test_a_run_of_the_users_own_goes_on_beside_it(self, tmp_path: Path) -> None:
        wandb = imported()
        theirs = wandb.init(
            project="theirs", mode="offline", dir=str(tmp_path), settings={"console": "off"}
        )
        try:
            with pytest.warns(TrackingWarning) as warned:
                tracker = started(tmp_path)
            (said,) = (str(one.message) for one in warned)
            assert "'digits'" in said
            assert f"{theirs.id!r} of the project 'theirs'" in said
            assert "init_kwargs" in said
            assert wandb.run is theirs
            tracker.log({"ours": 1.0}, step=0)
            tracker.finish()
            theirs.log({"theirs": 2.0})
        finally:
            theirs.finish()
            wandb.teardown()  # else its file may be complete a moment later
        assert seen(tracker).keys == {"ours"}
        assert Seen(read_run(tmp_path, theirs.id)).values("theirs") == [2.0]

    def test_without_a_key_the_way_out_is_named_and_nobody_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", None)
        with pytest.raises(WandBLoginError, match=r"wandb login.*WANDB_MODE=offline"):
            WandBTracker("p", dir=str(tmp_path)).start()

    @pytest.mark.parametrize(
        ("arguments", "variables"),
        [
            ({"mode": "disabled"}, {}),
            ({"settings": {"mode": "disabled"}}, {}),
            ({}, {"WANDB_MODE": "disabled"}),
            ({}, {"WANDB_DISABLED": "true"}),
            ({"mode": "offline"}, {"WANDB_DISABLED": "TRUE"}),
        ],
    )
    def test_what_the_user_turned_off_takes_everything_at_once_and_does_nothing(
        self, tmp_path: Path, arguments: dict[str, Any], variables: dict[str, str]
    ) -> None:
        script = """if True:
            import sys
            from tracking_wandb import WandBTracker
            tracker = WandBTracker("p", **eval(sys.argv[1]))
            identity = tracker.identity()
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            tracker.log({"loss": 1.0}, step=0)
            assert tracker.identity() == identity
            tracker.finish()
            assert "wandb" not in sys.modules
            tracker.start()
            tracker.run.log({"mine": 1.0})
            assert tracker.run.disabled
            tracker.finish()
        """
        assert in_another_process(script, arguments, **variables) == (0, "", "")
        assert {path.name for path in tmp_path.iterdir()} == {"home"}

    def test_a_settings_file_turns_it_off_too(self, tmp_path: Path) -> None:
        imported().teardown()  # it reads its settings once
        settings = tmp_path / "home" / ".config" / "wandb" / "settings"
        settings.parent.mkdir(parents=True)
        settings.write_text("[default]\nmode = disabled\n")
        tracker = WandBTracker("p", dir=str(tmp_path))
        tracker.start()
        tracker.log({"loss": 1.0}, step=0)
        assert tracker.run.disabled
        tracker.finish()
        imported().teardown()

    def test_what_the_program_ended_itself_goes_on_when_more_is_logged(
        self, tmp_path: Path
    ) -> None:
        tracker, other = started(tmp_path), started(tmp_path)
        tracker.deliver([row({"m": 0.0}, 0)])
        tracker.run.finish()
        tracker.deliver([row({"m": 1.0}, 1)])
        other.deliver([row({"m": 2.0}, 0)])
        tracker.run.finish(exit_code=1)
        tracker.finish()
        other.finish()
        assert seen(tracker).values("m") == [0.0, 1.0]
        assert native(tracker).exit_code == 1
        assert seen(other).values("m") == [2.0]


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"projct": "x"}, r"no argument 'projct': did you mean 'project'\? wandb\.init takes"),
            ({"colour": "red"}, r"no argument 'colour': wandb\.init takes .*step_axes"),
            (
                {"settings": {"x_disable_stat": False}},
                r"'x_disable_stat': did you mean 'x_disable_stats'\? wandb\.Settings does not take",
            ),
            ({"settings": "silent"}, "settings is a dict or a wandb.Settings, not a str"),
            ({"step_axes": "epoch"}, "step_axes is a dict"),
            ({"step_axes": {"val/*": 3}}, "step_axes is a dict"),
            ({"step_axes": {"": "epoch"}}, "step_axes is a dict"),
            ({"sync_tensorboard": True}, r"'sync_tensorboard': .*\[\"tensorboard\", \"wandb\"\]"),
            ({"settings": {"sync_tensorboard": True}}, "does not take 'sync_tensorboard'"),
            ({"mode": "shared"}, "does not take mode='shared'.*`group`"),
            ({"settings": {"mode": "shared"}}, "does not take mode='shared'"),
            ({"monitor_gym": True}, "does not take 'monitor_gym'"),
            ({"settings": {"console": "wrap"}}, r"settings\['console'\]: what the training prints"),
            ({"settings": {"capture_loggers": {"root": "INFO"}}}, r"settings\['capture_loggers'\]"),
        ],
    )
    def test_what_can_not_work_is_refused_when_it_is_constructed(
        self, arguments: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(TypeError, match=said):
            WandBTracker("p", **arguments)

    @pytest.mark.parametrize("arguments", [{"mode": "offlin"}, {"settings": {"mode": "offlin"}}])
    def test_a_mode_that_wandb_does_not_know_is_refused_too(
        self, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"mode='offlin': did you mean 'offline'\?"):
            WandBTracker("p", **arguments)

    def test_a_switch_that_is_off_is_no_mistake(self) -> None:
        settings = {"console": "off", "capture_loggers": None, "sync_tensorboard": False}
        WandBTracker("p", sync_tensorboard=False, monitor_gym=None, mode=None, settings=settings)

    def test_a_variable_without_effect_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_CONSOLE", "wrap")
        with pytest.warns(TrackingWarning, match="WANDB_CONSOLE has no effect"):
            WandBTracker("p")

    def test_the_facade_refuses_it_before_anything_is_begun(self, tmp_path: Path) -> None:
        tracking = Tracking("wandb", tmp_path / "runs")
        with pytest.raises(TypeError, match="'projct'"):
            tracking.init_trackers("p", init_kwargs={"wandb": {"projct": "x"}})
        assert not (tmp_path / "wandb").exists()

    @pytest.mark.parametrize(
        ("name", "project"), [("vision/digits", "vision_x2F_digits"), ("x" * 200, None)]
    )
    def test_projects_of_any_name(self, tmp_path: Path, name: str, project: str | None) -> None:
        tracker = WandBTracker(name, mode="offline", dir=str(tmp_path))
        tracker.start()
        tracker.finish()
        found = native(tracker).run.project
        assert found == project or (project is None and len(found) == 128)

    @pytest.mark.parametrize("kind", ["mapping", "object", "variable"])
    def test_the_users_settings_win(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        settings: Any = {"finish_timeout": 7, "x_stats_sampling_interval": 3.0}
        if kind == "object":
            settings = imported().Settings(**settings)
        elif kind == "variable":
            imported().teardown()  # it reads variables once
            monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "7")
            settings = None
        tracker = started(tmp_path, settings=settings)
        found = tracker.run.settings
        tracker.finish()
        assert found.finish_timeout == 7
        assert (found.console, found.init_timeout, found.x_disable_stats) == ("off", 20.0, True)
        if kind == "variable":
            imported().teardown()

    def test_those_of_wandb_init_arrive(self, tmp_path: Path) -> None:
        tracker = started(
            tmp_path, name="mine", group="g", tags=["t"], notes="why", config={"a": 1}
        )
        tracker.finish()
        found = native(tracker).run
        assert (found.project, found.display_name, found.run_group) == ("digits", "mine", "g")
        assert (found.notes, list(found.tags)) == ("why", ["t"])
        assert (seen(tracker).config, seen(tracker).tags) == ({"a": 1}, {"t": None})

    def test_what_accelerates_tests_check(self, tmp_path: Path) -> None:
        options = {"wandb": {"mode": "offline", "dir": str(tmp_path), "tags": ["my_tag"]}}
        tracking = Tracking(log_with="wandb", delivery="inline")
        config = {"num_iterations": 12, "learning_rate": 1e-2, "some_boolean": False}
        tracking.init_trackers("accelerate", config=config, init_kwargs=options)
        run = tracking.get_tracker("wandb", unwrap=True)
        assert tracking.get_tracker("wandb").run is run
        tracking.log({"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}, step=0)
        tracking.end_training()
        found = Native(run.settings.sync_file)
        assert config.items() <= found.config.items()
        assert found.tags == ["my_tag"]
        (logged,) = found.rows
        assert logged["total_loss"] == 0.1
        assert logged["iteration"] == 1
        assert logged["my_text"] == "some_value"
        assert logged["_step"] == 0


class TestLife:
    def test_before_the_start_and_after_the_end_it_says_so(self, tmp_path: Path) -> None:
        tracker = WandBTracker("p", mode="offline", dir=str(tmp_path))
        with pytest.raises(NotStartedError, match="before start"):
            tracker.run  # noqa: B018  # reading it is what is tested
        with pytest.raises(NotStartedError, match="not started"):
            tracker.log({"a": 1})
        tracker.finish()
        tracker.start()
        with pytest.raises(AlreadyStartedError, match="finish"):
            tracker.start()
        tracker.finish("failed")
        tracker.finish()
        with pytest.raises(NotStartedError, match="finished"):
            tracker.log({"a": 1})
        assert native(tracker).exit_code == 1

    @pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 1), ("killed", 255)])
    def test_the_end_is_an_exit_code_at_its_own_time(
        self, tmp_path: Path, status: Any, code: int
    ) -> None:
        tracker = started(tmp_path)
        tracker.deliver([End(status, NOW)])
        tracker.finish(status)
        assert native(tracker).exit_code == code
        assert list(read_run(tracker.run.settings.sync_dir))[-1] == End(status, NOW)

    def test_a_resumed_run_goes_on_after_its_last_step(self, tmp_path: Path) -> None:
        first = started(tmp_path)
        first.deliver([Config({"a": 1, "n": math.nan}, NOW), Tags({"t": "1"}, NOW)])
        first.deliver([row({"m": 1.0}, 7)])
        first.finish("failed")
        second = WandBTracker("another", mode="offline", dir=str(tmp_path / "elsewhere"))
        second.resume(first.identity())
        second.start()
        second.deliver([Config({"a": 2}, NOW), row({"m": 2.0}, 5), row({"m": 3.0}, 9)])
        second.finish()
        assert second.run.settings.sync_dir != first.run.settings.sync_dir
        assert [row["_step"] for row in native(second).rows] == [8, 9]
        found = seen(second)
        assert [(p.step, p.value) for p in found.points("m")] == [(5, 2.0), (7, 1.0), (9, 3.0)]
        assert (found.config["a"], found.tags, found.status) == (2, {"t": "1"}, "finished")
        # What the second directory says is the whole truth: W&B shows what was sent last.
        alone = Seen(read_run(second.run.settings.sync_dir))
        assert alone.config["a"] == 2
        assert math.isnan(alone.config["n"])
        assert alone.tags == {"t": "1"}

    def test_a_run_that_is_named_before_it_begins_is_begun_once(self, tmp_path: Path) -> None:
        arguments: dict[str, Any] = {"mode": "offline", "dir": str(tmp_path)}
        first, second = (WandBTracker("digits", **arguments) for _ in range(2))
        named = first.identity()
        second.resume(named)  # the first died before it had begun, or while it began
        second.start()
        second.deliver([row({"m": 1.0})])
        second.finish()
        assert second.run.id == named["run_id"]
        assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
        assert seen(second).values("m") == [1.0]
        first.start()
        first.finish()
        assert first.run.id == named["run_id"]
        first.start()
        first.finish()
        assert first.run.id != named["run_id"]

    @pytest.mark.parametrize(
        "arguments", [{"id": "x"}, {"resume": "must"}, {"settings": {"run_id": "x"}}]
    )
    def test_a_run_that_arguments_name_is_theirs_to_begin(self, arguments: dict[str, Any]) -> None:
        assert WandBTracker("digits", **arguments).identity() == {}

    def test_what_names_no_run_is_refused(self) -> None:
        with pytest.raises(ValueError, match="run_id"):
            WandBTracker("p").resume({"experiment": "x"})

    def test_rows_survive_a_kill_right_after_they_were_logged(self, tmp_path: Path) -> None:
        script = """if True:
            import os, signal, sys
            from tracking_core import Image
            from tracking_wandb import WandBTracker
            tracker = WandBTracker("p", mode="offline", dir=sys.argv[1])
            tracker.start()
            tracker.store_init_configuration({"lr": 0.5})
            for step in range(5):
                tracker.log({"m": float(step)}, step=step)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        # No pipes: W&B's service would hold them open for seconds.
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False
        )
        assert done.returncode == -signal.SIGKILL
        (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        found = Seen(read_run(log))
        assert found.values("m") == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert (found.config, found.status) == ({"lr": 0.5}, None)

    def test_when_the_service_dies_the_next_call_begins_it_anew(self, tmp_path: Path) -> None:
        trackers = [started(tmp_path), started(tmp_path), started(tmp_path)]
        for tracker in trackers:
            tracker.deliver([Config({"lr": 0.5}, NOW), row({"m": 0.0}, 0)])
        service = trackers[0].run._wl._connection._proc._process
        service.kill()
        service.wait()
        for tracker in trackers[:2]:
            with pytest.raises(WandBServiceError, match="has died"):
                tracker.deliver([row({"m": 1.0}, 1)])
            tracker.deliver([row({"m": 1.0}, 1)])
        for tracker in trackers:  # the third learns of it at its end
            tracker.finish("killed")
            assert seen(tracker).status == "killed"
        for tracker in trackers[:2]:
            assert seen(tracker).points("m")[0][::2] == (0, 0.0)
            assert seen(tracker).points("m")[1][::2] == (1, 1.0)
            assert seen(tracker).config == {"lr": 0.5}

    def test_of_a_batch_that_the_service_died_of_only_the_rest_is_given_again(
        self, tmp_path: Path
    ) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row({"m": 0.0}, 0)])
        records = [Config({"lr": 0.5}, NOW), *(row({"m": float(n)}, n) for n in range(1, 5))]
        service = tracker.run._wl._connection._proc._process
        handed_over = tracker._service._publish  # type: ignore[union-attr]  # it has started

        def die_on_the_way(messages: list[Any]) -> None:
            handed_over(messages[:2])
            log = tracker.run.settings.sync_file
            while len(Native(log).rows) < 3:
                pass
            service.kill()
            service.wait()
            handed_over(messages[2:])

        tracker._service._publish = die_on_the_way  # type: ignore[method-assign, union-attr]  # when it dies is up to the test
        with pytest.raises(WandBServiceError, match="has died"):
            tracker.deliver(records)
        assert tracker.taken == 3
        tracker.deliver(records[3:])
        tracker.finish()
        assert [(p.step, p.value) for p in seen(tracker).points("m")] == [
            (step, float(step)) for step in range(5)
        ]
        assert seen(tracker).config == {"lr": 0.5}

    def test_records_that_come_again_after_a_failure_land_once(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        media = Path(tracker.run.dir) / "media"
        media.write_text("in the way")
        records = [row({"m": 1.0}, 1), row({"i": Image(PIXELS)}, 2), row({"m": 3.0}, 3)]
        with pytest.raises(OSError, match="media"):
            tracker.deliver(records)
        media.unlink()
        tracker.deliver(records)
        tracker.finish()
        assert [row["_step"] for row in native(tracker).rows] == [1, 2, 3]
        assert seen(tracker).values("m") == [1.0, 3.0]
        assert len(seen(tracker).media("i")) == 1

    def test_another_version_of_wandb_gets_message_after_message(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tracker = started(tmp_path)
        whole = tracker.run._interface

        class Interface:
            _publish = staticmethod(whole._publish)

            def __getattr__(self, name: str) -> Any:
                if name in ("_asyncer", "_client"):
                    raise AttributeError(name)
                return getattr(whole, name)

        monkeypatch.setattr(tracker.run, "_interface", Interface())
        tracker.deliver([row({"m": 1.0}, 0), row({"m": 2.0}, 1)])
        monkeypatch.undo()
        tracker.finish()
        assert seen(tracker).values("m") == [1.0, 2.0]


class TestSteps:
    def test_they_are_wandbs_own_as_long_as_they_grow(self, tracker: WandBTracker) -> None:
        tracker.deliver([row({"m": 1.0}, 0), row({"m": 2.0}, 10), row({"m": 3.0}, 11)])
        found = native(tracker)
        assert [row["_step"] for row in found.rows] == [0, 10, 11]
        assert [row["_timestamp"] for row in found.rows] == [NOW, NOW + 10, NOW + 11]
        assert set(found.metrics) == {"tracking/*"}
        assert found.metrics["tracking/*"].options.hidden

    def test_a_key_whose_steps_go_back_is_drawn_over_its_own(self, tracker: WandBTracker) -> None:
        steps = [("m", 5), ("m", 5), ("n", 6), ("n", 7), ("m", 3), ("m", -2), ("m", 2**70)]
        tracker.deliver([row({key: float(step)}, step) for key, step in steps])
        found = native(tracker)
        assert [row["_step"] for row in found.rows] == [5, 6, 7, 8, 9, 10, 11]
        own = [int(row["tracking/step"]) for row in found.rows]
        assert own == [step for _, step in steps]
        assert found.metrics["m"].step_metric == "tracking/step"
        assert seen(tracker).points("m")[-1].step == 2**70

    def test_an_axis_has_steps_of_its_own(self, tracker: WandBTracker) -> None:
        tracker.deliver(
            [row({"train/loss": 1.0}, 998), row({"val/loss": 2.0}, 3, step_axis="epoch")]
        )
        tracker.deliver([row({"train/loss": 1.5}, 1000)])
        found = native(tracker)
        assert found.metrics["val/loss"].step_metric == "epoch"
        assert [row["_step"] for row in found.rows] == [998, 999, 1000]
        assert found.rows[1]["epoch"] == 3
        points = seen(tracker)
        assert [point.step for point in points.points("val/loss")] == [3]
        assert "epoch" not in points.keys

    def test_an_axis_that_is_logged_itself_stays_a_value(self, tracker: WandBTracker) -> None:
        tracker.deliver([row({"epoch": 1.5, "val": 2.0}, 3, step_axis="epoch")])
        assert native(tracker).rows[0]["epoch"] == 1.5
        assert seen(tracker).points("epoch")[0][::2] == (3, 1.5)

    def test_axes_for_keys_are_said_at_the_start(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, step_axes={"val/*": "val_step", "lr": "epoch"})
        tracker.deliver([row({"val/loss": 1.0, "lr": 0.1, "m": 0.0}, 4), row({"m": 1.0}, 5)])
        tracker.finish()
        found = native(tracker)
        assert found.metrics["val/*"].step_metric == "val_step"
        assert found.metrics["lr"].step_metric == "epoch"
        assert found.rows[0].items() >= {"val_step": 4, "epoch": 4, "_step": 4}.items()
        assert "val_step" not in found.rows[1]
        assert seen(tracker).keys == {"val/loss", "lr", "m"}

    def test_what_is_logged_natively_in_between_is_not_lost(self, tracker: WandBTracker) -> None:
        tracker.deliver([row({"m": 1.0}, 0)])
        tracker.run.log({"theirs": 1.0}, step=50, commit=True)
        tracker.deliver([row({"m": 2.0}, 1)])
        assert [row["_step"] for row in native(tracker).rows] == [0, 50, 51]
        assert seen(tracker).points("theirs")[0].step == 50
        assert [point.step for point in seen(tracker).points("m")] == [0, 1]

    def test_unknown_options_are_named(self, tracker: WandBTracker) -> None:
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['bogus'\]"):
            tracker.deliver([row({"m": 1.0}, 0, bogus=1, commit=True)])
        with pytest.warns(TrackingWarning, match="step_axis"):
            tracker.deliver([row({"m": 2.0}, 1, step_axis=3)])
        assert seen(tracker).values("m") == [1.0, 2.0]

    def test_two_values_of_one_key_are_two_rows(self, tracker: WandBTracker) -> None:
        tracker.deliver([Log({"a/b": 1.0, "a": {"b": 2.0}}, 3, 3, NOW)])
        assert [point[::2] for point in seen(tracker).points("a/b")] == [(3, 1.0), (3, 2.0)]


class TestConfigAndTags:
    def test_what_wandb_would_change_is_shown_as_text_and_kept(self, tmp_path: Path) -> None:
        config = {
            "nan": math.nan, "inf": math.inf, "big": 2**64 - 1, "-dash-": 1, "empty": {},
            "ref": "wandb-artifact://a/b", "odd": {"_type": "artifactVersion", "": [math.nan]},
            "_wandb": 1, "tracking/config": "mine", "list": [1, {"a": None}],
        }  # fmt: skip
        tracker = started(tmp_path)
        tracker.deliver([Config(config, NOW)])
        tracker.finish()
        shown = native(tracker).config
        assert (shown["nan"], shown["inf"], shown["big"]) == ("nan", "inf", str(2**64 - 1))
        assert repr(seen(tracker).config) == repr(
            {key: config[key] for key in seen(tracker).config}
        )
        assert seen(tracker).config.keys() == config.keys()

    def test_an_entry_that_becomes_an_ordinary_one_is_no_longer_kept_apart(
        self, tracker: WandBTracker
    ) -> None:
        tracker.deliver([Config({"lr": math.nan}, NOW)])
        tracker.deliver([Config({"lr": 0.5}, NOW)])
        assert seen(tracker).config == {"lr": 0.5}
        assert tracker.run.config["lr"] == 0.5

    def test_tags_are_labels_and_the_truth_lies_beside_them(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, tags=["theirs"])
        tracker.deliver([Tags({"good": None, "team": "vision", "long": "x" * 100}, NOW)])
        tracker.deliver([Tags({"team": "nlp", "": None}, NOW)])
        tracker.finish()
        assert set(native(tracker).tags) == {
            "theirs",
            "good",
            "team:nlp",
            f"long:{'x' * 59}",
            "_x_",
        }
        expected = {"theirs": None, "good": None, "team": "nlp", "long": "x" * 100, "": None}
        assert seen(tracker).tags == expected


class TestMedia:
    def one(self, tracker: WandBTracker, value: Any) -> tuple[dict[str, Any], Any]:
        tracker.deliver([row({"k": value}, 2)])
        (found,) = native(tracker).rows
        (medium,) = seen(tracker).values("k")
        return found["k"], medium

    def test_a_picture_is_a_file_that_wandb_shows(self, tracker: WandBTracker) -> None:
        about, image = self.one(tracker, Image(PIXELS, caption="c"))
        assert about["_type"] == "image-file"
        assert (about["format"], about["width"], about["height"], about["caption"]) == (
            "png", 4, 4, "c",
        )  # fmt: skip
        path = Path(tracker.run.dir) / about["path"]
        assert path.stat().st_size == about["size"]
        assert native(tracker).files == [about["path"]]
        assert numpy.array_equal(pixels_of(image), PIXELS)

    def test_no_picture_of_a_long_list_is_dropped(self, tracker: WandBTracker) -> None:
        pictures = [Image(PIXELS + n, caption=str(n)) for n in range(150)]
        about, images = self.one(tracker, pictures)
        assert (about["_type"], about["count"], len(about["filenames"])) == (
            "images/separated", 150, 150,
        )  # fmt: skip
        assert [image.caption for image in images] == [str(n) for n in range(150)]

    def test_a_table_has_all_its_rows_and_no_nan_that_breaks_a_browser(
        self, tracker: WandBTracker
    ) -> None:
        rows: list[list[Any]] = [[n, "text"] for n in range(12_000)]
        rows[:3] = [[math.nan, "a"], [None, "NaN"], [-math.inf, None]]
        about, table = self.one(tracker, Table(["n", "mixed"], rows))
        assert (about["_type"], about["nrows"], about["ncols"]) == ("table-file", 12_000, 2)
        text = (Path(tracker.run.dir) / about["path"]).read_text()
        assert json.loads(text, parse_constant=pytest.fail)["data"][0] == [None, "a"]
        assert repr(table.rows) == repr(rows)

    def test_many_bins_are_drawn_as_fewer_and_kept(self, tracker: WandBTracker) -> None:
        numbers = numpy.random.default_rng(0).normal(size=5000)
        about, histogram = self.one(tracker, Histogram(numpy.append(numbers, math.nan), bins=1300))
        assert about["_type"] == "histogram"
        assert len(about["values"]) + 1 == len(about["bins"]) <= 513
        assert sum(about["values"]) == sum(histogram.counts) == 5000
        assert (len(histogram.counts), histogram.nonfinite) == (1300, 1)

    def test_a_sound_is_one_that_wandb_plays(self, tracker: WandBTracker) -> None:
        wave = numpy.zeros(100, "float32")
        about, audio = self.one(tracker, Audio(wave, 8000, caption="beep"))
        assert (about["_type"], about["caption"]) == ("audio-file", "beep")
        assert (audio.format, audio.caption) == ("wav", "beep")

    @pytest.mark.parametrize(("suffix", "kind"), [("mp4", "video-file"), ("avi", "file")])
    def test_a_film_in_a_file_is_kept_as_it_is(
        self, tracker: WandBTracker, suffix: str, kind: str
    ) -> None:
        film = LoggedVideo(b"film", 8, 6, 0, 0, 5.0, suffix, "c")
        tracker.deliver([Log({"k": film}, 2, 2, NOW)])
        assert native(tracker).rows[0]["k"]["_type"] == kind
        assert seen(tracker).values("k") == [film]

    def test_frames_are_a_picture_that_moves(self, tracker: WandBTracker) -> None:
        about, video = self.one(tracker, Video(numpy.zeros((3, 4, 4, 3), "uint8"), fps=5))
        assert about["_type"] == "image-file"
        assert b"acTL" in video.data
        assert (video.format, video.fps) == ("png", 5.0)

    def test_a_list_of_other_media_lies_under_numbers(self, tracker: WandBTracker) -> None:
        tables = [Table(["a"], [[1]]), Table(["a"], [[2]])]
        tracker.deliver([row({"k": tables}, 0), row({"k": tables, "k/0": 1.0}, 1)])
        *found, number = seen(tracker).values("k/0")
        assert [table.rows for table in found] == [[[1]], [[1]]]  # type: ignore[union-attr]  # tables
        assert number == 1.0

    def test_files_lie_among_the_runs_files(self, tracker: WandBTracker, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        (tree / "inner").mkdir(parents=True)
        for name in ("a*.txt", "inner/b.txt", "[c].txt"):
            (tree / name).write_text(name)
        tracker.log_artifacts(tree, "models/../best")
        tracker.log_artifact(tree / "a*.txt", "/etc")
        for path, content in {
            "/etc/a*.txt": "a*.txt", "models/../best/a*.txt": "a*.txt",
            "models/../best/inner/b.txt": "inner/b.txt", "models/../best/[c].txt": "[c].txt",
        }.items():  # fmt: skip
            assert seen(tracker).files()[path] == content.encode(), path
        kept = {path for path in native(tracker).files if path.startswith("artifacts/")}
        assert len(kept) == 4
        assert not (tmp_path / "etc").exists()

    def test_a_file_that_is_gone_costs_only_itself(
        self, tracker: WandBTracker, tmp_path: Path
    ) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        record = row({"model": Artifact(model), "loss": 1.0})
        model.unlink()
        with pytest.warns(TrackingWarning, match="gone"):
            tracker.deliver([record])
        assert seen(tracker).values("loss") == [1.0]

    def test_a_damaged_medium_costs_only_itself(self, tracker: WandBTracker) -> None:
        damaged = LoggedImage(b"", 4, 4, 9)
        with pytest.warns(TrackingWarning, match="encoding it raised KeyError"):
            tracker.deliver([Log({"i": damaged, "loss": 1.0}, 0, 0, NOW)])
        assert seen(tracker).values("loss") == [1.0]


def test_wandbs_own_program_reads_the_same(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row({"loss": 0.25, "note": "text"}, 3), row({"loss": 0.5}, 1)])
    tracker.finish("failed")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json"]
    done = subprocess.run(
        [*command, tracker.run.settings.sync_dir], capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    text = json.dumps(found)
    assert "tracking/step" in text
    assert "0.25" in text
