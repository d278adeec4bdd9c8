#!/usr/bin/env python3
"""Says which packages a change concerns, and what tests each of them.

    python3 tools/affected.py main      what differs between main and HEAD
    python3 tools/affected.py           nothing is known of a change: every package is affected

prints one line of JSON, an object for every package: ``name``, ``pythons``, ``affected``, and
``environments``, the tox environments of the package alone with the Python that each needs. Needs
Python 3.11 or newer and git, and nothing that would have to be installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from monorepo import CORE, ROOT, Package, packages

# What every package is tested with. `packages/` itself is not among them, nor are documents.
CONCERN_ALL = (
    ".github/workflows/package.yml",
    ".github/workflows/packages.yml",
    "hatch.toml",
    "tests-integration/tox.toml",
    "tests-integration/toxfile.py",
    "tools/affected.py",
    "tools/archives.py",
    "tools/dev.py",
    "tools/history.py",
    "tools/installed_alone.py",
    "tools/monorepo.py",
    "tools/wheelhouse.py",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", default="", help="a commit to compare HEAD with")
    print(json.dumps(report(changed_since(parser.parse_args(arguments).base))))
    return 0


def changed_since(base: str) -> list[str] | None:
    """The files that differ between `base` and HEAD; None if there is no such commit here.

    A branch's first push has no commit before it, and after a forced push it may be gone.
    """
    # Without renames a file that moved from one package to another is told of in both.
    command = ["git", "-C", str(ROOT), "diff", "--name-only", "--no-renames", "-z"]
    command += ["--end-of-options", base, "HEAD", "--"]
    said = subprocess.run(command, capture_output=True, text=True)
    if not base or said.returncode != 0:
        reason = said.stderr.strip() if base else "no commit to compare with is named"
        print(f"every package is affected: {reason}", file=sys.stderr)
        return None
    return [path for path in said.stdout.split("\0") if path]


def report(changed: Sequence[str] | None) -> list[dict[str, Any]]:
    """What is printed, from the files that changed."""
    return [
        {
            "name": one.name,
            "pythons": one.pythons,
            "affected": changed is None or is_affected(one, changed),
            "environments": [
                {"name": name, "python": python} for name, python in one.environments.items()
            ],
        }
        for one in packages()
    ]


def is_affected(package: Package, changed: Sequence[str]) -> bool:
    """Whether one of the files is the package's own, the core's, or concerns all."""
    folders = (f"packages/{package.name}/", f"packages/{CORE}/")
    return any(path.startswith(folders) or path in CONCERN_ALL for path in changed)


if __name__ == "__main__":
    sys.exit(main())
