"""What the packages of this repository say of themselves, read off their folders; nothing is imported.

There is no list of packages anywhere else: a folder in ``packages/`` with a ``pyproject.toml`` is
one, and whatever goes through all of them asks here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CORE",
    "ENTRY_POINTS",
    "PREFIX",
    "PYTHONS",
    "ROOT",
    "Package",
    "admits",
    "package",
    "packages",
    "rewrite",
]

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "tracking-"
CORE = "tracking-core"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ENTRY_POINTS = "tracking.trackers"

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;]*)")


@dataclass(frozen=True)
class Package:
    """A package of this repository.

    Attributes:
        folder: where it is; its name is the distribution's.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The distribution's name, such as ``tracking-comet-ml``."""
        return self.folder.name

    @property
    def short(self) -> str:
        """The name without the project's, such as ``comet-ml``."""
        return self.name.removeprefix(PREFIX)

    @property
    def module(self) -> str:
        """What is imported, such as ``tracking_comet_ml``."""
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of the module."""
        return self.folder / "src" / self.module

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """The whole ``pyproject.toml``."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))

    def said(self, key: str) -> Any:
        """What the ``pyproject.toml`` has under a key with dots; None if nothing."""
        found: Any = self.metadata
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    @property
    def project(self) -> Mapping[str, Any]:
        """Its table ``project``."""
        found: Mapping[str, Any] = self.metadata.get("project", {})
        return found

    @property
    def version(self) -> str:
        """The version that ``__about__.py`` says; ``""`` if it says none."""
        about = self.source / "__about__.py"
        said = re.search(
            r'^__version__ = "([^"]+)"$',
            about.read_text("utf-8") if about.is_file() else "",
            re.MULTILINE,
        )
        return said[1] if said else ""

    @property
    def is_being_written(self) -> bool:
        """Whether it is not for users yet: its version is 0.0 and something."""
        return self.version.startswith("0.0.")

    @property
    def trackers(self) -> Mapping[str, str]:
        """What its entry points bring: names and ``module:Class``."""
        points: Mapping[str, str] = self.project.get("entry-points", {}).get(ENTRY_POINTS, {})
        return points

    @property
    def requirements(self) -> Mapping[str, str]:
        """The distributions that it needs, in lower case with dashes, with the versions it takes."""
        found = [_REQUIREMENT.match(text) for text in self.project.get("dependencies", [])]
        return {_normal(one[1]): one[2].strip() for one in found if one}

    @property
    def test_requirements(self) -> list[str]:
        """What its tests need besides the package, as its group ``test`` says."""
        return list(self.metadata.get("dependency-groups", {}).get("test", []))

    @property
    def libraries(self) -> list[str]:
        """The modules of others that it may import: ``[tool.tracking] imports``."""
        own: Mapping[str, Any] = self.metadata.get("tool", {}).get("tracking", {})
        return list(own.get("imports", []))

    @property
    def pythons(self) -> list[str]:
        """The Pythons that its ``requires-python`` takes, of those that the project supports."""
        bounds = self.project.get("requires-python", "")
        lowest = re.search(r">=\s*3\.(\d+)", bounds)
        below = re.search(r"<\s*3\.(\d+)", bounds)
        return [
            version
            for version in PYTHONS
            if (minor := int(version.partition(".")[2])) >= int(lowest[1] if lowest else 0)
            and (not below or minor < int(below[1]))
        ]

    @property
    def environments(self) -> Mapping[str, str]:
        """The tox environments that test it alone, with the Python of each.

        ``pkg-py311-wandb`` and so on for the newest versions of what it needs, ``lowest-wandb``
        for the lowest that it declares.
        """
        newest = {
            f"pkg-py{python.replace('.', '')}-{self.short}": python for python in self.pythons
        }
        return newest | {f"lowest-{self.short}": python for python in self.pythons[:1]}


def packages() -> list[Package]:
    """All packages, the core first."""
    found = [Package(file.parent) for file in ROOT.glob("packages/*/pyproject.toml")]
    return sorted(found, key=lambda one: (one.name != CORE, one.name))


def package(name: str) -> Package:
    """The package `name`, with or without the project's own part of it.

    Raises:
        SystemExit: there is none.
    """
    known = {one.name: one for one in packages()}
    found = known.get(name) or known.get(PREFIX + name)
    if found is None:
        raise SystemExit(f"there is no package {name!r} in packages/: {', '.join(known)}")
    return found


def rewrite(path: Path, text: str) -> None:
    """Have `text` in a file; where that fails, what was there stays."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, "utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def admits(bounds: str, version: str) -> bool:
    """Whether plain bounds such as ``>=0.1,<0.2`` take a version of numbers."""
    compare: dict[str, Callable[[list[int], list[int]], bool]] = {
        ">=": lambda a, b: a >= b,
        "<": lambda a, b: a < b,
    }
    there = _numbers(version)
    return all(
        compare[sign](there, _numbers(bound))
        for sign, bound in re.findall(r"(>=|<)\s*([\d.]+)", bounds)
    )


def _numbers(version: str) -> list[int]:
    """The numbers of a version, without zeros at the end."""
    found = [int(number) for number in re.findall(r"\d+", version)]
    while found and found[-1] == 0:
        found.pop()
    return found


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
