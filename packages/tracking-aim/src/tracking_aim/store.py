"""The trees of one Aim run: values by path, written many at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import aimrocks
from aim.storage import encoding
from aim.storage.hashing import hash_auto
from aim.storage.treeutils import encode_tree

from tracking_aim.errors import AimRunGoneError
from tracking_aim.layout import Path

__all__ = ["COLUMNS", "Entry", "LocalStore", "Moment", "Points", "Store"]

COLUMNS = ("val", "epoch", "time")

_SCALARS = (bool, int, float, str, type(None))


class Entry(NamedTuple):
    """A value to write.

    Attributes:
        replace: whether something larger may lie at its path, which has to go first.
    """

    value: Any
    replace: bool = False


@dataclass(slots=True)
class Moment:
    """When something was logged, and in which of Aim's contexts.

    Attributes:
        spot: the hash of the step, by which Aim finds a metric's point.
    """

    step: int
    time: float
    context: Mapping[str, Any]
    epoch: float | None = None
    spot: int = field(init=False)

    def __post_init__(self) -> None:
        self.spot = hash_auto(self.step)


Points: TypeAlias = dict[int, tuple[float, Moment]]
"""Numbers of one metric, by their place in it."""


class Store(Protocol):
    """Where a run's trees are: in files of ours or behind a server."""

    def read(self, path: Path) -> Any:
        """The scalar at `path`; None if there is none."""

    def read_all(self, paths: Collection[Path]) -> dict[Path, Any]:
        """What `read` returns, for each of `paths`."""

    def collect(self, path: Path) -> Any:
        """Everything below `path`, as dicts and lists; None if there is nothing."""

    def write(self, entries: Mapping[Path, Entry], points: Mapping[Path, Points] = {}) -> None:
        """Write all `entries`, and the `points` of each metric. Doing it again changes nothing.

        Raises:
            OSError: not all of them are stored.
            AimRunGoneError: there is no such run any more.
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
        self._hash, self._repo_path = run_hash, repo.path
        self._place = os.path.join(repo.path, "meta", "chunks", run_hash)
        self._containers = {
            part: repo.request_container(part, run_hash, read_only=False)
            for part in ("seqs", "meta")
        }

    def read(self, path: Path) -> Any:
        found = self._containers[path[0]].get(encoding.encode_path(path[1:]))
        return None if found is None else encoding.decode(found)

    def read_all(self, paths: Collection[Path]) -> dict[Path, Any]:
        return {path: self.read(path) for path in paths}

    def collect(self, path: Path) -> Any:
        try:
            return self._containers[path[0]].tree().collect(path[1:])
        except KeyError:
            return None

    def write(self, entries: Mapping[Path, Entry], points: Mapping[Path, Points] = {}) -> None:
        try:
            # RocksDB would go on writing into files that have no name any more.
            os.stat(self._place)
        except FileNotFoundError:
            raise AimRunGoneError(
                f"the run {self._hash} was deleted from {self._repo_path}, or the repository was"
            ) from None
        batches = {part: container.batch() for part, container in self._containers.items()}
        for path, (value, replace) in entries.items():
            container, batch = self._containers[path[0]], batches[path[0]]
            place = encoding.encode_path(path[1:])
            if replace:
                container.delete_range(place, place + b"\xff", store_batch=batch)
            if isinstance(value, _SCALARS):
                batch.put(place, encoding.encode(value))
            else:
                for inner, encoded in encode_tree(value):
                    # Not `put`: there may be a blob, which lies elsewhere.
                    container.set(place + inner, encoded, store_batch=batch)
        self._put_points(batches["seqs"], points)
        try:
            # Points first: what says that a sequence is there must not come before it.
            for part, container in self._containers.items():
                container.commit(batches[part])
        except aimrocks.errors.RocksIOError as error:
            self.failed = True
            raise OSError(f"Aim's database could not be written: {error}") from error

    def _put_points(self, batch: Any, metrics: Mapping[Path, Points]) -> None:
        put, encode, encode_path = batch.put, encoding.encode, encoding.encode_path
        shared: dict[int, tuple[bytes, bytes, bytes]] = {}  # by the id of a moment
        for path, points in metrics.items():
            value_at, epoch_at, time_at, step_at = (
                encode_path((*path[1:], column)) for column in (*COLUMNS, "step")
            )
            for spot, (value, moment) in points.items():
                encoded = shared.get(id(moment))
                if encoded is None:
                    encoded = encode(moment.epoch), encode(moment.time), encode(moment.step)
                    shared[id(moment)] = encoded
                place = encode_path((spot,))
                put(value_at + place, encode(value))
                put(epoch_at + place, encoded[0])
                put(time_at + place, encoded[1])
                put(step_at + place, encoded[2])
