"""Points that later ones of their key have overtaken: whoever goes on with the run would leave them out.

SwanLab takes the last step of a key that the server has for the place to go on from. That holds where
points arrive in order; a picture whose file was not taken lies behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tracking_core.errors import JournalError
from tracking_core.journal import read_regular, replace_regular

__all__ = ["Overtaken"]


class Overtaken:
    """The numbers of such records of a run file, kept in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unseen = self._kept = _read(path)

    def take(self, number: int) -> bool:
        """Whether it was one of them when the run was gone on with; asked once for each record."""
        if number not in self._unseen:
            return False
        self._unseen = self._unseen - {number}
        return True

    def keep(self, numbers: Iterable[int]) -> None:
        """Remember `numbers`, and what was not asked for yet. A disk that refuses costs just that."""
        wanted = self._unseen | set(numbers)
        if wanted != self._kept:
            with suppress(OSError, JournalError):
                replace_regular(self._path, json.dumps(sorted(wanted)).encode())
                self._kept = wanted


def _read(path: Path) -> frozenset[int]:
    with suppress(OSError, JournalError, ValueError, TypeError):
        return frozenset(int(number) for number in json.loads(read_regular(path)))
    return frozenset()
