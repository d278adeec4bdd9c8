"""ClearML's package, imported without what importing it does to argparse."""

from __future__ import annotations

import argparse
import sys
import threading
from types import ModuleType

__all__ = ["imported"]

_importing = threading.Lock()


def imported() -> ModuleType:
    """The module ``clearml``. Every other import of it in here comes after this one.

    Importing it replaces methods of ``argparse.ArgumentParser``, so that a main task knows the
    arguments that were parsed before it. Where the user has not imported it, there is no main task.
    """
    with _importing:
        if "clearml" not in sys.modules:
            before = dict(vars(argparse.ArgumentParser))
            try:
                import clearml  # noqa: F401  # for what importing it does
            finally:
                _put_back(before)
        return sys.modules["clearml"]


def _put_back(before: dict[str, object]) -> None:
    for name, value in list(vars(argparse.ArgumentParser).items()):
        if name not in before:
            delattr(argparse.ArgumentParser, name)
        elif value is not before[name]:
            setattr(argparse.ArgumentParser, name, before[name])
