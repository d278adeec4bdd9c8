"""The reading end of a journal: follows a live writer, and salvages what a dead one left.

A reader never writes to the journal.  What is damaged it passes by, and it says which sequence
numbers are missing; what it gives out is exactly what was appended.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple
from zlib import crc32

from tracking_core.errors import DamagedJournal, TrackingError
from tracking_core.journal import frame, layout, segment
from tracking_core.journal.files import REAL, Files
from tracking_core.journal.frame import HEADER_BYTES, read_run
from tracking_core.journal.regular import open_regular

_CHUNK = 256 * 1024
_BLOCK = 4096
_NOTHING = bytes(_CHUNK)
# Copies of records stand at the beginning of a file, so no more of it has to fit into memory.
_LARGEST = 256 * 1024 * 1024

Reason = Literal["damaged", "dropped", "absent", "torn"]


class Entry(NamedTuple):
    """One record as it was appended."""

    seq: int
    payload: bytes


class Damage(NamedTuple):
    """Something that is not there any more.

    `missing` are the sequence numbers that are lost, empty if none is; the bytes lie between
    `start` and `end` of `path`.  `reason`: ``"damaged"`` bytes are unreadable; ``"dropped"`` the
    writer could not keep them, and said so; ``"absent"`` the file that held them is gone;
    ``"torn"`` the writer died while it wrote the last one, whose append had not returned.  At the
    very end of what a dead writer left, where no later number tells how many there were, `missing`
    names the first alone.
    """

    path: Path
    start: int
    end: int
    missing: range
    reason: Reason


class Reader:
    """Reads the records of one writer directory in order, from the one after `after` on.

    ``live`` says whether the writer may still append; None asks ``owner.json`` when it matters.
    While it may, bytes that are not yet a whole record are waited for; after that, reported.

    Raises `DamagedJournal` if the directory is no journal, and `JournalVersionError`, from here or
    from `read`, if a newer major version wrote it.
    """

    def __init__(
        self,
        writer: str | os.PathLike[str],
        after: int = 0,
        *,
        live: bool | None = None,
        files: Files = REAL,
    ) -> None:
        self.directory = Path(writer)
        layout.require_directory(self.directory)
        self._files = files
        self._live = live
        self._last = after
        self._given = after
        # Damage that lies before the record to begin with is none of this reader's business.
        self._started = after == 0
        self._ready: list[Entry | Damage] = []
        self._segments = layout.segments(self.directory)
        if not self._segments:
            layout.read_owner(self.directory)
        self._next = self._find_start(after)
        self._newest = self._segments[self._next - 1].number if self._next else 0
        self._name: layout.SegmentName | None = None
        self._fd = -1
        self._salt = 0
        self._at = 0
        self._data = b""
        self._base = 0
        self._hole: int | None = None
        self._dead = live is False
        self._ended = False
        self._finished = False

    @property
    def position(self) -> int:
        """The last sequence number that was given out or reported as missing."""
        return self._given

    @property
    def ended(self) -> bool:
        """Whether the writer closed, and everything it wrote has been given out."""
        return self._ended and not self._ready

    @property
    def finished(self) -> bool:
        """Whether nothing more can come: the writer closed or is dead, and all is given out."""
        return (self._ended or self._finished) and not self._ready

    def read(self, limit: int = 1024) -> list[Entry | Damage]:
        """Up to `limit` of the next records and damages, in order; empty when there is no more now.

        Raises `JournalError` where a segment is no regular file, and `OSError` for errors of the
        disk other than unreadable blocks, which count as damage.
        """
        out, self._ready = self._ready, []
        while len(out) < limit and not (self._ended or self._finished):
            if self._fd < 0:
                if not self._open_next(out):
                    break
            elif not self._take(out, limit) and not self._get_on(out):
                break
        if len(out) > limit:
            out, self._ready = out[:limit], out[limit:]
        for item in reversed(out):
            if isinstance(item, Entry):
                self._given = item.seq
                break
            if item.missing:
                self._given = item.missing.stop - 1
                break
        return out

    def close(self) -> None:
        """Let go of the open file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _find_start(self, after: int) -> int:
        """The index of the segment to begin with: the last that can hold record ``after + 1``."""
        start = 0
        for index, name in enumerate(self._segments):
            if name.first <= after + 1:
                start = index
        return start

    def _open_next(self, out: list[Entry | Damage]) -> bool:
        if self._next >= len(self._segments):
            self._refresh()
        if self._next >= len(self._segments):
            if self._dead:
                self._finished = True
            else:
                # One more look at the directory comes after the writer is known to be dead.
                self._dead = self._writer_is_dead()
                return self._dead
            return False
        name = self._segments[self._next]
        try:
            fd = open_regular(name.path, files=self._files)
        except FileNotFoundError:
            # Pruned meanwhile: the next record's number will say what is missing.
            self._pass(name)
            return True
        try:
            data = self._pread(fd, segment.HEADER_BYTES, 0)
            salt, whole = name.salt, True
            try:
                salt = segment.decode_header(data, name.path).salt
            except DamagedJournal:
                whole = False
            short = len(data) < segment.HEADER_BYTES or not any(data)
            if not whole and short and not self._is_final(self._next):
                # A live writer has made the file and is about to write its header.
                self._files.close(fd)
                return False
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.close(fd)
            raise
        self._name, self._fd, self._salt = name, fd, salt
        self._at = segment.HEADER_BYTES
        self._data, self._base = b"", self._at
        self._hole = None
        self._pass(name)
        if not whole and not short:
            # The name holds the salt too, so a damaged header costs no record.
            out.append(Damage(name.path, 0, len(data), range(0), "damaged"))
        return True

    def _pass(self, name: layout.SegmentName) -> None:
        self._next += 1
        self._newest = name.number

    def _refresh(self) -> None:
        self._segments = [s for s in layout.segments(self.directory) if s.number > self._newest]
        self._next = 0

    def _is_final(self, index: int) -> bool:
        """Whether the writer is done with a segment: there is a later one, or no writer."""
        if index + 1 < len(self._segments):
            return True
        known = self._segments[index].number
        later = [s for s in layout.segments(self.directory) if s.number > known]
        if later:
            self._segments = self._segments[: index + 1] + later
            return True
        if not self._dead:
            self._dead = self._writer_is_dead()
        return self._dead

    def _writer_is_dead(self) -> bool:
        if self._live is not None:
            return not self._live
        try:
            return layout.owner_alive(layout.read_owner(self.directory)) is False
        except DamagedJournal:
            return False

    def _take(self, out: list[Entry | Damage], limit: int) -> bool:
        """Give out the whole frames at the position; False when there is none."""
        frames, _ = read_run(self._data, self._at - self._base, self._salt, limit - len(out))
        if not frames:
            self._load(_CHUNK)
            frames, _ = read_run(self._data, 0, self._salt, limit - len(out))
        if not frames:
            header = frame.read_header(self._data, 0, self._salt)
            if header is None or HEADER_BYTES + header.length <= len(self._data):
                return False
            self._load(HEADER_BYTES + header.length)
            frames, _ = read_run(self._data, 0, self._salt, 1)
            if not frames:
                return False
        last = self._last
        for found in frames:
            kind, seq, payload = found
            if kind == frame.RECORD and seq == last + 1 and self._hole is None:
                out.append(Entry(seq, payload))
                self._last = last = seq
                self._at += HEADER_BYTES + len(payload)
            else:
                self._accept(found, out)
                last = self._last
        self._started = self._started or bool(out)
        if self._ended:
            self.close()
        return True

    def _accept(self, found: frame.Frame, out: list[Entry | Damage]) -> None:
        """Take in a frame that isn't simply the next record."""
        start = self._at
        self._at = end = start + HEADER_BYTES + len(found.payload)
        hole, self._hole = self._hole, None
        before = found.seq - 1
        if found.kind == frame.GAP:
            before = frame.notice_number(found) - 1
        elif found.kind == frame.END:
            before = found.seq
        missing = range(self._last + 1, max(before, self._last) + 1)
        if missing or (hole is not None and self._started):
            reason: Reason = "absent" if hole is None else "damaged"
            self._report(start if hole is None else hole, start, missing, reason, out)
        self._last = max(self._last, before)
        if found.kind == frame.END:
            self._ended = True
        elif found.seq > self._last:
            if found.kind == frame.GAP:
                dropped = range(self._last + 1, found.seq + 1)
                out.append(Damage(self._path, start, end, dropped, "dropped"))
            else:
                out.append(Entry(found.seq, found.payload))
            self._last = found.seq

    def _get_on(self, out: list[Entry | Damage]) -> bool:
        """Get past a position that holds no whole frame; False to wait for the writer.

        What was just read is not proof of damage while the writer lives: it may have been in the
        middle of a store.  It is proof when a later frame was seen *before* the bytes were read
        once more, since stores become visible in order.
        """
        index = self._next - 1
        unwritten = not any(self._data[:HEADER_BYTES])
        if unwritten and not self._is_final(index):
            return False
        found = self._find(self._at + 1)
        if found is not None:
            self._load(_CHUNK)
            if not self._whole_at(self._at):
                if self._hole is None:
                    self._hole = self._at
                self._at = found
                self._data, self._base = b"", found
            return True
        if not self._is_final(index):
            return False
        return self._leave(out)

    def _leave(self, out: list[Entry | Damage]) -> bool:
        """Go on to the next segment, once this one has been read after it became final."""
        self._load(_CHUNK)
        if self._whole_at(self._at) or self._find(self._at + 1) is not None:
            return True
        start = self._at if self._hole is None else self._hole
        end = self._end_of_bytes(start)
        has_next = self._next < len(self._segments)
        header = frame.read_header(self._data, 0, self._salt)
        first = self._last + 1
        if has_next:
            missing = range(first, max(self._segments[self._next].first, first))
        elif header is not None and header.seq >= first and header.kind == frame.RECORD:
            missing = range(first, header.seq + 1)
        else:
            missing = range(first, first + (end > start))
        if missing or (end > start and self._started):
            reason: Reason = "damaged" if has_next or self._hole is not None else "torn"
            self._report(start, max(end, start), missing, reason, out)
            self._last = max(self._last, missing.stop - 1) if missing else self._last
        self.close()
        if not has_next:
            self._refresh()
            if not self._segments:
                self._finished = True
        return True

    def _report(
        self, start: int, end: int, missing: range, reason: Reason, out: list[Entry | Damage]
    ) -> None:
        """Say what is missing, less what a failed sync made the writer write a second time."""
        copies = self._copies(missing) if missing else {}
        if not copies:
            out.append(Damage(self._path, start, end, missing, reason))
            return
        lost = missing.start
        for seq in sorted(copies):
            if seq > lost:
                out.append(Damage(self._path, start, end, range(lost, seq), reason))
            out.append(Entry(seq, copies[seq]))
            lost = seq + 1
        if lost < missing.stop:
            out.append(Damage(self._path, start, end, range(lost, missing.stop), reason))

    def _copies(self, missing: range) -> dict[int, bytes]:
        copies: dict[int, bytes] = {}
        for name in self._segments[self._next :]:
            with contextlib.suppress(OSError, TrackingError):
                fd = open_regular(name.path, files=self._files)
                try:
                    # Copies stand at the beginning of a file, below the number in its name.
                    data = self._pread(fd, HEADER_BYTES, segment.HEADER_BYTES)
                    header = frame.read_header(data, 0, name.salt)
                    if header is None or header.seq >= name.first:
                        continue
                    data = self._pread(fd, min(os.fstat(fd).st_size, _LARGEST), 0)
                finally:
                    self._files.close(fd)
                for span in frame.scan(data, name.salt, segment.HEADER_BYTES):
                    found = span.frame
                    if found and found.kind == frame.RECORD and found.seq in missing:
                        copies[found.seq] = found.payload
        return copies

    @property
    def _path(self) -> Path:
        return self.directory if self._name is None else self._name.path

    def _load(self, size: int) -> None:
        self._data = self._pread(self._fd, size, self._at)
        self._base = self._at

    def _pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read, taking a block that the disk can't give back for one of zeros."""
        try:
            return self._files.pread(fd, size, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        end = min(offset + size, os.fstat(fd).st_size)
        parts = []
        while offset < end:
            part = min(_BLOCK - offset % _BLOCK, end - offset)
            try:
                parts.append(self._files.pread(fd, part, offset).ljust(part, b"\0"))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                parts.append(bytes(part))
            offset += part
        return b"".join(parts)

    def _find(self, at: int) -> int | None:
        """The offset of the next whole frame that is news, at or after `at`."""
        while True:
            window = self._pread(self._fd, _CHUNK, at)
            if window == _NOTHING:
                at = self._behind_nothing(at)
                continue
            for spot in _spots(window):
                header = frame.read_header(window, spot, self._salt)
                if header is None or not frame.follows(header.kind, header.seq, self._last):
                    continue
                if self._payload_holds(at + spot, header):
                    return at + spot
            if len(window) < _CHUNK:
                return None
            at += _CHUNK - HEADER_BYTES + 1

    def _whole_at(self, at: int) -> bool:
        data = self._pread(self._fd, HEADER_BYTES, at)
        header = frame.read_header(data, 0, self._salt)
        return header is not None and self._payload_holds(at, header)

    def _payload_holds(self, at: int, header: frame.Header) -> bool:
        payload = self._pread(self._fd, header.length, at + HEADER_BYTES)
        return len(payload) == header.length and crc32(payload, self._salt) == header.crc

    def _end_of_bytes(self, start: int) -> int:
        """The offset behind the last byte that is not zero, at or after `start`."""
        end = start
        at = start
        while True:
            window = self._pread(self._fd, _CHUNK, at)
            if window == _NOTHING:
                at = self._behind_nothing(at)
                continue
            used = len(window.rstrip(b"\0"))
            if used:
                end = at + used
            if len(window) < _CHUNK:
                return end
            at += _CHUNK

    def _behind_nothing(self, at: int) -> int:
        """Where to look on behind a chunk of zeros, which may be the first of a terabyte of them."""
        behind = at + _CHUNK - HEADER_BYTES + 1
        if not (self._dead or self._next < len(self._segments)) or not hasattr(os, "SEEK_DATA"):
            return behind  # its writer may be at work there
        try:
            return max(behind, os.lseek(self._fd, behind, os.SEEK_DATA) - HEADER_BYTES)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is none any more
                return max(behind, os.fstat(self._fd).st_size)
            return behind


def _spots(window: bytes) -> Iterable[int]:
    spot = window.find(frame.MAGIC)
    while spot >= 0:
        yield spot
        spot = window.find(frame.MAGIC, spot + 1)
