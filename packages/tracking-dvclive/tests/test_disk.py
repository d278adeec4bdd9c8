from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest

from tracking_core import TrackingWarning
from tracking_core.records import (
    LoggedImage,
)
from tracking_core.testing import Seen
from tracking_dvclive import DVCLiveTracker, read_run
from tracking_dvclive.errors import DVCLiveRunGoneError

from .runs import in_another_process, row, started


def in_git(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "train.py").write_text("# the training\n")
    git(directory, "init", "-q")
    # DVC commits as whoever the repository names; a machine may know nobody.
    git(directory, "config", "user.email", "a@example.com")
    git(directory, "config", "user.name", "a")
    git(directory, "add", ".")
    git(directory, "commit", "-qm", "first")


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout


class TestDisk:
    def test_a_kill_right_after_log_loses_nothing(self, tmp_path: Path) -> None:
        script = """if True:
            import os, signal, sys
            from tracking_core import Audio
            from tracking_dvclive import DVCLiveTracker
            tracker = DVCLiveTracker(dir=sys.argv[1])
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            for step in range(200):
                tracker.log({"m": float(step), "t": f"text {step}"}, step=step)
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        """
        in_another_process(script, tmp_path / "run")
        seen = Seen(read_run(tmp_path / "run"))
        assert seen.values("m") == [float(step) for step in range(200)]
        assert seen.values("t")[-1] == "text 199"
        assert seen.config == {"lr": 0.1}
        assert seen.status is None
        assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 199

    @pytest.mark.skipif(sys.platform == "win32", reason="limits files as POSIX does")
    def test_a_full_disk_takes_back_the_whole_delivery(self, tmp_path: Path) -> None:
        # The limit makes one write short and the next fail, as a full disk does.
        script = """if True:
            import resource, signal, sys
            from tracking_core.records import Log, LoggedImage
            from tracking_dvclive import DVCLiveTracker

            def rows(*steps):
                image = LoggedImage(b"png", 0, 0, 0, "png")
                return [Log({"a": 1.0, "i": image, "z": "x" * 100}, n, n, float(n)) for n in steps]

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            tracker = DVCLiveTracker(dir=sys.argv[1])
            tracker.start()
            tracker.deliver(rows(0, 1))
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
            try:
                tracker.deliver(rows(*range(2, 50)))
            except OSError:
                print("raised")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            tracker.deliver(rows(*range(2, 50)))
            tracker.finish()
        """
        assert in_another_process(script, tmp_path / "run").strip() == "raised"
        seen = Seen(read_run(tmp_path / "run"))
        for key in ("a", "i", "z"):
            assert [point.step for point in seen.points(key)] == list(range(50))
        assert len(list((tmp_path / "run" / "plots" / "images" / "i").iterdir())) == 50

    def test_what_a_killed_delivery_left_is_taken_over(self) -> None:
        image = LoggedImage(b"a picture", 0, 0, 0, "png")
        tracker = started()
        left = Path("dvclive/plots/images/i/3.png")
        left.parent.mkdir(parents=True)
        left.write_bytes(b"a picture")
        tracker.deliver([row(3, i=image)])
        tracker.deliver([row(3, i=image)])
        tracker.finish()
        assert len(list(left.parent.iterdir())) == 2
        assert Seen(read_run("dvclive")).media("i") == [image, image]

    def test_a_deleted_file_is_begun_anew(self) -> None:
        tracker = started()
        tracker.deliver([row(0, m=1.0)])
        Path("dvclive/plots/metrics/m.tsv").unlink()
        tracker.deliver([row(1, m=2.0)])
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [2.0]

    def test_a_directory_that_is_gone_is_missed_and_may_come_back(self) -> None:
        tracker = started()
        tracker.deliver([row(0, m=0.0)])
        Path("dvclive").rename("away")
        for call in (lambda: tracker.deliver([row(1, m=1.0)]), tracker.finish):
            with pytest.raises(DVCLiveRunGoneError, match="put it back") as gone:
                call()
            assert tracker.fault(gone.value) == "run"
        assert not Path("dvclive").exists()
        Path("away").rename("dvclive")
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [0.0, 1.0]

    def test_what_is_only_for_the_screen_costs_no_row(self) -> None:
        Path("dvc.yaml").mkdir()
        tracker = started()
        with pytest.warns(TrackingWarning, match="files for the screen could not be made"):
            tracker.log({"m": 1.0})
        tracker.log({"m": 2.0})
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [1.0, 2.0]

    def test_several_threads_may_deliver(self) -> None:
        tracker = started()
        threads = [
            threading.Thread(target=deliver_20, args=(tracker, number)) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tracker.finish()
        assert len(Seen(read_run("dvclive")).values("m")) == 80


def deliver_20(tracker: DVCLiveTracker, step: int) -> None:
    for _ in range(20):
        tracker.deliver([row(step, m=1.0)])


class TestGit:
    def test_a_run_is_saved_as_an_experiment_and_the_next_takes_its_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        in_git(tmp_path / "repository")
        monkeypatch.chdir(tmp_path / "repository")
        (tmp_path / "model.bin").write_bytes(b"weights")
        for number in range(2):
            tracker = DVCLiveTracker("project", exp_name=f"experiment-{number}")
            tracker.start()
            tracker.log({"m": float(number)}, step=numpy.int64(0))  # type: ignore[arg-type]  # users do
            tracker.log_table(f"table-{number}", columns=["x", "y"], data=[[1, 2]])
            tracker.log_artifact(tmp_path / "model.bin")
            tracker.finish("failed")
        assert capfd.readouterr() == ("", "")
        assert not Path("dvclive-2").exists()
        refs = git(Path(), "for-each-ref", "--format=%(refname)")
        assert "experiment-0" in refs and "experiment-1" in refs
        (ref,) = (line for line in refs.splitlines() if line.endswith("experiment-0"))
        assert git(Path(), "show", f"{ref}:dvclive/metrics.json").count('"m": 0.0') == 1
        assert '"failed"' in git(Path(), "show", f"{ref}:dvclive/tracking/run.json")
        assert "table-0" not in Path("dvc.yaml").read_text()
        assert "model.bin.dvc" in git(Path(), "ls-tree", "--name-only", f"{ref}:dvclive/artifacts")
        assert Seen(read_run("dvclive")).values("m") == [1.0]

    def test_a_run_that_is_committed_may_be_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_git(tmp_path / "repository")
        monkeypatch.chdir(tmp_path / "repository")
        for number, name in enumerate(["dvclive", "dvclive-2"]):
            tracker = started(save_dvc_exp=False)
            tracker.log({"m": float(number)})
            tracker.finish()
            assert tracker.identity() == {"dir": str(Path(name).resolve())}
        git(Path(), "add", ".")
        git(Path(), "commit", "-qm", "a run")
        tracker = started(save_dvc_exp=False)
        tracker.finish()
        assert tracker.identity() == {"dir": str(Path("dvclive").resolve())}
