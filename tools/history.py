"""What git says of the packages: what was released when, and what changed since.

A release of a package is an annotated tag ``<package>-v<version>``, such as
``tracking-comet-ml-v0.1.1``; versions are three numbers.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from archives import unpack_tar
from monorepo import ROOT, Package

__all__ = [
    "SHIPPED",
    "VERSION",
    "changed",
    "folder_at",
    "git",
    "is_ancestor",
    "numbers",
    "tag_of",
    "tags",
    "tree_at",
]

# What of a package's folder its users get. Tests and the changelog are not what they run.
SHIPPED = ("src", "pyproject.toml", "README.md", "LICENSE")

VERSION = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}")


def git(*arguments: str, folder: Path = ROOT) -> str:
    """What git prints.

    Raises:
        SystemExit: it failed; with what it said.
    """
    command = ["git", "-C", str(folder), *arguments]
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode != 0:
        raise SystemExit(f"git {' '.join(arguments)}: {said.stderr.strip() or said.stdout.strip()}")
    return said.stdout.rstrip()


def is_ancestor(older: str, newer: str) -> bool:
    """Whether one commit, or tag, is in the history of another; a commit is in its own."""
    command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", older, newer]
    return subprocess.run(command, capture_output=True).returncode == 0


def numbers(version: str) -> tuple[int, ...]:
    """A version as what can be compared."""
    return tuple(int(number) for number in version.split("."))


def tag_of(package: str, version: str) -> str:
    """The tag of a version."""
    return f"{package}-v{version}"


def tags(package: str) -> list[str]:
    """The released versions of a package, oldest first."""
    found = git("tag", "--list", tag_of(package, "*")).split()
    versions = [tag.removeprefix(tag_of(package, "")) for tag in found]
    return sorted(filter(VERSION.fullmatch, versions), key=numbers)


def changed(package: Package, since: str) -> list[str]:
    """The shipped files of a package that are not as they were at a commit or tag, from its folder."""
    folder = f"packages/{package.name}"
    paths = [f"{folder}/{part}" for part in SHIPPED]
    found = git("diff", "--name-only", "--no-renames", since, "HEAD", "--", *paths)
    return [path.removeprefix(f"{folder}/") for path in found.splitlines()]


def tree_at(commit: str, into: Path, *paths: str) -> Path:
    """The tree as it was at a commit or tag, or these paths of it, made in the folder `into`."""
    tar = into / "tree.tar"
    git("archive", "--output", str(tar), commit, *paths)
    unpack_tar(tar, into)
    tar.unlink()
    return into


def folder_at(commit: str, package: str, into: Path) -> Path:
    """The folder of a package as it was at a commit or tag, made below `into`."""
    folder = f"packages/{package}"
    return tree_at(commit, into, folder) / folder
