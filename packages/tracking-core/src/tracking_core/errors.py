"""The whole family of errors on one page: what went wrong, to whom, and what to do about it.

Everything raised on purpose derives from `TrackingError` *and* from the builtin that fits, so
``except ValueError`` keeps working for code that was written against Accelerate.
Nothing here is ever raised out of `Tracking.log`. What is raised there by others is either a
value's, and stays, or somebody else's, and goes on: see `let_through`.
"""

from __future__ import annotations

import dis
import functools
import signal
import sys
from collections.abc import Mapping
from types import CodeType, FrameType, MappingProxyType, TracebackType
from typing import Literal, TypeAlias

__all__ = [
    "AlreadyStartedError",
    "DamagedJournal",
    "Fault",
    "InvalidTrackerError",
    "JournalError",
    "JournalVersionError",
    "MissingLoggingDirectoryError",
    "NoTrackerError",
    "NotStartedError",
    "StepError",
    "StoreBusyError",
    "TrackerNotInstalledError",
    "TrackingError",
    "TrackingWarning",
    "UnfitValueError",
    "UnknownTrackerError",
    "let_through",
]


Fault: TypeAlias = Literal["record", "run", "server", "login", "setup"]
"""Whose fault an error is.

* ``"record"``: these records are refused, and would be again. One that is refused alone, five
  times, is put aside.
* ``"run"``: the native run is gone, ended or not writable, or nobody knows better. A record is put
  aside only if the tracker takes another one meanwhile: so it is the record that is to blame.
* ``"server"``: the network, the server, the disk. It may pass; no record is to blame.
* ``"login"``: who logs is not known, or not let in. A person has to do something; no record is to
  blame.
* ``"setup"``: an argument, a directory, a certificate, a package. The same.
"""


class TrackingError(Exception):
    """Any error of this project. Catch this to catch them all.

    Attributes:
        headers: of the answer of a server that it stands for: its ``Retry-After`` is obeyed.
    """

    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def fault(self) -> Fault | None:
        """Whose fault it is, where that is known; a class of which it always is has it as a value."""
        return None


class UnknownTrackerError(TrackingError, ValueError):
    """A tracker was asked for by a name that nobody knows (`filter_trackers`, `get_tracker`)."""


class InvalidTrackerError(TrackingError, ValueError):
    """A class or an installed package does not make a tracker (registry)."""


class MissingLoggingDirectoryError(TrackingError, ValueError):
    """A tracker that writes to a directory was given none (`filter_trackers`)."""


class TrackerNotInstalledError(TrackingError, ValueError, ImportError):
    """The package of a tracker is not installed, and ``Tracking(strict=True)`` was asked for.

    The message names the tracker and the command that installs its package.
    """


class NoTrackerError(TrackingError, ValueError):
    """A run would be logged nowhere, and ``Tracking(strict=True)`` was asked for."""


class AlreadyStartedError(TrackingError, RuntimeError):
    """`init_trackers` was called a second time while its run is still going on."""


class NotStartedError(TrackingError, RuntimeError, AttributeError):
    """A native object was asked for before `start()` had made it.

    It is an `AttributeError` too, because that is what Accelerate's trackers raise there.
    """


class StepError(TrackingError, TypeError):
    """A step is no integer. `Tracking.log` keeps such a row and says so; a tracker refuses it."""


class UnfitValueError(TrackingError, ValueError):
    """A value can't be taken; the message says why and never holds the value (`capture`).

    `Tracking.log` counts it and warns once for its key; the other values of the call land.
    """


class StoreBusyError(TrackingError, TimeoutError):
    """Another process holds the lock of a store for longer than anybody waits (`only_one`).

    It is a `TimeoutError` too: a tracker that raises it in `start` is started again later.
    """


class JournalError(TrackingError):
    """A journal on disk can't be read or made; the message names the path and the reason."""


class JournalVersionError(JournalError):
    """A journal was written by a newer major version of its format."""


class DamagedJournal(JournalError):
    """A directory or file is no journal, or is damaged beyond what a reader can salvage."""


class TrackingWarning(UserWarning):
    """The category of every warning of this project, for `warnings.filterwarnings`."""


def let_through(error: BaseException) -> None:
    """Raise `error` again if it belongs to the program and not to what was being read.

    For whoever guards the reading of a stranger's object, or a call of the system. Into both may
    come what has nothing to do with them: Ctrl-C, what a signal's handler raises (a watchdog's
    TimeoutError, a preemption), and what another thread has set (``PyThreadState_SetAsyncExc``).

    The traceback tells. A handler has a frame there, and was called with the frame that it
    interrupted; so is what a debugger raises. What another thread sets has no arguments, and no
    ``raise`` raised it.
    """
    # Not `isinstance`, which believes what a stranger's error says of itself.
    kind = type(error)
    if issubclass(kind, TrackingError):
        return  # raised on purpose, and the most frequent
    if issubclass(kind, KeyboardInterrupt) or _is_from_outside(error):
        raise error


def _is_from_outside(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:
        return False
    handlers = _handlers()
    while trace.tb_next is not None:
        caller, trace = trace.tb_frame, trace.tb_next
        if trace.tb_frame.f_code in handlers or _was_given(caller, trace.tb_frame):
            return True
    return _was_set(error, trace)


def _handlers() -> set[CodeType]:
    """The code of all functions that handle signals now."""
    found = set()
    for number in signal.valid_signals():
        handler: object = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if callable(handler):
            function = getattr(handler, "__func__", handler)  # of a bound method
            if not hasattr(function, "__code__"):
                function = type(handler).__call__  # of an object
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType):
                found.add(code)
    return found


def _was_given(caller: FrameType, called: FrameType) -> bool:
    """Whether the frame `called` has its caller among its arguments."""
    code, values = called.f_code, called.f_locals
    flags = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # *args and **kwargs
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + flags]:
        value = values.get(name)
        if value is caller or (type(value) is tuple and any(one is caller for one in value)):
            return True
    return False


def _was_set(error: BaseException, trace: TracebackType) -> bool:
    """Whether `error` came up between two instructions of its innermost frame."""
    if trace.tb_frame.f_globals.get("__name__") == "tracking_core.exits":
        return False  # `sys.exit()`
    code, at = trace.tb_frame.f_code.co_code, trace.tb_lasti
    if at < 0 and code and sys.version_info < (3, 11):
        return True  # before the first instruction, where Python 3.10 looks too
    if not 0 <= at < len(code):
        return False  # a compiled function, which nothing can interrupt
    instruction = dis.opname[code[at]]
    if instruction in _NEVER_RAISE:
        return True
    raised = instruction.startswith(("RAISE", "RERAISE"))
    # The interpreter itself raises these without a word, and so do modules in C: nobody sets theirs.
    kind = type(error)
    wordless = issubclass(kind, (MemoryError, StopIteration, StopAsyncIteration))
    wordless = wordless or type.__getattribute__(kind, "__module__") in _WORDLESS
    arguments = BaseException.__dict__["args"].__get__(error)  # past what its class may define
    return not (raised or wordless or arguments)


_WORDLESS = frozenset({"_queue", "asyncio.exceptions"})

# What comes up there was waiting for the interpreter to look.
_NEVER_RAISE = frozenset(
    {
        *("RESUME", "NOP", "LOAD_CONST", "STORE_FAST", "POP_TOP"),
        *("JUMP_BACKWARD", "JUMP_ABSOLUTE", "JUMP_FORWARD"),
    }
)
