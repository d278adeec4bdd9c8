"""Run directories as somebody else may have made them, and what shows that they did no harm."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tracking_core.codec import Blob, encode
from tracking_core.journal import Blobs, Writer
from tracking_core.records import Config, End, Log, LoggedFile, Plain, Record, Status
from tracking_core.tracker import RecordTracker

LONGEST = 100_000
CANARY = "canary-7f3a-that-nobody-may-read"


class Reading(RecordTracker):
    """Keeps what it is given, and reads every file of it, as the trackers' libraries do."""

    name = "reading"
    requires_logging_directory = False
    made: ClassVar[list[Reading]] = []

    def __init__(self, run_name: str, **kwargs: Any) -> None:
        super().__init__()
        self.run_name, self.kwargs = run_name, kwargs
        self.records: list[Record] = []
        self.status: str | None = None
        self.resumed: Mapping[str, Plain] | None = None
        self.read: dict[str, bytes] = {}
        Reading.made.append(self)

    @property
    def tracker(self) -> list[Record]:
        return self.records

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self.resumed = identity

    def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Log):
                for value in record.values.values():
                    for one in value if isinstance(value, list) else [value]:
                        if isinstance(one, LoggedFile):
                            self._read(one)
        self.records += records

    def finish(self, status: Status = "finished") -> None:
        self.status = status

    @property
    def rows(self) -> list[Log]:
        return [record for record in self.records if isinstance(record, Log)]

    @property
    def numbers(self) -> list[Any]:
        return [row.values["n"] for row in self.rows if "n" in row.values]

    def _read(self, file: LoggedFile) -> None:
        if not file.directory:
            if os.path.exists(file.path):
                self._read_one(file.path)
            return
        for folder, _, names in os.walk(file.path, followlinks=True):
            for name in names:
                self._read_one(os.path.join(folder, name))

    def _read_one(self, path: str) -> None:
        with open(path, "rb") as file:
            self.read[path] = file.read(LONGEST)  # of what may have a terabyte of nothing


class AlsoReading(Reading):
    """The same under another name."""

    name = "also_reading"


def stored(name: str = "reading", **more: Any) -> dict[str, Any]:
    """What a manifest says of a tracker."""
    return {
        "name": name, "tracker": name.partition("#")[0], "places": ["p"], "arguments": {},
        "lane": "thread", "given": False, "module": "", "qualname": "", **more,
    }  # fmt: skip


def rows(count: int, start: int = 1) -> list[Record]:
    return [Log({"n": number}, number, number, 1.0) for number in range(start, start + count)]


def run_of(
    root: Path,
    records: Sequence[Record | bytes] | None = None,
    trackers: Sequence[Mapping[str, Any]] | None = None,
    *,
    ended: bool = True,
) -> Path:
    """The writer directory of a run that ended elsewhere, and was delivered to nobody.

    A record may be given as the bytes that stand for it, or for none.
    """
    writer = Writer.create(root, "p-run", mapped=False, segment_bytes=4096, sync_interval=None)
    writer.append(encode(Config({"lr": 0.1}, 1.0)))
    for record in rows(3) if records is None else records:
        payload = record if isinstance(record, bytes) else encode(record)
        if len(payload) > 256 * 1024:
            payload = encode(Blob(Blobs(writer.directory).put(payload), len(payload)))
        writer.append(payload)
    if ended:
        writer.append(encode(End("finished", 2.0)))
    writer.close()
    said = {"project": "p", "run_id": "run", "trackers": trackers or [stored()]}
    (writer.directory / "run.json").write_text(json.dumps(said))
    change_owner(writer.directory, boot="of-another-start-of-this-machine")
    return writer.directory


def change_owner(writer: Path, **said: Any) -> None:
    path = writer / "owner.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def seen_of(directory: Path) -> dict[str, tuple[Any, ...]]:
    """What one sees of everything below a directory."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        about = path.lstat()
        held = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        found[str(path)] = (about.st_mode, about.st_ino, about.st_nlink, about.st_mtime_ns, held)
    return found
