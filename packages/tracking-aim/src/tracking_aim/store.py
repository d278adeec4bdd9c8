"""The trees of one Aim run: values by path, written many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import aimrocks
from aim.storage import encoding
from aim.storage.treeutils import encode_tree

from tracking_aim.layout import Path

__all__ = ["Entry", "LocalStore", "Store"]

_SCALARS = (bool, int, float, str, type(None))


class Entry(NamedTuple):
    """A value to write.

    Attributes:
        replace: whether something larger may lie at its path, which has to go first.
    """

    value: Any
    replace: bool = False


class Store(Protocol):
    """Where a run's trees are: in files of ours or behind a server."""

    def read(self, path: Path) -> Any:
        """The scalar at `path`; None if there is none."""

    def collect(self, path: Path) -> Any:
        """Everything below `path`, as dicts and lists; None if there is nothing."""

    def write(self, entries: Mapping[Path, Entry]) -> None:
        """Write all `entries`. Doing it again changes nothing.

        Raises:
            OSError: not all of them are stored.
        """


class LocalStore:
    """The two RocksDB databases of a run in a local repository.

    Each gets one write for all entries, which is there or not as a whole, and in the operating
    system's hands when `write` returns. The library itself writes every number of a point, and
    every bound of its sequence, by itself.

    Attributes:
        failed: whether a write has failed. RocksDB takes none after that until it is opened anew.
    """

    failed = False

    def __init__(self, repo: Any, run_hash: str) -> None:
        self._containers = {
            part: repo.request_container(part, run_hash, read_only=False)
            for part in ("seqs", "meta")
        }

    def read(self, path: Path) -> Any:
        found = self._containers[path[0]].get(encoding.encode_path(path[1:]))
        return None if found is None else encoding.decode(found)

    def collect(self, path: Path) -> Any:
        try:
            return self._containers[path[0]].tree().collect(path[1:])
        except KeyError:
            return None

    def write(self, entries: Mapping[Path, Entry]) -> None:
        batches = {part: container.batch() for part, container in self._containers.items()}
        for path, (value, replace) in entries.items():
            container, batch = self._containers[path[0]], batches[path[0]]
            place = encoding.encode_path(path[1:])
            if replace:
                container.delete_range(place, place + b"\xff", store_batch=batch)
            if isinstance(value, _SCALARS):
                container.set(place, encoding.encode(value), store_batch=batch)
            else:
                for inner, encoded in encode_tree(value):
                    container.set(place + inner, encoded, store_batch=batch)
        try:
            # Points first: what says that a sequence is there must not come before it.
            for part, container in self._containers.items():
                container.commit(batches[part])
        except aimrocks.errors.RocksIOError as error:
            self.failed = True
            raise OSError(f"Aim's database could not be written: {error}") from error

    def close(self) -> None:
        """Let go of the databases, whoever else still holds on to the containers."""
        for container in self._containers.values():
            with suppress(Exception):  # its last flush, of what is in the log anyway
                container.close()
            container._db = None
