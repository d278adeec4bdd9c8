"""What nobody can do without who promises that a record survives its process: the floor of `log`.

Each way is one flat function, whose only calls are of C: no look at the values, no copy of them, no
lock, no other thread, no end of the file, nothing that may fail.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from zlib import crc32

import msgspec

from tracking_core.codec import decode
from tracking_core.journal import frame
from tracking_core.records import Log, Value

from . import peers

__all__ = ["floor"]

ROOM = 64 * 1024 * 1024
SALT = 7
encode = msgspec.msgpack.Encoder().encode
pack_head, pack_checksum = struct.Struct("<4sIQI").pack, struct.Struct("<I").pack


def floor(way: str, busy: bool) -> peers.Logger:
    """One of `WAYS`, with or without a thread beside it that computes in Python all the time."""
    log, written = WAYS[way](os.open("floor", os.O_RDWR | os.O_CREAT | os.O_APPEND))
    working = threading.Event()

    def compute() -> None:
        while working.wait():
            sum(number * number for number in range(200))

    if busy:
        threading.Thread(target=compute, daemon=True).start()

    def drain() -> None:
        working.clear()
        check(written())

    return peers.Logger(log, working.set, drain, lambda: None, lambda: 0)


def check(data: bytes) -> None:
    """Make sure that a reader finds the records: the bytes are those of a real journal."""
    frames, end = frame.read_run(data, 0, SALT, len(data))
    rows = [decode(found.payload) for found in frames]
    if data[end:].strip(b"\0") or not rows:
        raise RuntimeError("the floor wrote what nobody can read")
    if any(not isinstance(row, Log) or row.values != peers.VALUES for row in rows):
        raise RuntimeError("the floor wrote other records than those that were logged")


Way = tuple[Callable[[int], None], Callable[[], bytes]]


def mapped(descriptor: int) -> Way:
    """The bytes that `Tracking` makes of a call, into a map of the file."""
    os.posix_fallocate(descriptor, 0, ROOM)
    view = mmap.mmap(descriptor, ROOM)
    values: dict[str, Value] = dict(peers.VALUES)
    now, salt = time.time, SALT
    number = end = 0

    def log(step: int) -> None:
        nonlocal number, end
        number += 1
        payload = encode(Log(values, step, step, now()))
        head = pack_head(b"\xa7TJ\1", len(payload), number, crc32(payload, salt))
        data = head + pack_checksum(crc32(head, salt)) + payload
        start = end
        end = start + len(data)
        view[start:end] = data

    return log, lambda: view[:]


def written(descriptor: int) -> Way:
    """The same bytes by ``os.write``."""
    values: dict[str, Value] = dict(peers.VALUES)
    now, write, salt = time.time, os.write, SALT
    number = 0

    def log(step: int) -> None:
        nonlocal number
        number += 1
        payload = encode(Log(values, step, step, now()))
        head = pack_head(b"\xa7TJ\1", len(payload), number, crc32(payload, salt))
        write(descriptor, head + pack_checksum(crc32(head, salt)) + payload)

    return log, lambda: os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def prepared(descriptor: int) -> Way:
    """As many bytes into a map, of one record and one header that were made beforehand."""
    os.posix_fallocate(descriptor, 0, ROOM)
    view = mmap.mmap(descriptor, ROOM)
    record = Log({**peers.VALUES}, 1, 1, time.time())
    payload = encode(record)
    head = pack_head(b"\xa7TJ\1", len(payload), 1, crc32(payload, SALT))
    header = head + pack_checksum(crc32(head, SALT))
    salt, end = SALT, 0

    def log(step: int) -> None:
        nonlocal end
        payload = encode(record)
        crc32(payload, salt)
        crc32(header, salt)
        data = header + payload
        start = end
        end = start + len(data)
        view[start:end] = data

    return log, lambda: view[:]


WAYS: dict[str, Callable[[int], Way]] = {
    "map": mapped,
    "write": written,
    "prepared": prepared,
}
