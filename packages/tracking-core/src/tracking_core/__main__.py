"""``python -m tracking_core recover RUN_DIR``: deliver what a run left."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from tracking_core.delivery.lane import TrackerStatus
from tracking_core.errors import TrackingError
from tracking_core.plain import printable
from tracking_core.recovery import recover
from tracking_core.registry import register_tracker_class


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 if nothing is left, 1 if something is, 2 if there was nothing to do it on."""
    parser = argparse.ArgumentParser(prog="python -m tracking_core")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("recover", help="deliver what a dead run left to its trackers")
    one.add_argument("run_dir", help="the directory of the run, as its last warning named it")
    one.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a tracker of the run that no installed package brings; may be said several times",
    )
    one.add_argument("--timeout", type=float, help="seconds to try; by default until it is done")
    one.add_argument(
        "--force",
        action="store_true",
        help="the run's process, on another machine or in another container, has ended",
    )
    one.add_argument(
        "--originals",
        action="store_true",
        help="the run is your own: read files that could not be copied where they were logged from",
    )
    one.add_argument(
        "--dead",
        action="store_true",
        help="deliver, too, what a tracker refused for good: what made it do so has been mended",
    )
    options = parser.parse_args(arguments)
    watching = sys.stderr.isatty()
    try:
        for reference in options.tracker:
            _register(reference)
        left = recover(
            options.run_dir,
            timeout=options.timeout,
            force=options.force,
            originals=options.originals,
            dead=options.dead,
            progress=_show if watching else None,
        )
    except TrackingError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    if watching:
        print(file=sys.stderr)
    for name, status in left.items():
        trouble = f" ({status.last_error})" if status.last_error else ""
        failed = f", {status.failed} refused for good" if status.failed else ""
        arriving = f", {status.unarrived} not known to have arrived" if status.unarrived else ""
        counts = f"{status.pending} records left{arriving}{failed}"
        print(printable(f"{name}: {status.state}, {counts}{trouble}"))
        for rejection, count in status.rejected.items():
            print(
                printable(f"{name}: {rejection.key!r} left out, {count} times: {rejection.reason}")
            )
    return int(any(status.state != "ended" for status in left.values()))


def _show(statuses: Mapping[str, TrackerStatus]) -> None:
    parts = [f"{name} {one.state}, {one.pending} to go" for name, one in statuses.items()]
    print("\r" + printable("; ".join(parts)), end="\x1b[K", file=sys.stderr, flush=True)


def _leave_out_the_working_directory(arguments: list[str]) -> None:
    """Have no package found there, where ``python -m`` looks first: it may be a stranger's.

    Whose class is named by its module may have that module there.
    """
    named = any(one.startswith("--tracker") for one in arguments)
    if not named and sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.curdir):
        del sys.path[0]


def _register(reference: str) -> None:
    """Make a class known whose place the user named.

    Raises:
        TrackingError: there is no such class, or it is no tracker.
    """
    module, _, qualname = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as error:  # a stranger's module may raise anything
        raise TrackingError(
            f"--tracker {reference!r}: {type(error).__name__}: {error}: it has the form "
            "'package.module:Class'"
        ) from error
    register_tracker_class(found)


if __name__ == "__main__":
    _leave_out_the_working_directory(sys.argv[1:])
    sys.exit(main())
