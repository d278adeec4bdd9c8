"""What Trackio finds in a run, as the records that a tracker takes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tracking_core.names import unescape
from tracking_core.records import End, Log, LoggedFile, Record, Value
from tracking_trackio import names, row, runs
from tracking_trackio.card import Card
from tracking_trackio.settings import Where
from tracking_trackio.store import RunId, Store

__all__ = ["read_run"]

ROWS_AT_ONCE = 2000  # Trackio answers a query with 10 000 at most


def read_run(
    project: str,
    run: str | None = None,
    *,
    download_to: str | os.PathLike[str],
    server_url: str | None = None,
    space_id: str | None = None,
) -> Iterator[Record]:
    """The configuration, tags, rows and end of a run, whoever logged it.

    Rows come in the order in which they were stored; nested keys as ``parent/child``; pictures,
    sound and moving pictures as files (``format="png"``, ...). An axis is the option ``step_axis``
    of its rows. Wall times are exact to the microsecond; with a server, to the last bit, and for
    rows of other writers the time when the server took them. Alerts, traces and hardware metrics
    are not read.

    Args:
        project: as it was given to the tracker, or as Trackio shows it.
        run: its id, or its name (the newest of that name); without it the newest of the project.
        download_to: a directory for local copies of the artifacts.
        server_url, space_id: where it is, else as ``TRACKIO_SERVER_URL`` and ``TRACKIO_SPACE_ID``
            say, else in Trackio's directory on this machine.

    Raises:
        LookupError: there is no such project or run.
        OSError: the server can't be reached.
    """
    store = runs.opened(Where.of(space_id, server_url, writing=False))
    found = _found(store, project, run)
    card = Card(runs.card(store, found))
    yield from _read(store, found, card, Path(download_to))


def _read(store: Store, run: RunId, card: Card, folder: Path) -> Iterator[Record]:
    fetched = _Fetched(store, run, folder)
    created = _seconds(str(card.theirs.get("_Created") or "")) or 0.0
    about = list(card.records(created))
    yield from (record for record in about if not isinstance(record, End))
    for stored in _rows(store, run):
        metrics = json.loads(stored["metrics"])
        values, axis = row.values(metrics, fetched)
        if not values:
            continue
        step = _step(stored["step"])
        wall_time = metrics.get("time")
        if type(wall_time) not in (int, float):
            wall_time = _seconds(stored["timestamp"]) or created
        options = {} if axis is None else {"trackio": {"step_axis": axis}}
        yield Log(values, step, step, wall_time, options)
    if others := fetched.others():
        yield Log(others, None, 0, created)
    yield from (record for record in about if isinstance(record, End))


def _found(store: Store, project: str, run: str | None) -> RunId:
    known = next((name for name in (names.project_name(project), project) if store.has(name)), None)
    if known is None:
        raise LookupError(f"Trackio has no project {project!r} here")
    if run is None:
        where = ""
    else:
        ids = ", ".join(map(names.quoted, dict.fromkeys((run, names.run_name(run)))))
        where = f"WHERE run_id = {names.quoted(run)} OR run_name IN ({ids}) "
    sql = (
        f"SELECT run_id, run_name FROM metrics {where}GROUP BY run_id "
        f"ORDER BY run_id = {names.quoted(run or '')} DESC, MIN(timestamp) DESC LIMIT 1"
    )
    rows = store.query(known, sql)
    if not rows:
        raise LookupError(f"Trackio's project {project!r} has no run {run or ''!r}")
    return RunId(known, rows[0]["run_name"], rows[0]["run_id"])


def _rows(store: Store, run: RunId) -> Iterator[dict[str, Any]]:
    last = 0
    while True:
        # The plus keeps SQLite from an index that it would have to sort for every page.
        sql = (
            f"SELECT id, timestamp, step, metrics FROM metrics WHERE +run_id = "
            f"{names.quoted(run.id)} AND id > {last} ORDER BY id LIMIT {ROWS_AT_ONCE}"
        )
        rows = store.query(run.project, sql)
        yield from rows
        if len(rows) < ROWS_AT_ONCE:
            return
        last = rows[-1]["id"]


class _Fetched:
    """The files of a run (`row.Fetch`)."""

    def __init__(self, store: Store, run: RunId, folder: Path) -> None:
        self._store = store
        self._run = run
        self._folder = folder / run.id
        self._copies = 0
        self._read: set[str] = set()

    def medium(self, file_path: str) -> bytes | None:
        return self._store.medium(file_path)

    def unknown(self, file_path: str) -> LoggedFile | None:
        data = self._store.medium(file_path)
        if data is None:
            return None
        target = self._place() / os.path.basename(file_path)
        target.write_bytes(data)
        return LoggedFile(str(target))

    def artifact(self, entry: Mapping[str, Any]) -> LoggedFile:
        folder, directory = str(entry["path"]), bool(entry["directory"])
        place = self._place()
        spec = entry["artifact"]
        if spec is not None:
            self._read.add(spec)
            for path, digest in self._manifest(spec):
                inner = unescape(path)[len(folder) + 1 if folder else 0 :] if directory else ""
                self._copy(digest, place, inner or os.path.basename(entry["name"]))
        return LoggedFile(
            str(place if directory else place / os.path.basename(entry["name"])),
            folder,
            directory,
        )

    def others(self) -> dict[str, Value]:
        """Artifacts that this run made through Trackio itself."""
        sql = (
            "SELECT DISTINCT a.name, v.version FROM run_artifact_links l "
            "JOIN artifact_versions v ON v.id = l.artifact_version_id "
            "JOIN artifacts a ON a.id = v.artifact_id "
            f"WHERE l.direction = 'output' AND l.run_id = {names.quoted(self._run.id)}"
        )
        found: dict[str, Value] = {}
        for version in self._store.query(self._run.project, sql):
            spec = f"{version['name']}:v{version['version']}"
            if spec not in self._read:
                place = self._place()
                for path, digest in self._manifest(spec):
                    self._copy(digest, place, path)
                found[spec] = LoggedFile(str(place), "", True)
        return found

    def _manifest(self, spec: str) -> Iterator[tuple[str, str]]:
        name, _, version = spec.rpartition(":v")
        sql = (
            "SELECT v.manifest FROM artifact_versions v JOIN artifacts a ON a.id = v.artifact_id "
            f"WHERE a.name = {names.quoted(name)} AND v.version = {int(version)}"
        )
        for found in self._store.query(self._run.project, sql):
            for entry in json.loads(found["manifest"]):
                if "ref" not in entry:
                    yield entry["path"], entry["digest"]

    def _copy(self, digest: str, place: Path, inner: str) -> None:
        parts = inner.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"an artifact holds a file that would lie elsewhere: {inner!r}")
        target = place.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._store.blob(self._run.project, digest, target)

    def _place(self) -> Path:
        self._copies += 1
        place = self._folder.absolute() / str(self._copies)
        place.mkdir(parents=True, exist_ok=True)
        return place


def _step(stored: Any) -> int:
    """Trackio stores what it is given: floats as they are, numpy's integers as their bytes."""
    if isinstance(stored, str):
        data = bytes.fromhex(stored) if len(stored) == 16 else stored.encode()
        return int(struct.unpack("<q", data.ljust(8, b"\0")[:8])[0])
    return int(stored or 0)


def _seconds(iso: str) -> float | None:
    try:
        moment = datetime.fromisoformat(iso.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
