#!/usr/bin/env python3
"""Says whether a package is installed with nothing of the other trackers.

    python tools/installed_alone.py tracking-wandb

in the environment that is asked about: no other package of this repository but the core, and no
library that another one makes a tracker of.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions

from monorepo import CORE, PREFIX, package, packages


def main(name: str) -> int:
    here = {(found.name or "").lower().replace("_", "-") for found in distributions()}
    wanted = {name, CORE}
    missing = wanted - here
    libraries = {
        library.lower().replace("_", "-"): one.name
        for one in packages()
        for library in one.libraries[:1]
        if one.name not in wanted
    }
    own = {library.lower().replace("_", "-") for library in package(name).libraries}
    strangers = {one for one in here if one.startswith(PREFIX)} - wanted
    strangers |= (here & libraries.keys()) - own
    for one in sorted(missing):
        print(f"{one} is not installed here")
    for one in sorted(strangers):
        brought = f", the library of {libraries[one]}" if one in libraries else ""
        print(f"{one}{brought}, is installed with {name}")
    return 1 if missing or strangers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
