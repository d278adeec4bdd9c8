"""What one record looks like on disk, and how to find the records again in damaged bytes.

A frame is 24 bytes of header and the payload, little-endian::

    magic "\\xa7TJ" | kind u8 | length u32 | seq u64 | crc of payload u32 | crc of it all u32

Both checksums are ``zlib.crc32`` started with the salt of the segment, so a frame of another
segment, copied or nested into a payload, never passes for one of this segment.  The header has a
checksum of its own, so a damaged length is never believed.  The whole format is specified in
``docs/journal-format.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MAGIC = b"\xa7TJ"
RECORD = 1
GAP = 2
END = 3
HEADER_BYTES = 24
MAX_PAYLOAD = 16 * 1024 * 1024

_FIRST = struct.Struct("<4sIQI")
_CRC = struct.Struct("<I")
_WHOLE = struct.Struct("<3sBIQII")
_NUMBER = struct.Struct("<Q")
_KINDS = (RECORD, GAP, END)
_RECORD_MAGIC = MAGIC + bytes((RECORD,))

NOTICE_BYTES = HEADER_BYTES + _NUMBER.size
"""Size in bytes of a notice: a frame that the journal writes about itself."""


class Frame(NamedTuple):
    """A whole frame: `seq` and `payload` are exactly what was encoded."""

    kind: int
    seq: int
    payload: bytes


class Header(NamedTuple):
    """A frame's header that passed its checksum: only then is `length` to be believed."""

    kind: int
    length: int
    seq: int
    crc: int


class Span(NamedTuple):
    """What a scan found between two byte offsets: a whole frame, or bytes that are none."""

    start: int
    end: int
    frame: Frame | None


def encode(seq: int, payload: bytes, salt: int) -> bytes:
    """The frame of one record, ready to be written."""
    first = _FIRST.pack(_RECORD_MAGIC, len(payload), seq, crc32(payload, salt))
    return first + _CRC.pack(crc32(first, salt)) + payload


def encode_notice(kind: int, seq: int, number: int, salt: int) -> bytes:
    """The frame of a notice.

    `GAP`: the records `number` to `seq` were dropped before they reached the disk.
    `END`: the writer closed after record `seq`, having dropped `number` records in all.
    """
    payload = _NUMBER.pack(number)
    first = _FIRST.pack(MAGIC + bytes((kind,)), len(payload), seq, crc32(payload, salt))
    return first + _CRC.pack(crc32(first, salt)) + payload


def notice_number(frame: Frame) -> int:
    """The number that `encode_notice` put into a notice."""
    number: int = _NUMBER.unpack(frame.payload)[0]
    return number


def read_header(data: bytes, at: int, salt: int) -> Header | None:
    """The header at `at`, or None where no header passes its checksum."""
    if len(data) - at < HEADER_BYTES:
        return None
    magic, kind, length, seq, crc, own = _WHOLE.unpack_from(data, at)
    if magic != MAGIC or crc32(data[at : at + 20], salt) != own:
        return None
    if kind not in _KINDS or not 0 < length <= MAX_PAYLOAD:
        return None
    if kind != RECORD and length != _NUMBER.size:
        return None
    return Header(kind, length, seq, crc)


def read_run(data: bytes, at: int, salt: int, limit: int) -> tuple[list[Frame], int]:
    """Up to `limit` whole frames that follow each other from `at`, and the offset after them."""
    frames: list[Frame] = []
    size = len(data)
    unpack, checksum, header_bytes = _WHOLE.unpack_from, crc32, HEADER_BYTES
    while len(frames) < limit:
        body = at + header_bytes
        if body > size:
            break
        magic, kind, length, seq, crc, own = unpack(data, at)
        end = body + length
        # The order matters: nothing of the header counts before its own checksum held.
        if magic != MAGIC or checksum(data[at : at + 20], salt) != own or end > size:
            break
        payload = data[body:end]
        if checksum(payload, salt) != crc or not 0 < length <= MAX_PAYLOAD:
            break
        if kind != RECORD and (kind not in _KINDS or length != _NUMBER.size):
            break
        frames.append(Frame(kind, seq, payload))
        at = end
    return frames, at


def follows(kind: int, seq: int, last: int) -> bool:
    """Whether a frame says anything new to someone who has read up to record `last`.

    A closing notice repeats the last number; everything else has to be higher.  This is what keeps
    a copy of older frames, found while looking for the way out of a damage, from being read again.
    """
    return seq > last or (kind == END and seq == last)


def find(data: bytes, at: int, salt: int, last: int) -> int:
    """The offset of the next whole frame at or after `at` that follows record `last`, or -1."""
    while True:
        at = data.find(MAGIC, at)
        if at < 0:
            return -1
        header = read_header(data, at, salt)
        if header is not None and follows(header.kind, header.seq, last):
            body = at + HEADER_BYTES
            payload = data[body : body + header.length]
            if len(payload) == header.length and crc32(payload, salt) == header.crc:
                return at
        at += 1


def scan(data: bytes, salt: int, at: int = 0, last: int = 0) -> Iterator[Span]:
    """Everything in `data` from `at` on, in order: whole frames, and the stretches that are none.

    No exception is raised and nothing is invented whatever the bytes are: what does not pass both
    checksums is a span without a frame.  Zeros at the end are space that was never written and are
    left out.
    """
    while at < len(data):
        frames, _ = read_run(data, at, salt, 1)
        if frames:
            found = frames[0]
            end = at + HEADER_BYTES + len(found.payload)
            if follows(found.kind, found.seq, last):
                last = found.seq
                yield Span(at, end, found)
            at = end
            continue
        end = find(data, at + 1, salt, last)
        if end < 0:
            end = at + len(data[at:].rstrip(b"\0"))
            if end > at:
                yield Span(at, end, None)
            return
        yield Span(at, end, None)
        at = end
