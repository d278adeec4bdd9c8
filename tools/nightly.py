#!/usr/bin/env python3
"""Runs on one machine what takes too long for every change.

    python3 tools/dev.py nightly                 all of it, which takes hours
    python3 tools/dev.py nightly faults          the core's tests, with thousands of kills and faults
    python3 tools/dev.py nightly outages         what servers have after outages, with all trackers
    python3 tools/dev.py nightly environments    every tox environment, made anew: the newest
                                                 versions of the day, and the lowest
    python3 tools/dev.py nightly bench           what a call costs

What can't run here, for want of a Python or of room on the disk, is named at the end and counts as
a failure. Whatever fails, the rest goes on.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from monorepo import PYTHONS, ROOT, packages

DEV = [sys.executable, str(ROOT / "tools" / "dev.py")]
# Beside the environments that a developer works with, which stay as they are.
PLACE = ROOT / ".dev" / "nightly"

# In GB. torch brings the libraries of CUDA, which uv unpacks beside where it puts them, unless it is told to take
# the CPU's build.
ROOM, ROOM_WITH_TORCH = 4, 15

Results = dict[str, str]
"""What was done, and what is wrong with it; ``""`` where nothing is."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("-e", dest="only", action="append", default=[], metavar="ENVIRONMENT")
    chosen = parser.parse_args(arguments)
    if unknown := [part for part in chosen.part if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}: {', '.join(PARTS)}")
    if chosen.only and chosen.part != ["environments"]:
        parser.error("-e is for the part environments alone")
    began = time.monotonic()
    os.environ.update(machine(os.environ))
    results: Results = {}
    for part in chosen.part or PARTS:
        results |= PARTS[part](chosen.only)
    print(f"\n=== nightly: {time.monotonic() - began:.0f} s")
    return summary(results)


def machine(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables under which the Pythons of this machine are found, and none is fetched."""
    pyenv = Path(environment.get("PYENV_ROOT") or Path("~/.pyenv").expanduser())
    # A shim of pyenv answers for versions that are not selected, too, and then fails.
    real = sorted(str(path) for path in pyenv.glob("versions/3.1[0-9]*/bin"))
    path = os.pathsep.join([*real, environment.get("PATH", "")])
    return {"PATH": path, "UV_PYTHON_DOWNLOADS": "never"}


def summary(results: Results) -> int:
    """Say what came of it; 1 if anything is wrong or nothing was done."""
    wrong = {name: what for name, what in results.items() if what}
    print(f"{len(results) - len(wrong)} of {len(results)} passed")
    for name, what in wrong.items():
        print(f"{name}: {what}")
    return 1 if wrong or not results else 0


def run(name: str, command: Sequence[str], **variables: str) -> str:
    """Run a command of the project, and return what is wrong, if something is."""
    print(f"=== {name}", flush=True)
    began = time.monotonic()
    code = subprocess.run([*DEV, *command], cwd=ROOT, env=os.environ | variables).returncode
    print(f"=== {name}: {time.monotonic() - began:.0f} s\n", flush=True)
    return f"FAILED, exit status {code}" if code else ""


# --- the parts ---


def faults(_: Sequence[str]) -> Results:
    """Every test of the core, as thoroughly as it can be done."""
    command = ["pytest", "packages/tracking-core/tests", "-q"]
    return {"faults": run("faults", command, TRACKING_LONG="1")}


def outages(_: Sequence[str]) -> Results:
    """All outages with all trackers, of which docs/outages.md is written anew."""
    return {"outages": run("outages", ["outages"])}


def bench(_: Sequence[str]) -> Results:
    """The measurements of docs/benchmarks.md."""
    return {"bench": run("bench", ["bench"])}


def environments(only: Sequence[str]) -> Results:
    """Every package alone, and the environments that tox.toml lists; of those only `only`, if any."""
    known = all_environments()
    if unknown := [name for name in only if name not in known]:
        raise SystemExit(f"there is no environment {', '.join(unknown)}: {', '.join(known)}")
    chosen = [name for name in known if name in only or not only]
    missing = [version for version in PYTHONS if not is_here(version)]
    results: Results = {
        name: f"NOT RUN, there is no Python {known[name]} here"
        for name in chosen
        if known[name] in missing
    }
    possible = [name for name in chosen if name not in results]
    if possible:
        results["wheelhouse"] = run("wheelhouse", ["tox:wheelhouse"])
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in possible:
        results[name] = too_full(name) or in_new_environment(name)
    return results


def all_environments() -> dict[str, str]:
    """The names of the environments, with the Python of each."""
    alone = {name: python for one in packages() for name, python in one.environments.items()}
    command = [*DEV, "tox:list", "--quiet", "--no-desc", "-d"]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if said.returncode:
        raise SystemExit("tox can't say which environments there are, see above")
    return alone | {name: python_of(name) for name in said.stdout.split()}


def python_of(environment: str) -> str:
    """``3.12`` of ``all-py312-notorch-newest``."""
    factor = re.search(r"-py3(\d+)(-|$)", environment)
    if factor is None:
        raise SystemExit(f"{environment} in tests-integration/tox.toml does not name its Python")
    return f"3.{factor[1]}"


def is_here(version: str) -> bool:
    """Whether there is a ``pythonX.Y`` that works and is that version."""
    program = shutil.which(f"python{version}")
    if program is None:
        return False
    command = [program, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == version


def too_full(environment: str) -> str:
    """Why there is too little room for an environment, if there is."""
    cuda = "-torch" in environment and os.environ.get("UV_TORCH_BACKEND") != "cpu"
    wanted = ROOM_WITH_TORCH if cuda else ROOM
    free = shutil.disk_usage(PLACE).free // 1_000_000_000
    return (
        f"NOT RUN, {free} GB are free on the disk and {wanted} are wanted" if free < wanted else ""
    )


def in_new_environment(name: str) -> str:
    """Make an environment, run its tests, and delete it."""
    with tempfile.TemporaryDirectory(dir=PLACE) as place:
        tox = ["tox:run", "--skip-missing-interpreters", "false", "--workdir", place, "-e", name]
        # What is installed is not kept: several versions of torch would fill the disk.
        variables = {"UV_NO_CACHE": "1"} if "-torch" in name else {}
        # Twice only where it is the network that may fail: a test that fails once has failed.
        if run(f"install {name}", [*tox, "--notest"], **variables):
            run(f"install {name} once more", [*tox, "--notest"], **variables)
        return run(name, [*tox, "--", "-q"], **variables)


PARTS: Mapping[str, Callable[[Sequence[str]], Results]] = {
    "faults": faults,
    "outages": outages,
    "environments": environments,
    "bench": bench,
}


if __name__ == "__main__":
    sys.exit(main())
