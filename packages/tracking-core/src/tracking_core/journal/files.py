"""The file operations of the journal, in one place, so that a test can make any of them fail.

Every operation has the meaning, the arguments and the errors of its namesake in `os`.  Where a
platform lacks one, the portable substitute stands here and nowhere else.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)

CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY
CREATE_OR_OPEN = os.O_CREAT | os.O_RDWR | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY
CHANGE = os.O_RDWR | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY | _NO_WAIT
# A planted named pipe must not hold up its reader, hence O_NONBLOCK; regular files ignore it.
READ = os.O_RDONLY | _NO_FOLLOW | _CLOSE_ON_EXEC | _BINARY | _NO_WAIT


def _pread(fd: int, size: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def _pwrite(fd: int, data: bytes, offset: int) -> int:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


def _no_allocation(fd: int, offset: int, size: int) -> None:
    raise OSError("this platform cannot allocate file space ahead")


def _nothing(fd: int, mode: int) -> None:
    """Permission bits mean nothing on this platform."""


class Files:
    """The operations themselves; a test hands in a subclass that fails where it wants."""

    open: Callable[[str, int, int], int] = staticmethod(os.open)
    close: Callable[[int], None] = staticmethod(os.close)
    write: Callable[[int, bytes], int] = staticmethod(os.write)
    ftruncate: Callable[[int, int], None] = staticmethod(os.ftruncate)
    fsync: Callable[[int], None] = staticmethod(os.fsync)
    fdatasync: Callable[[int], None] = staticmethod(getattr(os, "fdatasync", os.fsync))
    pread: Callable[[int, int, int], bytes] = staticmethod(getattr(os, "pread", _pread))
    pwrite: Callable[[int, bytes, int], int] = staticmethod(getattr(os, "pwrite", _pwrite))
    fchmod: Callable[[int, int], None] = staticmethod(getattr(os, "fchmod", _nothing))
    allocate: Callable[[int, int, int], None] = staticmethod(
        getattr(os, "posix_fallocate", _no_allocation)
    )
    mkdir: Callable[[str, int], None] = staticmethod(os.mkdir)
    chmod: Callable[[str, int], None] = staticmethod(os.chmod)
    replace: Callable[[str, str], None] = staticmethod(os.replace)
    unlink: Callable[[str], None] = staticmethod(os.unlink)

    def map(self, fd: int, size: int) -> mmap.mmap:
        """A shared, writable map of the first `size` bytes of an open file."""
        return mmap.mmap(fd, size)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable, where the platform knows such a thing."""
        if os.name != "posix":
            return
        fd = self.open(path, os.O_RDONLY | _CLOSE_ON_EXEC, 0)
        try:
            self.fsync(fd)
        finally:
            self.close(fd)

    def write_all(self, fd: int, data: bytes) -> None:
        """`write` until everything is written: a nearly full disk takes a part, then refuses."""
        written = self.write(fd, data)
        while written < len(data):
            more = self.write(fd, data[written:])
            if more <= 0:
                raise OSError(errno.EIO, "the file takes no more bytes and says no reason")
            written += more


REAL = Files()
"""The operations of this machine."""
