#!/usr/bin/env python3
"""Builds the packages as users get them, for environments that have nothing else of the tree.

    python3 tools/dev.py tox:wheelhouse

fills ``.dev/wheelhouse`` with a wheel of each package, each built from its source distribution, with
those source distributions unpacked in ``sources/``, and with a wheel of every released version of
the core, so that a tracker meets the oldest core that it declares as well as the newest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from archives import unpack_tar
from history import SHIPPED, folder_at, git, numbers, tag_of, tags
from monorepo import CORE, ROOT, Package, admits, packages

__all__ = [
    "SOURCES",
    "WHEELHOUSE",
    "Built",
    "build",
    "digest",
    "oldest_core",
    "released_core",
    "unpack",
    "wheel_of",
]

WHEELHOUSE = ROOT / ".dev" / "wheelhouse"
SOURCES = WHEELHOUSE / "sources"


class Built(NamedTuple):
    """The two files of a version."""

    sdist: Path
    wheel: Path


def main() -> int:
    shutil.rmtree(WHEELHOUSE, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_add, packages()))
        added = list(pool.map(_add_released_core, tags(CORE)))
    told = f", and {CORE} {', '.join(added)}" if added else f"; no {CORE} is released yet"
    print(f"{WHEELHOUSE}: {len(packages())} packages of this tree{told}")
    return 0


def build(
    folder: Path, into: Path, *, umask: int = -1, environ: Mapping[str, str] | None = None
) -> Built:
    """The source distribution of the package in `folder`, and the wheel that is built from it.

    Raises:
        SystemExit: it can't be built; the builder has said why.
    """
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(into), str(folder)]
    if subprocess.run(command, umask=umask, env=environ).returncode != 0:
        raise SystemExit(f"{folder.name} can't be built, see above")
    (sdist,), (wheel,) = into.glob("*.tar.gz"), into.glob("*.whl")
    return Built(sdist, wheel)


def released_core(version: str, into: Path) -> Path:
    """A wheel of the core as it was when that version was released, built in a new folder of `into`."""
    folder = Path(tempfile.mkdtemp(dir=into))
    return build(folder_at(tag_of(CORE, version), CORE, folder), folder / "dist").wheel


def unpack(sdist: Path, to: Path) -> Path:
    """The contents of a source distribution, in the folder `to`."""
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        unpack_tar(sdist, Path(folder))
        (top,) = Path(folder).iterdir()
        top.rename(to)
    return to


def wheel_of(package: Package) -> Path:
    """The wheel of the tree's version of a package.

    Raises:
        SystemExit: nothing was built yet, or the package has changed since.
    """
    name = f"{package.module}-{package.version}-py3-none-any.whl"
    if not (WHEELHOUSE / name).is_file():
        raise SystemExit(f"{name} is not built: python3 tools/dev.py tox:wheelhouse")
    noted = _note(package)
    if not noted.is_file() or noted.read_text("utf-8") != digest(package):
        raise SystemExit(
            f"packages/{package.name} has changed since its wheel was built, so that what was "
            "tested would be what it was: python3 tools/dev.py tox:wheelhouse builds it again"
        )
    return WHEELHOUSE / name


def digest(package: Package) -> str:
    """A checksum of what a package is built and tested from: its files that git does not ignore."""
    paths = [f"packages/{package.name}/{part}" for part in (*SHIPPED, "tests")]
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    whole = hashlib.sha256()
    for name in sorted(set(listed.split("\0"))):
        if (ROOT / name).is_file():
            content = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
            whole.update(f"{content} {name}\n".encode())
    return whole.hexdigest()


def oldest_core(package: Package) -> Path:
    """The wheel of the oldest core that a package takes, of the released ones and the tree's.

    Raises:
        SystemExit: nothing was built yet, or it takes none of them.
    """
    bounds = package.requirements[CORE]
    tree = packages()[0]
    cores = {wheel.name.split("-")[1]: wheel for wheel in WHEELHOUSE.glob("tracking_core-*.whl")}
    fit = sorted((version for version in cores if admits(bounds, version)), key=numbers)
    if not fit:
        raise SystemExit(
            f"{package.name} takes none of the cores {', '.join(cores) or '(none)'} in {WHEELHOUSE}: "
            "python3 tools/dev.py tox:wheelhouse builds them"
        )
    return wheel_of(tree) if fit[0] == tree.version else cores[fit[0]]


def _add(package: Package) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _note(package).write_text(digest(package), "utf-8")
        built = build(package.folder, Path(folder))
        unpack(built.sdist, SOURCES / package.name)
        shutil.move(built.wheel, WHEELHOUSE)


def _note(package: Package) -> Path:
    """Where the `digest` of a package lies, as it was when its wheel was built."""
    return WHEELHOUSE / f"{package.name}.sha256"


def _add_released_core(version: str) -> str:
    """Build the core as it was when it was released, unless this tree has the same version."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = released_core(version, Path(folder))
        if not (WHEELHOUSE / wheel.name).exists():
            shutil.move(wheel, WHEELHOUSE)
    return version


if __name__ == "__main__":
    sys.exit(main())
