"""What MLflow's own client finds in a run, as the records that a tracker takes."""

from __future__ import annotations

import itertools
import json
import math
import os
import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedFile, Record, Status, Tags, Value
from tracking_mlflow import layout
from tracking_mlflow.settings import QUIET, chosen, imported

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["read_run"]

STATUS: dict[str, Status] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
BEYOND = 1.797e308  # what SQL stores keep of an infinity


def read_run(
    run_id: str,
    tracking_uri: str | None = None,
    *,
    download_to: str | os.PathLike[str],
) -> Iterator[Record]:
    """The configuration, tags, rows and end of a run, whoever logged it.

    Pictures, sound and moving pictures come as files (``format="png"``, ...), all other artifacts
    as `LoggedFile`. A row holds what has one step and one time, to the millisecond.

    Args:
        run_id: as in ``active_run.info.run_id``.
        tracking_uri: the store; without it the one that MLflow is set to.
        download_to: a directory for local copies of the artifacts.
    """
    mlflow = imported()
    with chosen(QUIET):
        client = mlflow.MlflowClient(tracking_uri=tracking_uri or mlflow.get_tracking_uri())
        run = client.get_run(run_id)
        folder = Path(download_to) / run_id / "downloaded"
        folder.mkdir(parents=True, exist_ok=True)
        mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path="", dst_path=str(folder), tracking_uri=client.tracking_uri
        )
        artifacts = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        rows = _Rows()
        _read_metrics(client, run, rows)
    files = _read_media(artifacts, rows)
    began = run.info.start_time / 1000
    if config := _config(run, artifacts):
        yield Config(config, began)
    if tags := dict(_tags(run, artifacts)):
        yield Tags(tags, began)
    if files:
        yield Log(_files(files, folder.parent / "files"), None, 0, began)
    yield from rows
    if run.info.status in STATUS:
        yield End(STATUS[run.info.status], (run.info.end_time or run.info.start_time) / 1000)


class _Rows:
    """What was logged, by time and step."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], list[dict[str, Value]]] = {}

    def add(self, time: int, step: int, key: str, value: Value) -> None:
        rows = self._rows.setdefault((time, step), [])
        for row in rows:
            if key not in row:
                row[key] = value
                return
        rows.append({key: value})

    def __iter__(self) -> Iterator[Log]:
        for (time, step), rows in sorted(self._rows.items()):
            for row in rows:
                yield Log(row, step, step, time / 1000)


def _read_metrics(client: MlflowClient, run: Run, rows: _Rows) -> None:
    names = set(run.data.metrics)
    for name in sorted(names):
        if layout.split_companion(name)[1]:
            continue
        said: dict[str, set[tuple[int, int]]] = {"inf": set(), "none": set()}
        for what, files in itertools.product(said, (False, True)):
            if (companion := layout.companion(name, what, files=files)) in names:
                points = client.get_metric_history(run.info.run_id, companion)
                said[what].update((point.timestamp, point.step) for point in points)
        key = layout.restored(name, run.data.tags)
        for point in client.get_metric_history(run.info.run_id, name):
            at = (point.timestamp, point.step)
            value: float | None = point.value
            if abs(point.value) >= BEYOND and at in said["inf"]:
                value = math.copysign(math.inf, point.value)
            elif math.isnan(point.value) and at in said["none"]:
                value = None
            rows.add(*at, key, value)


def _read_media(artifacts: dict[str, Path], rows: _Rows) -> dict[str, Path]:
    """Put media and texts into their rows; what is left are files."""
    files: dict[str, Path] = {}
    calls: dict[tuple[Any, ...], dict[int, tuple[layout.Place, Path]]] = {}
    for path, local in artifacts.items():
        place = layout.Place.at(path)
        if place is None:
            if not (layout.is_thumbnail(path) or path.startswith("tracking/")):
                files[path] = local
        elif not place.is_course:
            call = calls.setdefault((place.kind, place.key, *place[2:5]), {})
            # A picture that the grid can't show lies beside a copy of it in WebP.
            if place.number not in call or place.suffix != "webp":
                call[place.number] = place, local

    def fetched(path: str) -> bytes | None:
        files.pop(path, None)  # of a table, and no file of the user's
        return artifacts[path].read_bytes() if path in artifacts else None

    for call in calls.values():
        first, _ = next(iter(call.values()))
        notes: dict[str, Any] = {"key": first.whole_key, "items": []}
        if first.about_path in artifacts:
            notes = json.loads(artifacts[first.about_path].read_bytes())
        about = dict(notes["items"])
        values = [
            layout.decoded(place, local.read_bytes(), about.get(index, {}), fetched)
            for index, (place, local) in sorted(call.items())
        ]
        whole: Any = values[0] if len(values) == 1 else values
        rows.add(first.time, first.step, notes["key"], whole)
    return files


def _files(artifacts: dict[str, Path], folder: Path) -> dict[str, Value]:
    """Files under the names that they had before they were escaped."""
    found: dict[str, Value] = {}
    for number, (path, local) in enumerate(artifacts.items()):
        parent, name = posixpath.split(unescape(path))
        if name != local.name and name not in ("", ".", "..") and not set(name) & {"\\", "\0"}:
            renamed = folder / str(number) / name
            renamed.parent.mkdir(parents=True, exist_ok=True)
            local = Path(shutil.copyfile(local, renamed))
        found[unescape(path)] = LoggedFile(str(local.absolute()), parent)
    return found


def _config(run: Run, artifacts: dict[str, Path]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if layout.CONFIG_PATH in artifacts:
        config = json.loads(artifacts[layout.CONFIG_PATH].read_bytes())
    ours = {key for key, _ in layout.leaves(config)}
    for name, value in run.data.params.items():
        key = layout.restored(name, run.data.tags)
        if key not in ours:
            config[key] = value
    return config


def _tags(run: Run, artifacts: dict[str, Path]) -> Iterator[tuple[str, str | None]]:
    for name, kept in run.data.tags.items():
        if not name.startswith(("mlflow.", layout.OURS)):
            whole = artifacts.get(layout.tag_path(name))
            if len(kept) == layout.LONGEST_TAG and whole is not None:
                text = whole.read_bytes().decode("utf-8")
                kept = text if text.startswith(kept) else kept
            yield layout.restored(name, run.data.tags), layout.text_label(kept)
