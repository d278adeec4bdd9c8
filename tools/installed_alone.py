#!/usr/bin/env python3
"""Says whether a package is installed with nothing of the other trackers.

    python tools/installed_alone.py tracking-wandb

in the environment that is asked about: no other package of this repository but the core, and no
library that another one makes a tracker of.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from monorepo import CORE, PREFIX, Package, package, packages

__all__ = ["strangers"]


def main(name: str) -> int:
    found = list(strangers(package(name)))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


def strangers(one: Package, folder: Path | None = None) -> Iterator[str]:
    """What is installed with a package and should not be, or is missing, a sentence each.

    Args:
        one: the package.
        folder: the ``site-packages`` of the environment; that of this interpreter, if it isn't named.
    """
    installed = distributions(path=[str(folder)]) if folder else distributions()
    here = {(found.name or "").lower().replace("_", "-") for found in installed}
    wanted = {one.name, CORE}
    libraries = {
        library.lower().replace("_", "-"): other.name
        for other in packages()
        for library in other.libraries[:1]
        if other.name not in wanted
    }
    own = {library.lower().replace("_", "-") for library in one.libraries}
    found = {name for name in here if name.startswith(PREFIX)} - wanted
    found |= (here & libraries.keys()) - own
    for name in sorted(wanted - here):
        yield f"{name} is not installed here"
    for name in sorted(found):
        brought = f", the library of {libraries[name]}" if name in libraries else ""
        yield f"{name}{brought}, is installed with {one.name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
