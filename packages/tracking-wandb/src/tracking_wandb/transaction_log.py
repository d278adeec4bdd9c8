"""The file ``run-<id>.wandb`` in a run's directory: W&B's own log of all that a run was told.

W&B's service appends records to it, online and offline, and ``wandb sync`` sends what it holds. It
is a header and LevelDB's log format: blocks of 32 KiB with chunks that carry a checksum, their
length, and whether they are a whole record or a part of one. A record is a protobuf message of
W&B's (``wandb.proto.wandb_internal_pb2.Record``).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

__all__ = ["SUFFIX", "TransactionLog", "is_log", "write_log"]

SUFFIX = ".wandb"

_HEADER = struct.Struct("<4sHB")
_MAGIC = (b":W&B", 0xBEE1)
_CHUNK = struct.Struct("<IHB")
_BLOCK = 32768
_PIECE = 1 << 24
_WHOLE, _FIRST, _MIDDLE, _LAST = range(1, 5)


class TransactionLog:
    """Reads the log at `path`, also while it grows: each `records` goes on where the last ended.

    Attributes:
        damaged: how many records were left out because their checksum was wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._place = 0  # in the file, of the first byte in `_bytes`
        self._bytes = b""
        self._parts: list[bytes] = []
        self.damaged = 0

    def records(self) -> list[bytes]:
        """Some of the records that are in the file and were not given before; none if there are
        none by now.

        Raises:
            ValueError: the file is no log of W&B's.
        """
        if self._file is None:
            try:
                self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # see `close`
            except FileNotFoundError:  # W&B's service makes it a moment after it was told to
                return []
        found: list[bytes] = []
        while not found and (more := self._file.read(_PIECE)):
            self._bytes += more
            if self._place > 0 or self._header():
                found = self._whole_ones()
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _whole_ones(self) -> list[bytes]:
        found = []
        start = 0
        while (chunk := self._chunk(start)) is not None:
            start, kind, data = chunk
            if kind in (_WHOLE, _FIRST):
                self._parts = []
            if data is None:
                self.damaged += 1
                self._parts = []
                continue
            self._parts.append(data)
            if kind in (_WHOLE, _LAST):
                found.append(b"".join(self._parts))
                self._parts = []
        self._bytes = self._bytes[start:]
        self._place += start
        return found

    def _header(self) -> bool:
        if len(self._bytes) < _HEADER.size:
            return False
        if _HEADER.unpack_from(self._bytes)[:2] != _MAGIC:
            raise ValueError(f"{os.fspath(self._path)!r} is no transaction log of W&B's")
        self._bytes = self._bytes[_HEADER.size :]
        self._place = _HEADER.size
        return True

    def _chunk(self, start: int) -> tuple[int, int, bytes | None] | None:
        """The next chunk from `start` on, and where it ends; None if it is not there yet."""
        left = _BLOCK - (self._place + start) % _BLOCK
        if left < _CHUNK.size:  # too little for a chunk: filled with zeros
            start += left
        if start + _CHUNK.size > len(self._bytes):
            return None
        checksum, length, kind = _CHUNK.unpack_from(self._bytes, start)
        end = start + _CHUNK.size + length
        if end > len(self._bytes):
            return None
        data = self._bytes[start + _CHUNK.size : end]
        sound = kind in (_WHOLE, _FIRST, _MIDDLE, _LAST) and checksum == _checksum(kind, data)
        return end, kind, data if sound else None


def write_log(path: str | os.PathLike[str], records: Iterable[bytes]) -> None:
    """Make a log of `records`, as W&B's service would."""
    with open(path, "wb") as file:
        file.write(_HEADER.pack(*_MAGIC, 0))
        place = _HEADER.size
        for record in records:
            framed = b"".join(_framed(record, place))
            file.write(framed)
            place += len(framed)


def _framed(record: bytes, place: int) -> Iterable[bytes]:
    """`record` in chunks, for a log that ends at `place` by now."""
    start, first = 0, True
    while first or start < len(record):
        left = _BLOCK - place % _BLOCK
        if left < _CHUNK.size:
            yield bytes(left)
            place, left = place + left, _BLOCK
        piece = record[start : start + left - _CHUNK.size]
        start += len(piece)
        last = start == len(record)
        kind = (_WHOLE if last else _FIRST) if first else (_LAST if last else _MIDDLE)
        yield _CHUNK.pack(_checksum(kind, piece), len(piece), kind) + piece
        place += _CHUNK.size + len(piece)
        first = False


def _checksum(kind: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(bytes([kind])))


def is_log(path: str) -> bool:
    """Whether `path` is named like a transaction log."""
    name = os.path.basename(path)
    return name.startswith("run-") and name.endswith(SUFFIX)
