"""``python -m tracking_core recover RUN_DIR``: deliver what a run left."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from tracking_core.delivery.lane import TrackerStatus
from tracking_core.errors import TrackingError
from tracking_core.recovery import recover


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 if nothing is left, 1 if something is, 2 if there was nothing to do it on."""
    parser = argparse.ArgumentParser(prog="python -m tracking_core")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("recover", help="deliver what a dead run left to its trackers")
    one.add_argument("run_dir", help="the directory of the run, as its last warning named it")
    one.add_argument("--timeout", type=float, help="seconds to try; by default until it is done")
    one.add_argument(
        "--force",
        action="store_true",
        help="the run's process, on another machine or in another container, has ended",
    )
    options = parser.parse_args(arguments)
    watching = sys.stderr.isatty()
    try:
        left = recover(
            options.run_dir,
            timeout=options.timeout,
            force=options.force,
            progress=_show if watching else None,
        )
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 2
    if watching:
        print(file=sys.stderr)
    for name, status in left.items():
        trouble = f" ({status.last_error})" if status.last_error else ""
        failed = f", {status.failed} refused for good" if status.failed else ""
        print(f"{name}: {status.state}, {status.pending} records left{failed}{trouble}")
    return int(any(status.state != "ended" for status in left.values()))


def _show(statuses: Mapping[str, TrackerStatus]) -> None:
    parts = [f"{name} {one.state}, {one.pending} to go" for name, one in statuses.items()]
    print("\r" + "; ".join(parts), end="\x1b[K", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
