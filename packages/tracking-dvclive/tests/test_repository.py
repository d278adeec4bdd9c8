"""Git and DVC in every state: a run is its files first, and what DVC can't do with them is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking_core import Tracking, TrackingWarning
from tracking_core.records import Config
from tracking_core.testing import Seen
from tracking_dvclive import DVCLiveTracker, read_run

from .runs import WALL_TIME, row, started

MADE_BY_DVC = {".dvc", ".dvcignore"}


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def begun() -> None:
    """A repository without a commit."""
    git("init", "-q")
    named()


def named() -> None:
    """DVC commits as whoever the repository names; a machine may know nobody."""
    git("config", "user.email", "a@example.com")
    git("config", "user.name", "a")


def committed() -> None:
    begun()
    Path("model.py").write_text("pass\n")
    git("add", ".")
    git("commit", "-qm", "first")


def detached() -> None:
    committed()
    git("checkout", "-q", "--detach")


def working_tree_of_a_bare_one() -> None:
    committed()
    git("clone", "-q", "--bare", ".", "../bare.git")
    git("-C", "../bare.git", "worktree", "add", "-q", "../tree", "-b", "x")
    os.chdir("../tree")
    named()


def submodule() -> None:
    Path("inner").mkdir()
    os.chdir("inner")
    committed()
    os.chdir("..")
    begun()
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "./inner", "sub")
    git("commit", "-qm", "a submodule")
    os.chdir("sub")
    named()


def without_git() -> None:
    """DVC has git's own code in itself."""
    committed()
    os.environ["PATH"] = os.fspath(Path("nowhere").absolute())


def subfolder() -> None:
    begun()
    Path("inner").mkdir()
    os.chdir("inner")


def bare() -> None:
    git("init", "-q", "--bare")


def of_somebody_else() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    committed()
    for path in (Path(), *Path().rglob("*")):
        os.chown(path, 12345, 12345)


def with_a_damaged_head() -> None:
    committed()
    Path(".git/HEAD").write_text("what is this")


def of_another_format() -> None:
    git("init", "-q", "--object-format=sha256")
    git(
        "-c",
        "user.email=a@example.com",
        "-c",
        "user.name=a",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "a",
    )


def with_a_file_where_dvc_has_its_own() -> None:
    committed()
    Path(".dvc").write_text("mine")


def with_a_dvc_that_is_damaged() -> None:
    committed()
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[[[")


def in_its_own_folder() -> None:
    committed()
    os.chdir(".git")


def a_run() -> DVCLiveTracker:
    Path("model.bin").write_bytes(b"model")
    tracker = started()
    tracker.deliver([Config({"lr": 1}, WALL_TIME), row(0, v=1.0)])
    tracker.log_artifact("model.bin")
    tracker.finish()
    found = Seen(read_run("dvclive"))
    assert (found.values("v"), found.config, found.status) == ([1.0], {"lr": 1}, "finished")
    assert found.files() == {"model.bin": b"model"}
    return tracker


def experiments() -> list[str]:
    refs = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return [ref for ref in refs if "/exec/" not in ref and "stash" not in ref]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])  # and back, whatever a test does to it


@pytest.mark.parametrize(
    "make", [detached, working_tree_of_a_bare_one, submodule, without_git], ids=lambda f: f.__name__
)
def test_a_run_is_saved_as_an_experiment(make: Callable[[], None]) -> None:
    path = os.environ["PATH"]
    make()
    tracker = a_run()
    assert tracker.rejections.counts == {}
    os.environ["PATH"] = path
    assert len(experiments()) == 1


@pytest.mark.parametrize("make", [begun, subfolder, bare], ids=lambda f: f.__name__)
def test_without_a_commit_it_is_files_and_dvc_makes_nothing(make: Callable[[], None]) -> None:
    make()
    with pytest.warns(TrackingWarning, match="has no commit yet.*all of it is in .*Commit once"):
        a_run()
    assert not MADE_BY_DVC & set(os.listdir(Path()))
    assert git("ls-files") == ""
    assert Path("dvc.yaml").exists(), "dvc metrics show and the like work all the same"


@pytest.mark.parametrize(
    "make",
    [
        of_somebody_else,
        with_a_damaged_head,
        of_another_format,
        with_a_file_where_dvc_has_its_own,
        with_a_dvc_that_is_damaged,
        in_its_own_folder,
    ],
    ids=lambda f: f.__name__,
)
def test_a_repository_that_dvc_can_not_use_costs_no_file(make: Callable[[], None]) -> None:
    make()
    before = set(os.listdir(Path()))
    with pytest.warns(TrackingWarning, match=r"DVC can't use the git repo.*all of it is in"):
        a_run()
    assert MADE_BY_DVC & set(os.listdir(Path())) == MADE_BY_DVC & before


def test_of_a_user_who_wants_no_experiment_nothing_is_said() -> None:
    begun()
    tracker = started(save_dvc_exp=False)
    tracker.finish()
    assert tracker.rejections.counts == {}


def test_dvc_without_git_is_used_for_files() -> None:
    subprocess.run(["dvc", "init", "-q", "--no-scm"], check=True)
    assert a_run().rejections.counts == {}
    assert Path("dvclive/artifacts/model.bin.dvc").exists()


def test_a_repository_that_is_left_unmerged_costs_the_experiment_alone() -> None:
    committed()
    for branch, text in (("one", "1"), ("two", "2")):
        git("checkout", "-qb", branch, "HEAD" if branch == "one" else "HEAD~1")
        Path("model.py").write_text(text)
        git("commit", "-qam", branch)
    subprocess.run(["git", "merge", "-q", "one"], capture_output=True)
    with pytest.warns(TrackingWarning, match="DVC could not save it.*`dvc exp save` does it"):
        a_run()


def test_a_lock_is_waited_for_but_not_for_ever() -> None:
    committed()
    subprocess.run(["dvc", "init", "-q"], check=True)
    git("commit", "-qm", "dvc")
    tracker = started()
    tracker.deliver([row(0, v=1.0)])
    lock = Path(".git/index.lock")  # of a git that is at work, or was killed
    lock.touch()
    with pytest.raises(TimeoutError, match="lock") as busy:
        tracker.finish()
    assert tracker.fault(busy.value) == "server"
    lock.unlink()
    tracker.finish()
    assert len(experiments()) == 1

    tracker = started()
    lock.touch()
    with pytest.warns(TrackingWarning, match="DVC could not save it"):
        for _ in range(4):
            with pytest.raises(TimeoutError):
                tracker.finish()
        tracker.finish()
    assert Seen(read_run("dvclive")).status == "finished"


def test_runs_at_once_in_a_new_repository_are_all_saved(tmp_path: Path) -> None:
    committed()
    script = """if True:
        import sys
        from tracking_core import Tracking
        with Tracking("dvclive", delivery="thread") as tracking:
            tracking.init_trackers("p", config={"lr": float(sys.argv[1])})
            tracking.log({"m": float(sys.argv[1])}, step=0)
            tracking.end_training(timeout=200)
        status = tracking.status()["dvclive"]
        print(status.state, status.rejected, status.last_error)
    """
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number)],
            env={**os.environ, "TRACKING_DIR": str(tmp_path / "journals")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    assert [run.communicate(timeout=240)[0] for run in runs] == ["ended {} None\n"] * 4
    assert len(experiments()) == 4
    folders = {path.name for path in Path().glob("dvclive*")}
    named = Path("dvc.yaml").read_text()
    assert all(f"{folder}/params.yaml" in named for folder in folders)
    assert git("status", "--porcelain", "model.py") == ""
    assert not list(Path(".git").glob(".*lock*"))


def test_the_delivery_process_tells_the_user(tmp_path: Path) -> None:
    begun()
    tracking = Tracking("dvclive", tmp_path)
    tracking.init_trackers("p")
    tracking.log({"v": 1.0}, step=0)
    with pytest.warns(TrackingWarning, match="has no commit yet"):
        tracking.end_training(timeout=100)
    assert tracking.status()["dvclive"].state == "ended"
    assert Seen(read_run("dvclive")).values("v") == [1.0]
