"""No child is forked while a thread of ours imports a library: the child would wait for it for ever.

Who imports a module holds its lock, and a forked child has the lock, but no thread that gives it
back. So a fork waits for the import, which is a few seconds, once.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["awaited_by_forks"]

SECONDS_TO_WAIT = 15.0
SECONDS_BETWEEN_LOOKS = 0.005

_ours: set[int] = set()


@contextmanager
def awaited_by_forks() -> Iterator[None]:
    """Within it a fork waits until this thread imports nothing."""
    thread = threading.get_ident()
    _ours.add(thread)
    try:
        yield
    finally:
        _ours.discard(thread)


def _wait() -> None:
    until = time.monotonic() + SECONDS_TO_WAIT
    while _others_import() and time.monotonic() < until:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _others_import() -> bool:
    others = _ours - {threading.get_ident()}
    if not others:
        return False
    # The names are private, and without them a fork waits for nothing.
    bootstrap: Any = getattr(importlib, "_bootstrap", None)
    locks = list(getattr(bootstrap, "_module_locks", {}).values())
    return any(getattr(lock(), "owner", None) in others for lock in locks)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait, after_in_child=_ours.clear)
