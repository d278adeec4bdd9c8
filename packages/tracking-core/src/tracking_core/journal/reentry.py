"""Whether a call comes from within another one of the same object, as from a signal's handler."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["is_inside", "is_owned"]


def is_inside(owner: object, *locks: threading.RLock) -> bool:
    """Whether the method of `owner` that asks interrupted another one of its methods, in this thread.

    An exception that hits between two instructions can leave a lock held though nobody up the stack
    is in there any more. Such a lock is let go: else every other thread would wait for it for ever.

    Args:
        owner: whose method calls this, and no function in between.
        locks: those that its methods hold.
    """
    held = [lock for lock in locks if is_owned(lock)()]
    if not held:
        return False
    asks = sys._getframe(1)
    caller: FrameType | None = asks.f_back
    while caller is not None:
        if caller.f_globals is asks.f_globals and caller.f_locals.get("self") is owner:
            return True
        caller = caller.f_back
    for lock in held:
        while is_owned(lock)():
            lock.release()
    return False


def is_owned(lock: threading.RLock) -> Callable[[], bool]:
    """The question whether the calling thread holds a lock, which only the lock can answer."""
    question: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # not in typeshed
    return question
