"""An offline session: the folder that ``Task.import_offline_session`` brings to a server.

It is written as ClearML's own offline mode writes it, but at once: when a call returns, the bytes
are the operating system's, and no death of the process loses them. ClearML's reporter keeps them in
memory for up to five seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tracking_clearml.errors import ClearMLRunGoneError, ClearMLSettingError
from tracking_core.faults import fault_of, fault_of_start
from tracking_core.files import copy_whole
from tracking_core.records import Plain

__all__ = ["OfflineSession"]

TASK, METRICS, LOG, DATA = "task.json", "metrics.jsonl", "log.jsonl", "data"


class OfflineSession:
    """The session in `folder`.

    Args:
        known: whether it was logged to before, so that it can only have been deleted if it is gone.

    Attributes:
        native: a ``clearml.Task`` of this session that is used beside it. It writes the whole of
            what it has in memory, so it is told what is new.
        stays_ended: as for a task on a server; here nothing begins by itself.

    Raises:
        ClearMLSettingError, ClearMLRunGoneError: there is none.
    """

    pace = 0.0

    def __init__(self, folder: Path, *, known: bool = False, native: Any = None) -> None:
        self.folder = folder
        self.native = native
        self.stays_ended = False
        if known:
            self._see_that_it_is_there()
        try:
            self.id = str(self.fields()["id"])
        except (OSError, ValueError, KeyError) as error:
            raise ClearMLSettingError(
                f"tracker 'clearml': {str(folder)!r} holds no offline session ({TASK}): check the "
                "id and CLEARML_CACHE_DIR, or leave the id out to begin a new task"
            ) from error
        for name in (METRICS, LOG):
            _mend(folder / name)

    @classmethod
    def created(cls, parent: Path, fields: dict[str, Any]) -> OfflineSession:
        """A new one below `parent`, with an id as ClearML's own.

        Raises:
            ClearMLSettingError: no directory can be made there.
        """
        task_id = f"offline-{uuid.uuid4().hex}"
        folder = parent / task_id
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            if fault_of_start(fault_of(error), error) != "setup":
                raise  # a full disk
            raise ClearMLSettingError(
                f"tracker 'clearml' can't make an offline session in {str(parent)!r}: {error}. Let "
                "CLEARML_CACHE_DIR name a directory that can be written"
            ) from error
        try:
            cls._write_new(folder, task_id, fields)
            return cls(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # or each try would leave one
            raise

    @staticmethod
    def _write_new(folder: Path, task_id: str, fields: dict[str, Any]) -> None:
        _write_task(
            folder,
            {
                "execution": {"artifacts": [], "parameters": {}},
                "output": {},
                **fields,
                "id": task_id,
                "offline_folder": folder.as_posix(),
                "offline_output_models": [],
                "status": "in_progress",
            },
        )

    @property
    def identity(self) -> dict[str, Plain]:
        """What names it."""
        return {"task_id": self.id, "offline_folder": str(self.folder)}

    @property
    def files(self) -> str:
        """Where `upload` puts files."""
        return (self.folder / DATA).as_posix()

    @property
    def artifacts(self) -> str:
        """Where the files of artifacts go: the import expects them there."""
        return self.files

    def fields(self) -> dict[str, Any]:
        """The task, as ``tasks.get_by_id`` would give it."""
        with self._alone(), open(self.folder / TASK, encoding="utf-8") as file:
            return dict(json.load(file))

    def go_on(self) -> None:
        """The task runs again."""
        self._set(status="in_progress")

    def end(self, status: str) -> None:
        """The task has ended: ``"completed"``, ``"failed"`` or ``"stopped"``."""
        self._set(status=status)

    def close(self) -> None:
        """Nothing is open."""

    def set_tags(self, tags: Sequence[str]) -> None:
        """Replace the task's tags."""
        self._set(tags=list(tags))

    def set_parameters(self, parameters: Sequence[dict[str, str]]) -> None:
        """Add hyperparameters, or replace those of the same names."""
        with self._editing() as fields:
            hyperparams = fields["hyperparams"] = fields.get("hyperparams") or {}
            for parameter in parameters:
                hyperparams.setdefault(parameter["section"], {})[parameter["name"]] = parameter

    def set_configuration(self, item: dict[str, str]) -> None:
        """Add a configuration object, or replace the one of the same name."""
        with self._editing() as fields:
            fields["configuration"] = {**(fields.get("configuration") or {}), item["name"]: item}

    def add_artifact(self, artifact: dict[str, Any]) -> None:
        """Add an artifact, or replace the one of the same name."""
        with self._editing() as fields:
            execution = fields.get("execution") or {}
            there = execution.get("artifacts") or []
            others = [one for one in there if one["key"] != artifact["key"]]
            fields["execution"] = {**execution, "artifacts": [*others, artifact]}

    def add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Append `events`, all or none. Nothing is ever refused."""
        self._see_that_it_is_there()
        metrics = [{**event, "task": self.id} for event in events if event["type"] != "log"]
        lines = [{**event, "task": self.id} for event in events if event["type"] == "log"]
        with contextlib.ExitStack() as undo:
            for name, found in ((METRICS, metrics), (LOG, lines)):
                if found:
                    undo.callback(_cut, self.folder / name, _append(self.folder / name, found))
            undo.pop_all()
        return []

    def upload(self, path: str, address: str) -> None:
        """Copy the local file `path` to `address`, which is a path below `files`."""
        self._see_that_it_is_there()
        copy_whole(path, address)

    def _see_that_it_is_there(self) -> None:
        # Files and rows would make the folder anew, and no import would take them from there.
        if not (self.folder / TASK).exists():
            raise ClearMLRunGoneError(
                f"tracker 'clearml': the offline session {str(self.folder)!r} is gone: it was "
                "deleted or moved away, and what is logged to it waits until it is back"
            )

    def _set(self, **changed: Any) -> None:
        with self._editing() as fields:
            fields.update(changed)

    @contextlib.contextmanager
    def _editing(self) -> Iterator[dict[str, Any]]:
        """What is stored of the task; what is changed of it within is stored at the end.

        Meanwhile no ``clearml.Task`` of this process writes the file, and after it knows what is new.
        """
        with self._alone():
            self._see_that_it_is_there()
            fields = self.fields()
            yield fields
            _write_task(self.folder, fields)
            if self.native is not None:
                self.native.reload()

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """Within it ClearML's own object of the task, which cuts the file before it writes, waits."""
        return getattr(self.native, "_edit_lock", None) or contextlib.nullcontext()


def _write_task(folder: Path, fields: dict[str, Any]) -> None:
    unfinished = folder / f"{TASK}.part"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(fields, file, sort_keys=True)
    os.replace(unfinished, folder / TASK)


def _append(path: Path, events: list[dict[str, Any]]) -> int:
    """Add a line of `events`; where it begins."""
    line = json.dumps(events).encode() + b"\n"
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            written = file.write(line)
            while written < len(line):
                written += file.write(line[written:])
        except OSError:
            file.truncate(end)  # half a line would cost the import the next one too
            raise
    return end


def _cut(path: Path, end: int) -> None:
    """Take off what was appended at `end`: the same will be appended again."""
    with contextlib.suppress(OSError):
        os.truncate(path, end)


def _mend(path: Path) -> None:
    """Take off half a line, which a machine that lost its power may have left."""
    try:
        with open(path, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if end and file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
    except FileNotFoundError:
        pass
