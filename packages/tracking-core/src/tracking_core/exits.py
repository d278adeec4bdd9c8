"""How the program ends, and what that says of a run that nobody has ended.

An error that nobody caught is known when the interpreter exits, but not the exit status:
``sys.exit(3)`` leaves no trace. So `sys.exit` and the `exit` and `quit` of the module `site` are
replaced by ones that raise the same SystemExit as ever, and note it while a run is open. That is done
when this is imported: in ``sys.exit(main())`` it is looked up before `main` begins a run.
"""

from __future__ import annotations

import builtins
import functools
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tracking_core.records import Status

__all__ = [
    "error_of_the_end",
    "error_of_the_task",
    "have_pools_let_go",
    "sight_at_an_error",
    "status_of",
    "unwatch",
    "watch",
]


def status_of(error: BaseException | None) -> Status:
    """How a run ended that `error` brought to its end; None: nothing did."""
    if error is None or (isinstance(error, SystemExit) and _is_success(error.code)):
        return "finished"
    if isinstance(error, GeneratorExit):
        return "finished"  # a loop that had enough of a generator
    return "killed" if isinstance(error, KeyboardInterrupt) else "failed"


def error_of_the_end(counted: Callable[[object], object]) -> BaseException | None:
    """What brings this program to its end, asked while it exits.

    Args:
        counted: tells of what `watch` was given then whether it still holds: whoever has caught a
            SystemExit goes on.
    """
    # A child of multiprocessing asks in the middle of it, or when it knows the exit status.
    handled = sys.exc_info()[1] or _exit_of_a_child()
    if handled is not None:
        return handled
    noted = _last
    if noted is not None and noted.state == "final":
        return SystemExit(noted.code)
    # An interactive session keeps its last error there, and goes on after an exit.
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None
    uncaught: BaseException | None = getattr(sys, "last_value", None)
    if uncaught is None and noted is not None and noted.state == "raised" and counted(noted.sight):
        return SystemExit(noted.code)
    return uncaught


def sight_at_an_error() -> object:
    """What `watch` was given when the program asked for its exit because of an error; else None."""
    noted = _last
    asked = noted is not None and noted.handling and noted.state != "caught"
    return noted.sight if noted is not None and asked else None


def error_of_the_task() -> BaseException | None:
    """What ended the task of a pool that has just let go of its run, where that can be known.

    A pool that sends an error back takes its traceback away, and with it all that the task held.
    """
    error = sys.exc_info()[1]
    return error if error is not None and error.__traceback__ is None else None


def have_pools_let_go() -> None:
    """In a worker of `multiprocessing.Pool`: have a task that raises let go of its run at once.

    ``ProcessPoolExecutor`` does that itself. A pool lets go when its parent has the error, which may
    end the worker then; so do both in Python 3.10, which keeps a traceback beside its error.
    """
    pool: Any = sys.modules.get("multiprocessing.pool")
    sent: Any = getattr(pool, "ExceptionWithTraceback", None)
    if sent is None or hasattr(sent, "lets_go"):
        return

    class ExceptionWithTraceback(sent):  # type: ignore[misc]  # it is looked up
        lets_go = True

        def __init__(self, exc: BaseException, tb: object) -> None:
            super().__init__(exc, tb)
            exc.__traceback__ = None

    pool.ExceptionWithTraceback = ExceptionWithTraceback


def watch(sight: Callable[[], object]) -> None:
    """Begin to watch, or go on with it; `sight` is called at each exit, and its answer kept."""
    global _sight
    _sight = sight
    _replace()  # once more: a library may have put back what it had found


def unwatch() -> None:
    """Note no exit any more."""
    global _sight, _last
    _sight = _last = None


def _replace() -> None:
    """Put ours in place of what was there at first; what others have put in front of ours stays."""
    for place, name, ours in _watched():
        original = getattr(place, name)
        if original is _originals.setdefault((place, name), original):
            setattr(place, name, functools.wraps(original)(ours))


class _Note:
    """An exit that was asked for.

    Attributes:
        state: ``"raised"``; ``"final"`` once it has left the program; ``"caught"``.
        handling: whether it was asked for while an error was handled, as frameworks do.
    """

    def __init__(self, code: object, sight: object) -> None:
        self.code = code
        self.sight = sight
        self.state = "raised"
        self.handling = sys.exc_info()[1] is not None


class _Call:
    """A call that raises SystemExit. Its frame lives as long as that does, and this as its frame."""

    def __init__(self, code: object) -> None:
        global _last
        self._note = None
        if _sight is not None and threading.get_ident() == threading.main_thread().ident:
            self._note = _last = _Note(code, _sight())

    def make(self, function: Callable[..., Any], *arguments: object) -> Any:
        return function(*arguments)

    def __del__(self) -> None:
        # A collection of garbage in another thread tells nothing.
        if self._note is not None and threading.get_ident() == threading.main_thread().ident:
            # Where nobody is left who could go on, it has left the outermost frame.
            self._note.state = "caught" if _has_a_caller() else "final"


_last: _Note | None = None
_sight: Callable[[], object] | None = None
_originals: dict[tuple[Any, str], Callable[..., Any]] = {}


def _exit(status: object = None, /) -> Any:
    return _Call(status).make(_exit.__wrapped__, status)  # type: ignore[attr-defined]  # see watch()


def _quit(self: object, code: object = None) -> Any:
    return _Call(code).make(_quit.__wrapped__, self, code)  # type: ignore[attr-defined]  # likewise


def _watched() -> list[tuple[Any, str, Callable[..., Any]]]:
    found: list[tuple[Any, str, Callable[..., Any]]] = [(sys, "exit", _exit)]
    quitter = type(getattr(builtins, "exit", None))
    if quitter.__module__ == "_sitebuiltins":
        found.append((quitter, "__call__", _quit))
    return found


def _has_a_caller() -> bool:
    try:
        sys._getframe(2)
    except ValueError:
        return False
    return True


def _exit_of_a_child() -> SystemExit | None:
    """What a child process is about to exit with, if multiprocessing (3.13) has found that out."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_bootstrap":
        if str(frame.f_globals.get("__name__")).startswith("multiprocessing."):
            code = frame.f_locals.get("code")
            if code is not None:
                return SystemExit(code)
        frame = frame.f_back
    return None


def _is_success(code: object) -> bool:
    """Whether the interpreter exits with 0 then: what is no integer is printed, and it exits with 1."""
    return code is None or (isinstance(code, int) and code == 0)


_replace()
