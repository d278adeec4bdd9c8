"""What a task holds, as the records that a tracker takes: from a server or an offline session."""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracking_clearml import events, plots
from tracking_clearml.events import MediaFile
from tracking_clearml.library import imported
from tracking_clearml.notes import CONFIG, NOTES, Notes, config_of, parameters_of, shown_tag
from tracking_clearml.samples import kind_of, value_of_file
from tracking_clearml.series import ABOUT, NOT_FINITE
from tracking_clearml.sources import Source, source_of
from tracking_core.names import shortened
from tracking_core.records import Config, End, Log, LoggedFile, Record, Status, Tags, Value

__all__ = ["read_run"]

STATUS: dict[str, Status] = {
    "completed": "finished",
    "closed": "finished",
    "published": "finished",
    "failed": "failed",
    "stopped": "killed",
}
LONGEST_NAME = 200


def read_run(
    task: str | os.PathLike[str], *, download_to: str | os.PathLike[str]
) -> Iterator[Record]:
    """The configuration, tags, rows and end of a task, whoever logged it.

    Pictures, sound and moving pictures come as files (``format="png"``, ...), artifacts as
    `LoggedFile`, plots that are neither table nor histogram as Plotly's JSON, and what ClearML has
    under CONSOLE not at all. A row holds what has one step and one time, to the millisecond; a
    number without an iteration is a row without a step.

    Args:
        task: the task's id; or the folder or zip file of an offline session, or its id.
        download_to: a directory for local copies of files.

    Raises:
        ClearMLSettingError: there is no such task, or no credentials.
        ClearMLServerError, requests.RequestException: the server says no, or can't be reached.
    """
    folder = Path(download_to)
    folder.mkdir(parents=True, exist_ok=True)
    source = source_of(task, folder)
    fields = source.fields()
    notes = Notes(fields)
    began = _seconds(fields.get("started") or fields.get("created"))
    rows = _Rows()
    _read_scalars(source.events("training_stats_scalar"), notes, rows)
    about = _read_plots(source.events("plot"), notes, rows)
    _read_samples(source, folder, notes, about, rows)
    _read_artifacts(source, fields, folder / "artifacts", rows)
    began = began or rows.first() or (notes.end[1] if notes.end else 0.0)
    if config := _config(fields, notes):
        yield Config(config, began)
    if tags := _tags(fields, notes):
        yield Tags(tags, began)
    yield from rows
    if notes.end is not None:
        yield End(*notes.end)
    elif fields.get("status") in STATUS:
        yield End(STATUS[fields["status"]], _seconds(fields.get("completed")) or began)


class _Rows:
    """What was logged, by time and step."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int | None], list[dict[str, Value]]] = {}

    def add(self, when: int, step: int | None, key: str, value: Value) -> None:
        rows = self._rows.setdefault((when, step), [])
        for row in rows:
            if key not in row:
                row[key] = value
                return
        rows.append({key: value})

    def first(self) -> float | None:
        return min((when for when, _ in self._rows), default=0) / 1000 or None

    def __iter__(self) -> Iterator[Log]:
        for (when, step), rows in sorted(
            self._rows.items(), key=lambda item: (item[0][0], item[0][1] or 0)
        ):
            for row in rows:
                yield Log(row, step, step or 0, when / 1000)


def _read_scalars(found: Iterable[Mapping[str, Any]], notes: Notes, rows: _Rows) -> None:
    singles, keys = [], set()
    for event in found:
        title, series, step = event["metric"], event["variant"], event.get("iter")
        value: float | None = event.get("value")
        if step == events.SINGLE_VALUE and title == events.SUMMARY:
            singles.append(event)
            continue
        if title.endswith(NOT_FINITE) and value is not None:
            title, value = title.removesuffix(NOT_FINITE), events.value_not_finite(value)
        key = notes.places.key_at(title, series)
        keys.add(shortened(key, LONGEST_NAME))
        rows.add(event["timestamp"], step, key, value)
    for event in singles:
        # Our own rows without a step are there twice: as a point, and for the table.
        if not (notes.known and event["variant"] in keys):
            rows.add(event["timestamp"], None, event["variant"], event["value"])


def _read_plots(
    found: Iterable[Mapping[str, Any]], notes: Notes, rows: _Rows
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Put tables and histograms into their rows; what is left says more of media."""
    about = {}
    drawn: list[tuple[int, int | None, str, list[Any]]] = []
    newest: dict[tuple[Any, ...], list[Any]] = {}
    for event in found:
        title, variant, step = event["metric"], event["variant"], event.get("iter")
        value, items = plots.value_of_plot(event["plot_str"])
        if value is None:
            about[title, variant.removesuffix(ABOUT), step, event["timestamp"]] = items
            continue
        series, _, number = variant.partition("/") if notes.known else (variant, "", "")
        at = (event["timestamp"], step, notes.places.key_at(title, series))
        if number and at in newest:
            newest[at].append(value)
        else:
            newest[at] = [value]
            drawn.append((*at, newest[at]))
    for when, step, key, values in drawn:
        rows.add(when, step, key, values[0] if len(values) == 1 else values)
    return about


def _read_samples(
    source: Source,
    folder: Path,
    notes: Notes,
    about: Mapping[tuple[Any, ...], list[dict[str, Any]]],
    rows: _Rows,
) -> None:
    calls: list[tuple[tuple[Any, ...], dict[int, Value]]] = []
    newest: dict[tuple[Any, ...], dict[int, Value]] = {}
    for event in source.events("training_debug_image"):
        content = source.content(event)
        if content is None:
            continue
        title, variant, when = event["metric"], event["variant"], event["timestamp"]
        step, path = event.get("iter"), urlsplit(str(event["url"])).path
        file = MediaFile.at(path)
        if file is None:
            value = _others_sample(posixpath.basename(path), content, folder)
            calls.append(((title, variant, step, when), {0: value}))
            continue
        series = file.series(variant)
        at = (title, series, step, when)
        call = newest.get((*at, file.digest))
        if call is None or file.number in call:  # in it: the same values once more
            call = newest[(*at, file.digest)] = {}
            calls.append((at, call))
        items = about.get(at, [])
        said = items[file.number] if file.number < len(items) else {}
        call[file.number] = value_of_file(path, file.kind, content, said)
    for (title, series, step, when), call in calls:
        values: list[Any] = [value for _, value in sorted(call.items())]
        key = notes.places.key_at(title, series)
        rows.add(when, step, key, values[0] if len(values) == 1 else values)


def _others_sample(name: str, content: bytes, folder: Path) -> Value:
    if kind := kind_of(name):
        return value_of_file(name, kind, content, {})
    place = Path(tempfile.mkdtemp(dir=folder)) / name
    place.write_bytes(content)
    return LoggedFile(str(place.absolute()))


def _read_artifacts(source: Source, fields: Mapping[str, Any], folder: Path, rows: _Rows) -> None:
    artifacts = (fields.get("execution") or {}).get("artifacts") or []
    for number, artifact in enumerate(artifacts):
        name = str(artifact["key"])
        said = dict(artifact.get("display_data") or [])
        uri = str(artifact.get("uri"))
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        found = source.file(uri, place / posixpath.basename(urlsplit(uri).path))
        if found is None:
            continue
        key, parent = said.get("key", name), said.get("artifact path")
        base = found.name
        if parent is not None:
            base = posixpath.basename(name)  # ours, whose own name may have been escaped
        when = int(said.get("logged", 1000 * int(artifact.get("timestamp") or 0)))
        step = int(said["step"]) if "step" in said else None
        if artifact.get("type") == "archive":
            unpacked = place / "unpacked"
            with zipfile.ZipFile(found) as archive:
                archive.extractall(unpacked)
            unpacked.mkdir(exist_ok=True)
            file = LoggedFile(str(unpacked.absolute()), parent or "", directory=True)
        else:
            file = LoggedFile(str(_named(found, base, place).absolute()), parent or "")
        rows.add(when, step, key, file)


def _named(found: Path, name: str, folder: Path) -> Path:
    """The file under the name that it had before it was escaped."""
    if found.name == name or name in ("", ".", "..") or "\0" in name:
        return found
    return Path(shutil.copyfile(found, folder / name))


def _config(fields: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Ours as it was; of others the configuration objects and, by section, the parameters."""
    config = config_of(fields) if notes.known else {}
    ours = {one["name"] for one in parameters_of(config)}
    for name, item in (fields.get("configuration") or {}).items():
        if name == NOTES or (notes.known and name == CONFIG):
            continue
        value = _object(item.get("value") or "")
        if name == CONFIG and isinstance(value, dict):
            config = {**value, **config}
        else:
            config.setdefault(name, value)
    for section, parameters in (fields.get("hyperparams") or {}).items():
        for name, parameter in parameters.items():
            if section != CONFIG:
                inner = config.setdefault(section, {})
                if isinstance(inner, dict):
                    inner[name] = parameter.get("value")
            elif not (notes.known and name in ours):
                config.setdefault(name, parameter.get("value"))
    return config


def _object(text: str) -> Any:
    """A configuration object: HOCON where it is, as `connect_configuration` writes it."""
    try:
        return json.loads(text)
    except ValueError:
        imported()
        from clearml.utilities.config import text_to_config_dict

        try:
            return text_to_config_dict(text)
        except Exception:  # any text may be a configuration object
            return text


def _tags(fields: Mapping[str, Any], notes: Notes) -> dict[str, str | None]:
    ours = {shown_tag(name, value) for name, value in notes.tags.items()}
    others = {tag: None for tag in fields.get("tags") or [] if tag not in ours}
    return {**others, **notes.tags}


def _seconds(when: object) -> float | None:
    """A time as the server writes it (ISO 8601, UTC), in seconds since the epoch."""
    if not isinstance(when, str):
        return None
    try:
        found = datetime.fromisoformat(when.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
