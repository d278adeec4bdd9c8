"""Opens what lies in a writer directory, whoever put it there: regular files, and nothing else.

A run's directory may come from anywhere. A link in it would lead to somebody else's file, a pipe or
a device would be waited for, and a file of a terabyte of nothing would fill the memory. So all that
is opened in there is opened here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from tracking_core.errors import DamagedJournal, JournalError
from tracking_core.journal.files import CREATE, CREATE_OR_OPEN, READ, REAL, Files

__all__ = ["SMALL", "append_regular", "open_regular", "read_regular", "replace_regular"]

SMALL = 16 * 1024 * 1024
"""Bytes that a file which is read whole may have: notes take a few hundred."""

_GUARDED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_CHANGES = os.O_WRONLY | os.O_RDWR
# What systems say of a link that is not to be followed, and of what can only be waited for.
_LINK = frozenset({errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)})
_NO_FILE = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})


def open_regular(path: Path, flags: int = READ, *, files: Files = REAL) -> int:
    """A descriptor of the regular file `path`, which neither follows a link nor waits.

    Args:
        path: a file of a writer directory, or of a folder of it.
        flags: as for ``os.open``; a new file is private.

    Raises:
        JournalError: a link, a pipe or something else that is no regular file stands there, or its
            folder is a link, or the file is to be changed and has a second name elsewhere.
        OSError: as ``os.open``.
    """
    if stat.S_ISLNK(os.lstat(path.parent).st_mode):
        raise JournalError(f"{path.parent} is a symbolic link: refused")
    if not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
        raise JournalError(f"{path} is a symbolic link: refused")
    try:
        fd = files.open(str(path), flags | _GUARDED, 0o600)
    except OSError as error:
        if error.errno in _LINK:
            raise JournalError(f"{path} is a symbolic link: refused") from error
        if error.errno in _NO_FILE:
            raise JournalError(f"{path} is no regular file: refused") from error
        raise
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise JournalError(f"{path} is no regular file: refused")
        if flags & _CHANGES and about.st_nlink > 1:
            raise JournalError(
                f"{path} is the file of another name, too (a hard link), which would be changed with "
                "it: copy the directory"
            )
    except BaseException:
        with contextlib.suppress(OSError):
            files.close(fd)
        raise
    return fd


def read_regular(path: Path, most: int = SMALL, *, files: Files = REAL) -> bytes:
    """The bytes of a small file, opened as by `open_regular`.

    Raises:
        DamagedJournal: it has more than `most` bytes.
        JournalError, OSError: as `open_regular`.
    """
    fd = open_regular(path, files=files)
    try:
        size = os.fstat(fd).st_size
        if size > most:
            raise DamagedJournal(f"{path} has {size} bytes, and such a file has {most} at most")
        return files.pread(fd, size, 0)
    finally:
        files.close(fd)


def append_regular(path: Path, data: bytes, *, files: Files = REAL) -> None:
    """Add `data` to the end of a private file, which is made if there is none.

    Raises:
        JournalError, OSError: as `open_regular`, or the disk refuses.
    """
    fd = open_regular(path, CREATE_OR_OPEN | getattr(os, "O_APPEND", 0), files=files)
    try:
        files.fchmod(fd, 0o600)
        files.write_all(fd, data)
    finally:
        files.close(fd)


def replace_regular(path: Path, data: bytes, *, files: Files = REAL) -> None:
    """Put a private file with `data` in the place of `path`, whole or not at all.

    Raises:
        JournalError: its folder is a link.
        OSError: the disk refuses, or something else than a file is there.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # Of a process of this number that died in the middle, or planted.
    with contextlib.suppress(FileNotFoundError):
        files.unlink(str(draft))
    fd = open_regular(draft, CREATE, files=files)
    try:
        files.fchmod(fd, 0o600)
        files.write_all(fd, data)
    finally:
        files.close(fd)
    files.replace(str(draft), str(path))
