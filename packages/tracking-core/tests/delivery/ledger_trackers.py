"""Trackers that write what they took to a file, and misbehave when told to.

A module of its own without any import of pytest, because the delivery process imports it too.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import signal
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracking_core.records import Config, End, Log, LoggedFile, Plain, Record, Status, Tags
from tracking_core.rejections import say
from tracking_core.tracker import RecordTracker


def _hold() -> None:
    ctypes.PyDLL(None).sleep(1000)  # unlike CDLL, this keeps the interpreter's lock


DIES = {
    "hold": _hold,
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


class Refused(Exception):
    """For good."""


class LedgerTracker(RecordTracker):
    """Appends a line of JSON to `ledger` for everything that it takes.

    While a file ``<ledger>.<method>`` exists, that method does what the file says: ``down`` raises
    a ConnectionError, ``say <words>`` warns of the words and goes on, ``forbidden`` a PermissionError, ``refuse`` a Refused, ``exit`` a SystemExit, ``hang`` waits until the file is
    gone; `store` is what `deliver` does with texts; `begun` is the moment in which `start` has begun the native run and not returned. A record
    with a value ``odd`` has that rejected, and one whose value ``n`` is `poison` meets `how`: ``refuse``, or one of `DIES`. With `measured` it may
    not live in the delivery process; with `sends_later` it counts what it takes as not arrived before `finish`.
    """

    name = "ledger"
    requires_logging_directory = False

    def __init__(
        self,
        run_name: str,
        ledger: str = "",
        poison: int | None = None,
        how: str = "refuse",
        pause: float = 0.0,
        measured: bool = False,
        sends_later: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.run_name = run_name
        self.ledger = Path(ledger)
        self.poison, self.how, self.pause = poison, how, pause
        self.measured, self.kwargs = measured, kwargs
        self.sends_later = sends_later
        self.native = uuid.uuid4().hex  # chosen here: a run that is begun twice is one run
        self.resumed = self.started = False
        self.ended_at: float | None = None

    @property
    def tracker(self) -> str:
        if not self.started:
            raise AttributeError("not started")
        return self.native

    def identity(self) -> dict[str, Plain]:
        return {"native": self.native}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self.native, self.resumed = str(identity["native"]), True

    def check_lane(self, lane: str) -> None:
        if self.measured and lane == "process":
            raise ValueError("measured: it would be the delivery process")

    def start(self) -> None:
        self._obey("start")
        # A predecessor may have been killed in the middle of a line.
        line = {"start": self.native, "resumed": self.resumed, "trains": self.training_pid}
        self._write(line, before=b"\n")
        self._obey("begun")
        self.started = True

    def deliver(self, records: Sequence[Record]) -> None:
        self._obey("deliver")
        if any(isinstance(record, Log) and _has_texts(record) for record in records):
            self._obey("store")
        if self.pause:
            threading.Event().wait(self.pause)
        for record in records:
            if (
                self.poison is not None
                and isinstance(record, Log)
                and record.values.get("n") == self.poison
            ):
                if self.how == "refuse":
                    raise Refused(f"{self.poison} is not wanted")
                DIES[self.how]()
        for record in records:
            if isinstance(record, Log) and "odd" in record.values:
                self.reject("odd", record.values["odd"], "it is odd")
        self._write(*(_line(record) for record in records if not isinstance(record, End)))
        if self.sends_later:
            self.unarrived += sum(not isinstance(record, End) for record in records)
        for record in records:
            if isinstance(record, End):
                self.ended_at = record.wall_time

    def finish(self, status: Status = "finished") -> None:
        self._obey("finish")
        self.unarrived = 0
        self._write({"finish": status, "at": self.ended_at})

    def _obey(self, method: str) -> None:
        order = Path(f"{self.ledger}.{method}")
        try:
            said = order.read_text()
        except FileNotFoundError:
            return
        self._write({"trouble": method})
        if said.startswith("say "):
            say(said[4:])
            return
        if said == "down":
            raise ConnectionError("the server is down")
        if said == "forbidden":
            raise PermissionError(errno.EACCES, "Permission denied", method)
        if said == "refuse":
            raise Refused(method)
        if said == "exit":
            raise SystemExit(7)
        if said in DIES:
            DIES[said]()
        while order.exists():
            threading.Event().wait(0.02)

    def _write(self, *lines: dict[str, Any], before: bytes = b"") -> None:
        own = {
            "native": self.native,
            "pid": os.getpid(),
            "thread": threading.get_ident(),
            "spared": gc.get_freeze_count(),
        }
        data = b"".join(json.dumps(line | own).encode() + b"\n" for line in lines)
        descriptor = os.open(self.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, before + data)
        finally:
            os.close(descriptor)


class LaunchTracker(LedgerTracker):
    """Notes with each start what it knows of the process that began the run, and remarks on it."""

    name = "launch"

    def at_launch(self) -> dict[str, Plain]:
        return {"pid": os.getpid(), "api_key": "s3cret", "object": object()}  # type: ignore[dict-item]  # some do

    def start(self) -> None:
        self._write({"launch": self.launch, "late": self.late})
        super().start()

    def remarks(self, identity: Mapping[str, Plain]) -> list[str]:
        return ["a remark", f"this is run {identity['native']}"]


class OtherTracker(LedgerTracker):
    """The same under another name."""

    name = "other"


def _has_texts(record: Log) -> bool:
    return any(isinstance(value, str) for value in record.values.values())


def _line(record: Record) -> dict[str, Any]:
    match record:
        case Config():
            return {"config": record.values, "at": record.wall_time}
        case Tags():
            return {"tags": record.values, "at": record.wall_time}
        case Log():
            plain = {key: _shown(value) for key, value in record.values.items()}
            return {
                "values": plain,
                "step": record.step,
                "position": record.position,
                "at": record.wall_time,
                "options": record.options,
            }
    raise AssertionError(f"no tracker is given {record}")


def _shown(value: Any) -> Any:
    """A value as JSON: of a file what it holds, of a long text its length."""
    if isinstance(value, LoggedFile):
        path = Path(value.path)
        if value.directory:
            return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*.txt")}
        return path.read_text()
    if isinstance(value, str) and len(value) > 1000:
        return len(value)
    return (
        value if isinstance(value, (str, int, float, bool, dict, type(None))) else str(type(value))
    )
