"""One at a time, where a library makes its store: `only_one`.

Libraries make their database or their directory when it is used for the first time, and seldom mind
that twenty processes of a sweep do so at once: the store that is left can be broken for good.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import threading
import time
from collections.abc import Iterator

from tracking_core.errors import StoreBusyError
from tracking_core.journal.files import CREATE_OR_OPEN
from tracking_core.journal.lock import BUSY, lock, unlock

__all__ = ["only_one"]

SECONDS_TO_WAIT = 45.0  # less than the minute after which a call of a tracker counts as hung
SECONDS_BETWEEN_TRIES = 0.05
LONGEST_NAME = 200

# Nobody who meets these can make a store in that place either.
_NO_ENTRY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_guard = threading.Lock()
_threads: dict[str, threading.Lock] = {}


@contextlib.contextmanager
def only_one(path: str | os.PathLike[str], timeout: float = SECONDS_TO_WAIT) -> Iterator[None]:
    """Within it no other thread or process is within an `only_one` of the same `path`.

    Meant for the moment in which a store is made. Look first whether it is there, so that only a
    first start waits; and look again within, since whoever had the lock before has made it::

        if not is_ready(path):
            with only_one(path):
                if not is_ready(path):
                    make(path)

    The lock is a file beside `path`, ``.<name>.lock``, so that all who can reach the store see it,
    whatever their user, their container or their temporary directory. It is a POSIX record lock:
    it ends with its process, and a forked child does not keep it. The file is removed by whoever
    was within last. The folder of `path` is made, as a library would make it.

    In a folder that can't be written nobody makes a store, and where the file system has no locks
    there is nothing to wait for: there it does nothing. It can't be entered twice by one thread.

    Args:
        path: the store, a file or a directory; it need not exist.
        timeout: seconds to wait for the others.

    Raises:
        StoreBusyError: somebody else was within for all that time. It is a `TimeoutError`.
        OSError: the folder of `path` can't be made.
    """
    until = time.monotonic() + timeout
    place = _lock_file(os.path.realpath(path))
    with _guard:
        thread = _threads.setdefault(place, threading.Lock())
    if not thread.acquire(timeout=timeout):
        raise StoreBusyError(_busy(path, timeout, f"a thread of this process, {os.getpid()},"))
    try:
        file = _locked(place, until, path, timeout)
        mine = os.getpid()
        try:
            yield
        finally:
            if file is not None and os.getpid() == mine:
                # Gone before it is let go: whoever waits for this file finds that it is not there.
                with contextlib.suppress(OSError):
                    os.unlink(place)
                with contextlib.suppress(OSError):
                    unlock(file)
                os.close(file)
    finally:
        thread.release()


def _lock_file(store: str) -> str:
    folder, name = os.path.split(store)
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f".{name}.lock")


def _locked(place: str, until: float, path: str | os.PathLike[str], timeout: float) -> int | None:
    """The open file `place`, locked; None where there are no locks."""
    while True:
        try:
            file = os.open(place, CREATE_OR_OPEN, 0o666)
        except OSError as error:
            if error.errno in _NO_ENTRY:
                return None
            raise
        try:
            lock(file)
        except OSError as error:
            who = _owner(file)
            os.close(file)
            if error.errno not in BUSY:
                return None
            if time.monotonic() >= until:
                raise StoreBusyError(_busy(path, timeout, who)) from None
            time.sleep(SECONDS_BETWEEN_TRIES)
            continue
        if _is_still(file, place):
            _sign(file)
            return file
        os.close(file)  # whoever had it has removed it meanwhile


def _is_still(file: int, place: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(place, follow_symlinks=False))
    except OSError:
        return False


def _sign(file: int) -> None:
    """Say who has it, for the error of those who wait in vain."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} of {platform.node()}".encode())


def _owner(file: int) -> str:
    try:
        who = os.read(file, 200).decode("utf-8", "replace")
    except OSError:
        who = ""
    return who if who.startswith("process ") and who.isprintable() else "another process"


def _busy(path: str | os.PathLike[str], timeout: float, who: str) -> str:
    return (
        f"{os.fspath(path)} is being made: {who} has been at it for more than {timeout:.0f} s. "
        "Wait until it is there, or end that process if it hangs"
    )


def _forget_in_child() -> None:
    """A forked child is within none of its parent's locks."""
    global _guard
    _guard = threading.Lock()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
