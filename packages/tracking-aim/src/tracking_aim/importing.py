"""Importing aim without a trace outside of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unhooked"]


@contextmanager
def unhooked() -> Iterator[None]:
    """Within it, aim may be imported; ``sys.excepthook`` is what it was afterwards.

    On Python 3.10 a library that Aim's client uses (exceptiongroup) puts a hook of its own there.
    """
    before = sys.excepthook
    try:
        yield
    finally:
        if getattr(sys.excepthook, "__module__", "").startswith("exceptiongroup"):
            sys.excepthook = before
