from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aim
import numpy
import pytest
from aim.sdk.errors import MissingRunError
from aim.sdk.index_manager import RepoIndexManager
from aim.sdk.repo import Repo
from aim.sdk.run_status_manager import RunStatusManager
from aim.storage.context import Context
from aim.storage.rockscontainer import RocksContainer

from tracking_aim import AimTracker, read_run
from tracking_aim.errors import AimRepositoryError, AimRunGoneError
from tracking_aim.tracker import RUN_TAKES
from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning, Video
from tracking_core.arguments import parameters_of
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, JournalError, NotStartedError
from tracking_core.records import Config, End, Log, LoggedHistogram, LoggedImage, Record, Tags
from tracking_core.testing import Seen

WALL_TIME = 1_760_000_000.25
PICTURE = numpy.arange(48, dtype="uint8").reshape(4, 4, 3)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[AimTracker]:
    one = started(tmp_path)
    yield one
    one.finish()


def started(directory: Path, run_name: str = "run", **kwargs: Any) -> AimTracker:
    tracker = AimTracker(run_name, directory, **kwargs)
    tracker.start()
    return tracker


def row(step: int, later: float = 0.0, /, **values: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, WALL_TIME + step + later)


def seen(tracker: AimTracker) -> Seen:
    identity = tracker.identity()
    return Seen(read_run(str(identity["run_hash"]), str(identity["repo"])))


def queried(tracker: AimTracker) -> Any:
    """The run as Aim's users find it: in the repository's index."""
    repo = Repo.from_path(str(tracker.identity()["repo"]))
    repo.container_pool.clear()
    return repo.get_run(tracker.identity()["run_hash"])


def things_in(path: Path) -> set[str]:
    """What Aim knows of runs in a repository: its files, and the rows of its database."""
    repo = Repo.from_path(str(path))
    runs = {run.hash for run in repo.structured_db.runs()}
    files = {
        str(one.relative_to(path))
        for part in ("*/chunks/*", "*/progress/*", "locks/*", "check_ins/*")
        for one in (path / ".aim").glob(part)
        # These Aim leaves where it deletes a run.
        if one.parent.name != "check_ins" or one.name.partition("-")[0] in runs
    }
    return files | runs


def assert_over(tracker: AimTracker) -> None:
    """Nothing of Aim's says that the run goes on."""
    identity = tracker.identity()
    repo = Path(str(identity["repo"])) / ".aim"
    assert list(repo.glob(f"*/progress/{identity['run_hash']}")) == []
    assert list(repo.glob(f"locks/{identity['run_hash']}*")) == []
    assert not queried(tracker).active


def in_another_process(script: str, *arguments: object, **environment: str) -> str:
    """What `script` prints. It may die: whoever calls this looks at what it left."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout


class TestGuest:
    def test_importing_and_constructing_import_no_aim(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_aim import AimTracker
            AimTracker("run", sys.argv[1], experiment="e", repo="aim://nowhere:1")
            print(sorted({"aim", "aimrocks", "numpy", "sqlalchemy"} & set(sys.modules)))
        """
        assert in_another_process(script, tmp_path).strip() == "[]"
        assert list(tmp_path.iterdir()) == []

    def test_processes_make_one_repository_and_leave_nothing_else(self, tmp_path: Path) -> None:
        script = """if True:
            import logging, os, signal, sys, threading
            def state():
                return (
                    sys.stdout.write, sys.stderr.write, sys.excepthook, threading.excepthook,
                    dict(os.environ), logging.root.handlers[:], logging.root.level,
                    signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT),
                )
            before = state()
            from tracking_aim import AimTracker
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            during = state()
            tracker.log({"m": 1})
            tracker.log({"m": 1.5, "note": "text"})
            tracker.set_tags(["a"])
            tracker.set_tags(["a"])
            tracker.finish()
            assert state() == during == before
            assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        """
        home = tmp_path / "home"
        home.mkdir()
        (tmp_path / "repository" / ".aim-new-of-one-that-was-killed").mkdir(parents=True)
        command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "repository")]
        makers = [
            subprocess.Popen(
                command,
                env={**os.environ, "HOME": str(home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for _ in range(4)
        ]
        assert [maker.communicate(timeout=240)[0] for maker in makers] == [b""] * 4
        assert [maker.returncode for maker in makers] == [0] * 4
        assert list(home.iterdir()) == []
        assert os.listdir(tmp_path / "repository") == [".aim"]
        repo = Repo.from_path(str(tmp_path / "repository"))
        assert not any(run.active for run in repo.iter_runs())
        assert len(list(repo.iter_runs())) == len(repo.list_all_runs()) == 4

    def test_nothing_is_made_off_the_main_process(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_aim import AimTracker
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            tracker.log({"loss": 1.0})
            tracker.log_images({"i": []})
            tracker.finish()
            print("aim" in sys.modules)
        """
        printed = in_another_process(script, tmp_path, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
        assert printed.strip() == "False"
        assert list(tmp_path.iterdir()) == []

    def test_nothing_of_the_machine_is_logged_unless_it_is_asked_for(self, tmp_path: Path) -> None:
        write = sys.stdout.write
        tracker = started(tmp_path)
        assert sys.stdout.write == write
        print("not to be captured")
        tracker.finish()
        assert seen(tracker).keys == set()
        assert queried(tracker).get_terminal_logs() is None

    def test_no_thread_is_left(self, tmp_path: Path) -> None:
        before = threading.active_count()
        started(tmp_path).finish()
        assert threading.active_count() == before


class TestStart:
    @pytest.mark.parametrize("argument", ["experimant", "read_only", "name"])
    def test_an_unknown_argument_is_named_at_once(self, tmp_path: Path, argument: str) -> None:
        with pytest.raises(TypeError, match=rf"'aim' has no argument '{argument}'.*experiment"):
            AimTracker("run", tmp_path, **{argument: "x"})
        with pytest.raises(TypeError, match=f"'aim' has no argument '{argument}'"):
            Tracking("aim", tmp_path).init_trackers("p", init_kwargs={"aim": {argument: "x"}})
        assert list(tmp_path.iterdir()) == []

    def test_what_we_say_that_aim_takes_is_what_it_takes(self) -> None:
        assert parameters_of("aim.sdk.run", "Run.__init__") == RUN_TAKES

    @pytest.mark.parametrize(
        "asked", [{"system_tracking_interval": 3}, {"log_system_params": True}]
    )
    def test_what_aim_would_say_of_the_delivery_process_is_refused(
        self, tmp_path: Path, asked: dict[str, Any]
    ) -> None:
        tracking = Tracking("aim", tmp_path)
        with pytest.raises(ValueError, match=r"of the delivery process.*delivery=\"thread\""):
            tracking.init_trackers("p", init_kwargs={"aim": asked})
        assert list(tmp_path.iterdir()) == []

    def test_what_it_says_of_the_training_is_not(self, tmp_path: Path) -> None:
        options = {"system_tracking_interval": 0.1, "capture_terminal_logs": True}
        with Tracking("aim", tmp_path, delivery="thread") as tracking:
            tracking.init_trackers("p", init_kwargs={"aim": options})
            tracking.log({"m": 1.0})
            assert tracking.flush(60)
            run = tracking.get_tracker("aim").tracker
            print("a line of the training")
            assert run._system_resource_tracker._process.pid == os.getpid()
            run_hash = run.hash
        found = Repo.from_path(str(tmp_path)).get_run(run_hash)
        lines = found.get_terminal_logs().data.values_list()[0]
        assert "a line of the training" in [line.data for line in lines]
        assert found.get_metric("__system__cpu", Context({})) is not None
        assert "aim" not in str(sys.stdout.write)

    def test_recovering_a_run_does_not_record_the_one_who_recovers(self, tmp_path: Path) -> None:
        tracker = AimTracker("run", tmp_path, system_tracking_interval=0.1)
        tracker.training_pid = 0
        tracker.start()
        assert tracker.tracker._system_resource_tracker is None
        tracker.finish()

    def test_a_directory_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        for place in ("file", "file/below"):
            tracker = AimTracker("run", tmp_path / place)
            with pytest.raises(AimRepositoryError, match=r"can't make .*Give another log") as bad:
                tracker.start()
            assert tracker.fault(bad.value) == "setup"
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_directory_that_can_not_be_written_is_named(self, tmp_path: Path) -> None:
        started(tmp_path / "whole").finish()
        (tmp_path / "empty").mkdir()
        script = """if True:
            import os, sys
            from tracking_aim import AimTracker
            first = AimTracker("run", os.path.join(sys.argv[1], "first"))
            first.start()  # imports what nobody may be allowed to read
            first.finish()
            if os.geteuid() == 0:
                os.seteuid(65534)
            for place in ("empty", "whole"):
                tracker = AimTracker("run", os.path.join(sys.argv[1], place))
                try:
                    tracker.start()
                except Exception as error:
                    print(place, tracker.fault(error), str(error).replace("\\n", " "))
        """
        for path, folders, files in os.walk(tmp_path):
            for name in (*folders, *files):
                inner = os.path.join(path, name)
                os.chmod(inner, 0o555 if name in folders else 0o444)
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_uid == os.getuid() and path != tmp_path.anchor:
                path.chmod(path.stat().st_mode | 0o055)
        try:
            said = in_another_process(script, tmp_path, PYTHONDONTWRITEBYTECODE="1")
        finally:
            for path, folders, _ in os.walk(tmp_path):
                for name in folders:
                    os.chmod(os.path.join(path, name), 0o755)
        empty, whole = said.splitlines()
        assert empty.startswith("empty setup tracker 'aim' can't make its repository"), empty
        assert whole.startswith("whole setup") and str(tmp_path) in whole, whole

    def test_arguments_reach_aim(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, "the name", experiment="mnist")
        tracker.finish()
        assert (queried(tracker).name, queried(tracker).experiment) == ("the name", "mnist")

    def test_a_run_that_is_started_late_began_when_it_began(self, tmp_path: Path) -> None:
        tracker = AimTracker("run", tmp_path)
        tracker.began_at = WALL_TIME
        tracker.start()
        tracker.deliver([End("finished", WALL_TIME + 3)])
        tracker.finish()
        found = queried(tracker)
        assert (found.creation_time, found.end_time) == (WALL_TIME, WALL_TIME + 3)

    def test_repo_wins_over_the_directory(self, tmp_path: Path) -> None:
        started(tmp_path / "one", repo=tmp_path / "two").finish()
        assert [path.name for path in tmp_path.iterdir()] == ["two"]

    def test_before_the_start_and_after_the_end_there_is_no_run(self, tmp_path: Path) -> None:
        tracker = AimTracker("run", tmp_path)
        tracker.finish()
        for state in ("not started", "finished"):
            for attribute in ("writer", "tracker"):
                with pytest.raises(NotStartedError, match=f"'aim' is {state}"):
                    getattr(tracker, attribute)
            with pytest.raises(NotStartedError, match=f"'aim' is {state}"):
                tracker.log({"m": 1.0})
            if state == "not started":
                tracker.start()
                tracker.finish()
                tracker.finish()

    def test_a_second_start_is_refused(self, tracker: AimTracker) -> None:
        with pytest.raises(AlreadyStartedError, match="'aim' is running"):
            tracker.start()

    def test_the_native_object_is_a_run(self, tracker: AimTracker) -> None:
        assert isinstance(tracker.tracker, aim.Run)
        assert tracker.writer is tracker.tracker

    def test_a_repository_that_is_not_whole_is_named(self, tmp_path: Path) -> None:
        (tmp_path / ".aim").mkdir()
        with pytest.raises(AimRepositoryError, match=r"can't log to '.*\.aim'.*move it away"):
            started(tmp_path)

    @pytest.mark.parametrize("broken", ["inside", "afterwards"])
    def test_a_start_that_fails_leaves_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        started(tmp_path, "another").finish()
        before = things_in(tmp_path)
        asked = (
            {"artifacts_uri": "no address"}
            if broken == "afterwards"
            else {"log_system_params": True}
        )
        tracker = AimTracker("the name", tmp_path, **asked)
        threads = threading.active_count()
        with warnings.catch_warnings(), monkeypatch.context() as patched:
            warnings.simplefilter("error", UserWarning)  # which Aim says of such an address
            patched.setitem(sys.modules, "pkg_resources", None)  # as new versions of setuptools
            for _ in range(3):
                with pytest.raises((UserWarning, ImportError)):
                    tracker.start()
                assert things_in(tmp_path) == before
                assert threading.active_count() == threads
        named = tracker.identity()
        tracker = AimTracker("the name", tmp_path)
        tracker.resume(named)
        tracker.start()
        tracker.log({"m": 1.0})
        tracker.finish()
        assert named.items() < tracker.identity().items()
        assert seen(tracker).values("m") == [1.0]
        assert queried(tracker).name == "the name"

    def test_a_start_that_fails_leaves_an_ended_run_as_it_was(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([End("failed", WALL_TIME)])
        tracker.finish("failed")
        again = AimTracker(
            "run", tmp_path, run_hash=tracker.identity()["run_hash"], artifacts_uri="no address"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            with pytest.raises(UserWarning, match="scheme"):
                again.start()
        assert_over(tracker)
        assert (queried(tracker).end_time, queried(tracker)["status"]) == (WALL_TIME, "failed")

    def test_a_run_that_was_named_and_killed_before_it_began_begins(self, tmp_path: Path) -> None:
        named = AimTracker("run", tmp_path).identity()
        for _ in range(2):  # before, and after Aim had made it
            tracker = AimTracker("the name", tmp_path)
            tracker.resume(named)
            tracker.start()
            assert tracker.tracker.hash == named["run_hash"]
            tracker.finish()
            assert queried(tracker).name == "the name"
        assert len(os.listdir(tmp_path / ".aim" / "meta" / "chunks")) == 1

    def test_an_address_of_another_kind_is_refused(self) -> None:
        with pytest.raises(AimRepositoryError, match=r"not to 's3://bucket/logs'"):
            AimTracker("run", "s3://bucket/logs").start()

    def test_a_missing_run_is_named(self, tmp_path: Path) -> None:
        for _ in range(2):  # without a repository, and in one
            tracker = AimTracker("run", tmp_path, run_hash="abc")
            with pytest.raises(MissingRunError, match="abc") as missing:
                tracker.start()
            assert tracker.fault(missing.value) == "setup"
            assert not list(tmp_path.rglob("*abc*"))
            started(tmp_path).finish()

    def test_a_repository_may_be_named_itself(self, tmp_path: Path) -> None:
        for _ in range(2):
            started(tmp_path / ".aim").finish()
        assert len(os.listdir(tmp_path / ".aim" / "meta" / "chunks")) == 2

    def test_a_repository_that_was_deleted_is_begun_anew_though_aim_has_the_old_one_open(
        self, tmp_path: Path
    ) -> None:
        old = started(tmp_path)
        old.deliver([row(0, m=1.0)])
        shutil.rmtree(tmp_path / ".aim")
        new = started(tmp_path, "other")
        new.deliver([row(0, m=2.0)])
        new.finish()
        assert seen(new).values("m") == [2.0]
        assert [run.name for run in Repo.from_path(str(tmp_path)).structured_db.runs()] == ["other"]
        with contextlib.suppress(Exception):  # its place is gone
            old.finish()


class TestWhatAimShows:
    def test_a_finished_run_is_found_by_queries(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.store_init_configuration({"lr": 0.5, "net": {"depth": 3, "sizes": [1, 2]}})
        tracker.set_tags({"baseline": None, "team": "vision"})
        tracker.deliver([row(3, loss=1.5), row(4, loss=float("nan")), End("finished", WALL_TIME)])
        tracker.finish()
        (found,) = (
            Repo.from_path(str(tmp_path))
            .query_runs(
                "run.hparams.net.depth == 3 and run.tag.team == 'vision' and run.status == 'finished'"
            )
            .iter_runs()
        )
        assert found.run.name == "run"
        assert found.run.tags == ["baseline"]
        assert found.run["hparams"] == {"lr": 0.5, "net": {"depth": 3, "sizes": [1, 2]}}
        assert found.run.end_time == WALL_TIME
        (metric,) = found.run.metrics()
        assert (metric.name, metric.context.to_dict()) == ("loss", {})
        steps, (values, _, times) = metric.data.items_list()
        assert steps == [3, 4]
        assert (values[0], str(values[1])) == (1.5, "nan")
        assert times == [WALL_TIME + 3, WALL_TIME + 4]
        assert (metric.first_step(), metric.last_step()) == (3, 4)

    def test_media_are_aims_own_objects(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver(
            [
                row(
                    7,
                    picture=Image(PICTURE, caption="a cat"),
                    pictures=[Image(PICTURE), Image(PICTURE)],
                    note="a text",
                    weights=Histogram([1.0, 2.0, 3.0], bins=4),
                    beep=Audio(numpy.zeros(100, "float32"), 8000, caption="silence"),
                    clip=Video(numpy.zeros((3, 4, 4, 3), "uint8"), fps=5),
                    wrong=Table(["x", "y"], [[1, "a|b"]]),
                )
            ]
        )
        tracker.finish()
        run, nowhere = queried(tracker), Context({})
        picture = run.get_image_sequence("picture", nowhere).values.first_value()
        assert numpy.array_equal(numpy.asarray(picture.to_pil_image()), PICTURE)
        assert (picture.caption, picture.format, picture.size) == ("a cat", "png", (4, 4))
        assert len(run.get_image_sequence("pictures", nowhere).values.first_value()) == 2
        assert run.get_text_sequence("note", nowhere).values.first_value().data == "a text"
        weights = run.get_distribution_sequence("weights", nowhere).values.first_value()
        assert weights.bin_count == 4
        assert weights.weights.tolist() == [1, 0, 1, 1]
        beep = run.get_audio_sequence("beep", nowhere).values.first_value()
        assert beep.json() == {"caption": "silence", "format": "wav"}
        assert beep.to_numpy()[0] == 8000
        clip = run.get_image_sequence("clip", nowhere).values.first_value()
        assert clip.to_pil_image().n_frames == 3
        shown = run.get_text_sequence("wrong", nowhere).values.first_value()
        assert shown.data == "| x | y |\n| --- | --- |\n| 1 | a\\|b |"
        (csv,) = run.artifacts.values()
        assert Path(csv.uri.removeprefix("file://")).read_text() == "x,y\n1,a|b\n"

    def test_uneven_bins_are_shown_evenly_and_kept(self, tracker: AimTracker) -> None:
        uneven = LoggedHistogram([4.0, 8.0], [0.0, 1.0, 4.0], 0.5, 4.0, 12.0, 20.0, 60.0, 2)
        many = LoggedHistogram([1.0] * 2000, [float(i) for i in range(2001)], 0, 2000, 2000, 1, 1)
        tracker.deliver([row(0, uneven=uneven, many=many)])
        assert seen(tracker).values("uneven") == [uneven]
        assert seen(tracker).values("many") == [many]
        run = tracker.tracker
        shown = run.get_distribution_sequence("uneven", Context({})).values.first_value()
        assert shown.weights.tolist() == pytest.approx([4 + 8 / 3, 16 / 3])
        shown = run.get_distribution_sequence("many", Context({})).values.first_value()
        assert (shown.bin_count, shown.weights.sum()) == (512, pytest.approx(2000))

    def test_files_that_aim_can_not_show_are_artifacts(
        self, tmp_path: Path, tracker: AimTracker
    ) -> None:
        for name in ("clip.mp4", "talk.ogg", "song.mp3"):
            (tmp_path / name).write_bytes(name.encode())
        video, talk = Video(tmp_path / "clip.mp4", caption="a dog"), Audio(tmp_path / "talk.ogg")
        song = Audio(tmp_path / "song.mp3", 44100)
        tracker.deliver([row(0, video=video, talk=talk, song=song, both=[talk, song])])
        (found,) = seen(tracker).media("video")
        assert (found.data, found.format, found.caption) == (b"clip.mp4", "mp4", "a dog")
        (found,) = seen(tracker).media("talk")
        assert (found.data, found.format) == (b"talk.ogg", "ogg")
        (found,) = seen(tracker).media("song")
        assert (found.data, found.format, found.sample_rate) == (b"song.mp3", "mp3", 44100)
        assert [one.data for one in seen(tracker).media("both")] == [b"talk.ogg", b"song.mp3"]
        names = sorted(tracker.tracker.artifacts)
        assert [name.rsplit("/", 1)[0] for name in names] == [
            "audio/both", "audio/talk", "videos/video"
        ]  # fmt: skip

    def test_what_the_user_tracks_himself_lies_beside(self, tracker: AimTracker) -> None:
        tracker.deliver([row(0, ours=1.5)])
        tracker.tracker.track(2.5, name="theirs", step=0, context={"subset": "val"})
        tracker.tracker.track(3.5, name="ours", step=1)
        tracker.tracker["dataset"] = "digits"
        tracker.deliver([row(2, ours=4.5, theirs=0.5)])
        assert seen(tracker).values("ours") == [1.5, 3.5, 4.5]
        assert set(seen(tracker).values("theirs")) == {0.5, 2.5}
        assert seen(tracker).config == {"dataset": "digits"}


class TestSteps:
    def test_a_step_holds_several_values(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row(5, i / 4, m=float(i), t=f"{i}") for i in range(4)])
        tracker.deliver([row(3, m=9.0, t="9"), row(5, 7, m=4.0, t="4")])
        tracker.finish()
        found = seen(tracker)
        assert [(p.step, p.value) for p in found.points("m")] == [
            (3, 9.0), *((5, float(i)) for i in range(5))
        ]  # fmt: skip
        assert [(p.step, p.value) for p in found.points("t")] == [
            (3, "9"), *((5, f"{i}") for i in range(5))
        ]  # fmt: skip
        (metric,) = queried(tracker).metrics()
        assert metric.data.indices_list() == [3, 5, 5, 5, 5, 5]

    @pytest.mark.parametrize("resumed", [False, True])
    def test_what_is_delivered_twice_is_there_once(self, tmp_path: Path, resumed: bool) -> None:
        file = tmp_path / "file.txt"
        file.write_text("content")
        records: list[Record] = [
            Config({"a": 1}, WALL_TIME),
            Tags({"label": None, "key": "value"}, WALL_TIME),
            *(row(5, i / 4, m=float(i), t=f"{i}", n=None, i=Image(PICTURE)) for i in range(3)),
            row(-1, m=float("nan"), t="before", file=Artifact(file)),
            row(6, w=Histogram([1.0, 2.0]), list=[Table(["a"], [[1]]), Image(PICTURE)]),
        ]
        tracker = started(tmp_path)
        tracker.deliver(records)
        once = list(read_run(str(tracker.identity()["run_hash"]), tmp_path))
        if resumed:
            tracker.finish("killed")
            identity = tracker.identity()
            tracker = AimTracker("run", tmp_path)
            tracker.resume(identity)
            tracker.start()
        tracker.deliver(records)
        twice = list(read_run(str(tracker.identity()["run_hash"]), tmp_path))
        assert json.dumps(_plain(twice)) == json.dumps(_plain(once))
        tracker.finish()

    @pytest.mark.parametrize("step", [-(2**63), -3, 2**53 + 1, 2**63 - 2])
    def test_any_step_of_64_bits(self, tracker: AimTracker, step: int) -> None:
        tracker.deliver([row(step, m=1.0, t="text", i=[Image(PICTURE)], none=None)])
        for key in ("m", "t", "i", "none"):
            assert [point.step for point in seen(tracker).points(key)] == [step], key
        if step >= 0:  # of a negative one Aim's own sequence of texts can't say that it is there
            text = tracker.tracker.get_text_sequence("t", Context({}))
            assert text.data.indices_list() == [step]

    def test_a_larger_step_is_rejected(self, tracker: AimTracker) -> None:
        with pytest.warns(TrackingWarning, match="'m'.*64 bits"):
            tracker.deliver([row(2**63, m=1.0), row(1, m=2.0)])
        assert seen(tracker).values("m") == [2.0]

    def test_one_key_holds_values_of_every_kind(self, tracker: AimTracker) -> None:
        values = [1.5, "text", None, Image(PICTURE), [Image(PICTURE)], 2, Histogram([1.0])]
        for step, value in enumerate(values):
            tracker.deliver([row(step, x=value)])
        found = seen(tracker).values("x")
        kinds = [type(value).__name__ for value in found]
        assert kinds == [
            "float",
            "str",
            "NoneType",
            "LoggedImage",
            "list",
            "int",
            "LoggedHistogram",
        ]

    def test_integers_keep_64_bits(self, tracker: AimTracker) -> None:
        tracker.deliver([row(i, m=m) for i, m in enumerate([0.5, 2**53 + 1, -(2**63), 2**64 - 1])])
        assert seen(tracker).values("m") == [0.5, 2**53 + 1, -(2**63), 2.0**64]


class TestOptions:
    def test_context_epoch_and_axis_are_kept(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.log({"loss": 1.0}, step=3, context={"subset": "train"}, epoch=2)
        tracker.log({"loss": 2.0, "note": "x"}, step=1, step_axis="epoch")
        tracker.log({"loss": 3.0}, step=3)
        tracker.finish()
        identity = tracker.identity()
        rows = [one for one in read_run(str(identity["run_hash"]), tmp_path) if type(one) is Log]
        assert [(one.values, one.step, one.options) for one in rows] == [
            ({"loss": 1.0}, 3, {"aim": {"context": {"subset": "train"}, "epoch": 2}}),
            ({"loss": 2.0, "note": "x"}, 1, {"aim": {"step_axis": "epoch"}}),
            ({"loss": 3.0}, 3, {}),
        ]
        metric = queried(tracker).get_metric("loss", Context({"subset": "train"}))
        assert metric.epochs.values_list() == [2]

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("subset", "train"),
            ("context", "train"),
            ("context", {"a": object()}),
            ("context", {"_more": True}),
            ("context", {"big": 2**70}),
            ("epoch", "one"),
            ("step_axis", 3),
        ],
    )
    def test_others_are_rejected_by_name_and_the_row_lands(
        self, tracker: AimTracker, option: str, value: Any
    ) -> None:
        with pytest.warns(TrackingWarning, match=rf"log_kwargs\['{option}'\]"):
            tracker.log({"m": 1.0}, **{option: value})
        assert seen(tracker).values("m") == [1.0]

    def test_pictures_are_taken_as_accelerate_takes_them(self, tracker: AimTracker) -> None:
        options = {"track": {"context": {"subset": "val"}}}
        tracker.log_images({"one": (PICTURE, "a cat"), "two": PICTURE}, step=4, kwargs=options)
        (one,) = seen(tracker).media("one")
        assert one.caption == "a cat"
        tracker.log_images({"three": PICTURE}, 5, options)  # the same again: it is still whole
        for key in ("two", "three"):
            assert tracker.tracker.get_image_sequence(key, Context({"subset": "val"}))

    def test_configuration_is_not_changed(self, tracker: AimTracker) -> None:
        config = {"a": {"": 1, "big": 2**64 - 1}, "path": Path("/x")}
        tracker.store_init_configuration(config)
        assert config == {"a": {"": 1, "big": 2**64 - 1}, "path": Path("/x")}
        assert seen(tracker).config == {"a": {"": 1, "big": 2**64 - 1}, "path": "/x"}

    def test_a_param_that_someone_changed_is_read_as_it_is(self, tracker: AimTracker) -> None:
        tracker.store_init_configuration({"lr": 0.5, "big": 2**64 - 1})
        tracker.tracker["hparams", "lr"] = 0.25
        assert seen(tracker).config == {"lr": 0.25, "big": 2**64 - 1}

    def test_a_tag_may_become_another_kind_of_tag(self, tracker: AimTracker) -> None:
        tracker.set_tags({"a": None, "b": "x"})
        tracker.set_tags({"a": "y", "b": None})
        assert seen(tracker).tags == {"a": "y", "b": None}
        assert tracker.tracker.tags == ["b"]


class TestFiles:
    def test_a_picture_that_is_none_is_rejected_and_the_rest_lands(
        self, tracker: AimTracker
    ) -> None:
        broken = LoggedImage(b"not a picture", 1, 1, 0, format="png")
        with pytest.warns(TrackingWarning, match="'i'.*no picture"):
            tracker.deliver([Log({"i": broken, "m": 1.0}, 0, 0, WALL_TIME)])
        assert seen(tracker).keys == {"m"}

    def test_what_is_gone_is_rejected_and_the_rest_lands(
        self, tmp_path: Path, tracker: AimTracker
    ) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        (gone, _) = capture({"gone": Artifact(file)})
        file.unlink()
        with pytest.warns(TrackingWarning, match="'gone'.*gone"):
            tracker.deliver([Log({**gone, "m": 1.0}, 0, 0, WALL_TIME)])
        assert seen(tracker).keys == {"m"}

    def test_nothing_lands_outside(self, tmp_path: Path, tracker: AimTracker) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        tracker.deliver([row(0, a=Artifact(file, "../../.."), b=Artifact(file, "/etc"))])
        root = tmp_path / ".aim" / "artifacts" / str(tracker.identity()["run_hash"])
        assert len([path for path in root.rglob("*") if path.is_file()]) == 2
        assert set(seen(tracker).files()) == {"../../../file", "etc/file"}

    def test_a_repository_may_move(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        tracker = started(tmp_path / "here")
        tracker.log_artifact(file)
        tracker.finish()
        (tmp_path / "here").rename(tmp_path / "there")
        found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path / "there"))
        assert found.files() == {"file": b"x"}

    def test_files_go_where_the_user_says(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        tracker = started(tmp_path, artifacts_uri=f"file://{tmp_path}/elsewhere")
        tracker.log_artifact(file, "models")
        tracker.finish()
        run_hash = str(tracker.identity()["run_hash"])
        assert (tmp_path / "elsewhere" / run_hash / "models" / "file").read_bytes() == b"x"
        assert seen(tracker).files() == {"models/file": b"x"}


class TestDeath:
    def test_rows_survive_it_and_the_run_goes_on(self, tmp_path: Path) -> None:
        started(tmp_path).finish()
        script = """if True:
            import os, signal, sys
            from tracking_aim import AimTracker
            from tracking_core.records import Config, Log
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            tracker.deliver([Config({"a": 1}, 0.0)])
            tracker.deliver([Log({"m": float(i), "t": str(i)}, i, i, 1e9 + i) for i in range(500)])
            print(tracker.identity()["run_hash"], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        run_hash = in_another_process(script, tmp_path).strip()
        found = Seen(read_run(run_hash, tmp_path))
        assert found.values("m") == [float(i) for i in range(500)]
        assert found.values("t") == [str(i) for i in range(500)]
        assert found.status is None
        tracker = AimTracker("run", tmp_path)
        tracker.resume({"run_hash": run_hash})
        tracker.start()
        tracker.deliver([row(500, m=500.0)])
        tracker.finish()
        assert len(seen(tracker).values("m")) == 501
        assert (seen(tracker).config, seen(tracker).status) == ({"a": 1}, "finished")

    def test_a_lock_of_a_dead_process_with_our_number_is_no_lock(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.finish("killed")
        lock = tmp_path / ".aim" / "locks" / f"{tracker.identity()['run_hash']}.softlock"
        lock.write_text(f"{uuid.getnode()}-{os.getpid()}-{time.time()}")
        again = started(tmp_path, run_hash=tracker.identity()["run_hash"])
        again.finish()
        assert seen(again).status == "finished"

    def test_an_exit_without_an_end_leaves_it_open(self, tmp_path: Path) -> None:
        started(tmp_path).finish()
        script = """if True:
            import sys
            from tracking_aim import AimTracker
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            tracker.log({"m": 1.0})
            print(tracker.identity()["run_hash"])
        """
        run_hash = in_another_process(script, tmp_path).strip()
        found = Seen(read_run(run_hash, tmp_path))
        assert (found.values("m"), found.status) == ([1.0], None)

    def test_after_a_full_disk_all_rows_land(self, tmp_path: Path) -> None:
        started(tmp_path).finish()
        script = """if True:
            import resource, signal, sys
            from tracking_aim import AimTracker
            from tracking_core.faults import fault_of
            from tracking_core.records import Log
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            tracker.deliver([Log({"m": -1.0}, -1, -1, 1e9)])
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            rows = [Log({"m": float(i), "t": "x" * 1000}, i, i, 1e9 + i) for i in range(1000)]
            for _ in range(2):
                try:
                    tracker.deliver(rows)
                except Exception as error:
                    print(type(error).__name__, fault_of(error))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            tracker.deliver(rows)
            tracker.finish()
            print(tracker.identity()["run_hash"])
        """
        first, second, run_hash = in_another_process(script, tmp_path).splitlines()
        assert (first, second) == ("OSError server", "OSError server")
        found = Seen(read_run(run_hash, tmp_path))
        assert found.values("m") == [float(i) for i in range(-1, 1000)]
        assert (len(found.values("t")), found.status) == (1000, "finished")


class TestOver:
    """A run that has ended is never shown as active."""

    def test_while_somebody_holds_the_native_run(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        native = tracker.tracker
        assert Repo.from_path(str(tmp_path)).list_active_runs() == [native.hash]
        tracker.finish()
        assert_over(tracker)
        assert native.hash == tracker.identity()["run_hash"]

    def test_when_another_thread_ends_it(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        ending = threading.Thread(target=tracker.finish, args=["failed"])
        ending.start()
        ending.join()
        assert_over(tracker)
        assert seen(tracker).status == "failed"

    def test_when_it_was_shown_as_active_before_and_the_index_is_busy(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        repo = Repo.from_path(str(tmp_path))
        RepoIndexManager.get_index_manager(repo).index(tracker.identity()["run_hash"])
        assert queried(tracker).active
        repo.container_pool.clear()
        held = RocksContainer(str(tmp_path / ".aim" / "meta" / "index"), read_only=False)
        ending = threading.Thread(target=tracker.finish)
        ending.start()
        ending.join(0.5)
        assert ending.is_alive()
        held.close()
        ending.join()
        assert_over(tracker)

    def test_an_index_that_stays_busy_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracking_aim.runs.SECONDS_FOR_INDEX", 0.0)
        tracker = started(tmp_path)
        held = RocksContainer(str(tmp_path / ".aim" / "meta" / "index"), read_only=False)
        with pytest.warns(TrackingWarning, match="could not be put into the index.*`aim up`"):
            tracker.finish()
        held.close()
        assert seen(tracker).status == "finished"

    def test_when_the_sign_of_life_could_not_be_written(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        signs = tmp_path / ".aim" / "check_ins"
        shutil.rmtree(signs)
        signs.write_text("")  # as if the disk were full
        tracker.tracker.report_progress(expect_next_in=1, block=True)
        tracker.finish()
        assert_over(tracker)

    def test_when_the_disk_was_full_at_its_end(self, tmp_path: Path) -> None:
        started(tmp_path).finish()
        script = """if True:
            import resource, signal, sys
            from tracking_aim import AimTracker
            from tracking_core.records import Log
            tracker = AimTracker("run", sys.argv[1])
            tracker.start()
            tracker.deliver([Log({"t": "x" * 10000}, i, i, 1e9 + i) for i in range(100)])
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            for _ in range(2):
                try:
                    tracker.finish()
                except Exception as error:
                    print(tracker.fault(error))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            tracker.finish()
            print(tracker.identity()["run_hash"])
        """
        *faults, run_hash = in_another_process(script, tmp_path).splitlines()
        assert faults == ["server", "server"]
        tracker = AimTracker("run", tmp_path)
        tracker.resume({"run_hash": run_hash})
        assert_over(tracker)
        assert seen(tracker).status == "finished"

    @pytest.mark.parametrize("delivery", ["process", "thread"])
    @pytest.mark.parametrize(
        ("end", "status"),
        [
            ("os.kill(os.getpid(), signal.SIGKILL)", "killed"),
            ("raise RuntimeError('x')", "failed"),
            ("sys.exit(0)", "finished"),
        ],
    )
    def test_however_the_training_ends(
        self, tmp_path: Path, delivery: str, end: str, status: str
    ) -> None:
        started(tmp_path).finish()
        script = f"""if True:
            import os, signal, sys
            from tracking_core import Tracking
            with Tracking("aim", sys.argv[1], delivery={delivery!r}) as tracking:
                tracking.init_trackers("p")
                tracking.log({{"m": 1.0}}, step=0)
                assert tracking.flush(60)
                print(tracking.run_dir, flush=True)
                sys.stderr = open(os.devnull, "w")
                {end}
        """
        run_dir = Path(in_another_process(script, tmp_path).strip())
        if status == "killed":
            give_up = time.monotonic() + 60
            while True:
                with contextlib.suppress(JournalError):  # the delivery process is still at it
                    Tracking.recover(run_dir)
                    break
                assert time.monotonic() < give_up
        repo = Repo.from_path(str(tmp_path))
        assert repo.list_active_runs() == []
        repo.container_pool.clear()
        runs = {run.hash: run for run in repo.iter_runs()}
        assert set(runs) == set(os.listdir(tmp_path / ".aim" / "meta" / "chunks"))
        assert not any(run.active for run in runs.values())
        assert sorted(run["status"] for run in runs.values()) == sorted([status, "finished"])

    def test_when_nobody_goes_on_with_it_aim_sees_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tracker = started(tmp_path)
        assert tracker._open is not None
        tracker._open.give_up()  # as after an error, when the process then ends
        manager = RunStatusManager(Repo.from_path(str(tmp_path)))
        monkeypatch.setattr(RunStatusManager, "INDEXING_GRACE_PERIOD", -100)
        for _ in range(2):  # as `aim up` does once a minute
            manager.check_and_terminate_stalled_runs()
        RepoIndexManager.get_index_manager(manager.repo).index(tracker.identity()["run_hash"])
        assert_over(tracker)

    def test_a_run_that_was_deleted_is_the_runs_fault_and_gone(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row(0, m=0.0)])
        run_hash = str(tracker.identity()["run_hash"])
        assert Repo.from_path(str(tmp_path)).delete_run(run_hash)
        with pytest.raises(AimRunGoneError, match=f"{run_hash} was deleted") as gone:
            tracker.deliver([row(1, m=1.0)])
        assert tracker.fault(gone.value) == "run"
        for call in (lambda: tracker.deliver([row(1, m=1.0)]), tracker.finish):
            with pytest.raises(MissingRunError) as missing:
                call()
            assert tracker.fault(missing.value) == "run"
        assert things_in(tmp_path) == set()


class TestReader:
    def test_runs_of_others_are_read(self, tmp_path: Path) -> None:
        from tracking_aim.runs import repository

        repository(str(tmp_path))
        run = aim.Run(
            repo=str(tmp_path), system_tracking_interval=None, capture_terminal_logs=False
        )
        run["hparams"] = {"lr": 1, "layers": [1, {"n": None}]}
        run["dataset"] = "digits"
        run.add_tag("good")
        for step in range(3):
            run.track(step, name="m", step=step, context={"subset": "train"})
        run.track(aim.Text("hello"), name="t", step=1)
        run.track([aim.Image(PICTURE, caption="c")], name="i", step=2)
        run.track(aim.Distribution([1.0, 2.0], bin_count=2), name="d", step=2)
        run.track(1.0, name="__system__cpu", step=0)
        run.log_info("hello")
        file = tmp_path / "file"
        file.write_bytes(b"x")
        run.set_artifacts_uri(f"file://{tmp_path}/elsewhere")
        run.log_artifact(str(file), name="models/file")
        run_hash = run.hash
        run.close()
        found = Seen(read_run(run_hash, tmp_path))
        assert found.keys == {"m", "t", "i", "d", "models/file"}
        assert found.values("m") == [0, 1, 2]
        assert found.values("t") == ["hello"]
        assert [image.caption for image in found.media("i")] == ["c"]
        assert found.media("d")[0].counts == [1.0, 1.0]
        assert found.files() == {"models/file": b"x"}
        assert found.config == {"lr": 1, "layers": [1, {"n": None}], "dataset": "digits"}
        assert (found.tags, found.status) == ({"good": None}, "finished")

    def test_a_running_run_is_read_as_far_as_it_has_got(self, tracker: AimTracker) -> None:
        for step in range(3):
            tracker.deliver([row(step, m=float(step))])
            assert seen(tracker).values("m") == [float(i) for i in range(step + 1)]
            assert seen(tracker).status is None

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(AimRepositoryError, match=r"no Aim repository in .*nowhere"):
            list(read_run("abc", tmp_path / "nowhere"))
        started(tmp_path).finish()
        with pytest.raises(MissingRunError, match="no run 'abc'"):
            list(read_run("abc", tmp_path))


class TestLane:
    def test_the_delivery_process_brings_everything(self, tmp_path: Path) -> None:
        assert AimTracker.lane == "process"
        first = started(tmp_path)
        first.finish()
        with Tracking("aim", tmp_path) as tracking:
            tracking.init_trackers("project", config={"lr": 0.5})
            for step in range(20):
                tracking.log({"loss": step / 2}, step=step)
        runs = set(os.listdir(tmp_path / ".aim" / "meta" / "chunks"))
        (run_hash,) = runs - {first.identity()["run_hash"]}
        found = Seen(read_run(run_hash, tmp_path))
        assert found.values("loss") == [step / 2 for step in range(20)]
        assert (found.config, found.status) == ({"lr": 0.5}, "finished")

    def test_two_runs_in_one_repository_at_once(self, tmp_path: Path) -> None:
        trackers = [started(tmp_path, f"{number}") for number in range(2)]
        for step in range(3):
            for number, tracker in enumerate(trackers):
                tracker.deliver([row(step, m=float(number))])
        for number, tracker in enumerate(trackers):
            tracker.finish()
            assert seen(tracker).values("m") == [float(number)] * 3
            assert queried(tracker).name == f"{number}"


def _plain(records: list[Any]) -> Any:
    return [repr(record) for record in records]
