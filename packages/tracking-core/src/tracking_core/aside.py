"""A call in a thread of its own, where the exceptions of the thread that waits for it can't break in.

Ctrl-C, the handlers of signals and ``PyThreadState_SetAsyncExc`` strike the training's thread, between
any two of its instructions. What is made there in many steps could be left half made.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Aside"]

T = TypeVar("T")

SECONDS_TO_ENTER = 1.0
SECONDS_OF_A_LOOK = 0.5


class Aside(Generic[T]):
    """The result of `call`, once `start` has been called."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call: Callable[[], T] | None = call
        self._made: T | None = None
        self._error: BaseException | None = None
        self._entered = False
        self._over = False
        self._running = _thread.allocate_lock()
        self._running.acquire()

    def start(self) -> None:
        """Begin the call. Raises `RuntimeError` where no thread can be started any more.

        That is one step of the interpreter, and waits for no lock: a finaliser may do it, too.
        """
        _thread.start_new_thread(self._start_thread, ())

    def result(self) -> T:
        """What the call returned, or raises what it raised."""
        while not self._over:
            self._running.acquire(timeout=SECONDS_OF_A_LOOK)
        if self._error is not None:
            raise self._error
        return self._made  # type: ignore[return-value]  # there was no error, so it was made

    def settle(self, timeout: float) -> bool:
        """Wait for the call; whether it is over. False at once if it was never begun."""
        began = time.monotonic()
        while not self._over:
            waited = time.monotonic() - began
            if waited > (timeout if self._entered else SECONDS_TO_ENTER):
                return False
            self._running.acquire(timeout=min(SECONDS_OF_A_LOOK, timeout))
        return True

    def _start_thread(self) -> None:
        self._entered = True
        try:
            threading.Thread(target=self._run, name="tracking-aside", daemon=True).start()
        except BaseException as error:
            self._finish(error)

    def _run(self) -> None:
        assert self._call is not None, "it is called once"
        try:
            self._made = self._call()
        except BaseException as error:
            self._finish(error)
        else:
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self._error = error
        # The thread may be a while in ending, and must not hold on to what the call knows.
        self._call = None
        self._over = True
        self._running.release()
