"""Runs in Trackio's own directory on this machine, through the storage that Trackio itself uses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tracking_trackio.store import Row, RunId, quiet

__all__ = ["LocalStore"]


class LocalStore:
    """Writes and reads below ``TRACKIO_DIR``, which Trackio takes from the environment at import.

    On a network file system (or with ``TRACKIO_STORAGE_MODE=jsonl``) rows go to Trackio's inbox,
    one file for each call; the dashboard imports them, and so does whoever reads.
    """

    def __init__(self) -> None:
        from trackio import fragments, utils
        from trackio.sqlite_storage import SQLiteStorage

        self._storage: Any = SQLiteStorage
        self._fragments = fragments
        self._writer = fragments.FragmentWriter()
        self._open: dict[str, sqlite3.Connection] = {}
        self.place: Mapping[str, str] = {"directory": os.path.abspath(utils.TRACKIO_DIR)}
        with quiet(utils):  # it says once that it found a network file system
            self._inbox = utils.get_storage_mode() == "jsonl"

    def has(self, project: str) -> bool:
        self._import_inbox()
        return bool(self._storage.get_project_db_path(project).exists())

    def query(self, project: str, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._storage.query_project(project, sql)["rows"]
        return rows

    def append(self, run: RunId, rows: Sequence[Row], config: Mapping[str, Any] | None) -> None:
        """One transaction in SQLite, or one file in the inbox."""
        if self._inbox:
            self._append_to_inbox(run, rows, config)
            return
        self._storage.bulk_log(
            project=run.project,
            run=run.name,
            run_id=run.id,
            metrics_list=[row.metrics for row in rows],
            steps=[row.step for row in rows],
            timestamps=[_iso(row.wall_time) for row in rows],
            log_ids=[row.log_id for row in rows],
            config=config,
        )
        self._hold(run.project)

    def _hold(self, project: str) -> None:
        """Keep the database open: Trackio opens it for each call, and whoever closes it last has
        SQLite write all of its log to the disk and wait, which takes longer than all the rest."""
        if project not in self._open:
            path = self._storage.get_project_db_path(project)
            held = sqlite3.connect(path, check_same_thread=False)
            held.execute("SELECT 1 FROM sqlite_master").fetchall()
            self._open[project] = held

    def close(self) -> None:
        while self._open:
            _, held = self._open.popitem()
            held.close()

    def _append_to_inbox(
        self, run: RunId, rows: Sequence[Row], config: Mapping[str, Any] | None
    ) -> None:
        first = {"project": run.project, "run": run.name, "run_id": run.id}
        entries = [
            {
                **first,
                "metrics": row.metrics,
                "step": row.step,
                "timestamp": _iso(row.wall_time),
                "log_id": row.log_id,
            }
            for row in rows
        ]
        entries[0]["config"] = config
        self._writer.write_local([self._fragments.metric_record(entry) for entry in entries])

    def _import_inbox(self) -> None:
        if self._fragments.local_inbox_dir().exists():
            self._fragments.import_inbox_dir()

    def keep_medium(self, run: RunId, step: int, name: str, data: bytes) -> str:
        from trackio.media import get_project_media_path
        from trackio.utils import MEDIA_DIR

        target = Path(get_project_media_path(run.project, run.name, step)) / name
        if not target.exists():
            partial = target.with_name(f".{uuid.uuid4().hex}")
            partial.write_bytes(data)
            os.replace(partial, target)
        return target.relative_to(MEDIA_DIR).as_posix()

    def send_media(self) -> Mapping[str, str]:
        return {}

    def forget_media(self) -> None: ...

    def keep_files(self, run: RunId, artifact: str, type: str, files: Mapping[str, str]) -> int:
        from trackio import cas

        manifest = []
        for path, source in files.items():
            digest, size = cas.stage_blob_into_project(Path(source), run.project)
            manifest.append({"path": path, "digest": digest, "size": size})
        record = self._storage.commit_artifact_version(
            project=run.project,
            name=artifact,
            type=type,
            description=None,
            manifest=manifest,
            metadata=None,
            aliases=[],
            run_name=run.name,
            run_id=run.id,
        )
        return int(record["version"])

    def medium(self, file_path: str) -> bytes | None:
        from trackio.utils import MEDIA_DIR

        root = os.path.realpath(MEDIA_DIR)
        path = os.path.realpath(os.path.join(root, file_path))
        if not path.startswith(root + os.sep) or not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def blob(self, project: str, digest: str, target: Path) -> None:
        from trackio import cas

        shutil.copyfile(cas.blob_path(project, cas.validate_digest(digest)), target)


def _iso(wall_time: float) -> str:
    return datetime.fromtimestamp(wall_time, timezone.utc).isoformat()
