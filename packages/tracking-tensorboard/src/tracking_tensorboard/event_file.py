"""The bytes on disk: an event file that holds whole records, whatever happens to the disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable
from typing import Any

import google_crc32c
from tensorboard.compat.proto import event_pb2

__all__ = ["EventFile"]

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")

_SECOND = re.compile(r"tfevents\.(\d{10})\.")

_numbers = itertools.count()


class EventFile:
    """A new event file in `directory`, named as TensorBoard names them.

    Every `append` is one write of whole records, in the system's hands when it returns: they
    survive the death of the process. What a failed write left of a record is taken back, since
    readers give up at the first broken one.

    Attributes:
        unique: the part of the file's name that no other writer has, of this process or another.
    """

    def __init__(self, directory: str, suffix: str = "", purge_step: int | None = None) -> None:
        self._directory = directory
        self._suffix = suffix
        self._lock = threading.Lock()
        first = []
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            first += [event_pb2.Event(wall_time=time.time(), step=purge_step, session_log=start)]
        self._open()
        try:
            if first:
                self.append(first)
        except BaseException:
            self.take_back()
            raise

    def append(self, events: Iterable[Any]) -> None:
        """Write `events` (``event_pb2.Event``), all or none.

        Raises:
            OSError: the disk is full or broken. Nothing of `events` is in the file.
        """
        records = b"".join([_record(event.SerializeToString()) for event in events])
        with self._lock:
            # Given up after an error, or deleted by someone: rows must not go into nothing.
            if self._file.closed or not os.path.exists(self._file.name):
                self._open()
            self._write(records)

    def close(self) -> None:
        """Close the file. Everything is in it already."""
        with self._lock:
            self._file.close()

    def take_back(self) -> None:
        """Remove the file: the run has not begun."""
        self.close()
        with contextlib.suppress(OSError):
            os.remove(self._file.name)

    def _open(self) -> None:
        os.makedirs(self._directory, exist_ok=True)
        while True:
            # SummaryWriter counts its files from 0 and truncates what is there: never be that.
            self.unique = f"{os.getpid()}.t{next(_numbers)}"
            name = f"events.out.tfevents.{self._second():010d}.{socket.gethostname()}"
            path = os.path.join(self._directory, f"{name}.{self.unique}{self._suffix}")
            try:
                # Unbuffered, so that a short write is ours to see.
                self._file = open(path, "xb", buffering=0)  # noqa: SIM115  # `close` is its end
            except FileExistsError:  # another container with our host name and process id
                continue
            break
        self._end = 0
        source = event_pb2.SourceMetadata(writer="tracking_tensorboard")
        event = event_pb2.Event(
            wall_time=time.time(), file_version="brain.Event:2", source_metadata=source
        )
        try:
            self._write(_record(event.SerializeToString()))
        except BaseException:
            self._file.close()
            os.remove(path)
            raise

    def _second(self) -> int:
        """The time for the file's name: now, or just after that of the newest file there.

        TensorBoard reads the files of a directory in the order of their names, and a run that goes
        on within the same second must come after what it goes on with, whatever process that was.
        """
        there = map(_SECOND.search, os.listdir(self._directory))
        return max([int(time.time()), *(int(found[1]) + 1 for found in there if found)])

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except BaseException:
            self._take_back()
            raise
        self._end += len(data)

    def _take_back(self) -> None:
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError:
            self._file.close()  # the next append begins a new file


def _record(data: bytes) -> bytes:
    """`data` as one record of a TFRecord file.

    TensorBoard's own writer of records computes their checksums in Python, at 4 to 10 MB a second.
    """
    length = _LENGTH.pack(len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    """The CRC-32C of `data`, masked as the format wants it."""
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
