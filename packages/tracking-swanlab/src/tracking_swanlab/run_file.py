"""SwanLab's run file: its records, in the frames of its own data store, whole after every append.

The library's writer keeps what it is given in Python's memory until the run ends, so a killed
process leaves an empty file. Here its frames are made in memory and written with one call.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python import store
from swanlab.sdk.internal.core_python.pkg import builder

__all__ = ["RunFile", "found_in", "records_of"]

# The start record fills the first block, so that it can be written anew in its place: tags lie in
# it, and they may come late. What fills it up is a field that no reader knows: protobuf skips it.
_START_LENGTH = store.LEVELDBLOG_BLOCK_LEN - 2 * store.LEVELDBLOG_HEADER_LEN
_FILLER = b"\xc2\x3e"  # field 1000, length-delimited
_FILLER_HEAD = len(_FILLER) + 3  # with its length, in three bytes


class RunFile:
    """The run file at `path`, open for appending. Made if it does not exist.

    Opening one that exists takes off its finish record and whatever its writer did not complete.

    Attributes:
        path: where it lies.
        number: the number of its last record; that of the next is one more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._lock = threading.Lock()
        self._size = self._size_of_what_stays() if path.exists() else 0
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o644)
        os.ftruncate(self._descriptor, self._size)

    @property
    def started(self) -> bool:
        """Whether it has its start record."""
        return self._size > 0

    def start(self, start: Any) -> None:
        """Write the ``StartRecord`` `start`, in place of the one that is there.

        Raises:
            OSError: the disk is full or broken.
            ValueError: it does not fit into one block.
        """
        data = Record(num=builder.START_RECORD_NUM, start=start).SerializeToString()
        room = _START_LENGTH - len(data) - _FILLER_HEAD
        if room < 0:
            raise ValueError(f"a start record of {len(data)} bytes does not fit into one block")
        length = bytes((room & 0x7F | 0x80, room >> 7 & 0x7F | 0x80, room >> 14))
        head = struct.pack(
            "<4sHB",
            store.LEVELDBLOG_HEADER_IDENT,
            store.LEVELDBLOG_HEADER_MAGIC,
            store.LEVELDBLOG_HEADER_VERSION,
        )
        framed = head + _framed([data + _FILLER + length + bytes(room)], len(head))
        with self._lock:
            self._write(framed, 0)
            self._size = max(self._size, len(framed))

    def append(self, records: Iterable[Any]) -> None:
        """Number `records` and append them with one write: all of them, or none.

        Raises:
            OSError: the disk is full or broken.
        """
        with self._lock:
            number, data = self.number, []
            for record in records:
                if record.num >= 0:  # the library gives each of the others a number of its own
                    number += 1
                    record.num = number
                data.append(record.SerializeToString())
            framed = _framed(data, self._size)
            try:
                self._write(framed, self._size)
            except BaseException:
                os.ftruncate(self._descriptor, self._size)
                raise
            self._size += len(framed)
            self.number = number

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, data: bytes, place: int) -> None:
        os.lseek(self._descriptor, place, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _size_of_what_stays(self) -> int:
        stays = 0
        for record, end in records_of(self.path):
            self.number = max(self.number, record.num)
            if not record.HasField("finish"):
                stays = end
        return stays


def records_of(path: Path, begin: int = 0) -> Iterator[tuple[Any, int]]:
    """The records of a run file from its byte `begin` on, each with the byte where it ends.

    Stops where the file is damaged or was not completed.

    Raises:
        DataStoreError: it is no run file, or one of another version.
    """
    reader = store.DataStoreReader()
    if os.path.getsize(path) < store.LEVELDBLOG_HEADER_LEN:
        return  # its writer was killed before it wrote anything
    reader.open(path)
    try:
        if begin:
            reader._fp.seek(begin)
            reader._index = begin
        while True:
            try:
                data = reader.scan()
            except (AssertionError, store.DataStoreError, struct.error):
                return
            if data is None:
                return
            yield Record.FromString(data), reader._index
    finally:
        reader.close()


def found_in(directory: Path) -> Path | None:
    """The run file in a run's directory, as ``swanlab sync`` finds it."""
    return next(iter(sorted(directory.glob("run-*.swanlab"))), None)


def _framed(data: list[bytes], index: int) -> bytes:
    """`data` in the library's frames, as they are where `index` bytes come before them."""
    writer = store.DataStoreWriter()
    writer._fp = buffer = io.BytesIO()
    writer._index = index
    for one in data:
        writer.write(one)
    return buffer.getvalue()
