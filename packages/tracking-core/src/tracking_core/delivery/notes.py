"""What is kept beside a journal so that a later process can go on: small files, replaced whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tracking_core.delivery.lane import LaneState
from tracking_core.errors import DamagedJournal
from tracking_core.faults import Fault
from tracking_core.journal import cursor, escape
from tracking_core.journal.layout import CURSORS
from tracking_core.records import Plain
from tracking_core.tracker import GeneralTracker

__all__ = [
    "Manifest",
    "TrackerSpec",
    "WorkerNote",
    "read_acked",
    "read_manifest",
    "read_note",
    "write_manifest",
    "write_note",
]

MANIFEST = "run.json"
FOLDER = "trackers"

T = TypeVar("T")


class TrackerSpec(msgspec.Struct, frozen=True):
    """How to make a tracker again in another process.

    Attributes:
        name: the tracker's name in the run; of two alike the second is ``name#2``.
        module, qualname: where its class is.
        places: positional arguments of its constructor.
        arguments: keyword arguments; secrets are masked where this is stored.
        lane: ``"thread"`` or ``"process"``.
    """

    name: str
    module: str
    qualname: str
    places: list[Any]
    arguments: dict[str, Any]
    lane: str

    def build(self) -> GeneralTracker:
        """A new tracker, not started."""
        found: Any = __import__(self.module, fromlist=["_"])
        for part in self.qualname.split("."):
            found = getattr(found, part)
        tracker: GeneralTracker = found(*self.places, **self.arguments)
        return tracker


class Manifest(msgspec.Struct, frozen=True):
    """What a writer directory holds: the run's project and its trackers."""

    project: str
    run_id: str
    trackers: list[TrackerSpec]


class WorkerNote(msgspec.Struct, frozen=True):
    """What a worker leaves for those who look on, and for its successor.

    Attributes:
        identity: names the native run; empty before it was started.
        attempt: the number of the record that was delivered first or alone, and how often a process
            died of it; for a record that kills the interpreter.
        trying: whether the tracker had it at that moment.
    """

    state: LaneState = "starting"
    identity: dict[str, Plain] = {}
    delivered: int = 0
    failed: int = 0
    lost: int = 0
    last_error: str | None = None
    fault: Fault | None = None
    rejected: list[tuple[str, str, str, int]] = []
    attempt: tuple[int, int] = (0, 0)
    trying: bool = False


def read_manifest(writer: Path) -> Manifest:
    """The manifest of a writer directory.

    Raises:
        DamagedJournal: there is none that can be read.
    """
    try:
        return msgspec.json.decode((writer / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise DamagedJournal(f"cannot read which trackers {writer} is for: {error}") from error


def write_manifest(writer: Path, manifest: Manifest) -> None:
    """Store the manifest; raises `OSError`."""
    _replace(writer / MANIFEST, msgspec.json.encode(manifest))


def read_note(writer: Path, name: str) -> WorkerNote:
    """The last note of a worker; an empty one where there is none that can be read."""
    try:
        data = (writer / FOLDER / escape(name)).read_bytes()
        return msgspec.json.decode(data, type=WorkerNote)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return WorkerNote()


def read_acked(writer: Path, name: str) -> int:
    """The number of the last record that a tracker has, read without touching its cursor."""
    try:
        return cursor.decode((writer / CURSORS / escape(name)).read_bytes())
    except OSError:
        return 0


def write_note(writer: Path, name: str, note: WorkerNote) -> None:
    """Replace a worker's note. A disk that refuses costs the note and nothing else."""
    # A third party's tracker may name what it rejects by a text that no file can hold.
    with contextlib.suppress(OSError, ValueError):
        folder = writer / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        _replace(folder / escape(name), msgspec.json.encode(note))


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600
    )
    with open(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
