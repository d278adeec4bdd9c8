"""What an experiment of Comet's holds, as the records that a tracker takes."""

from __future__ import annotations

import json
import math
import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tracking_comet_ml import layout, media
from tracking_comet_ml.contents import Contents, FoundAsset
from tracking_core.records import Config, End, Log, LoggedFile, Record, Status, Tags, Value

__all__ = ["read_run"]

# What Comet's client itself notes among others.
NOT_TAGS = ("offline_experiment", "hasNestedParams", "Created from")
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
ENDS = ("finished", "failed", "killed")
UNSAFE = ("", ".", "..")


def read_run(
    experiment_key: str | None = None,
    offline_directory: str | os.PathLike[str] | None = None,
    *,
    download_to: str | os.PathLike[str],
) -> Iterator[Record]:
    """The configuration, tags, rows and end of an experiment, whoever logged it.

    Offline it is read from all its archives together, and from what a session that is not an
    archive yet has written so far; online through ``comet_ml.API``, with the API key and the
    address that Comet is set to. Pictures, sound and moving pictures come as files
    (``format="png"``, ...), all other assets as `LoggedFile`. A row holds what has one step and one
    time, to the millisecond.

    Args:
        experiment_key: as in ``tracker.identity()["experiment_key"]``. It may be left out where
            `offline_directory` holds one experiment only.
        offline_directory: of offline archives, or one archive. Without it the server is asked.
        download_to: a directory for the files among the assets.

    Raises:
        FileNotFoundError: `offline_directory` holds no archive (of that experiment).
        ValueError: it holds several experiments; or a file in it is no archive; or the server does
            not know the experiment.
    """
    if offline_directory is not None:
        from tracking_comet_ml.archives import read_archives

        contents = read_archives(os.fspath(offline_directory), experiment_key)
    else:
        from tracking_comet_ml.server import read_server

        contents = read_server(experiment_key)
    return _records(contents, Path(download_to) / "files")


def _records(contents: Contents, folder: Path) -> Iterator[Record]:
    began = contents.began / 1000
    names = _merged(contents, layout.NAMES)
    rows = _Rows()
    _read_points(contents, names, rows)
    texts = _read_assets(contents, folder, rows)
    config = _config(contents)
    if config:
        yield Config(config, began)
    if tags := _tags(contents, names, texts):
        yield Tags(tags, began)
    yield from rows
    status = contents.others.get(layout.STATUS, contents.status)
    if contents.ended is not None and status in ENDS:
        yield End(cast(Status, status), contents.ended / 1000)


class _Rows:
    """What was logged, by time, step and epoch."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int, int | None], list[dict[str, Value]]] = {}

    def add(self, time: int, step: int | None, epoch: int | None, key: str, value: Value) -> None:
        rows = self._rows.setdefault((time, 0 if step is None else step, epoch), [])
        for row in rows:
            if key not in row:
                row[key] = value
                return
        rows.append({key: value})

    def __iter__(self) -> Iterator[Log]:
        for (time, step, epoch), rows in sorted(self._rows.items(), key=lambda row: row[0][:2]):
            options = {} if epoch is None else {"comet_ml": {"epoch": epoch}}
            for row in rows:
                yield Log(row, step, step, time / 1000, options)


def _read_points(contents: Contents, names: Mapping[str, str], rows: _Rows) -> None:
    none = {
        (point.name.removesuffix(layout.NONE), point.step, point.time)
        for point in contents.points
        if point.name.endswith(layout.NONE)
    }
    for name, value, step, epoch, time in contents.points:
        if name.endswith(layout.NONE):
            continue
        found: Value = _number(value)
        if isinstance(found, float) and math.isnan(found) and (name, step, time) in none:
            found = None
        rows.add(time, step, epoch, layout.original(name, names), found)


def _number(value: object) -> float | int | str:
    """A metric's value: the server gives numbers as texts, and Comet has texts among them."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return SPECIAL[value] if value in SPECIAL else kind(value)
            except ValueError:
                pass
        return value
    return cast(float | int, value)


def _read_assets(contents: Contents, folder: Path, rows: _Rows) -> set[str]:
    """Put media, texts and files into their rows; the names of the texts."""
    texts: set[str] = set()
    calls: dict[tuple[str, int, int | None], dict[int, Value]] = {}
    for number, asset in enumerate(contents.assets):
        key, time = asset.metadata.get("key"), asset.metadata.get("time", asset.time)
        if _ours(asset) or asset.metadata.get("kind") == "bars":
            continue
        value = _value(asset, folder / str(number))
        if key is None:
            key = "text" if isinstance(value, str) else asset.name
        if isinstance(value, str):
            texts.add(layout.other_name(key))
        place = asset.metadata.get("place")
        if place is None:
            rows.add(time, asset.step, None, key, value)
            continue
        call = calls.setdefault((key, time, asset.step), {})
        if int(place) in call:  # the next list of the same moment
            _add_list(rows, (key, time, asset.step), call)
            call = calls[key, time, asset.step] = {}
        call[int(place)] = value
    for at, call in calls.items():
        _add_list(rows, at, call)
    return texts


def _add_list(rows: _Rows, at: tuple[str, int, int | None], call: Mapping[int, Value]) -> None:
    key, time, step = at
    rows.add(time, step, None, key, cast(Value, [call[place] for place in sorted(call)]))


def _value(asset: FoundAsset, folder: Path) -> Value:
    data = asset.load()
    if asset.metadata.get("kind") != "file":
        try:
            return media.of_asset(asset.kind, asset.name, data, asset.metadata)
        except ValueError:
            pass  # it is a file then, whatever it was meant to be
    parent, name = posixpath.split(asset.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"_{name}" if name in UNSAFE or set(name) & {"\0", os.sep} else name)
    path.write_bytes(data)
    return LoggedFile(str(path.absolute()), parent)


def _ours(asset: FoundAsset) -> bool:
    return asset.name in (layout.CONFIG, layout.TAGS, layout.NAMES) and not asset.metadata.get(
        "kind"
    )


def _merged(contents: Contents, name: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for asset in contents.assets:
        if asset.name == name and _ours(asset):
            merged.update(json.loads(asset.load()))
    return merged


def _config(contents: Contents) -> dict[str, Any]:
    config = _merged(contents, layout.CONFIG)
    ours = {name for name, _ in layout.parameters(config)}
    nested = contents.others.get("hasNestedParams") in (True, "true")
    for parameter in contents.parameters:
        if parameter.automatic or parameter.name in ours:
            continue
        *parents, name = parameter.name.split("|") if nested else [parameter.name]
        inner = config
        for parent in parents:
            deeper = inner.setdefault(parent, {})
            inner = deeper if isinstance(deeper, dict) else inner
        value = parameter.value
        inner[name] = SPECIAL.get(value, value) if isinstance(value, str) else value
    return config


def _tags(contents: Contents, names: Mapping[str, str], texts: set[str]) -> dict[str, str | None]:
    tags: dict[str, str | None] = _merged(contents, layout.TAGS)
    kept = {layout.other_name(key) for key in tags}
    for name, value in contents.others.items():
        if name not in NOT_TAGS and name not in texts | kept and not name.startswith(layout.OURS):
            tags[layout.original(name, names)] = str(value)
    for label in contents.tags:
        tags.setdefault(label, None)
    return tags
