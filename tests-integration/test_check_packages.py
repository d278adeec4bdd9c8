"""Every convention is checked: a mistake, planted in a copy, is named with its place and remedy."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from repository import ROOT, Repository

CORE, ONE, OTHER = (f"packages/tracking-{name}" for name in ("core", "tensorboard", "dvclive"))
SOURCE = f"{ONE}/src/tracking_tensorboard"
PYPROJECT = f"{ONE}/pyproject.toml"
FEW = {
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "first-release.added.md",
    "py.typed",
}
FEW |= {"__about__.py", "__init__.py", "installing.py", "names.py", "test_conformance.py"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository with one whole tracker, and a few files of another and the core.

    What is missing has been read in the tree itself; here it would be read a hundred times.
    """
    repository = Repository(tmp_path_factory.mktemp("planted") / "repository")
    left_out = []
    for path in repository.git("ls-files", "packages", "tests-integration", "tools").splitlines():
        package = "/".join(path.split("/")[:2])
        whole = package == ONE or (path.startswith("tools/") and path.count("/") == 1)
        few = package in (CORE, OTHER) and Path(path).name in FEW
        if not whole and not few:
            left_out.append(path)
    repository.git("rm", "--quiet", *left_out)
    # Versions of its own, so that a release of the tree changes nothing in here.
    about = repository.folder / CORE / "src" / "tracking_core" / "__about__.py"
    about.write_text('__version__ = "0.1.0"\n', "utf-8")
    for package in (ONE, OTHER):
        file = repository.folder / package / "pyproject.toml"
        text = re.sub('tracking-core>=[^"]+', "tracking-core>=0.1,<0.2", file.read_text("utf-8"))
        file.write_text(text, "utf-8")
    fixed = repository.tool("check_packages.py", "--fix")
    assert fixed.stdout.splitlines() == ["README.md: written anew"], fixed.stderr
    repository.commit()
    return repository


@pytest.fixture
def planted(clean: Repository) -> Iterator[Path]:
    """The copy's folder, for mistakes: what is done in there is undone."""
    yield clean.folder
    clean.restore()


class Checker:
    """The copy's own tools/check_packages.py, in this process, which spares a second each time."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        ours = ("check_packages", "changelogs", "monorepo", "python_text")
        before = {name: sys.modules.pop(name) for name in ours if name in sys.modules}
        sys.path.insert(0, str(folder / "tools"))
        try:
            self._module: Any = import_module("check_packages")
        finally:
            sys.path.remove(str(folder / "tools"))
            for name in ours:
                sys.modules.pop(name, None)
            sys.modules.update(before)
        assert Path(self._module.ROOT) == folder

    def __call__(self, *arguments: str) -> tuple[list[str], int]:
        """What it prints, line by line, and its exit status."""
        code = self._module.main(arguments)
        return self._capsys.readouterr().out.splitlines(), code


@pytest.fixture
def check(planted: Path, capsys: pytest.CaptureFixture[str]) -> Checker:
    return Checker(planted, capsys)


class Mistake(NamedTuple):
    """What is done in a copy, and what has to be said.

    Attributes:
        plant: does it, given the copy's folder.
        said: the findings: a place, and words that have to stand in its line.
    """

    plant: Callable[[Path], object]
    said: list[tuple[str, str]]


def replaced(path: str, old: str, new: str) -> Callable[[Path], object]:
    def plant(folder: Path) -> None:
        text = (folder / path).read_text("utf-8")
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1), "utf-8")

    return plant


def written(path: str, text: str) -> Callable[[Path], object]:
    def plant(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")

    return plant


def added(path: str, text: str) -> Callable[[Path], object]:
    return lambda folder: written(path, (folder / path).read_text("utf-8") + text)(folder)


def deleted(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


def moved(path: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).rename(folder / to)


def all_of(*plants: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [plant(folder) for plant in plants]


TABLE = ("README.md", "the table of packages is not up to date (--fix does it)")

MISTAKES = {
    # --- names ---
    "the distribution has another name": Mistake(
        replaced(PYPROJECT, 'name = "tracking-tensorboard"', 'name = "tracking-board"'),
        [(PYPROJECT, "project.name must be that of the folder, 'tracking-tensorboard'")],
    ),
    "the version says nothing": Mistake(
        written(f"{SOURCE}/__about__.py", '__version__ = "one"\n'),
        [(SOURCE, '__about__.py must say __version__ = "X.Y.Z"')],
    ),
    "a module has a name for anything": Mistake(
        written(f"{SOURCE}/utils.py", ""),
        [(f"{SOURCE}/utils.py", "name the module after what it is about")],
    ),
    "so has a folder": Mistake(
        written(f"{SOURCE}/common/paths.py", ""),
        [(f"{SOURCE}/common/paths.py", "name the module after what it is about")],
    ),
    "so has a module of tests": Mistake(
        written(f"{ONE}/tests/helpers.py", ""),
        [(f"{ONE}/tests/helpers.py", "name the module after what it is about")],
    ),
    # --- metadata ---
    "a folder is no package": Mistake(
        deleted(PYPROJECT), [(PYPROJECT, "it is missing, and without it this is no package")]
    ),
    "its metadata is no TOML": Mistake(
        replaced(PYPROJECT, "[project]", "[project"), [(PYPROJECT, "it can't be read: ")]
    ),
    "another builder": Mistake(
        replaced(PYPROJECT, "hatchling.build", "setuptools.build_meta"),
        [(PYPROJECT, "build-system.build-backend must be 'hatchling.build'")],
    ),
    "no readme in the metadata": Mistake(
        replaced(PYPROJECT, 'readme = "README.md"\n', ""),
        [(PYPROJECT, "project.readme must be 'README.md'")],
    ),
    "folders of tests that stay": Mistake(
        replaced(PYPROJECT, 'retention_policy = "failed"', 'retention_policy = "all"'),
        [(PYPROJECT, "tool.pytest.tmp_path_retention_policy must be 'failed'")],
    ),
    "another licence": Mistake(
        replaced(PYPROJECT, "Apache-2.0", "MIT"),
        [(PYPROJECT, "project.license must be 'Apache-2.0'")],
    ),
    "no licence in the wheel": Mistake(
        replaced(PYPROJECT, 'license-files = ["LICENSE"]\n', ""),
        [(PYPROJECT, "project.license-files must be ['LICENSE']")],
    ),
    "a version of its own in the metadata": Mistake(
        replaced(PYPROJECT, 'dynamic = ["version"]', 'version = "1.0"'),
        [(PYPROJECT, "project.dynamic must be ['version']")],
    ),
    "a version from elsewhere": Mistake(
        replaced(PYPROJECT, "__about__.py", "__init__.py"),
        [(PYPROJECT, "tool.hatch.version.path must be 'src/tracking_tensorboard/__about__.py'")],
    ),
    "a wheel of something else": Mistake(
        replaced(PYPROJECT, 'packages = ["src/tracking_tensorboard"]', 'packages = ["src"]'),
        [(PYPROJECT, "wheel.packages must be ['src/tracking_tensorboard']")],
    ),
    "a description with a full stop": Mistake(
        replaced(PYPROJECT, 'or TensorFlow"', 'or TensorFlow."'),
        [(PYPROJECT, "a sentence without its full stop"), TABLE],
    ),
    "an older Python": Mistake(
        replaced(PYPROJECT, 'requires-python = ">=3.10"', 'requires-python = ">=3.9"'),
        [(PYPROJECT, "project.requires-python must be >=3.10")],
    ),
    "a classifier too few": Mistake(
        replaced(PYPROJECT, '  "Programming Language :: Python :: 3.12",\n', ""),
        [(PYPROJECT, "these classifiers follow: Programming Language :: Python :: 3.10,")],
    ),
    "a classifier too many": Mistake(
        replaced(PYPROJECT, '"Programming Language :: Python :: 3.13"', '"Programming Language :: Python :: 3.19"'),
        [(PYPROJECT, "these classifiers follow: Programming Language :: Python :: 3.10,")],
    ),
    "fewer Pythons than it is said to take": Mistake(
        replaced(PYPROJECT, 'requires-python = ">=3.10"', 'requires-python = ">=3.10,<3.13"'),
        [(PYPROJECT, "these classifiers follow"), TABLE],
    ),
    "it does not say that it is typed": Mistake(
        replaced(PYPROJECT, '  "Typing :: Typed",\n', ""),
        [(PYPROJECT, "the classifier 'Typing :: Typed' is missing")],
    ),
    "no py.typed": Mistake(
        deleted(f"{SOURCE}/py.typed"), [(SOURCE, "py.typed is missing: users' type checkers")]
    ),
    "its tests come without the suite": Mistake(
        replaced(PYPROJECT, '  "tracking-core[testing]",\n', ""),
        [(PYPROJECT, "the dependency group 'test' must have tracking-core[testing]")],
    ),
    "its tests come without pytest": Mistake(
        replaced(PYPROJECT, '"pytest>=9"', '"pytest-mock>=3"'),
        [(PYPROJECT, "the dependency group 'test' must have pytest")],
    ),
    # --- what it needs ---
    "it does not need its library": Mistake(
        replaced(PYPROJECT, '  "tensorboard>=2.18,<3",\n', ""),
        [(PYPROJECT, "it must need tensorboard")],
    ),
    "no lowest version": Mistake(
        replaced(PYPROJECT, "tensorboard>=2.18,<3", "tensorboard<3"),
        [(PYPROJECT, "tensorboard needs a lowest and a highest version: >=A,<B")],
    ),
    "no highest version": Mistake(
        replaced(PYPROJECT, "tensorboard>=2.18,<3", "tensorboard>=2.18"),
        [(PYPROJECT, "tensorboard needs a lowest and a highest version: >=A,<B")],
    ),
    "it does not need the core": Mistake(
        replaced(PYPROJECT, '  "tracking-core>=0.1,<0.2",', "  "),
        [(PYPROJECT, "it must need tracking-core")],
    ),
    "the core of the tree is too new for it": Mistake(
        replaced(PYPROJECT, "tracking-core>=0.1,<0.2", "tracking-core>=0.0.1,<0.1"),
        [(PYPROJECT, "the tracking-core of this tree is 0.1.0, and tracking-tensorboard forbids it")],
    ),
    "the core of the tree is too old for it": Mistake(
        replaced(PYPROJECT, "tracking-core>=0.1,<0.2", "tracking-core>=0.1.1,<0.2"),
        [(PYPROJECT, "the tracking-core of this tree is 0.1.0, and tracking-tensorboard forbids it")],
    ),
    "it needs another tracker": Mistake(
        replaced(PYPROJECT, "dependencies = [\n", 'dependencies = [\n  "tracking_dvclive>=0.1",\n'),
        [(PYPROJECT, "a package must not need tracking-dvclive")],
    ),
    # --- how it is found ---
    "found by another name": Mistake(
        replaced(PYPROJECT, "\ntensorboard = ", "\nboard = "),
        [(PYPROJECT, "'tracking.trackers' must have 'tensorboard' and no other"), TABLE],
    ),
    "found by two names": Mistake(
        replaced(PYPROJECT, "\ntensorboard = ", '\nboard = "x:Y"\ntensorboard = '),
        [(PYPROJECT, "'tracking.trackers' must have 'tensorboard' and no other"), TABLE],
    ),
    "not found at all": Mistake(
        replaced(PYPROJECT, '"tracking.trackers"', '"tracking.tracker"'),
        [(PYPROJECT, "'tracking.trackers' must have 'tensorboard' and no other"), TABLE],
    ),
    "a class that is not there": Mistake(
        replaced(PYPROJECT, ":TensorBoardTracker", ":TensorboardTracker"),
        [(PYPROJECT, "must be a class that tracking_tensorboard has in __all__, not ")],
    ),
    "a class of another module": Mistake(
        replaced(PYPROJECT, "tracking_tensorboard:Tensor", "tracking_tensorboard.tracker:Tensor"),
        [(PYPROJECT, "must be a class that tracking_tensorboard has in __all__, not ")],
    ),
    "a class that is not exported": Mistake(
        replaced(f"{SOURCE}/__init__.py", ', "TensorBoardTracker"', ""),
        [(PYPROJECT, "must be a class that tracking_tensorboard has in __all__, not ")],
    ),
    "a class with a name of its own": Mistake(
        all_of(
            replaced(PYPROJECT, ":TensorBoardTracker", ":BoardTracker"),
            replaced(f"{SOURCE}/__init__.py", ', "TensorBoardTracker"', ', "BoardTracker"'),
        ),
        [(PYPROJECT, "the class of 'tensorboard' must have that name and 'Tracker', not Board")],
    ),
    "no reader is exported": Mistake(
        replaced(f"{SOURCE}/__init__.py", ', "read_run"]', "]"),
        [(f"{SOURCE}/__init__.py", "it must export read_run")],
    ),
    # --- what it imports ---
    "the top module does something": Mistake(
        added(f"{SOURCE}/__init__.py", "\nREADY = True\n"),
        [(f"{SOURCE}/__init__.py", "does more than import public names")],
    ),
    "the library is imported with the package": Mistake(
        replaced(f"{SOURCE}/reader.py", "import csv\n", "import csv\nimport tensorboard\n"),
        [(f"{SOURCE}/reader.py", "imports tensorboard whenever tracking_tensorboard is imported")],
    ),
    "so it is by a module of the package": Mistake(
        replaced(f"{SOURCE}/tracker.py", "import itertools\n", "import itertools\nfrom tracking_tensorboard import event_file\n"),
        [
            (f"{SOURCE}/event_file.py", "imports google_crc32c whenever"),
            (f"{SOURCE}/event_file.py", "imports tensorboard whenever"),
        ],
    ),
    "a library that it does not name": Mistake(
        replaced(f"{SOURCE}/tags.py", "import re\n", "import re\n\nimport numpy\n"),
        [(f"{SOURCE}/tags.py", "imports numpy, which is none of the libraries in [tool.tracking]")],
    ),
    "one that is imported later": Mistake(
        added(f"{SOURCE}/tags.py", "\n\ndef late() -> None:\n    from pandas.io import json  # noqa: F401  # a test\n"),
        [(f"{SOURCE}/tags.py", "imports pandas, which is none of the libraries in [tool.tracking]")],
    ),
    "another tracker": Mistake(
        all_of(
            added(f"{SOURCE}/tags.py", "\n\ndef late() -> None:\n    import tracking_dvclive\n"),
            replaced(PYPROJECT, '"torch"]', '"torch", "tracking_dvclive"]'),
        ),
        [(f"{SOURCE}/tags.py", "imports tracking_dvclive, which is none of the libraries")],
    ),
    "the core imports a tracker": Mistake(
        added(f"{CORE}/src/tracking_core/names.py", "\n\ndef late() -> None:\n    import tracking_dvclive\n"),
        [(f"{CORE}/src/tracking_core/names.py", "imports tracking_dvclive, which is none of")],
    ),
    "the core imports what only its suite may": Mistake(
        added(f"{CORE}/src/tracking_core/names.py", "\n\ndef late() -> None:\n    import numpy\n"),
        [(f"{CORE}/src/tracking_core/names.py", "imports numpy, which is none of the libraries")],
    ),
    # --- its pages ---
    "no readme": Mistake(
        deleted(f"{ONE}/README.md"),
        [
            (f"{ONE}/README.md", what)
            for what in ("its title", "an example", "'## Limits'", "how to install", "What goes")
        ],
    ),
    "another title": Mistake(
        replaced(f"{ONE}/README.md", "# tracking-tensorboard\n", "# TensorBoard\n"),
        [(f"{ONE}/README.md", "its title, '# tracking-tensorboard' is missing")],
    ),
    "no example": Mistake(
        replaced(f"{ONE}/README.md", "```python\n", "```\n"),
        [(f"{ONE}/README.md", "an example, a block of python is missing")],
    ),
    "no limits": Mistake(
        replaced(f"{ONE}/README.md", "## Limits\n", "## Notes\n"),
        [(f"{ONE}/README.md", "its section '## Limits' is missing")],
    ),
    "no word about what goes where": Mistake(
        replaced(f"{ONE}/README.md", "## What goes where\n", "## Tags\n"),
        [(f"{ONE}/README.md", "its section '## What goes where' is missing")],
    ),
    "no word about how to install it": Mistake(
        replaced(f"{ONE}/README.md", " ./packages/tracking-tensorboard\n", " ./it\n"),
        [
            (
                f"{ONE}/README.md",
                f"how to install it, 'pip install ./{CORE} ./{ONE}' is missing",
            )
        ],
    ),
    "a package that nobody can install by its name": Mistake(
        added("docs/delivery.md", "\n`pip install -U tracking-dvclive`, or `pip install tracking`\n"),
        [
            (
                "docs/delivery.md",
                f"has no package to install by that name: pip install ./{CORE} ./{OTHER}",
            )
        ],
    ),
    # --- its changes ---
    "no changelog": Mistake(
        deleted(f"{ONE}/CHANGELOG.md"),
        [(f"{ONE}/CHANGELOG.md", "its title, '# Changelog of tracking-tensorboard', is missing")],
    ),
    "a fragment of no kind": Mistake(
        written(f"{ONE}/changes/faster.improved.md", "It is faster.\n"),
        [(f"{ONE}/changes/faster.improved.md", "<slug>.<kind>.md, with a kind of added, changed,")],
    ),
    "a fragment with capitals": Mistake(
        written(f"{ONE}/changes/Faster_rows.fixed.md", "It is faster.\n"),
        [(f"{ONE}/changes/Faster_rows.fixed.md", "a fragment is called <slug>.<kind>.md")],
    ),
    "a fragment of another format": Mistake(
        written(f"{ONE}/changes/faster.fixed.rst", "It is faster.\n"),
        [(f"{ONE}/changes/faster.fixed.rst", "a fragment is called <slug>.<kind>.md")],
    ),
    "a fragment that is no sentence": Mistake(
        written(f"{ONE}/changes/faster.fixed.md", "speed\n"),
        [(f"{ONE}/changes/faster.fixed.md", "a fragment is one or two sentences for users")],
    ),
    "an empty fragment": Mistake(
        written(f"{ONE}/changes/faster.fixed.md", "\n"),
        [(f"{ONE}/changes/faster.fixed.md", "a fragment is one or two sentences for users")],
    ),
    "an edited licence": Mistake(
        replaced(f"{ONE}/LICENSE", "Apache", "Apache (amended)"),
        [(f"{ONE}/LICENSE", "it differs from the LICENSE at the top (--fix does it)")],
    ),
    # --- its tests ---
    "no conformance tests": Mistake(
        deleted(f"{ONE}/tests/test_conformance.py"),
        [(f"{ONE}/tests/test_conformance.py", "a subclass of tracking_core.testing.TrackerConform")],
    ),
    "conformance tests of its own": Mistake(
        replaced(f"{ONE}/tests/test_conformance.py", "(TrackerConformance)", ""),
        [(f"{ONE}/tests/test_conformance.py", "a subclass of tracking_core.testing.TrackerConform")],
    ),
    "it is for users and its library is a stand-in": Mistake(
        written(f"{SOURCE}/stand_in.py", ""),
        [(f"{SOURCE}/stand_in.py", "a tracker with a version for users calls its library")],
    ),
    "it is missing among the values": Mistake(
        lambda folder: written(
            "docs/values.md",
            re.sub(r"\| tensorboard \|.*\n", "", (folder / "docs/values.md").read_text("utf-8")),
        )(folder),
        [("docs/values.md", "tensorboard is missing: python3 tools/dev.py values writes it")],
    ),
    # --- the repository ---
    "something else at the top": Mistake(
        lambda folder: all_of(
            written("setup.py", ""), written("scripts/run.sh", "true\n"), written(".editorconfig", "")
        )(folder),
        [],  # as long as git does not know it, it is the user's
    ),
    "a comment that silences everything": Mistake(
        added(f"{SOURCE}/tags.py", "\nx = 1  # noqa\n"),
        [(f"{SOURCE}/tags.py", "must say which code it silences, and why")],
    ),
    "a comment that silences without a reason": Mistake(
        added("tools/changelogs.py", "\nx: int = 'a'  # type: ignore[assignment]\n"),
        [("tools/changelogs.py", "must say which code it silences, and why")],
    ),
    "the table of packages is stale": Mistake(
        replaced("README.md", "| `dvclive` |", "| `live` |"), [TABLE]
    ),
    "the table of packages has lost its place": Mistake(
        replaced("README.md", "<!-- /packages -->", ""),
        [("README.md", "must stand between <!-- packages --> and <!-- /packages -->")],
    ),
    "the list of releases is stale": Mistake(
        added(f"{ONE}/CHANGELOG.md", "\n## 0.1.0 - 2026-11-26\n\n### Added\n\n- All of it.\n"),
        [("CHANGELOG.md", "the list of releases is not up to date (--fix does it)")],
    ),
}  # fmt: skip


def test_a_clean_tree_has_no_finding(check: Checker) -> None:
    assert check() == ([], 0)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_place(planted: Path, check: Checker, name: str) -> None:
    mistake = MISTAKES[name]
    mistake.plant(planted)
    lines, code = check()
    assert len(lines) == len(mistake.said), lines
    for line, (place, words) in zip(lines, mistake.said, strict=True):
        assert line.startswith(place) and words in line, lines
    assert code == (1 if mistake.said else 0)


def test_the_top_shows_what_it_should(clean: Repository, planted: Path, check: Checker) -> None:
    all_of(written("setup.py", ""), written("scripts/run.sh", ""), written(".config", ""))(planted)
    clean.git("add", "--all")
    lines, code = check()
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == ["scripts", "setup.py"]
    assert "and no more: move it" in lines[0]


def test_a_package_that_is_being_written_needs_less(planted: Path, check: Checker) -> None:
    MISTAKES["it is missing among the values"].plant(planted)
    MISTAKES["it is for users and its library is a stand-in"].plant(planted)
    written(f"{SOURCE}/__about__.py", '__version__ = "0.0.1"\n')(planted)
    assert check() == ([], 0)


@pytest.mark.parametrize(
    ("plant", "place"),
    [
        (MISTAKES["the table of packages is stale"].plant, "README.md"),
        (added("CHANGELOG.md", "More.\n"), "CHANGELOG.md"),
        (MISTAKES["an edited licence"].plant, f"{ONE}/LICENSE"),
        (deleted(f"{OTHER}/LICENSE"), f"{OTHER}/LICENSE"),
    ],
)
def test_what_can_be_derived_is_written_anew(
    clean: Repository, planted: Path, check: Checker, plant: Callable[[Path], object], place: str
) -> None:
    plant(planted)
    assert len(check()[0]) == 1
    assert check("--fix") == ([f"{place}: written anew"], 0)
    assert check() == ([], 0)
    assert clean.status() == []


def test_what_can_not_be_derived_is_left_and_named(planted: Path, check: Checker) -> None:
    deleted(f"{SOURCE}/py.typed")(planted)
    deleted(f"{ONE}/LICENSE")(planted)
    lines, code = check("--fix")
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == [SOURCE, f"{ONE}/LICENSE"]
    lines, code = check("--fix")
    assert (len(lines), code) == (1, 1)
    assert not (planted / SOURCE / "py.typed").exists()


def test_a_release_gets_into_the_list(planted: Path, check: Checker) -> None:
    added(f"{ONE}/CHANGELOG.md", "\n## 0.1.0 - 2026-11-26\n\n### Added\n\n- All of it.\n")(planted)
    assert check("--fix") == (["CHANGELOG.md: written anew"], 0)
    row = f"| 2026-11-26 | [tracking-tensorboard]({ONE}/CHANGELOG.md) | 0.1.0 |"
    assert row in (planted / "CHANGELOG.md").read_text("utf-8").splitlines()
    assert check() == ([], 0)


def test_a_package_with_a_wrong_name(clean: Repository, planted: Path, check: Checker) -> None:
    clean.git("mv", OTHER, "packages/dvclive-tracking")
    lines, _ = check()
    assert (
        "packages/dvclive-tracking: a package is called tracking-<name>, in small letters" in lines
    )
    module = "the module src/dvclive_tracking is missing"
    assert f"packages/dvclive-tracking: {module}" in lines


def test_the_tree_keeps_its_conventions() -> None:
    """The command that ``python3 tools/dev.py test`` runs, here on the tree itself."""
    module = import_module("check_packages")
    assert module.ROOT == ROOT
    assert [f"{one.place}: {one.what}" for one in module.all_findings()] == []
