"""A run as records again, read through SwanLab's own data store and messages.

What one of our trackers said beside a series is undone (`tracking_swanlab.names`), so runs that
SwanLab itself wrote are read too: their numbers, texts, media, files, configuration and end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tracking_core.names import unescape
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedVideo,
    Record,
    Status,
    Tags,
    Value,
)
from tracking_swanlab import media
from tracking_swanlab.files import CONFIG, TRUTH, truth_of
from tracking_swanlab.names import parts_of, whole_path

__all__ = ["read_run"]

NOTES = {"file", "clip"}  # texts that name files of the run
APART = {*NOTES, "video"}  # what one list of media may be stored beside


def read_run(run_dir: str | os.PathLike[str]) -> Iterator[Record]:
    """What was logged to the run in `run_dir`: its configuration, tags, rows, and its end.

    `run_dir` is the directory that ``swanlab sync`` takes. Nothing is asked of a server.

    Nested keys come as ``parent/child``; numbers as 64-bit floats, with their steps and times as
    they were given; media as files (``format="png"``, ...), and artifacts as `LoggedFile` with the
    path of the copy in `run_dir`. Rows are in the order in which they were stored. A run that was
    not ended has no `End`. Of a run file whose end is damaged, everything before is read.

    Raises:
        FileNotFoundError: `run_dir` holds no run file, or a file that belongs to it is gone.
        DataStoreError: it was written by an incompatible version of SwanLab.
    """
    from tracking_swanlab.run_file import found_in, records_of

    directory = Path(os.path.abspath(run_dir))
    path = found_in(directory) if directory.is_dir() else None
    if path is None:
        raise FileNotFoundError(
            f"no SwanLab run: {str(directory)!r} holds no file run-*.swanlab; give the directory "
            "of one run, as `swanlab sync` takes it"
        )
    run = _Run(directory)
    for record, _ in records_of(path):
        run.take(record)
    yield from run.config()
    yield from run.tags()
    yield from run.rows()
    yield from run.ends


class _Point(NamedTuple):
    """A value as it was stored."""

    kind: str
    what: tuple[str, ...]
    stored: Any


class _Row(NamedTuple):
    step: int
    wall_time: float
    points: dict[str, list[_Point]]


class _Run:
    def __init__(self, directory: Path) -> None:
        self.ends: list[End] = []
        self._files = directory / "files"
        self._media = directory / "media"
        self._truth = truth_of(self._files)
        self._began = 0.0
        self._labels: list[str] = []
        self._rows: list[_Row] = []
        self._newest: dict[tuple[int, int, int], _Row] = {}
        self._far: dict[str, int] = {}
        self._none: set[tuple[str, int, int, int]] = set()
        self._saved: dict[str, tuple[Any, float]] = {}

    def take(self, record: Any) -> None:
        match record.WhichOneof("record_type"):
            case "start":
                self._began = _seconds(record.start.started_at)
                self._labels = list(record.start.tags)
            case "scalar":
                self._take_point(record.scalar, "scalar")
            case "media":
                from swanlab.sdk.internal.pkg import adapter

                self._take_point(record.media, adapter.medium[record.media.type])
            case "save":
                self._saved[record.save.name] = (record.save, _seconds(record.timestamp))
            case "finish":
                self._take_end(record.finish)

    def config(self) -> Iterator[Record]:
        values, when = self._truth["config"], self._truth["config_time"] or self._began
        others = {key: value for key, value in self._shown().items() if key not in values}
        if values or others:
            yield Config({**values, **others}, when)

    def tags(self) -> Iterator[Record]:
        if self._truth["tags"]:
            yield Tags(self._truth["tags"], self._truth["tags_time"])
        elif self._labels:
            yield Tags(dict.fromkeys(self._labels), self._began)

    def rows(self) -> Iterator[Record]:
        told: set[str] = set()
        for row in self._rows:
            values = {}
            for base, points in row.points.items():
                value = self._value(points, told)
                if value is not None or points[0].stored is None:
                    values[self._truth["keys"].get(base, unescape(base))] = value
            if values:
                yield Log(values, row.step, row.step, row.wall_time)
        for name, (save, when) in self._saved.items():
            file = self._file(name, save.source_path)
            if save.type == 0 and name not in told and name != TRUTH and file is not None:
                yield Log({whole_path(name): file}, None, 0, when)

    # --- taking ---

    def _take_point(self, point: Any, kind: str) -> None:
        base, what = parts_of(point.key)
        step = point.step
        if "far" in what:
            series = "/".join((base, *what[: what.index("far") + 1]))
            match what[what.index("far") + 1 :]:
                case ("rest",):
                    self._far[series] = int(point.value.number)
                    return
                case ("step",):
                    self._far[series] += int(point.value.number)
                    return
            step = self._far.get(series, step)
        when = (point.timestamp.seconds, point.timestamp.nanos)
        at = (step, *when)
        if "axis" in what:
            return
        if "none" in what:
            self._none.add((base, *at))
            return
        stored = point.value.number if kind == "scalar" else list(point.value.items)
        if kind == "scalar" and stored != stored and (base, *at) in self._none:
            self._none.remove((base, *at))
            stored = None
        row = self._newest.get(at)
        points = [] if row is None else row.points.get(base, [])
        new = _Point(kind, what, stored)
        if row is None or (points and not _belongs(new, points)):
            row = _Row(step, _seconds(point.timestamp), {})
            self._newest[at] = row
            self._rows.append(row)
        row.points.setdefault(base, []).append(new)

    def _take_end(self, finish: Any) -> None:
        from swanlab.sdk.internal.pkg import adapter

        states: dict[str, Status] = {
            "success": "finished", "crashed": "failed", "aborted": "killed",
        }  # fmt: skip
        status = states[adapter.state[finish.state]]
        self.ends = [End(status, _seconds(finish.finished_at))]

    # --- reading ---

    def _value(self, points: list[_Point], told: set[str]) -> Value:
        first = points[0]
        if first.kind == "scalar":
            return first.stored  # type: ignore[no-any-return]  # a float, or None
        found: list[Any] = []
        for point in points:
            for item in point.stored:
                found += self._media_of(point, item, told)
        return found[0] if len(found) == 1 else found

    def _media_of(self, point: _Point, item: Any, told: set[str]) -> Iterator[Any]:
        path = self._media / point.kind / item.filename
        if point.kind in ("object3d", "molecule"):  # nothing here is like them
            yield LoggedFile(str(path))
            return
        data = item.payload or path.read_bytes()
        suffix = item.filename.rpartition(".")[2]
        places = data.decode("utf-8").splitlines() if NOTES.intersection(point.what) else [""]
        if all(place in self._saved for place in places):
            for place in places:
                told.add(place)
                file = self._file(place, self._saved[place][0].source_path)
                if file is None:
                    raise FileNotFoundError(f"the run's file {place!r} is gone from {self._files}")
                if "file" in point.what:
                    yield file
                else:
                    clip = Path(file.path)
                    kind = clip.suffix.removeprefix(".")
                    yield LoggedVideo(clip.read_bytes(), 0, 0, 0, 0, 0.0, kind)
            return
        what = "video" if "video" in point.what else ""
        yield media.restored(point.kind, what, data, suffix, item.caption or None)

    def _file(self, name: str, source: str) -> LoggedFile | None:
        path = self._files / name
        if not path.is_file():
            path = Path(source)
        folder = whole_path(name).rpartition("/")[0]
        return LoggedFile(str(path), folder) if path.is_file() else None

    def _shown(self) -> dict[str, Any]:
        """What SwanLab's own config.yaml holds."""
        import yaml

        try:
            found = yaml.safe_load((self._files / CONFIG).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {key: entry["value"] for key, entry in (found or {}).items()}


def _belongs(new: _Point, points: list[_Point]) -> bool:
    """Whether a point goes on with the value of a key, instead of being one of another row."""
    if "more" in new.what:
        return True
    kinds = {point.kind for point in (new, *points)}
    said = [point.what for point in points]
    apart = APART.intersection(new.what).union(*(APART.intersection(what) for what in said))
    return "scalar" not in kinds and new.what not in said and bool(apart)


def _seconds(when: Any) -> float:
    return float(when.seconds + when.nanos / 1e9)
