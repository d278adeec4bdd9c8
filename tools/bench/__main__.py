"""``python -m tools.bench [--quick] [SECTION ...]``: measure, and print the tables."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import backlog, delivery_cost, log_cost, peers, start_up, training_loop
from .figures import load

SECTIONS = {
    "log": log_cost.measure,
    "start": start_up.measure,
    "loop": training_loop.measure,
    "backlog": backlog.measure,
    "deliver": delivery_cost.measure,
}
COMPARED = ("msgspec", "accelerate", "torch", "tensorboard", "mlflow")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some four minutes, much less certain")
    parser.add_argument("--folder", help="where to write: a local disk (default: a temporary one)")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    began = time.monotonic()
    print(f"Python {platform.python_version()}, {platform.system()}, {load()}")
    print("with " + ", ".join(f"{name} {_version(name)}" for name in COMPARED))
    if not peers.has_accelerate():
        print("Accelerate or torch is not installed here, so its rows are left out")
    with tempfile.TemporaryDirectory(prefix="tracking-bench-", dir=chosen.folder) as folder:
        for section in chosen.sections or SECTIONS:
            SECTIONS[section](Path(folder) / section, quick=chosen.quick)
            sys.stdout.flush()
    print(f"\n{time.monotonic() - began:.0f} s, {load()} at the end")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
