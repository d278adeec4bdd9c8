"""What one delivery changes on disk: all of it, or nothing if any of it fails."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["Batch", "json_bytes", "replace_file"]


class Batch:
    """Collects rows for the ends of files, and makes new files at once.

    Rows reach the operating system in `write`, one write for each file, so that they survive the
    death of the process. After `undo` the files are as they were.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}
        self._headers: dict[str, str] = {}
        self._undo: list[Callable[[], object]] = []

    def append(self, path: str, row: str, header: str = "") -> None:
        """Put `row` at the end of the file `path`, below `header` if the file is new."""
        self._rows.setdefault(path, []).append(row)
        self._headers[path] = header

    def create(
        self, folder: str, stem: str, suffix: str, data: bytes, ours: Callable[[str], bool]
    ) -> str:
        """Store `data` in `folder` as ``stem.suffix``, ``stem-2.suffix``, ...; the file's path.

        A file with the same content that is not `ours` was left by a delivery that was killed, and
        is taken over.

        Raises:
            OSError: the disk is full or broken.
        """
        os.makedirs(folder, exist_ok=True)
        for number in itertools.count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            path = os.path.join(folder, f"{name}.{suffix}")
            try:
                file = open(path, "xb", buffering=0)  # noqa: SIM115  # closed below
            except FileExistsError:
                if ours(path) or not _holds(path, data):
                    continue
                return path
            self._undo.append(lambda path=path: os.remove(path))  # type: ignore[misc]  # bound now
            with file:
                _write_all(file.fileno(), data)
            return path
        raise AssertionError("the numbers have ended")

    def write(self) -> None:
        """Append all rows.

        Raises:
            OSError: the disk is full or broken.
        """
        for path, rows in self._rows.items():
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            try:
                file = os.open(path, flags, 0o666)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                file = os.open(path, flags, 0o666)
            try:
                size = os.fstat(file).st_size
                self._undo.append(lambda path=path, size=size: os.truncate(path, size))  # type: ignore[misc]  # bound now
                header = "" if size else self._headers[path]
                _write_all(file, (header + "".join(rows)).encode())
            finally:
                os.close(file)

    def undo(self) -> None:
        """Take back what was written, as far as the disk lets us."""
        while self._undo:
            try:
                self._undo.pop()()
            except OSError:  # rows that stay come twice when they are delivered again
                pass


def replace_file(path: str, data: bytes) -> None:
    """Make `data` the whole content of `path`: others see the old or the new one, never a part."""
    with _replacing(path) as unfinished, open(unfinished, "wb", buffering=0) as file:
        _write_all(file.fileno(), data)


@contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Where to write what takes the place of `path` then; nothing stays of it if that fails."""
    unfinished = f"{path}.part"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.remove(unfinished)
        raise


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """`value` as JSON; NaN and infinities as Python writes them."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode() + b"\n"


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _holds(path: str, data: bytes) -> bool:
    try:
        if os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
