"""What a package says of itself is read off its folder, and there is no other list of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from monorepo import CORE, PYTHONS, ROOT, Package, package, packages, rewrite

METADATA = """
[project]
name = "tracking-my-tool"
requires-python = "{python}"
dependencies = [
  "My_Tool[extra] >=1.2, <2 ; python_version < '4'",
  "tracking-core>=0.1,<0.2",
  "requests",
]

[project.entry-points."tracking.trackers"]
my_tool = "tracking_my_tool:MyToolTracker"

[dependency-groups]
test = ["pytest>=9"]

[tool.tracking]
imports = ["my_tool", "requests"]
"""


def made(folder: Path, python: str = ">=3.10", version: str = "1.2.3") -> Package:
    one = Package(folder / "tracking-my-tool")
    one.source.mkdir(parents=True)
    (one.folder / "pyproject.toml").write_text(METADATA.replace("{python}", python))
    (one.source / "__about__.py").write_text(f'__version__ = "{version}"\n')
    return one


def test_a_package_has_one_name_in_four_spellings(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert (one.name, one.short, one.module) == ("tracking-my-tool", "my-tool", "tracking_my_tool")
    assert one.source == tmp_path / "tracking-my-tool" / "src" / "tracking_my_tool"
    assert one.trackers == {"my_tool": "tracking_my_tool:MyToolTracker"}


def test_its_requirements_are_read_in_any_spelling(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert one.requirements == {
        "my-tool": ">=1.2, <2",
        "tracking-core": ">=0.1,<0.2",
        "requests": "",
    }
    assert one.test_requirements == ["pytest>=9"]
    assert one.libraries == ["my_tool", "requests"]


@pytest.mark.parametrize(
    ("bounds", "pythons"),
    [
        (">=3.10", PYTHONS),
        (">=3.10,<3.13", PYTHONS[:3]),
        (">= 3.11, < 3.13", PYTHONS[1:3]),
        (">=3.12", PYTHONS[2:]),
        ("", PYTHONS),
        (">=3.99", ()),
    ],
)
def test_its_pythons_follow_from_its_bounds(
    tmp_path: Path, bounds: str, pythons: tuple[str, ...]
) -> None:
    assert made(tmp_path, python=bounds).pythons == list(pythons)


@pytest.mark.parametrize(
    ("version", "written"), [("0.0.0", True), ("0.0.9", True), ("0.1.0", False), ("10.0.0", False)]
)
def test_a_package_is_being_written_before_its_first_minor_version(
    tmp_path: Path, version: str, written: bool
) -> None:
    one = made(tmp_path, version=version)
    assert (one.version, one.is_being_written) == (version, written)


def test_what_is_missing_is_nothing(tmp_path: Path) -> None:
    one = made(tmp_path)
    (one.source / "__about__.py").unlink()
    assert one.version == ""
    (one.folder / "pyproject.toml").write_text("")
    assert (one.project, one.trackers, one.requirements, one.libraries) == ({}, {}, {}, [])


def test_a_key_with_dots_is_looked_up(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert one.said("project.name") == "tracking-my-tool"
    assert one.said("tool.tracking.imports") == ["my_tool", "requests"]
    assert one.said("project.name.first") is None
    assert one.said("tool.nothing.at.all") is None


def test_every_folder_of_packages_is_one_and_the_core_is_first() -> None:
    found = [one.name for one in packages()]
    assert found[0] == CORE
    assert found[1:] == sorted(found[1:])
    assert set(found) == {path.parent.name for path in ROOT.glob("packages/*/README.md")}


def test_a_package_is_found_by_either_name() -> None:
    assert package("tracking-mlflow") == package("mlflow")
    with pytest.raises(
        SystemExit, match=r"there is no package 'nothing' .*tracking-core, tracking"
    ):
        package("nothing")


def test_a_file_is_rewritten_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        rewrite(file, "half \udcff")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("README.md", "old")]
    rewrite(file, "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("README.md", "new")]
