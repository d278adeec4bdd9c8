"""What Comet sees of the program and the process that it lives in, and of experiments beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tracking_comet_ml import CometMLTracker, read_run
from tracking_core import Tracking, TrackingWarning
from tracking_core.testing import Seen

KEY = "0123456789abcdef0123456789abcdef"
OF_THE_PROGRAM = ("log_code", "parse_args", "log_git_metadata", "log_git_patch")
OF_THE_PROCESS = (
    "log_env_details", "log_env_gpu", "log_env_host", "log_env_cpu", "log_env_network", "log_env_disk",
    "auto_output_logging", "auto_log_co2",
)  # fmt: skip
HOOKS = ("log_graph", "auto_param_logging", "auto_metric_logging", "auto_histogram_weight_logging")

PROGRAM = """
import os, sys
from tracking_core import Tracking

tracking = Tracking("comet_ml", "logs", delivery=sys.argv[1])
config = {"offline_directory": "runs", **eval(sys.argv[2])}
tracking.init_trackers("p", init_kwargs={"comet_ml": {"online": False, "experiment_config": config}})
tracking.log({"m": 1.0})
assert tracking.flush(60)
print("said by the training", flush=True)
tracking.end_training()
print("pid", os.getpid(), dict(tracking.status()["comet_ml"].rejected))
"""


def ran(
    folder: Path, program: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(program)
    return subprocess.run(
        [sys.executable, "train.py", *map(str, arguments)],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def messages(directory: Path, kind: str) -> list[dict[str, Any]]:
    found = []
    for archive in directory.glob("*.zip"):
        with zipfile.ZipFile(archive) as packed:
            lines = map(json.loads, packed.read("messages.json").splitlines())
            found += [line["payload"] for line in lines if line["type"] == kind]
    return found


def sources(directory: Path) -> list[str]:
    return [
        os.path.basename(str((message["additional_params"] or {}).get("fileName")))
        for message in messages(directory, "file_upload")
        if message["upload_type"] == "source_code"
    ]


class TestWhatCometRecords:
    @pytest.mark.parametrize("delivery", ["process", "thread", "inline"])
    def test_program_arguments_and_git_are_the_trainings(
        self, tmp_path: Path, delivery: str
    ) -> None:
        git(tmp_path, "init", "-q")
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
        commit = git(tmp_path, "rev-parse", "HEAD")
        done = ran(tmp_path, PROGRAM, delivery, dict.fromkeys(OF_THE_PROGRAM, True), "--lr", "0.1")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "{}" in done.stdout
        runs = tmp_path / "runs"
        (name,) = messages(runs, "file_name")
        assert name["file_name"] == str(tmp_path / "train.py")
        assert sources(runs) == ["train.py"]
        (about,) = messages(runs, "git_metadata")
        assert about["git_metadata"]["parent"] == commit
        arguments = [
            one.get("param", {}).get("paramValue") for one in messages(runs, "parameter_msg")
        ]
        assert "--lr" in arguments

    @pytest.mark.parametrize("delivery", ["thread", "inline"])
    def test_process_and_output_are_the_trainings(self, tmp_path: Path, delivery: str) -> None:
        config = {"log_env_details": True, "log_env_host": True, "auto_output_logging": "simple"}
        done = ran(tmp_path, PROGRAM, delivery, config)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (about,) = messages(tmp_path / "runs", "system_details")
        assert f"pid {about['pid']} " in done.stdout
        said = "".join(one["output"] for one in messages(tmp_path / "runs", "standard_output"))
        assert "said by the training" in said

    @pytest.mark.parametrize("option", [*OF_THE_PROCESS, *HOOKS])
    def test_what_would_be_the_delivery_processs_is_refused(
        self, tmp_path: Path, option: str
    ) -> None:
        for delivery in ("auto", "process"):
            tracking = Tracking("comet_ml", tmp_path, delivery=delivery)  # type: ignore[arg-type]  # both are
            with pytest.raises(ValueError, match=rf"{option}.*delivery=.thread.*leave it out"):
                tracking.init_trackers(
                    "p", init_kwargs={"comet_ml": {"experiment_config": {option: True}}}
                )

    def test_what_a_variable_asks_for_is_left_out_there_and_named(self, tmp_path: Path) -> None:
        done = ran(tmp_path, PROGRAM, "process", {}, COMET_AUTO_LOG_ENV_DETAILS="1")
        assert done.returncode == 0, done.stderr
        assert "experiment_config['log_env_details']" in done.stdout
        assert messages(tmp_path / "runs", "system_details") == []

    def test_a_patch_that_comes_too_late_is_refused(self, tmp_path: Path) -> None:
        early = "import comet_ml\n" + PROGRAM
        for program, refused in ((PROGRAM, True), (early, False)):
            done = ran(
                tmp_path, program, "inline", {"auto_metric_logging": True},
                COMET_LOGGING_CONSOLE="ERROR",
            )  # fmt: skip
            assert ("begin the program with `import comet_ml`" in done.stderr) is refused, (
                done.stderr
            )

    def test_a_recovered_run_says_nothing_of_the_program_that_recovers_it(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import os, sys
            from tracking_core import Tracking
            config = {"offline_directory": "runs", "log_code": True, "parse_args": True, "log_git_metadata": True}
            tracking = Tracking("comet_ml", "logs", delivery="thread")
            tracking.init_trackers("p", init_kwargs={"comet_ml": {"experiment_config": config}})
            tracking.log({"m": 1.0})
            tracking.flush(1)
            print(tracking.run_dir, flush=True)
            os._exit(1)
        """
        done = ran(tmp_path, script, COMET_API_KEY="")
        run_dir = done.stdout.strip()
        recovered = subprocess.run(
            [sys.executable, "-m", "tracking_core", "recover", run_dir],
            cwd=tmp_path, env={**os.environ, "COMET_START_ONLINE": "0"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert recovered.returncode == 0, recovered.stdout + recovered.stderr
        runs = tmp_path / "runs"
        assert Seen(read_run(None, runs, download_to=tmp_path / "d")).values("m") == [1.0]
        for kind in ("file_name", "git_metadata", "system_details", "standard_output"):
            assert messages(runs, kind) == []
        assert sources(runs) == []
        names = [one.get("param", {}).get("paramName") for one in messages(runs, "parameter_msg")]
        assert names == ["curr_step"]


class TestBesideOurs:
    @pytest.mark.parametrize("delivery", ["auto", "thread", "inline"])
    @pytest.mark.parametrize("when", ["before", "after", "native"])
    def test_an_experiment_of_the_programs_own_is_named_and_stays_apart(
        self, tmp_path: Path, delivery: str, when: str
    ) -> None:
        script = f"""if True:
            import threading
            from pathlib import Path
            import comet_ml
            from tracking_core import Tracking
            def begin():
                config = comet_ml.ExperimentConfig(
                    offline_directory="theirs", log_code=False, log_graph=False, parse_args=False,
                    log_git_metadata=False, log_git_patch=False, log_env_details=False,
                    auto_output_logging=False,
                )
                return comet_ml.start(project_name="own", online=False, experiment_config=config)
            if {when!r} == "before":
                theirs = begin()
            tracking = Tracking("comet_ml", "logs", delivery={delivery!r})
            ours = {{"online": False, "experiment_config": {{"offline_directory": "ours"}}}}
            tracking.init_trackers("p", init_kwargs={{"comet_ml": ours}})
            if {when!r} == "native" and {delivery!r} != "auto":
                tracking.log({{"early": 1.0}})
                assert tracking.flush(60)
                native = tracking.get_tracker("comet_ml").writer
                native.log_metric("native", 1.0, step=0)
                # Comet itself loses, now and then, what is logged a moment before another one begins.
                while b"native" not in Path(native.tmpdir, "messages.json").read_bytes():
                    threading.Event().wait(0.01)
            if {when!r} != "before":
                theirs = begin()
            theirs.log_metric("theirs", 2.0, step=1)
            for step in range(5):
                tracking.log({{"ours": float(step)}}, step=step)
            assert tracking.flush(60)
            if {when!r} == "native" and {delivery!r} != "auto":
                tracking.get_tracker("comet_ml").writer.log_metric("again", 3.0, step=2)
            tracking.end_training()
            assert comet_ml.get_running_experiment() is theirs
            theirs.log_metric("theirs", 3.0, step=2)
            theirs.end()
        """
        done = ran(tmp_path, script, COMET_LOGGING_CONSOLE="CRITICAL")
        assert done.returncode == 0, done.stderr
        assert "that this program has begun itself" in done.stderr
        theirs = Seen(read_run(None, tmp_path / "theirs", download_to=tmp_path / "1"))
        ours = Seen(read_run(None, tmp_path / "ours", download_to=tmp_path / "2"))
        assert theirs.values("theirs") == [2.0, 3.0]
        assert ours.values("ours") == [float(step) for step in range(5)]
        assert theirs.keys & ours.keys <= {"process duration"}  # Comet adds it to its own
        if when == "native" and delivery != "auto":
            assert (ours.values("native"), ours.values("again")) == ([1.0], [3.0])

    def test_a_key_in_a_variable_names_the_first_run_of_the_process_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "a" * 32
        monkeypatch.setenv("COMET_EXPERIMENT_KEY", key)
        arguments = {
            "online": False,
            "experiment_config": {"offline_directory": str(tmp_path / "c")},
        }
        keys = []
        for number in range(3):
            with Tracking("comet_ml", tmp_path, delivery="thread") as tracking:
                tracking.init_trackers("p", {"n": number}, {"comet_ml": arguments})
                tracking.log({"v": float(number)})
                tracking.flush(30)
                keys.append(str(tracking.get_tracker("comet_ml").identity()["experiment_key"]))
                if number:
                    with pytest.warns(
                        TrackingWarning, match="COMET_EXPERIMENT_KEY names the first"
                    ):
                        tracking.end_training()
        assert (keys[0], len(set(keys))) == (key, 3)
        for number, one in enumerate(keys):
            found = Seen(read_run(one, tmp_path / "c", download_to=tmp_path / "d"))
            assert (found.values("v"), found.config) == ([float(number)], {"n": number})

    @pytest.mark.parametrize("delivery", ["thread", "inline"])
    def test_an_object_that_is_used_for_two_runs_logs_to_two(
        self, tmp_path: Path, delivery: Any
    ) -> None:
        tracker = CometMLTracker(
            "p", online=False, experiment_config={"offline_directory": str(tmp_path / "c")}
        )
        keys = []
        for number in range(2):
            with Tracking(tracker, tmp_path, delivery=delivery) as tracking:
                tracking.init_trackers("p")
                tracking.log({"v": float(number)})
            keys.append(str(tracker.identity()["experiment_key"]))
        for number, key in enumerate(keys):
            found = Seen(read_run(key, tmp_path / "c", download_to=tmp_path / "d"))
            assert found.values("v") == [float(number)]


class TestAStartThatFails:
    def test_nothing_of_it_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from tracking_comet_ml import native, offline

        def broken(*_: object, **__: object) -> None:
            raise OSError("the disk is ill")

        for module, name in ((offline.OfflineSession, "_write_meta"), (native, "opened")):
            config = {"offline_directory": str(tmp_path / "c"), "log_code": True}
            tracker = CometMLTracker("p", online=False, experiment_config=config)
            with monkeypatch.context() as patch:
                patch.setattr(module, name, broken)
                for _ in range(3):
                    with pytest.raises(OSError, match="ill"):
                        tracker.start()
            assert list((tmp_path / "c").iterdir()) == []
            tracker.start()
            tracker.finish()
            archives = list((tmp_path / "c").iterdir())
            assert len(archives) == 2  # ours and Comet's own
            for archive in archives:
                archive.unlink()

    def test_a_session_that_is_being_begun_is_not_taken_for_one_that_was_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tracking_comet_ml import offline

        config = {"offline_directory": str(tmp_path / "c")}
        first, second = (
            CometMLTracker("p", online=False, experiment_key=KEY, experiment_config=config)
            for _ in range(2)
        )
        other = threading.Thread(target=second.start)
        locked = offline._locked

        def slow(directory: str) -> Any:
            if other.ident is None:
                other.start()
                other.join(1.0)  # it has to wait; else it would be done by now
            return locked(directory)

        monkeypatch.setattr(offline, "_locked", slow)
        first.start()
        other.join()
        for number, tracker in enumerate((first, second)):
            tracker.log({"m": float(number)}, step=number)
            tracker.finish()
        found = Seen(read_run(KEY, tmp_path / "c", download_to=tmp_path / "d"))
        assert found.values("m") == [0.0, 1.0]

    def test_twenty_that_begin_at_once_in_one_directory_are_all_complete(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import sys
            from tracking_comet_ml import CometMLTracker
            from tracking_comet_ml.settings import imported
            imported()
            print("ready", flush=True)
            sys.stdin.readline()
            number = int(sys.argv[1])
            arguments = {"experiment_key": sys.argv[2]} if number % 2 else {}
            for run in range(3):
                tracker = CometMLTracker(
                    "p", online=False, experiment_config={"offline_directory": "runs/deep"}, **arguments
                )
                tracker.start()
                tracker.log({f"m{number}": float(run)}, step=run)
                tracker.finish()
        """
        (tmp_path / "train.py").write_text(script)
        processes = [
            subprocess.Popen(
                [sys.executable, "train.py", str(number), KEY],
                cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(20)
        ]  # fmt: skip
        try:
            for one in processes:
                assert one.stdout is not None
                assert one.stdout.readline() == "ready\n"
            for one in processes:
                assert one.stdin is not None
                one.stdin.write("go\n")
                one.stdin.flush()
            said = [one.communicate(timeout=120)[1] for one in processes]
        finally:
            for one in processes:
                one.kill()
                one.wait()
        assert said == [""] * 20
        runs = tmp_path / "runs" / "deep"
        names = sorted(path.name for path in runs.iterdir())
        assert [name for name in names if not name.endswith(".zip")] == []
        assert len(names) == 60
        shared = Seen(read_run(KEY, runs, download_to=tmp_path / "d"))
        for number in range(1, 20, 2):
            assert shared.values(f"m{number}") == [0.0, 1.0, 2.0]
