"""Files that a tracker keeps copies of: found, named, and copied whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tracking_core.names import escape, shortened

__all__ = ["Unkept", "copy_file", "files_below", "inner_path", "whole_file"]

LONGEST_PART = 255  # bytes, on every common file system
SHORT_PART = 60  # characters, of at most four bytes


class Unkept(Exception):
    """A file can't be kept, and never will be: it is gone, no file, or in another's place."""


def copy_file(source: str, target: str, place: str | None = None) -> None:
    """Copy `source` to `target`, in folders that are made if need be. A death leaves no half copy.

    Args:
        place: what to call `target` in an error.

    Raises:
        Unkept: `source` is gone, no file, or not readable; or something else is at `target`.
        OSError: the disk is full or broken.
    """
    if not os.path.isfile(source):
        raise Unkept(f"{source!r} is no file, or gone")
    try:
        with whole_file(target) as unfinished:
            shutil.copyfile(source, unfinished)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Unkept(f"{place or target!r} is already something else") from error
    except OSError as error:
        if error.filename == source:  # ours to read, and we can't
            raise Unkept(str(error)) from error
        raise


@contextmanager
def whole_file(target: str) -> Iterator[str]:
    """A path to write to; what is there in the end gets to `target`, and replaces what was there.

    Where the block raises, nothing of it stays. The folder of `target` is made if need be.
    """
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    unfinished = os.path.join(folder, f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def files_below(directory: str, leave_out: str | None = None) -> Iterator[str]:
    """The paths of all files below `directory`, in order; links are followed, but in no circle.

    List them before the first copy where copies may lie in the directory itself.

    Args:
        leave_out: a directory that is not looked into, such as that of the copies.
    """
    seen = set() if leave_out is None else {os.path.realpath(leave_out)}
    for folder, inner, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))


def inner_path(path: str, allowed: re.Pattern[str]) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept.

    Every part is written in what `allowed` matches (`tracking_core.names.escape`), and cut where no
    common file system would take it.

    >>> any_character = re.compile(".")
    >>> inner_path("/models//best/", any_character), inner_path("../up", any_character)
    ('models/best', '_x2E__x2E_/up')
    """
    parts = path.replace(os.sep, "/").split("/")
    return "/".join(_part(part, allowed) for part in parts if part not in ("", os.curdir))


def _part(name: str, allowed: re.Pattern[str]) -> str:
    if name == os.pardir:
        return "_x2E_" * 2
    name = escape(name, allowed)
    return shortened(name, SHORT_PART) if len(os.fsencode(name)) > LONGEST_PART else name
