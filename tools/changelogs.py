"""Changelogs: fragments become the section of a version, and versions the list of all releases.

A change for users is a file ``packages/<package>/changes/<slug>.<kind>.md`` with a sentence or two.
A release moves them all into the package's ``CHANGELOG.md``, under its version and day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from monorepo import Package

__all__ = ["KINDS", "Fragment", "Release", "fragments", "of_the_repository", "problems", "releases"]

KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")

FRAGMENT = re.compile(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(KINDS)})\.md")
HEADING = re.compile(r"^## (\d+\.\d+\.\d+\S*) - (\d{4}-\d\d-\d\d)$", re.MULTILINE)

INTRODUCTION = """\
# Changelog

Every package has versions of its own. This page lists all releases, newest first; what changed is in the changelog of the
package, `packages/<package>/CHANGELOG.md`, and what will be in its next release is in `packages/<package>/changes/`.
"""
NOTHING = "Nothing is released yet."


class Fragment(NamedTuple):
    """A change that is not released yet."""

    path: Path
    kind: str
    text: str


class Release(NamedTuple):
    """A version of a package, and its day as ``2026-11-26``."""

    day: str
    package: str
    version: str


def fragments(package: Package) -> list[Fragment]:
    """The changes of a package since its last release, in the order of `KINDS`."""
    found = [
        Fragment(path, path.name.split(".")[-2], path.read_text("utf-8").strip())
        for path in sorted((package.folder / "changes").glob("*.md"))
        if FRAGMENT.fullmatch(path.name)
    ]
    return sorted(found, key=lambda one: KINDS.index(one.kind))


def problems(package: Package) -> Iterator[tuple[Path, str]]:
    """What is wrong with a package's fragments: the file and a sentence."""
    for path in sorted((package.folder / "changes").glob("*")):
        if path.name == ".gitkeep":
            continue
        if not FRAGMENT.fullmatch(path.name):
            yield path, f"a fragment is called <slug>.<kind>.md, with a kind of {', '.join(KINDS)}"
        elif not path.read_text("utf-8").strip().endswith((".", "!", "?", ")")):
            yield path, "a fragment is one or two sentences for users"


def section(version: str, day: str, changes: Iterable[Fragment]) -> str:
    """The part of a changelog that tells of one version."""
    changes = list(changes)
    lines = [f"## {version} - {day}", ""]
    for kind in KINDS:
        ours = [one for one in changes if one.kind == kind]
        if ours:
            lines += [f"### {kind.capitalize()}", ""]
            lines += [f"- {line}" for one in ours for line in one.text.splitlines() if line.strip()]
            lines.append("")
    return "\n".join(lines)


def with_section(changelog: str, new: str) -> str:
    """A changelog with the section `new` before those of older versions."""
    older = HEADING.search(changelog)
    at = older.start() if older else len(changelog)
    return f"{changelog[:at].rstrip()}\n\n{new.rstrip()}\n\n{changelog[at:]}".rstrip() + "\n"


def releases(package: Package) -> list[Release]:
    """What is released of a package, as its changelog says, newest first."""
    path = package.folder / "CHANGELOG.md"
    text = path.read_text("utf-8") if path.is_file() else ""
    return [Release(day, package.name, version) for version, day in HEADING.findall(text)]


def of_the_repository(packages: Iterable[Package]) -> str:
    """The changelog at the top: the releases of all `packages`, newest first."""
    found = [release for package in packages for release in releases(package)]
    # Sorting is stable: releases of one day stay in the order of their packages' changelogs.
    found.sort(key=lambda one: one.day, reverse=True)
    if not found:
        return f"{INTRODUCTION}\n{NOTHING}\n"
    lines = ["| day | package | version |", "| --- | --- | --- |"]
    lines += [
        f"| {one.day} | [{one.package}](packages/{one.package}/CHANGELOG.md) | {one.version} |"
        for one in found
    ]
    return "\n".join([INTRODUCTION, *lines]) + "\n"
