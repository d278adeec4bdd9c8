"""One run: its directory, its run file, what lies beside it, and its place on the server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.proto.swanlab.run.v1.run_pb2 import FinishRecord, StartRecord
from swanlab.proto.swanlab.save.v1.save_pb2 import SaveType
from swanlab.sdk.internal.core_python.pkg import builder
from swanlab.sdk.internal.pkg import adapter, fs
from swanlab.utils.experiment import generate_color, generate_id, generate_name

from tracking_core.records import Plain, Status
from tracking_swanlab.files import CONFIG, TRUTH, Files
from tracking_swanlab.rows import Batch, Series, timestamp
from tracking_swanlab.run_file import RunFile, found_in, records_of
from tracking_swanlab.settings import fresh_directory

if TYPE_CHECKING:  # what few runs need, and what a new version of the library may well move
    from tracking_swanlab.cloud import Cloud
    from tracking_swanlab.native import NativeRun

__all__ = ["SwanLabRun"]

STATES: dict[Status, str] = {"finished": "success", "failed": "crashed", "killed": "aborted"}

Reject = Callable[[str, object, str], None]


class SwanLabRun:
    """The run that `identity` names, or a new one as `settings` say, which began at `began_at` or now.

    Attributes:
        run_id: SwanLab's name for it, the same on every machine.
        directory: what ``swanlab sync`` takes.
        files: what lies beside the run file.
        config_changed, tags_changed: whether `take` has to write them.
    """

    def __init__(
        self,
        settings: Any,
        identity: Mapping[str, Plain],
        reject: Reject,
        began_at: float | None = None,
    ) -> None:
        self._settings = settings
        self._began_at = time.time() if began_at is None else began_at
        self._reject = reject
        self.run_id = str(identity.get("run_id") or settings.run.id or generate_id())
        place = identity.get("run_dir")
        there = isinstance(place, str) and os.path.isdir(place)
        self.directory = Path(str(place)) if there else fresh_directory(settings, self.run_id)
        path = found_in(self.directory) or self.directory / f"run-{_file_name(self.run_id)}.swanlab"
        self._run_file = RunFile(path)
        self._series = Series(path)
        self.files = Files(self.directory / "files")
        self.config_changed = self.tags_changed = False
        self._finish: Any = None
        self._start = self._start_record(goes_on=bool(identity))
        self._native: NativeRun | None = None
        self._cloud: Cloud | None = None
        if settings.mode == "online":
            from tracking_swanlab.cloud import Cloud

            self._cloud = Cloud(settings, self.run_id, path, reject)

    def start(self) -> None:
        """Write the start record, once the server has filled it in.

        Raises:
            SwanLabLoginError, SwanLabSettingError, SwanLabServerError: as `Cloud.start` does.
        """
        if self._cloud is not None:
            self._start = self._cloud.start(self._start)
        self._run_file.start(self._start)
        if self._cloud is not None:
            self._cloud.catch_up()

    @property
    def unarrived(self) -> int:
        """How many records of the run file the server is not known to have."""
        return 0 if self._cloud is None else self._cloud.unarrived

    def batch(self) -> Batch:
        """An empty batch of records for this run."""
        rule, media = self._settings.core.section_rule, self.directory / "media"
        return Batch(self._series, self.files, media, rule, self._reject)

    def take(self, batch: Batch) -> None:
        """Store `batch` and what has changed beside it, and send what the run file holds.

        Raises:
            OSError: the disk is full or broken. Nothing of `batch` is in the run file then.
        """
        if self.config_changed or self.tags_changed or batch.keys_changed:
            self.files.write(self._natively_configured())
            batch.save(TRUTH, self.files.changed_at)
        if self.config_changed:
            batch.save(CONFIG, self.files.config_time, SaveType.SAVE_TYPE_CONFIG)
        if self.tags_changed:
            del self._start.tags[:]
            self._start.tags.extend(self.files.labels())
            self._run_file.start(self._start)
        if batch.records:
            self._run_file.append(batch.records)
            batch.commit()
        self.config_changed = self.tags_changed = False
        if self._cloud is not None:
            self._cloud.catch_up(batch.records)

    def _natively_configured(self) -> dict[str, Any]:
        """The configuration that users gave the native run themselves."""
        if self._native is None:
            return {}
        config = self._native.run.config
        config.update(self.files.config)
        return {key: value for key, value in config.items() if key not in self.files.config}

    def native(self) -> Any:
        """A ``swanlab.Run`` that logs to this run."""
        if self._native is None:
            from tracking_swanlab.native import NativeRun

            path = "" if self._cloud is None else self._cloud.path
            self._native = NativeRun(
                self._settings, self._start, self.directory, path, self._series.last, self._append
            )
            self._native.run.config.update(self.files.config)
        return self._native.run

    def finish(self, status: Status, ended_at: float, *, patient: bool) -> None:
        """Store and send how the run ended, and close the run file.

        Args:
            patient: as `Cloud.finish` takes it.

        Raises:
            SwanLabArrivalError: the server does not have all of it; called again, this goes on.
        """
        if self._finish is None:
            self._finish = FinishRecord(
                state=adapter.state[STATES[status]],
                error="" if status == "finished" else status,
                finished_at=timestamp(ended_at),
            )
            try:
                if self._native is not None:
                    self._native.finish(STATES[status])
                self._run_file.append([Record(num=builder.FINISH_RECORD_NUM, finish=self._finish)])
            finally:
                self.close()
        if self._cloud is not None:
            self._cloud.finish(self._finish, patient=patient)

    def close(self) -> None:
        """Give the run file back, without an end."""
        self._run_file.close()

    def _append(self, records: list[Any]) -> None:
        """Store records that the native run made. They are sent with the next batch."""
        self._run_file.append(records)
        for record in records:
            if record.HasField("column"):
                self._series.kinds.setdefault(record.column.column_key, record.column.column_type)

    def _start_record(self, *, goes_on: bool) -> Any:
        for record, _ in records_of(self._run_file.path):
            if record.HasField("start"):
                start = record.start
                start.resume = adapter.resume["allow"]
                return start
            break
        experiment, project = self._settings.experiment, self._settings.project
        start = StartRecord(
            project=project.name,
            workspace=project.workspace,
            public=project.public,
            name=experiment.name,
            color=experiment.color,
            description=experiment.description,
            job_type=experiment.job_type,
            group=experiment.group,
            tags=experiment.tags,
            id=self.run_id,
            resume=adapter.resume["allow" if goes_on else self._settings.run.resume],
        )
        start.started_at.CopyFrom(timestamp(self._began_at))
        if self._settings.mode != "online":
            start.name = start.name or generate_name("beauty")
            start.color = start.color or generate_color("beauty")
        return start


def _file_name(run_id: str) -> str:
    name, _ = fs.safe_truncate(fs.safe_fmt(run_id, fallback="unknown_run_id"), max_length=100)
    return str(name)
