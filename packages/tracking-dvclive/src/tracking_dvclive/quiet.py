"""DVC imported and called without a trace on the console or in the interpreter.

Importing dvc wraps `sys.stdout` and `sys.stderr`, sets the level of asyncio's logger, and attaches
handlers to its own loggers that print. The first two are put back; the handlers learn to leave out
what comes from our calls, and nothing else.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

__all__ = ["imported", "quiet"]

_LOGGERS = ("dvclive", "dvc", "dvc_data", "dvc_objects", "dvc_studio_client", "scmrepo")
_SILENCED_BY_DVC = ("asyncio", "aiohttp")

_heard: ContextVar[list[str] | None] = ContextVar("tracking_dvclive", default=None)
_importing = threading.Lock()


def imported() -> None:
    """Import dvclive, and leave the interpreter as it was."""
    with _importing:
        if "dvclive.live" not in sys.modules:
            _import_cleanly()
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addFilter(_listen)
            # What their children say comes to the handlers alone.
            for handler in logger.handlers:
                handler.addFilter(_listen)
            if not logger.handlers:
                # What no handler takes would be printed.
                logger.addHandler(_silent)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Within it, what DVC would print in this thread is put into the list instead."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def _listen(record: logging.LogRecord) -> bool:
    """Whether `record` comes from elsewhere; what our calls say is kept, if it is a warning."""
    heard = _heard.get()
    if heard is None:
        return True
    message = record.getMessage()
    if record.levelno >= logging.WARNING and message not in heard:
        heard.append(message)
    return False


_silent = logging.NullHandler()
_silent.addFilter(_listen)


def _import_cleanly() -> None:
    streams = sys.stdout, sys.stderr
    levels = {name: logging.getLogger(name).level for name in _SILENCED_BY_DVC}
    colorama_was_here = "colorama.initialise" in sys.modules
    try:
        with warnings.catch_warnings():
            # Where pynvml is installed, it tells DVCLive's users to install another package.
            warnings.simplefilter("ignore", FutureWarning)
            import_module("dvclive")
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        wrapped = sys.stdout, sys.stderr
        for name, before, now in zip(("stdout", "stderr"), streams, wrapped, strict=True):
            if type(now).__module__.startswith("colorama"):
                setattr(sys, name, before)
        found: Any = sys.modules.get("colorama.initialise")
        if found is not None and not colorama_was_here:
            # It would write to the console once more when the interpreter exits.
            atexit.unregister(found.reset_all)
            found.atexit_done = False
