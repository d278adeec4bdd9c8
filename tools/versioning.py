"""Which version of a package may come next, and why.

Versions follow semantic versioning. Before 1.0 a minor version may break, and a patch may add.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import changelogs
import public_api
from history import VERSION, changed, folder_at, numbers, tag_of, tags
from monorepo import CORE, Package, admits

__all__ = [
    "FIRST",
    "admitted_cores",
    "last_release",
    "least_next",
    "listed",
    "unfit_api",
    "unfit_core",
    "unfit_fragments",
    "unfit_version",
    "unknown_tag",
    "untold",
]

FIRST = "0.1.0"
LISTED = 3  # culprits that a sentence names


class Need(NamedTuple):
    """A version that must be reached, and the reason."""

    version: str
    why: str


def last_release(package: Package, before: str = "") -> str:
    """The newest version that is tagged or in the changelog, of those before `before`; else ``""``."""
    told = [one.version for one in changelogs.releases(package)]
    found = [*tags(package.name), *filter(VERSION.fullmatch, told)]
    return max(
        (one for one in found if not before or numbers(one) < numbers(before)),
        key=numbers,
        default="",
    )


def unknown_tag(package: Package, version: str) -> Iterator[str]:
    """Why nothing can be compared with a release: its tag is not in this clone."""
    if version and version not in tags(package.name):
        yield (
            f"the tag {tag_of(package.name, version)} of the last release is not in this clone: "
            "git fetch --tags"
        )


def least_next(package: Package) -> Need:
    """The lowest version that a release of the package as it is now may have.

    Raises:
        SystemExit: its last release has no tag in this clone, so nothing can be compared.
    """
    last = last_release(package)
    if not last:
        return Need(FIRST if package.is_being_written else package.version, "the first release")
    for sentence in unknown_tag(package, last):
        raise SystemExit(sentence)
    return max(
        [*_needs(package, last), Need(_raised(last, "patch"), "nothing breaks")],
        key=lambda need: numbers(need.version),
    )


def unfit_version(package: Package, version: str) -> Iterator[str]:
    """Why a package as it is now can't be released as `version`, a sentence for each reason."""
    if not VERSION.fullmatch(version):
        yield f"{version!r} is no version: three numbers are wanted, such as {FIRST}"
        return
    if numbers(version) < numbers(FIRST):
        yield f"{version} is a version of a package that is being written: release it as {FIRST}"
        return
    last = last_release(package)
    if missing := list(unknown_tag(package, last)):
        yield from missing
        return
    if last and numbers(version) <= numbers(last):
        yield (
            f"{package.name} {version} is not newer than its last release, {last}: "
            f"the next is {least_next(package).version} or newer"
        )
        return
    yield from _unmet(package, version, _needs(package, last))


def unfit_api(package: Package, last: str, version: str) -> Iterator[str]:
    """Why what broke since the release `last` can't be in `version`."""
    yield from _unmet(package, version, _needs_of_api(package, last))


def unfit_fragments(package: Package) -> Iterator[str]:
    """Why a release of the package would tell its users too little."""
    if changelogs.fragments(package):
        return
    last = last_release(package)
    if any(unknown_tag(package, last)):
        return
    files = changed(package, tag_of(package.name, last)) if last else []
    if files:
        yield untold(package, last, files)
    elif last:
        yield f"nothing that users get of {package.name} has changed since {last}: nothing to release"
    else:
        yield f"no fragment says what {package.name} brings: write {_where(package)}"


def untold(package: Package, since: str, files: list[str]) -> str:
    """That shipped files have changed since a version or commit, and users would not read of it."""
    return (
        f"{package.name} has changed since {since} ({listed(files)}), and no fragment says what "
        f"that means for users: write {_where(package)}"
    )


def _where(package: Package) -> str:
    return f"packages/{package.name}/changes/<slug>.<{'|'.join(changelogs.KINDS)}>.md"


def unfit_core(package: Package) -> Iterator[str]:
    """Why users could not install the package: no core that it needs is released."""
    if package.name == CORE:
        return
    bounds = package.requirements.get(CORE, "")
    released = tags(CORE)
    there = f"released: {', '.join(released)}" if released else "none is released yet"
    lowest = re.search(r">=\s*([\d.]+)", bounds)
    if not admitted_cores(package):
        yield (
            f"{package.name} needs {CORE}{bounds}, which is unreleased ({there}): "
            f"release {CORE} first"
        )
    elif lowest and not any(
        admits(f">={lowest[1]}", one) and admits(f">={one}", lowest[1]) for one in released
    ):
        yield (
            f"{package.name} needs {CORE}>={lowest[1]}, and {lowest[1]} is unreleased ({there}): "
            f"release {CORE} first, or begin the range with a version that is"
        )


def admitted_cores(package: Package) -> list[str]:
    """The released versions of the core that the package takes, oldest first."""
    bounds = package.requirements.get(CORE, "")
    return [version for version in tags(CORE) if admits(bounds, version)]


def listed(names: list[str]) -> str:
    """The first few of many, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _unmet(package: Package, version: str, needs: Iterable[Need]) -> Iterator[str]:
    for need in needs:
        if numbers(version) < numbers(need.version):
            yield (
                f"{package.name} can't be {version}, because {need.why}: "
                f"release it as {need.version} or newer, or take that back"
            )


def _needs(package: Package, last: str) -> Iterator[Need]:
    """What the changes since the release `last` ask of the next version."""
    if not last:
        return
    for one in changelogs.fragments(package):
        part = {"removed": "major", "added": "minor", "deprecated": "minor"}.get(one.kind, "patch")
        yield Need(
            _raised(last, part), f"changes/{one.path.name} says that something is {one.kind}"
        )
    yield from _needs_of_api(package, last)


def _needs_of_api(package: Package, last: str) -> Iterator[Need]:
    with tempfile.TemporaryDirectory() as folder:
        before = folder_at(tag_of(package.name, last), package.name, Path(folder))
        broken = public_api.breaks(package, before)
    if broken:
        yield Need(_raised(last, "major"), f"its API broke since {last} ({listed(broken)})")


def _raised(version: str, part: str) -> str:
    """The next version of which that part is raised; before 1.0 the part after it."""
    major, minor, patch = numbers(version)
    if part == "major" and major:
        return f"{major + 1}.0.0"
    if part == "major" or (part == "minor" and major):
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"
