"""Releases, made for real: in a repository that is a copy of this tree, into an index that is a folder.

The command runs as maintainers run it, in the environment ``release`` of hatch.toml, which
tools/dev.py makes when it isn't there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from repository import ROOT, Repository

CORE, CHANGED, OTHER = "tracking-core", "tracking-tensorboard", "tracking-wandb"

# The package's own tests, few and quick here. Where they run, the package is installed and the tree is not.
SUITE = """
from pathlib import Path

import tracking_core
import tracking_tensorboard
from tracking_core.testing import TrackerConformance


class TestConformance(TrackerConformance):
    __test__ = False


def test_it_is_installed_beside_the_released_core():
    for module in (tracking_core, tracking_tensorboard):
        assert "site-packages" in Path(module.__file__).parts
    assert tracking_core.__version__ == "0.1.0"
"""

LOGGED = """
import json, sys
from importlib.metadata import version
from tracking_core import Tracking
from tracking_tensorboard.reader import SINCE_0_1_1, read_run

with Tracking(log_with=["tensorboard", "wandb"], logging_dir=sys.argv[1], delivery="inline") as run:
    run.init_trackers("released")
    run.log({"loss": 0.5}, step=3)
(folder,) = {path.parent for path in __import__("pathlib").Path(sys.argv[1]).rglob("*tfevents*")}
seen = [record.step for record in read_run(folder) if "loss" in str(record)]
names = ("tracking-core", "tracking-tensorboard", "tracking-wandb")
print(json.dumps([{name: version(name) for name in names}, SINCE_0_1_1, seen]))
"""


@dataclass(frozen=True)
class Clone:
    """A clone with packages, and the interpreter that releases them."""

    folder: Path
    python: str

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.folder, *arguments], capture_output=True, text=True, env=environ()
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip()

    def release(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self.python, self.folder / "tools" / "release.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ(), cwd="/")

    def released(self, *arguments: str | Path) -> str:
        done = self.release(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")

    def add(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")

    def commit(self, message: str = "A change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def state(self) -> str:
        """Everything of it that a release may touch."""
        asked = (
            ["rev-parse", "HEAD"],
            ["rev-parse", "--abbrev-ref", "HEAD"],
            ["for-each-ref"],
            ["status", "--porcelain"],
            ["worktree", "list"],
        )
        return "\n".join(self.git(*one) for one in asked)


def environ() -> dict[str, str]:
    """Nothing of the settings of whoever runs the tests, but what reaches the network."""
    who = {
        f"GIT_{role}_{what}": "a@b.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    left_out = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "VIRTUAL_ENV", "PYTHONPATH")
    mine = {name: value for name, value in os.environ.items() if name not in left_out}
    return (
        mine
        | who
        | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "WANDB_MODE": "offline"}
    )


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the environment that releases are made in."""
    script = "import sys; print(sys.executable)"
    command = [sys.executable, ROOT / "tools" / "dev.py", "release:python", "-c", script]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout.split()[-1]


@pytest.fixture(scope="module")
def fresh(python: str, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The tree as it is now, in a repository of its own in which nothing is released yet."""
    folder = Repository(tmp_path_factory.mktemp("fresh")).folder
    for package in (folder / "packages").iterdir():
        as_before_its_first_release(package)
    tests = folder / "packages" / CHANGED / "tests"
    shutil.rmtree(tests)
    tests.mkdir()
    (tests / "test_conformance.py").write_text(SUITE, "utf-8")
    subprocess.run([python, folder / "tools" / "check_packages.py", "--fix"], check=True)
    clone = Clone(folder, python)
    clone.git("branch", "--move", "main")
    clone.commit("As before the first release")
    return clone


def as_before_its_first_release(package: Path) -> None:
    """Whatever was released of it in the meantime; of its tests' needs, what SUITE needs is left."""
    next(package.glob("src/*/__about__.py")).write_text('__version__ = "0.1.0"\n', "utf-8")
    project = package / "pyproject.toml"
    text = project.read_text("utf-8")
    text = re.sub(r'"tracking-core>=[\d.]+,<[\d.]+"', f'"{CORE}>=0.1,<0.2"', text)
    needs = f'test = ["pytest>=9", "{CORE}[testing]"]'
    project.write_text(re.sub(r"^test = \[.*?^\]", needs, text, flags=re.S | re.M), "utf-8")
    changelog = package / "CHANGELOG.md"
    changelog.write_text(changelog.read_text("utf-8").partition("\n## ")[0] + "\n", "utf-8")
    shutil.rmtree(package / "changes", ignore_errors=True)
    (package / "changes").mkdir()
    (package / "changes" / "first.added.md").write_text(f"`{package.name}` exists.\n", "utf-8")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index that all releases of this module go to."""
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def first(fresh: Clone, index: Path) -> Clone:
    """That repository with the core and two trackers released as 0.1.0."""
    fresh.released(CORE, "0.1.0", "--no-tests", "--index", index, "--date", "2026-01-01")
    fresh.released(OTHER, "0.1.0", "--no-tests", "--index", index, "--date", "2026-01-01")
    fresh.released("tensorboard", "0.1.0", "--no-tests", "--index", index, "--date", "2026-01-02")
    return fresh


@pytest.fixture
def clone(first: Clone, tmp_path: Path) -> Clone:
    """A clone of it, for one test."""
    first.git("clone", "--quiet", str(first.folder), str(tmp_path / "clone"))
    return Clone(tmp_path / "clone", first.python)


@pytest.fixture(scope="module")
def alone(first: Clone, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which one tracker was changed and released as 0.1.1, and nothing else."""
    folder = tmp_path_factory.mktemp("alone") / "clone"
    first.git("clone", "--quiet", str(first.folder), str(folder))
    clone = Clone(folder, first.python)
    change(clone)
    told(clone, "fixed", "Something works.")
    clone.commit()
    said = clone.released(CHANGED, "0.1.1", "--index", index, "--date", "2026-01-03")
    assert "1 passed" in said
    return clone


def change(clone: Clone) -> None:
    reader = f"packages/{CHANGED}/src/tracking_tensorboard/reader.py"
    clone.edit(reader, "__all__ = [", "SINCE_0_1_1 = True\n\n__all__ = [")


def told(clone: Clone, kind: str, text: str = "Something is different.") -> None:
    clone.add(f"packages/{CHANGED}/changes/something.{kind}.md", f"{text}\n")


# --- what a release is ---


def test_a_release_is_one_commit_and_an_annotated_tag_and_touches_one_package(
    alone: Clone,
) -> None:
    tag = f"{CHANGED}-v0.1.1"
    assert alone.git("log", "-1", "--format=%s") == "Release tracking-tensorboard 0.1.1"
    assert alone.git("rev-parse", f"{tag}^{{commit}}") == alone.git("rev-parse", "main")
    assert alone.git("cat-file", "-t", tag) == "tag"
    assert "- Something works." in alone.git("tag", "--list", "--format=%(contents)", tag)
    assert sorted(alone.git("show", "--format=", "--name-only", "--no-renames").split()) == [
        "CHANGELOG.md",
        f"packages/{CHANGED}/CHANGELOG.md",
        f"packages/{CHANGED}/changes/something.fixed.md",
        f"packages/{CHANGED}/src/tracking_tensorboard/__about__.py",
    ]
    assert alone.git("status", "--porcelain") == ""
    assert len(alone.git("worktree", "list").splitlines()) == 1
    assert alone.git("tag").split() == [
        f"{CORE}-v0.1.0",
        f"{CHANGED}-v0.1.0",
        tag,
        f"{OTHER}-v0.1.0",
    ]


def test_fragments_become_the_newest_section_and_the_release_is_listed_first(
    alone: Clone,
) -> None:
    changelog = (alone.folder / "packages" / CHANGED / "CHANGELOG.md").read_text("utf-8")
    assert changelog.startswith(f"# Changelog of {CHANGED}\n")
    assert changelog.endswith(
        "\n\n## 0.1.1 - 2026-01-03\n\n### Fixed\n\n- Something works.\n"
        f"\n## 0.1.0 - 2026-01-02\n\n### Added\n\n- `{CHANGED}` exists.\n"
    )
    rows = (alone.folder / "CHANGELOG.md").read_text("utf-8").splitlines()[-4:]
    assert [re.findall(r"[\d.-]{5,}|tracking-[a-z]+(?=\])", row) for row in rows] == [
        ["2026-01-03", CHANGED, "0.1.1"],
        ["2026-01-02", CHANGED, "0.1.0"],
        ["2026-01-01", CORE, "0.1.0"],
        ["2026-01-01", OTHER, "0.1.0"],
    ]
    assert "tracking-tensorboard   0.1.1     0.1.1     0          nothing" in alone.released(
        "--status"
    )


def test_what_was_released_is_installed_from_the_index_beside_older_versions(
    alone: Clone, index: Path, tmp_path: Path
) -> None:
    simple = (index / "simple").as_uri()
    environment = tmp_path / "environment"
    inside = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv = [alone.python, "-m", "uv"]

    def run(*command: str | Path, at_home: bool = True) -> str:
        env = environ() if at_home else environ() | {"HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(*uv, "venv", "--quiet", "--seed", environment)
    # pip takes the newest of each from there; uv, whose cache is at home, brings what they need of
    # others. W&B keeps files in the home directory, also offline, and so does Rust when pip asks it.
    pip = (inside, "-m", "pip", "install", "--quiet", "--no-deps", "--index-url", simple)
    run(*pip, CORE, CHANGED, OTHER, at_home=False)
    ours = ("--index", simple, CORE, CHANGED, OTHER)
    run(*uv, "pip", "install", "--quiet", "--python", inside, *ours)
    said = run(inside, "-I", "-c", LOGGED, tmp_path / "runs", at_home=False)
    assert json.loads(said.splitlines()[-1]) == [
        {CORE: "0.1.0", CHANGED: "0.1.1", OTHER: "0.1.0"},
        True,
        [3],
    ]
    # And the older one is still there for whoever pins it.
    run(*pip, f"{CHANGED}==0.1.0", at_home=False)


def test_a_tagged_release_is_verified_and_built_to_the_same_bytes(
    alone: Clone, index: Path, tmp_path: Path
) -> None:
    alone.released("--verify", f"{CHANGED}-v0.1.1", "--out", tmp_path / "dist", "--no-tests")
    files = sorted((tmp_path / "dist").iterdir())
    assert [file.name for file in files] == [
        "tracking_tensorboard-0.1.1-py3-none-any.whl",
        "tracking_tensorboard-0.1.1.tar.gz",
    ]
    for file in files:
        assert file.read_bytes() == (index / "simple" / CHANGED / file.name).read_bytes()


# --- what it refuses ---


def dirty(clone: Clone) -> None:
    change(clone)


def detached(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--detach")


def untold(clone: Clone) -> None:
    change(clone)
    clone.commit()


def unchanged(clone: Clone) -> None:
    clone.add("docs/more.md", "Nothing of the package.\n")
    clone.commit()


def fixed(clone: Clone) -> None:
    change(clone)
    told(clone, "fixed")
    clone.commit()


def removed(clone: Clone) -> None:
    told(clone, "removed")
    clone.commit()


def broken(clone: Clone) -> None:
    reader = f"packages/{CHANGED}/src/tracking_tensorboard/reader.py"
    clone.edit(reader, "def read_run(", "def read_run(more: int, ")
    told(clone, "changed")
    clone.commit()


def needs_newer_core(clone: Clone) -> None:
    clone.edit(f"packages/{CHANGED}/pyproject.toml", ">=0.1,<0.2", ">=0.2,<0.3")
    told(clone, "changed")
    clone.commit()


def needs_a_core_between(clone: Clone) -> None:
    clone.edit(f"packages/{CHANGED}/pyproject.toml", ">=0.1,<0.2", ">=0.0.9,<0.2")
    told(clone, "changed")
    clone.commit()


def no_row_of_values(clone: Clone) -> None:
    clone.edit("docs/values.md", "\n| tensorboard | ", "\n| another | ")
    fixed(clone)


def a_fragment_of_no_kind(clone: Clone) -> None:
    told(clone, "improved")
    fixed(clone)


def no_tags(clone: Clone) -> None:
    clone.git("tag", "--delete", f"{CHANGED}-v0.1.0")
    fixed(clone)


@pytest.mark.parametrize(
    ("prepare", "arguments", "sentence"),
    [
        (
            dirty,
            [CHANGED, "0.1.1"],
            f"not be released: commit or stash packages/{CHANGED}/src/.*py",
        ),
        (detached, [CHANGED, "0.1.1"], "HEAD is on no branch.*git switch"),
        (fixed, ["tracking-nothing", "0.1.1"], "no package 'tracking-nothing' in packages/: trac"),
        (fixed, [CHANGED, "0.2"], "'0.2' is no version: three numbers"),
        (fixed, [CHANGED, "0.0.9"], "0.0.9 is a version of a package that is being written"),
        (
            fixed,
            [CHANGED, "0.1.0"],
            "0.1.0 is not newer than its last .*, 0.1.0: .* 0.1.1 or newer",
        ),
        (fixed, [CHANGED, "0.1.1", "--date", "2025-12-31"], "2025-12-31 is before 2026-01-02"),
        (
            untold,
            [CHANGED, "0.1.1"],
            r"changed since 0.1.0 \(src/.*reader.py\).*write .*changes/",
        ),
        (unchanged, [CHANGED, "0.1.1"], "has changed since 0.1.0: nothing to release"),
        (removed, [CHANGED, "0.1.1"], r"something.removed.md says .* removed: .* 0.2.0 or newer"),
        (
            broken,
            [CHANGED, "0.1.1"],
            r"API broke since 0.1.0 \(.*tensorboard.reader.read_run\(more\): .*\): .* 0.2.0 or newer",
        ),
        (
            needs_newer_core,
            [CHANGED, "0.1.1"],
            r"needs tracking-core>=0.2,<0.3, which is unreleased \(released: 0.1.0\): release trac",
        ),
        (
            needs_a_core_between,
            [CHANGED, "0.1.1"],
            r"needs tracking-core>=0.0.9, and 0.0.9 is unre",
        ),
        (no_row_of_values, [CHANGED, "0.1.1"], "docs/values.md: tensorboard is missing: .* values"),
        (a_fragment_of_no_kind, [CHANGED, "0.1.1"], "something.improved.md: a fragment is called"),
        (no_tags, [CHANGED, "0.1.1"], "tag tracking-tensorboard-v0.1.0 .* git fetch --tags"),
        (
            fixed,
            ["--verify", f"{CHANGED}-v0.1.7", "--out", "nowhere"],
            "no tag .* git fetch --tags",
        ),
        (fixed, ["--verify", "v0.1.0", "--out", "nowhere"], "'v0.1.0' is not the tag of a release"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_refuses_with_a_sentence_and_changes_nothing(
    clone: Clone,
    prepare: Callable[[Clone], None],
    arguments: list[str],
    sentence: str,
) -> None:
    prepare(clone)
    before = clone.state()
    done = clone.release(*arguments)
    assert done.returncode == 1, done.stdout
    (said,) = done.stderr.splitlines()
    assert re.search(sentence, said)
    assert clone.state() == before


def test_a_tag_that_a_release_did_not_set_is_refused(clone: Clone) -> None:
    tag = f"{CHANGED}-v0.1.1"
    broken(clone)
    clone.git("tag", tag)
    done = clone.release("--verify", tag, "--out", "nowhere")
    said = "\n".join(done.stderr.splitlines())
    assert f"{tag} is at a commit where {CHANGED} is 0.1.0: tag the commit of the release" in said
    assert f"{tag} is at a commit where the newest heading of its changelog is 0.1.0" in said
    assert f"{tag} leaves changes untold: something.changed.md" in said
    assert "its API broke since 0.1.0" in said
    assert done.returncode == 1


def test_an_index_never_gets_a_version_twice(clone: Clone, tmp_path: Path) -> None:
    fixed(clone)
    there = tmp_path / "index" / "simple" / CHANGED
    there.mkdir(parents=True)
    (there / "tracking_tensorboard-0.1.1.tar.gz").touch()
    done = clone.release(CHANGED, "0.1.1", "--index", tmp_path / "index")
    assert done.returncode == 1
    assert "has tracking-tensorboard 0.1.1 already" in done.stderr


def test_a_wheel_with_something_else_in_it_is_refused(clone: Clone) -> None:
    clone.add(f"packages/{CHANGED}/src/tracking_tensorboard/tests/test_it.py", "")
    clone.edit(
        f"packages/{CHANGED}/pyproject.toml",
        'packages = ["src/tracking_tensorboard"]',
        'packages = ["src/tracking_tensorboard"]\nexclude = ["reader.py"]',
    )
    fixed(clone)
    before = clone.state()
    done = clone.release(CHANGED, "0.1.1", "--no-tests")
    wheel = "release: refused: tracking_tensorboard-0.1.1-py3-none-any.whl"
    assert done.stderr.splitlines() == [
        f"{wheel} lacks tracking_tensorboard/reader.py",
        f"{wheel} has tests: tracking_tensorboard/tests/test_it.py",
    ]
    assert clone.state() == before


def test_when_its_own_tests_fail_there_is_no_release(clone: Clone) -> None:
    suite = f"packages/{CHANGED}/tests/test_conformance.py"
    clone.edit(suite, '__version__ == "0.1.0"', '__version__ == "0.1.7"')
    fixed(clone)
    before = clone.state()
    done = clone.release(CHANGED, "0.1.1")
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert "the tests of tracking-tensorboard fail with tracking_core-0.1.0-" in done.stderr
    assert clone.state() == before


def test_what_waits_is_shown_with_the_version_that_may_come_next(clone: Clone) -> None:
    broken(clone)
    clone.git("tag", "--delete", f"{OTHER}-v0.1.0")
    rows = {
        line.split()[0]: line.split(maxsplit=4)[1:]
        for line in clone.released("--status").splitlines()
    }
    assert rows[CORE] == ["0.1.0", "0.1.0", "0", "nothing to release"]
    assert rows[CHANGED][:3] == ["0.1.0", "0.1.0", "1"]
    assert rows[CHANGED][3].startswith("0.2.0 or newer: its API broke since 0.1.0 (")
    assert rows[OTHER][3].endswith("is not in this clone: git fetch --tags")
    assert rows["tracking-mlflow"] == ["0.1.0", "-", "1", "0.1.0 or newer: the first release"]


@pytest.mark.parametrize("kind", ["fixed", ""])
def test_a_branch_must_tell_what_it_changes(clone: Clone, kind: str) -> None:
    clone.git("switch", "--quiet", "--create", "branch")
    change(clone)
    if kind:
        told(clone, kind)
    clone.commit()
    done = clone.release("--changed", "main")
    if kind:
        assert (done.returncode, done.stdout) == (0, "")
    else:
        assert done.returncode == 1
        assert re.fullmatch(rf"{CHANGED} has changed since main \(src/.*: write .*\n", done.stdout)


def test_what_a_release_on_the_branch_moved_to_the_changelog_is_told(alone: Clone) -> None:
    assert alone.released("--changed", "HEAD~2") == ""
