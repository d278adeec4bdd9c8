"""What lies in a run, read through Aim's sequences and put back into rows."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from aim.sdk.errors import MissingRunError
from aim.sdk.repo import Repo
from aim.sdk.sequence import Sequence
from aim.sdk.sequences.sequence_type_map import SEQUENCE_TYPE_MAP
from aim.storage.context import Context
from aim.storage.inmemorytreeview import InMemoryTreeView
from aim.storage.rockscontainer import RocksContainer

from tracking_aim.address import is_remote
from tracking_aim.errors import AimRepositoryError
from tracking_aim.layout import (
    ABOUT,
    AXIS,
    INDEX,
    KIND,
    MORE,
    NONE,
    OURS,
    PARAMS,
    STATUS,
    TAGS,
    fitted,
    key_of,
    restored,
    split_context,
)  # fmt: skip
from tracking_aim.objects import value_of
from tracking_aim.remote import Link
from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedFile, Record, Status, Tags, Value

__all__ = ["History"]

STATUSES: tuple[Status, ...] = ("finished", "failed", "killed")
LOCAL = "file://"


class History:
    """One run, as far as it has got.

    Attributes:
        meta_run_tree, series_run_trees: what Aim's sequences ask a run for. Aim's own run takes
            them from the repository's index, where a run is only after someone has put it there.

    Raises:
        AimRepositoryError: there is no such repository.
        MissingRunError: it has no such run.
    """

    def __init__(
        self, run_hash: str, address: str, download_to: str | os.PathLike[str] | None
    ) -> None:
        self._hash = run_hash
        self._download_to = download_to
        self._link = Link(address) if is_remote(address) else None
        self._repo = _repository(address) if self._link is None else self._link.repo
        if not self._exists():
            self._leave()
            raise MissingRunError(f"there is no run {run_hash!r} in {self._repo.path!r}")
        self.meta_run_tree = self._tree("meta").subtree(("meta", "chunks", run_hash))
        series = self._tree("seqs").subtree("seqs")
        self.series_run_trees = {
            1: series.subtree(("chunks", run_hash)),
            2: series.subtree(("v2", "chunks", run_hash)),
        }

    def records(self) -> Iterator[Record]:
        """Config and tags, the rows in the order of their times, and the end."""
        try:
            yield from self._records()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._link is not None:
            self._link.give_up()

    def _exists(self) -> bool:
        if self._link is not None:
            return bool(self._repo.run_exists(self._hash))
        return os.path.isdir(os.path.join(self._repo.path, "meta", "chunks", self._hash))

    def _records(self) -> Iterator[Record]:
        props = self._repo.request_props(self._hash, True)
        began = props.creation_time
        params = dict(self.meta_run_tree.get("attrs", {}) or {})
        status = params.pop(STATUS, None)
        tags: dict[str, str | None] = dict.fromkeys(props.tags)
        if isinstance(params.get(TAGS), dict):
            named = restored(params.pop(TAGS))
            tags.update({key: str(value) for key, value in named.items() if value is not None})
        if config := self._config(params):
            yield Config(config, began)
        if tags:
            yield Tags(tags, began)
        rows = _Rows()
        files = self._take_artifacts(rows, began)
        self._take_sequences(rows, files)
        yield from rows
        ended = self.meta_run_tree.get("end_time")
        if ended is None:
            return  # for Aim it goes on, whatever its params say
        if status is None:
            yield End("finished", ended)  # not ours: Aim knows of no other end
        elif status in STATUSES:
            yield End(status, ended)

    def _config(self, params: dict[str, Any]) -> dict[str, Any]:
        exact: dict[str, Any] = json.loads(self.meta_run_tree.get((OURS, "config")) or "{}")
        config = dict(exact)
        stored = params.pop(PARAMS, {})
        if not isinstance(stored, dict):
            params, stored = {PARAMS: stored, **params}, {}
        for name, value in stored.items():
            key = key_of(str(name))
            # Someone may have changed it since.
            if key not in exact or not _equal(fitted(exact[key]), value):
                config[key] = restored(value)
        for name, value in params.items():
            config[name if name not in config else f"{name} (param)"] = restored(value)
        return config

    # --- sequences ---

    def _take_sequences(self, rows: _Rows, files: Mapping[str, str]) -> None:
        contexts = self.meta_run_tree.get("contexts", {})
        for index, names in self.meta_run_tree.get("traces", {}).items():
            context = contexts.get(index, {})
            for name, about in names.items():
                kind = SEQUENCE_TYPE_MAP.get(about.get("dtype", "float"))
                # The machine's load, terminal output and log messages are nobody's values.
                if kind is not None and not name.startswith("__system__"):
                    sequence = Sequence.registry[kind](name, Context(context), self)
                    self._take(sequence, context, rows, files)

    def _take(
        self, sequence: Any, context: Mapping[str, Any], rows: _Rows, files: Mapping[str, str]
    ) -> None:
        theirs, ours = split_context(context)
        key = key_of(sequence.name)
        tree = sequence.series_tree
        times, epochs, steps = (
            dict(tree.array(column).items()) for column in ("time", "epoch", "step")
        )
        for spot, stored in tree.array("val").items():
            step, epoch = steps.get(spot, spot), epochs.get(spot)
            if MORE in ours and epoch == step:
                epoch = None
            value: Any = stored
            if ours.get(KIND) == NONE:
                value = None
            elif not isinstance(stored, (int, float)):
                value = value_of(stored, files)
            rows.add(times.get(spot, 0.0), step, theirs, epoch, key, value, ours.get(INDEX))

    # --- artifacts ---

    def _take_artifacts(self, rows: _Rows, began: float) -> dict[str, str]:
        """Put files into their rows; where all of them lie, by name."""
        places: dict[str, str] = {}
        number = 0
        for name, artifact in (self.meta_run_tree.get("artifacts", {}) or {}).items():
            place = self._place(name, artifact)
            if place is None:
                continue
            places[name] = place
            kept = artifact.storage.get(ABOUT, None)
            about = json.loads(kept or "{}")
            file = LoggedFile(place, unescape(posixpath.dirname(name)))
            if kept is None:
                rows.add(began, 0, {}, None, name, file, None)
            elif "key" in about:
                listed = about["directory"] or about["index"] is not None
                number += 1
                rows.add(
                    about["time"], about["step"], about["context"], about["epoch"], about["key"],
                    file, number if listed else None,
                )  # fmt: skip
        return places

    def _place(self, name: str, artifact: Any) -> str | None:
        uri = str(artifact.uri)
        if uri.startswith(LOCAL):
            place = uri.removeprefix(LOCAL)
            if not os.path.exists(place):  # the repository may have moved
                place = os.path.join(self._repo.path, "artifacts", self._hash, *name.split("/"))
            return str(place) if os.path.exists(place) else None
        if self._download_to is None:
            return None
        folder = os.path.join(self._download_to, self._hash, *name.split("/")[:-1])
        return os.path.abspath(str(artifact.download(dest_dir=folder)))

    def _tree(self, part: str) -> Any:
        if self._repo.is_remote_repo:
            return self._repo.request_tree(part, self._hash, read_only=True)
        path = os.path.join(self._repo.path, part, "chunks", self._hash)
        if not os.path.isdir(path):
            return InMemoryTreeView({})
        # A reader of its own, that sees all there is now, and changes nothing.
        return RocksContainer(path, read_only=True, skip_read_optimization=True).tree()


class _Rows:
    """What was logged, by time, step, context and epoch."""

    def __init__(self) -> None:
        self._rows: dict[tuple[float, int, str], list[dict[str, Any]]] = {}
        self._lists: dict[tuple[float, int, str, str], dict[int, Value]] = {}

    def add(
        self,
        time: float,
        step: int,
        context: Mapping[str, Any],
        epoch: float | None,
        key: str,
        value: Value,
        index: int | None,
    ) -> None:
        options = {name: inner for name, inner in context.items() if name == AXIS}
        if theirs := {name: inner for name, inner in context.items() if name != AXIS}:
            options["context"] = theirs
        if epoch is not None:
            options["epoch"] = epoch
        at = (time, step, json.dumps(options, sort_keys=True))
        if index is not None:
            self._lists.setdefault((*at, key), {})[index] = value
            return
        rows = self._rows.setdefault(at, [])
        for row in rows:
            if key not in row:
                row[key] = value
                return
        rows.append({key: value})

    def __iter__(self) -> Iterator[Log]:
        for (time, step, told, key), parts in self._lists.items():
            whole = [part for _, part in sorted(parts.items())]
            rows = self._rows.setdefault((time, step, told), [{}])
            rows[0][key] = [*rows[0].get(key, []), *whole]
        for (time, step, told), rows in sorted(self._rows.items(), key=lambda row: row[0]):
            options = {"aim": json.loads(told)} if told != "{}" else {}
            for row in rows:
                yield Log(row, step, step, time, options)


def _repository(address: str) -> Any:
    path = os.path.abspath(os.path.expanduser(address))
    if not Repo.exists(path):
        raise AimRepositoryError(f"there is no Aim repository in {path!r}")
    return Repo.from_path(path)


def _equal(one: object, other: object) -> bool:
    """Equality of nested plain values, where NaN equals itself and True is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
