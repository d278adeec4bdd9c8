"""How far a consumer has come, kept in two slots that are written in turn.

A slot that a crash left half written fails its checksum, and the other one, which is older, counts:
some records are delivered a second time, and none is ever skipped.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from zlib import crc32

from tracking_core.errors import JournalError
from tracking_core.journal import layout
from tracking_core.journal.files import CREATE_OR_OPEN, REAL, Files
from tracking_core.journal.regular import open_regular

SLOT_BYTES = 32
CURSOR_BYTES = 2 * SLOT_BYTES

_MAGIC = b"TRKC"
_VERSION = 1
_LAST_GENERATION = 2**64 - 1
_SLOT = struct.Struct("<4sIQQ4x")
_CRC = struct.Struct("<I")


class Cursor:
    """A durable position in one journal: `acked` is the last record that was delivered.

    Made by `Cursor.open`.  `damaged` says that both slots were unreadable, so the consumer starts
    over.  One process at a time may hold a cursor; the drain lock sees to that.
    """

    def __init__(self, path: Path, fd: int, data: bytes, *, files: Files) -> None:
        self.path = path
        self._fd = fd
        self._files = files
        self._pid = os.getpid()
        slots = _slots(data)
        self._slot, self._generation, self.acked = _latest(slots)
        self.damaged = bool(data) and slots == [None, None]
        self._stored = self.acked

    @classmethod
    def open(cls, writer: str | os.PathLike[str], consumer: str, *, files: Files = REAL) -> Cursor:
        """The cursor of a consumer in a writer directory; a new one stands at 0.

        Raises `JournalError` when it can't be opened.
        """
        directory = Path(writer) / layout.CURSORS
        path = directory / layout.escape(consumer)
        try:
            layout.make_directory(directory, files=files)
            fd = open_regular(path, CREATE_OR_OPEN, files=files)
            try:
                files.fchmod(fd, 0o600)
                cursor = cls(path, fd, files.pread(fd, CURSOR_BYTES, 0), files=files)
                if not cursor._generation:
                    # A consumer that has begun holds its records back from pruning.
                    cursor._store(0)
            except BaseException:
                files.close(fd)
                raise
        except OSError as error:
            reason = error.strerror or error
            raise JournalError(f"cannot open the cursor {path}: {reason}") from error
        return cursor

    def ack(self, seq: int) -> bool:
        """Say that everything up to `seq` is delivered; False when that could not be stored.

        Never raises because of the disk, and never goes back.  What could not be stored is stored
        by the next call; a crash before that delivers it again.
        """
        if os.getpid() != self._pid:
            return False
        self.acked = max(self.acked, seq)
        if self._stored >= self.acked:
            return True
        try:
            self._store(self.acked)
        except OSError:
            return False
        return True

    def sync(self) -> bool:
        """Wait for the disk; False when it failed."""
        try:
            self._files.fdatasync(self._fd)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the file; what was acked is stored already."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _store(self, acked: int) -> None:
        if self._fd < 0:
            raise OSError("the cursor is closed")
        # Never the slot that counts now: if this write is torn, that one still stands.
        slot = 1 - self._slot
        data = encode_slot(self._generation + 1, acked)
        if self._files.pwrite(self._fd, data, slot * SLOT_BYTES) != len(data):
            raise OSError("the slot was written in part only")
        self._slot = slot
        self._generation += 1
        self._stored = acked


def encode_slot(generation: int, acked: int) -> bytes:
    """The 32 bytes of one slot."""
    body = _SLOT.pack(_MAGIC, _VERSION, generation, acked)
    return body + _CRC.pack(crc32(body))


def decode(data: bytes) -> int:
    """The position that a cursor file's bytes stand for: 0 when neither slot is whole."""
    return _latest(_slots(data))[2]


def lowest(writer: Path, *, files: Files = REAL) -> int | None:
    """The position of the consumer that is furthest behind, or None where there is no cursor."""
    positions = []
    directory = writer / layout.CURSORS
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    for name in names:
        try:
            fd = open_regular(directory / name, files=files)
            try:
                positions.append(decode(files.pread(fd, CURSOR_BYTES, 0)))
            finally:
                files.close(fd)
        except (OSError, JournalError):
            positions.append(0)
    return min(positions, default=None)


def _slots(data: bytes) -> list[tuple[int, int] | None]:
    return [_slot(data[:SLOT_BYTES]), _slot(data[SLOT_BYTES:CURSOR_BYTES])]


def _slot(data: bytes) -> tuple[int, int] | None:
    if len(data) != SLOT_BYTES:
        return None
    (own,) = _CRC.unpack_from(data, SLOT_BYTES - 4)
    magic, version, generation, acked = _SLOT.unpack_from(data)
    if crc32(data[: SLOT_BYTES - 4]) != own or magic != _MAGIC or version != _VERSION:
        return None
    if generation == _LAST_GENERATION:  # nothing could come after it
        return None
    return generation, acked


def _latest(slots: list[tuple[int, int] | None]) -> tuple[int, int, int]:
    """Slot, generation and position of the whole slot with the highest generation."""
    whole = [(found[0], index, found[1]) for index, found in enumerate(slots) if found]
    if not whole:
        return 1, 0, 0
    generation, index, acked = max(whole)
    return index, generation, acked
