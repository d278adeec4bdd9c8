"""An offline session: the folder that ``Task.import_offline_session`` brings to a server.

It is written as ClearML's own offline mode writes it, but at once: when a call returns, the bytes
are the operating system's, and no death of the process loses them. ClearML's reporter keeps them in
memory for up to five seconds.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracking_clearml.errors import ClearMLSettingError
from tracking_core.files import copy_whole
from tracking_core.records import Plain

__all__ = ["OfflineSession"]

TASK, METRICS, LOG, DATA = "task.json", "metrics.jsonl", "log.jsonl", "data"


class OfflineSession:
    """The session in `folder`.

    Raises:
        ClearMLSettingError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        """A new one below `parent`, with an id as ClearML's own."""
        task_id = f"offline-{uuid.uuid4().hex}"
        folder = parent / task_id
        folder.mkdir(parents=True)
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
        return cls(folder)

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
        with open(self.folder / TASK, encoding="utf-8") as file:
            return dict(json.load(file))

    def go_on(self) -> None:
        """The task runs again."""
        self._edit(status="in_progress")

    def end(self, status: str) -> None:
        """The task has ended: ``"completed"``, ``"failed"`` or ``"stopped"``."""
        self._edit(status=status)

    def close(self) -> None:
        """Nothing is open."""

    def set_tags(self, tags: Sequence[str]) -> None:
        """Replace the task's tags."""
        self._edit(tags=list(tags))

    def set_parameters(self, parameters: Sequence[dict[str, str]]) -> None:
        """Add hyperparameters, or replace those of the same names."""
        hyperparams = self.fields().get("hyperparams") or {}
        for parameter in parameters:
            hyperparams.setdefault(parameter["section"], {})[parameter["name"]] = parameter
        self._edit(hyperparams=hyperparams)

    def set_configuration(self, item: dict[str, str]) -> None:
        """Add a configuration object, or replace the one of the same name."""
        configuration = self.fields().get("configuration") or {}
        self._edit(configuration={**configuration, item["name"]: item})

    def add_artifact(self, artifact: dict[str, Any]) -> None:
        """Add an artifact, or replace the one of the same name."""
        execution = self.fields().get("execution") or {}
        others = [one for one in execution.get("artifacts") or [] if one["key"] != artifact["key"]]
        self._edit(execution={**execution, "artifacts": [*others, artifact]})

    def add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Append `events`, all or none. Nothing is ever refused."""
        metrics = [{**event, "task": self.id} for event in events if event["type"] != "log"]
        lines = [{**event, "task": self.id} for event in events if event["type"] == "log"]
        for name, found in ((METRICS, metrics), (LOG, lines)):
            if found:
                _append(self.folder / name, found)
        return []

    def upload(self, path: str, address: str) -> None:
        """Copy the local file `path` to `address`, which is a path below `files`."""
        copy_whole(path, address)

    def _edit(self, **fields: Any) -> None:
        # ClearML's own objects of this task write the file too: whoever changes it reads it first.
        _write_task(self.folder, {**self.fields(), **fields})


def _write_task(folder: Path, fields: dict[str, Any]) -> None:
    unfinished = folder / f"{TASK}.part"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(fields, file, sort_keys=True)
    os.replace(unfinished, folder / TASK)


def _append(path: Path, events: list[dict[str, Any]]) -> None:
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
