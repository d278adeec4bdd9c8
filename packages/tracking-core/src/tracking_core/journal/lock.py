"""Who may drain a journal: one process at a time, decided by a lock that dies with its process.

POSIX record locks (`lockf`), not `flock`: a forked child inherits a `flock` and keeps it alive
after its parent's death.  The price is that closing *any* descriptor of the file lets go of the
lock, so a process opens each lock file once and keeps it open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from tracking_core.errors import JournalError
from tracking_core.journal import layout
from tracking_core.journal.files import CREATE_OR_OPEN
from tracking_core.journal.regular import open_regular

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BUSY = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_guard = threading.Lock()
_opened: dict[str, int] = {}
_held: set[str] = set()
_LONGEST_NOTE = 100


class Holder(NamedTuple):
    """Who said last that it has a lock: a process, and what it does."""

    pid: int
    purpose: str


class DrainLock:
    """The drain lock of one writer directory: `acquire` it before moving any cursor there.

    Args:
        purpose: what it is taken for, a word for those who want it, too.
    """

    def __init__(self, writer: str | os.PathLike[str], purpose: str = "delivery") -> None:
        self.path = Path(writer) / layout.DRAIN_LOCK
        self._purpose = purpose
        self._key = ""
        self._pid = 0

    @property
    def held(self) -> bool:
        """Whether this object holds the lock, in this process."""
        return bool(self._key) and self._pid == os.getpid()

    def acquire(self) -> bool:
        """Take the lock without waiting; False when somebody has it, this process included.

        Raises `JournalError` where the file system has no locks that can be trusted, or the lock's
        file is none: nobody should drain a journal there unless a person says that no other process
        does.
        """
        with _guard:
            key = os.path.realpath(self.path)
            if key in _held:
                return False
            try:
                fd = _opened.get(key)
                if fd is None:
                    fd = open_regular(self.path, CREATE_OR_OPEN)
                    _opened[key] = fd
                    if hasattr(os, "fchmod"):
                        os.fchmod(fd, 0o600)
                lock(fd)
            except OSError as error:
                if error.errno in BUSY:
                    return False
                reason = error.strerror or error
                raise JournalError(
                    f"cannot lock {self.path}: {reason}: whether another process drains this"
                    " journal can't be known here"
                ) from error
            _held.add(key)
            self._key, self._pid = key, os.getpid()
            with contextlib.suppress(OSError):  # a full disk: then it is not known who has it
                os.ftruncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
                os.write(fd, f"{self._pid} {self._purpose}".encode("ascii", "replace"))
            return True

    def holder(self) -> Holder | None:
        """Who has it, after an `acquire` in vain; None if that can't be known."""
        with _guard:
            # Not by another descriptor: closing that one would let go of a lock of this process.
            fd = _opened.get(os.path.realpath(self.path))
            try:
                os.lseek(-1 if fd is None else fd, 0, os.SEEK_SET)
                said = b"" if fd is None else os.read(fd, _LONGEST_NOTE)
            except OSError:
                return None
        pid, _, purpose = said.decode("ascii", "replace").partition(" ")
        return Holder(int(pid), purpose) if pid.isascii() and pid.isdigit() else None

    def release(self) -> None:
        """Let go of the lock; does nothing when it isn't held, as in a forked child."""
        with _guard:
            if not self.held:
                return
            key, self._key = self._key, ""
            _held.discard(key)
            with contextlib.suppress(OSError):
                unlock(_opened[key])

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


if sys.platform == "win32":

    def lock(fd: int) -> None:
        """Lock an open file, without waiting: an `OSError` of `BUSY` if another process has it."""
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def unlock(fd: int) -> None:
        """Let go of what `lock` has taken."""
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:

    def lock(fd: int) -> None:
        """Lock an open file, without waiting: an `OSError` of `BUSY` if another process has it."""
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(fd: int) -> None:
        """Let go of what `lock` has taken."""
        fcntl.lockf(fd, fcntl.LOCK_UN)


def _forget_in_child() -> None:
    """A forked child holds none of its parent's locks, and opens the files for itself."""
    global _guard
    _guard = threading.Lock()
    _opened.clear()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
