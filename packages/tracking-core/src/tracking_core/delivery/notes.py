"""What is kept beside a journal so that a later process can go on: small files, replaced whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tracking_core.delivery.lane import LaneState
from tracking_core.errors import DamagedJournal, TrackingError
from tracking_core.faults import Fault
from tracking_core.journal import cursor, escape, read_regular, replace_regular
from tracking_core.journal.layout import CURSORS, make_directory
from tracking_core.records import Plain
from tracking_core.tracker import GeneralTracker

__all__ = [
    "Manifest",
    "StoredTracker",
    "TrackerSpec",
    "WorkerNote",
    "made",
    "read_acked",
    "read_manifest",
    "read_note",
    "write_manifest",
    "write_note",
]

MANIFEST = "run.json"
FOLDER = "trackers"

# What is wrong with a file that a stranger wrote: whatever they like.
UNREADABLE = (
    *(OSError, TrackingError, msgspec.MsgspecError, ValueError, OverflowError),
    *(RecursionError, MemoryError),
)


class TrackerSpec(msgspec.Struct, frozen=True):
    """How to make a tracker again in another process, which is told so by pipe and by no file.

    Attributes:
        name: the tracker's name in the run; of two alike the second is ``name#2``.
        module, qualname: where its class is.
        places: positional arguments of its constructor.
        arguments: keyword arguments.
        lane: ``"thread"`` or ``"process"``.
        launch: what the tracker's `at_launch` said; masked as the arguments.
    """

    name: str
    module: str
    qualname: str
    places: list[Any]
    arguments: dict[str, Any]
    lane: str
    launch: dict[str, Any] | None = None

    def build(self) -> GeneralTracker:
        """A new tracker, not started."""
        found: Any = __import__(self.module, fromlist=["_"])
        for part in self.qualname.split("."):
            found = getattr(found, part)
        return made(found, self.places, self.arguments, self.launch)


def made(
    kind: Callable[..., GeneralTracker],
    places: Sequence[Any],
    arguments: Mapping[str, Any],
    launch: dict[str, Any] | None = None,
) -> GeneralTracker:
    """A new tracker that knows what was said at the launch of its run, not started."""
    tracker = kind(*places, **arguments)
    if launch is not None:
        tracker.launch = launch
    return tracker


class StoredTracker(msgspec.Struct, frozen=True):
    """What a file says of a tracker of the run. Whoever makes it again finds its class by name.

    Attributes:
        name: the tracker's name in the run; of two alike the second is ``name#2``.
        tracker: the name that its class is registered under.
        places, arguments: of its constructor, with secrets masked.
        lane: ``"thread"`` or ``"process"``.
        given: whether it was handed in as an object, so that its arguments are not known.
        module, qualname: where its class was; for people, and never looked at here.
        launch: what the tracker's `at_launch` said, masked as the arguments.
    """

    name: str
    places: list[Any]
    arguments: dict[str, Any]
    lane: str
    tracker: str = ""
    given: bool = False
    module: str = ""
    qualname: str = ""
    launch: dict[str, Any] | None = None

    @property
    def registered_name(self) -> str:
        """The name of its class. The first versions did not store it, only what it is made of."""
        return self.tracker or self.name.partition("#")[0]

    @property
    def was_handed_in(self) -> bool:
        """Whether only the program that ran can make it again.

        The first versions did not store that, but of an object no arguments, either.
        """
        return self.given or not self.places


class Manifest(msgspec.Struct, frozen=True):
    """What a writer directory holds: the run's project and its trackers."""

    project: str
    run_id: str
    trackers: list[StoredTracker]


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
    unarrived: int = 0
    postponed: int = 0
    busy: float = 0.0


def read_manifest(writer: Path) -> Manifest:
    """The manifest of a writer directory.

    Raises:
        DamagedJournal: there is none that can be read.
    """
    try:
        return msgspec.json.decode(read_regular(writer / MANIFEST), type=Manifest)
    except UNREADABLE as error:
        raise DamagedJournal(f"cannot read which trackers {writer} is for: {error}") from error


def write_manifest(writer: Path, manifest: Manifest) -> None:
    """Store the manifest; raises `OSError`."""
    replace_regular(writer / MANIFEST, msgspec.json.encode(manifest))


def read_note(writer: Path, name: str) -> WorkerNote:
    """The last note of a worker; an empty one where there is none that can be read."""
    try:
        data = read_regular(writer / FOLDER / escape(name))
        return msgspec.json.decode(data, type=WorkerNote)
    except UNREADABLE:
        return WorkerNote()


def read_acked(writer: Path, name: str) -> int:
    """The number of the last record that a tracker has, read without touching its cursor."""
    try:
        return cursor.decode(read_regular(writer / CURSORS / escape(name)))
    except (OSError, TrackingError):
        return 0


def write_note(writer: Path, name: str, note: WorkerNote) -> None:
    """Replace a worker's note. A disk that refuses costs the note and nothing else."""
    # A third party's tracker may name what it rejects by a text that no file can hold.
    with contextlib.suppress(OSError, TrackingError, ValueError, OverflowError):
        folder = writer / FOLDER
        make_directory(folder)
        replace_regular(folder / escape(name), msgspec.json.encode(note))
