"""Gives back what a writer that died had taken of the disk and never used.

A mapped segment is allocated whole, and its writer cuts it to its length when it ends it. A writer
that was killed can't, so whoever has delivered what it left does.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tracking_core.errors import TrackingError
from tracking_core.journal import frame, layout
from tracking_core.journal.files import CHANGE, REAL, Files
from tracking_core.journal.regular import open_regular
from tracking_core.journal.segment import HEADER_BYTES

_PAGE = 4096
# A few times what a segment takes: what is larger is not read into memory.
_LARGEST = 64 * 1024 * 1024


def trim(directory: str | os.PathLike[str], *, files: Files = REAL) -> int:
    """Cut off the unused space at the end of segments; return how many bytes that were.

    Only zeros go, and only those that no frame holds. Does nothing unless the writer is known to be
    dead: one that lives would be killed by its next store into a map that was cut.
    """
    directory = Path(directory)
    freed = 0
    with contextlib.suppress(OSError, TrackingError):
        if layout.owner_alive(layout.read_owner(directory)) is False:
            for name in layout.segments(directory):
                freed += _trimmed(name, files)
    return freed


def _trimmed(name: layout.SegmentName, files: Files) -> int:
    fd = open_regular(name.path, CHANGE, files=files)
    try:
        size = os.fstat(fd).st_size
        if not _PAGE <= size <= _LARGEST:
            return 0
        if files.pread(fd, _PAGE, size - _PAGE).strip(b"\0"):
            return 0
        data = files.pread(fd, size, 0)
        if len(data) != size:
            return 0
        # A frame may end in zeros of its own, and damage may hide where one begins.
        frames = frame.scan(data, name.salt, HEADER_BYTES)
        end = max([HEADER_BYTES, len(data.rstrip(b"\0")), *(span.end for span in frames)])
        if end < size:
            files.ftruncate(fd, end)
        return size - end
    finally:
        files.close(fd)
