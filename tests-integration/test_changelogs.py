"""Fragments become the section of a version, and versions the list of all releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from changelogs import (
    INTRODUCTION,
    NOTHING,
    Release,
    fragments,
    of_the_repository,
    problems,
    releases,
    section,
    with_section,
)
from monorepo import Package

TITLE = "# Changelog of tracking-a\n\nWhat changed for users.\n"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    (tmp_path / "tracking-a" / "changes").mkdir(parents=True)
    (tmp_path / "tracking-a" / "CHANGELOG.md").write_text(TITLE)
    return Package(tmp_path / "tracking-a")


def say(package: Package, name: str, text: str) -> None:
    (package.folder / "changes" / name).write_text(text, "utf-8")


def test_fragments_come_in_the_order_of_their_kinds(package: Package) -> None:
    say(package, "b.security.md", "Keys are masked.\n")
    say(package, "z.added.md", "A reader.\n")
    say(package, "a.fixed.md", "Rows are whole.\n")
    say(package, "b.added.md", "A writer.\n")
    say(package, "c.changed.md", "Steps may go back.\n")
    found = [(one.kind, one.text) for one in fragments(package)]
    assert found == [
        ("added", "A writer."),
        ("added", "A reader."),
        ("changed", "Steps may go back."),
        ("fixed", "Rows are whole."),
        ("security", "Keys are masked."),
    ]


def test_what_is_no_fragment_is_a_problem_and_no_change(package: Package) -> None:
    say(package, ".gitkeep", "")
    say(package, "better.md", "It is better.\n")
    say(package, "better.improved.md", "It is better.\n")
    say(package, "Better.fixed.md", "It is better.\n")
    say(package, "fine.fixed.md", "It is better.\n")
    say(package, "short.fixed.md", "better\n")
    assert [path.name for path, _ in problems(package)] == [
        "Better.fixed.md", "better.improved.md", "better.md", "short.fixed.md",
    ]  # fmt: skip
    assert [one.path.name for one in fragments(package)] == ["fine.fixed.md", "short.fixed.md"]


def test_a_section_has_a_heading_for_each_kind(package: Package) -> None:
    say(package, "a.fixed.md", "Rows are whole.\nSo are files.\n")
    say(package, "b.added.md", "A reader.\n")
    assert section("1.2.0", "2026-11-26", fragments(package)) == (
        "## 1.2.0 - 2026-11-26\n\n"
        "### Added\n\n- A reader.\n\n"
        "### Fixed\n\n- Rows are whole.\n- So are files.\n"
    )


def test_a_section_of_no_changes_is_its_heading() -> None:
    assert section("1.2.0", "2026-11-26", []) == "## 1.2.0 - 2026-11-26\n"


def test_sections_stand_newest_first_below_the_introduction(package: Package) -> None:
    first = section("0.1.0", "2026-11-01", [])
    second = section("0.2.0", "2026-11-26", [])
    log = with_section(with_section(TITLE, first), second)
    assert log == f"{TITLE}\n## 0.2.0 - 2026-11-26\n\n## 0.1.0 - 2026-11-01\n"
    (package.folder / "CHANGELOG.md").write_text(log)
    assert releases(package) == [
        Release("2026-11-26", "tracking-a", "0.2.0"),
        Release("2026-11-01", "tracking-a", "0.1.0"),
    ]


def test_a_package_without_a_changelog_has_no_releases(package: Package) -> None:
    assert releases(package) == []
    (package.folder / "CHANGELOG.md").unlink()
    assert releases(package) == []


def test_a_heading_that_names_no_version_and_day_is_no_release(package: Package) -> None:
    log = f"{TITLE}\n## Unreleased\n\n## 1.0.0\n\n## 1.0 - 2026-11-26\n\n### 1.0.0 - 2026-11-26\n"
    (package.folder / "CHANGELOG.md").write_text(log)
    assert releases(package) == []


def test_the_list_has_the_releases_of_all_newest_first(package: Package, tmp_path: Path) -> None:
    (tmp_path / "tracking-b").mkdir()
    other = Package(tmp_path / "tracking-b")
    (package.folder / "CHANGELOG.md").write_text(
        "## 0.3.0 - 2026-11-26\n\n## 0.2.0 - 2026-11-26\n\n## 0.1.0 - 2025-01-31\n"
    )
    (other.folder / "CHANGELOG.md").write_text(
        "## 2.0.0rc1 - 2026-12-01\n\n## 1.0.0 - 2026-11-26\n"
    )
    assert of_the_repository([package, other]).removeprefix(INTRODUCTION).splitlines()[3:] == [
        "| 2026-12-01 | [tracking-b](packages/tracking-b/CHANGELOG.md) | 2.0.0rc1 |",
        "| 2026-11-26 | [tracking-a](packages/tracking-a/CHANGELOG.md) | 0.3.0 |",
        "| 2026-11-26 | [tracking-a](packages/tracking-a/CHANGELOG.md) | 0.2.0 |",
        "| 2026-11-26 | [tracking-b](packages/tracking-b/CHANGELOG.md) | 1.0.0 |",
        "| 2025-01-31 | [tracking-a](packages/tracking-a/CHANGELOG.md) | 0.1.0 |",
    ]


def test_before_the_first_release_the_list_says_so(package: Package) -> None:
    assert of_the_repository([package]) == f"{INTRODUCTION}\n{NOTHING}\n"
