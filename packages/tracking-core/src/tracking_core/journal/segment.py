"""One file of a journal: its header, and the two ways of appending to it.

`MappedSegment` assigns into a shared map of space that the file system has really allocated: the
cheapest way into the page cache, and the only one that keeps the interpreter lock, so a busy thread
in the process can't delay it.  `WrittenSegment` appends with one `os.write`.  Either way the bytes
are the kernel's when `put` returns, and no end of the process can take them back.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple, Protocol
from zlib import crc32

from tracking_core.errors import DamagedJournal, JournalVersionError, let_through
from tracking_core.journal import frame, layout
from tracking_core.journal.files import CREATE, Files

MAGIC = b"TRKJ"
MAJOR = 1
MINOR = 0
HEADER_BYTES = 64

_HEADER = struct.Struct("<4sBBHIIQQ28x")
_CRC = struct.Struct("<I")
_APPEND = getattr(os, "O_APPEND", 0)

# Only where allocated space stays the file's own: a map of a file system that copies on write, or
# that lives on another machine, can fail at any store, and that failure is SIGBUS.
_MAPPABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})


class SegmentHeader(NamedTuple):
    """What the first 64 bytes of a segment say."""

    salt: int
    number: int
    first: int
    wall_ns: int


class Segment(Protocol):
    """A segment that is open for appending.

    `end` is the offset behind the last whole frame, `synced` the offset up to which the disk is
    known to have it.
    """

    path: Path
    first: int
    salt: int
    fd: int
    end: int
    synced: int

    def put(self, data: bytes) -> bool:
        """Append one whole frame; False when there is no room for it.

        Raises `OSError` when the file refuses; it then holds no part of the frame, or a part that
        no reader takes for one.
        """

    def put_last(self, data: bytes) -> bool:
        """Append a closing notice, for which room is always kept."""

    def settle(self) -> int:
        """After an interrupted `put`: keep what is whole, and return the last number in here."""

    def seal(self) -> None:
        """End appending: give back space that was never used.  Does nothing the second time."""

    def abandon(self) -> None:
        """Let go of the file without touching it: what a forked child has to do."""


def encode_header(salt: int, number: int, first: int, wall_ns: int) -> bytes:
    """The 64 bytes at the start of a segment."""
    body = _HEADER.pack(MAGIC, MAJOR, MINOR, 0, salt, number, first, wall_ns)
    return body + _CRC.pack(crc32(body))


def decode_header(data: bytes, path: Path) -> SegmentHeader:
    """What a segment's first bytes say.

    Raises `JournalVersionError` where a newer major version wrote them, and `DamagedJournal` where
    they are no whole header.  Magic, version and checksum keep their places in every version.
    """
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        raise DamagedJournal(f"{path} does not begin like a segment of a journal")
    (own,) = _CRC.unpack_from(data, HEADER_BYTES - 4)
    if crc32(data[: HEADER_BYTES - 4]) != own:
        raise DamagedJournal(f"{path} has a damaged header")
    _, major, minor, _, salt, number, first, wall_ns = _HEADER.unpack_from(data)
    if major > MAJOR:
        raise JournalVersionError(
            f"{path} is written in format {major}.{minor}, and this version reads up to"
            f" {MAJOR}.x: upgrade tracking-core to read it"
        )
    return SegmentHeader(salt, number, first, wall_ns)


def may_map(directory: Path, *, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether the file system of a directory really allocates, so that a map of it is safe.

    True only for file systems known to; network, copy-on-write, overlay and unknown ones get
    `os.write`.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        lines = Path(mounts).read_text(errors="surrogateescape").splitlines()
        where = os.path.realpath(directory)
    except OSError:
        return False
    longest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one is the one that is seen.
        if inside and len(point) >= len(longest):
            longest, kind = point, after.split(" ")[0]
    return kind in _MAPPABLE


class MappedSegment:
    """A segment behind a shared map of allocated space."""

    def __init__(
        self, directory: Path, number: int, first: int, salt: int, size: int, *, files: Files
    ) -> None:
        self.path = directory / layout.segment_name(number, first, salt)
        self.first = first
        self.salt = salt
        self.end = HEADER_BYTES
        self.synced = 0
        self._size = size
        self._room = size - frame.NOTICE_BYTES
        self._files = files
        self._sealed = False
        self.fd = files.open(str(self.path), CREATE, 0o600)
        try:
            files.fchmod(self.fd, 0o600)
            files.allocate(self.fd, 0, size)
            self._map: mmap.mmap = files.map(self.fd, size)
        except BaseException:
            _discard(self.fd, self.path, files)
            raise
        self._map[:HEADER_BYTES] = encode_header(salt, number, first, time.time_ns())

    def put(self, data: bytes) -> bool:
        start = self.end
        end = start + len(data)
        if end > self._room:
            return False
        self._map[start:end] = data
        self.end = end
        return True

    def put_last(self, data: bytes) -> bool:
        self._room = self._size
        return self.put(data)

    def settle(self) -> int:
        self.end, last = _settled(self._map[:], self.salt)
        return last

    def seal(self) -> None:
        if self._sealed:
            return
        self._sealed = True
        with contextlib.suppress(BufferError):
            self._map.close()
        self._files.ftruncate(self.fd, self.end)

    def abandon(self) -> None:
        with contextlib.suppress(BufferError):
            self._map.close()
        _close_if_ours(self.fd, self.path)


class WrittenSegment:
    """A segment that grows by one `os.write` for each frame."""

    def __init__(
        self, directory: Path, number: int, first: int, salt: int, size: int, *, files: Files
    ) -> None:
        self.path = directory / layout.segment_name(number, first, salt)
        self.first = first
        self.salt = salt
        self.end = HEADER_BYTES
        self.synced = 0
        self._room = size - frame.NOTICE_BYTES
        self._files = files
        self._write = files.write
        self.fd = files.open(str(self.path), CREATE | _APPEND, 0o600)
        try:
            files.fchmod(self.fd, 0o600)
            files.write_all(self.fd, encode_header(salt, number, first, time.time_ns()))
        except BaseException:
            _discard(self.fd, self.path, files)
            raise

    def put(self, data: bytes) -> bool:
        end = self.end + len(data)
        if end > self._room:
            return False
        written = self._write(self.fd, data)
        if written != len(data):
            self._write_rest(data, written)
        self.end = end
        return True

    def put_last(self, data: bytes) -> bool:
        self._room += frame.NOTICE_BYTES
        return self.put(data)

    def settle(self) -> int:
        data = self._files.pread(self.fd, os.fstat(self.fd).st_size, 0)
        self.end, last = _settled(data, self.salt)
        if len(data) > self.end:
            self._files.ftruncate(self.fd, self.end)
        return last

    def seal(self) -> None:
        """There is nothing to give back, but half a frame that a failed write has left."""
        if os.fstat(self.fd).st_size > self.end:
            self._files.ftruncate(self.fd, self.end)

    def abandon(self) -> None:
        _close_if_ours(self.fd, self.path)

    def _write_rest(self, data: bytes, written: int) -> None:
        if written <= 0:
            raise OSError(errno.EIO, "the file takes no more bytes and says no reason")
        self._files.write_all(self.fd, data[written:])


def create(
    directory: Path, number: int, first: int, *, size: int, mapped: bool, files: Files
) -> Segment:
    """Make a segment for the records from `first` on, able to hold `size` bytes.

    The salt is new, so nothing that any file holds can pass for a frame of this one.  Where
    `mapped` does not work out, a full disk included, the written kind gets its chance.  Raises
    `OSError` when neither can be made.
    """
    salt = int.from_bytes(os.urandom(4), "little")
    if mapped:
        try:
            return MappedSegment(directory, number, first, salt, size, files=files)
        except (OSError, ValueError) as error:
            let_through(error)
    return WrittenSegment(directory, number, first, salt, size, files=files)


def _settled(data: bytes, salt: int) -> tuple[int, int]:
    """The end of the whole frames from the start of a segment, and the last number in them."""
    last, at = 0, HEADER_BYTES
    while True:
        frames, at = frame.read_run(data, at, salt, 1024)
        if not frames:
            return at, last
        last = frames[-1].seq


def _close_if_ours(fd: int, path: Path) -> None:
    # Somebody may have closed our descriptor, and its number may be another file's by now.
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            os.close(fd)


def _discard(fd: int, path: Path, files: Files) -> None:
    with contextlib.suppress(OSError):
        files.close(fd)
    with contextlib.suppress(OSError):
        files.unlink(str(path))
