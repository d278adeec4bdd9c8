"""Stands where My Tool's library belongs: a run is a folder with a file of JSON lines and copies.

Only `start` of the tracker and `read_run` import it. Where they and `MyToolTracker` call it, the
library's calls go; then this module goes.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Run", "entries"]

LINES, FILES = "run.jsonl", "files"


class Run:
    """The run `run_id` below `directory`: begun, or gone on with if it is there.

    Attributes:
        directory: the run's own folder.
    """

    def __init__(self, directory: str | os.PathLike[str], run_id: str) -> None:
        self.directory = os.path.join(os.path.abspath(directory), run_id)
        os.makedirs(os.path.join(self.directory, FILES), exist_ok=True)
        path = os.path.join(self.directory, LINES)
        # Unbuffered: a line is in the system's hands when `write` returns.
        self._lines = open(path, "ab", buffering=0)  # noqa: SIM115  # `close` is its end

    def write(self, kind: str, time: float, values: Mapping[str, Any], step: int = 0) -> None:
        """Add an entry to the run."""
        entry = {"kind": kind, "time": time, "values": values, "step": step}
        self._lines.write(json.dumps(entry).encode() + b"\n")

    def new_folder(self) -> str:
        """The path of an empty folder in the run, for files to be put in."""
        for number in itertools.count():
            path = os.path.join(self.directory, FILES, str(number))
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            return path
        raise AssertionError("the numbers have ended")

    def close(self) -> None:
        """Close the run's file. Everything is in it already."""
        self._lines.close()


def entries(directory: str | os.PathLike[str], run_id: str) -> Iterator[dict[str, Any]]:
    """What was written to a run, in order."""
    with open(os.path.join(directory, run_id, LINES), encoding="utf-8") as lines:
        yield from map(json.loads, lines)
