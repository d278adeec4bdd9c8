"""A run as records again, read from DVCLive's own files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tracking_core.files import files_below
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedImage,
    Record,
    Tags,
    Value,
)
from tracking_dvclive import layout
from tracking_dvclive.history import read_history
from tracking_dvclive.layout import path_in
from tracking_dvclive.media import medium_from
from tracking_dvclive.names import key_of
from tracking_dvclive.notes import Notes, read_notes

__all__ = ["read_run"]

_PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}


def read_run(run_dir: str | os.PathLike[str]) -> Iterator[Record]:
    """What was logged to the DVCLive directory `run_dir`: its config, tags, rows, and its end.

    Numbers and texts come from the files below ``plots/metrics`` exactly as they were logged,
    parameters from ``params.yaml``, pictures as the files that they are. Nested keys come as
    ``parent/child``; artifacts with the path of the copy in `run_dir`. Rows are in the order of
    their times; what has one time and one step is one row. A run that was not ended has no `End`.

    Runs that plain DVCLive wrote are read too. Where it keeps no time, that of the file stands in,
    and what is only in its summary comes as a last row.

    Raises:
        FileNotFoundError: `run_dir` holds no run of DVCLive.
    """
    directory = os.path.abspath(run_dir)
    if not layout.holds_a_run(directory):
        raise FileNotFoundError(
            f"no DVCLive run: {directory!r} holds no {layout.METRICS_FILE}, {layout.PARAMS_FILE} "
            "or plots"
        )
    return _records(directory)


def _records(directory: str) -> Iterator[Record]:
    notes = read_notes(directory)
    yield from _config(directory, notes)
    if notes is not None and notes.tags:
        yield Tags(notes.tags, notes.tags_at or 0.0)
    yield from _Rows(directory, notes)
    if notes is not None and notes.status in ("finished", "failed", "killed"):
        yield End(notes.status, notes.ended_at or 0.0)  # type: ignore[arg-type]  # just compared


def _config(directory: str, notes: Notes | None) -> Iterator[Record]:
    path = path_in(directory, layout.PARAMS_FILE)
    if not os.path.exists(path):
        return
    from tracking_dvclive.quiet import imported

    imported()
    from tracking_dvclive.library import load_yaml

    values = load_yaml(path)
    if isinstance(values, dict):
        when = notes.config_at if notes is not None else None
        yield Config(values, os.path.getmtime(path) if when is None else when)


class _When(NamedTuple):
    """One row: two values of one key with the same time and step are of different rows."""

    wall_time: float
    step: int
    occurrence: int


class _Rows:
    """The rows of a run, put together from the files of its metrics and the index of its media."""

    def __init__(self, directory: str, notes: Notes | None) -> None:
        self._directory = directory
        self._is_ours = notes is not None
        self._names: Mapping[str, str] = {} if notes is None else notes.names
        self._rows: dict[_When, dict[str, Value]] = {}
        self._cut: set[tuple[str, float, int, Any]] = set()
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[Record]:
        self._read_index()
        in_files = set(self._read_metrics())
        self._read_summary(in_files)
        self._read_other_images()
        for when in sorted(self._rows, key=lambda when: (when.wall_time, when.occurrence)):
            yield Log(self._rows[when], when.step, when.step, when.wall_time)

    def _add(self, key: str, wall_time: float, step: int, value: Value) -> None:
        occurrence = 0
        while key in self._rows.setdefault(_When(wall_time, step, occurrence), {}):
            occurrence += 1
        self._rows[_When(wall_time, step, occurrence)][key] = value

    def _read_index(self) -> None:
        lists: list[tuple[dict[str, Any], list[Any]]] = []
        for entry in _entries(path_in(self._directory, layout.INDEX)):
            value = self._value_of(entry)
            if entry["n"] is None:
                self._add(entry["key"], entry["time"], entry["step"], value)
            elif entry["n"] > 0 and lists and _are_of_one_call(lists[-1][0], entry):
                lists[-1][1].append(value)
            else:
                lists.append((entry, [value]))
        for entry, values in lists:
            self._add(entry["key"], entry["time"], entry["step"], values)

    def _value_of(self, entry: dict[str, Any]) -> Any:
        place = entry.get("file", "")
        if place:
            self._seen.add(place)
        path = path_in(self._directory, place)
        if place and (os.pardir in place.split("/") or not os.path.exists(path)):
            return place  # it is gone, or was never one of this run's
        match entry["kind"]:
            case "text":
                self._cut.add((entry["key"], entry["time"], entry["step"], entry["cell"]))
                return entry["text"]
            case "file":
                return LoggedFile(path, entry["artifact_path"], entry["directory"])
        data = b""
        if place:
            with open(path, "rb") as file:
                data = file.read()
        return medium_from(entry["kind"], entry, data)

    def _read_metrics(self) -> Iterator[str]:
        top = path_in(self._directory, layout.METRICS)
        for path in files_below(top):
            inner, ending = os.path.splitext(os.path.relpath(path, top).replace(os.sep, "/"))
            if ending not in (".tsv", ".csv"):
                continue
            yield inner
            key = self._key_of(inner)
            changed = os.path.getmtime(path)
            for place, (wall_time, step, value) in enumerate(read_history(path)):
                wall_time = changed if wall_time is None else wall_time
                step = place if step is None else step
                if (key, wall_time, step, value) not in self._cut:
                    self._add(key, wall_time, step, value)

    def _read_summary(self, in_files: set[str]) -> None:
        """What has no file: it was logged with ``plot=False``."""
        path = path_in(self._directory, layout.METRICS_FILE)
        try:
            with open(path, encoding="utf-8") as file:
                summary = json.load(file)
        except (FileNotFoundError, ValueError):
            return
        changed, step = os.path.getmtime(path), summary.pop("step", 0)
        for name, value in _leaves(summary):
            if name.rstrip("/") not in in_files and not isinstance(value, list):
                self._add(self._key_of(name.rstrip("/")), changed, step, _number(value))

    def _read_other_images(self) -> None:
        """Pictures that are not in the index: ``Live.log_image`` has made them."""
        top = path_in(self._directory, layout.IMAGES)
        for path in files_below(top):
            inner, ending = os.path.splitext(os.path.relpath(path, top).replace(os.sep, "/"))
            place = f"{layout.IMAGES}/{inner}{ending}"
            if place in self._seen or ending.lower() not in _PICTURES:
                continue
            folder, _, stem = inner.rpartition("/")
            # DVC shows a folder of numbered pictures as one with a slider.
            numbered = bool(folder) and stem.isdecimal()
            with open(path, "rb") as file:
                image = LoggedImage(file.read(), 0, 0, 0, _PICTURES[ending.lower()])
            step = int(stem) if numbered else 0
            self._add(folder if numbered else inner, os.path.getmtime(path), step, image)

    def _key_of(self, name: str) -> str:
        return key_of(name, self._names) if self._is_ours else name


def _are_of_one_call(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("key", "step", "time"))


def _entries(path: str) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)
    except FileNotFoundError:
        return


def _leaves(summary: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in summary.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{parent}{key}/")
        else:
            yield parent + key, value


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value
