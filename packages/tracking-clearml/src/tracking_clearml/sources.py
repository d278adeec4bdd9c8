"""Where a task is read from: the folder of an offline session, its zip file, or a server."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from tracking_clearml.errors import ClearMLServerError, ClearMLSettingError
from tracking_clearml.library import imported
from tracking_clearml.stores import offline_folder

__all__ = ["Source", "source_of"]


class Source(Protocol):
    """Something that holds a task."""

    def fields(self) -> dict[str, Any]:
        """The task itself."""

    def events(self, kind: str) -> Iterable[dict[str, Any]]:
        """All events of a type, in the order in which they came."""

    def content(self, event: Mapping[str, Any]) -> bytes | None:
        """The file that an event shows; None if it is gone."""

    def file(self, uri: str, target: Path) -> Path | None:
        """A local copy of the file of an artifact, `target` or another; None if it is gone."""


class _Folder:
    """An offline session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            with open(folder / "task.json", encoding="utf-8") as file:
                self._fields: dict[str, Any] = json.load(file)
        except (OSError, ValueError) as error:
            raise ClearMLSettingError(
                f"{str(folder)!r} holds no offline session of ClearML (task.json): give the folder "
                "or the zip file that Task.import_offline_session takes, or a task's id"
            ) from error

    def fields(self) -> dict[str, Any]:
        return self._fields

    def events(self, kind: str) -> Iterator[dict[str, Any]]:
        path = self._folder / "metrics.jsonl"
        if path.exists():
            with open(path, encoding="utf-8") as file:
                for line in file:
                    yield from (one for one in _events(line) if one.get("type") == kind)

    def content(self, event: Mapping[str, Any]) -> bytes | None:
        path = self._inside(str(event.get("key")))
        return None if path is None else path.read_bytes()

    def file(self, uri: str, target: Path) -> Path | None:
        # The folder may have been moved since.
        inner = uri.replace(f"{self._fields.get('offline_folder', '')}/data/", "", 1)
        return self._inside(inner)

    def _inside(self, inner: str) -> Path | None:
        """A file of the session: whoever made it must not choose any other of this machine."""
        data = (self._folder / "data").resolve()
        path = (data / inner).resolve()
        return path if path.is_relative_to(data) and path.is_file() else None


class _Server:
    """A task on a server."""

    def __init__(self, task_id: str) -> None:
        imported()
        from tracking_clearml.connection import connected
        from tracking_clearml.online import OnlineTask

        self._task = OnlineTask.found(connected(), task_id)

    def fields(self) -> dict[str, Any]:
        return self._task.fields()

    def events(self, kind: str) -> Iterator[dict[str, Any]]:
        scroll: dict[str, str] = {}
        while True:
            found = self._task.connection.call(
                "events.get_task_events",
                task=self._task.id,
                event_type=kind,
                order="asc",
                batch_size=5000,
                **scroll,
            )
            yield from found["events"]
            if not found["events"] or not found.get("scroll_id"):
                return
            scroll = {"scroll_id": found["scroll_id"]}

    def content(self, event: Mapping[str, Any]) -> bytes | None:
        with tempfile.TemporaryDirectory() as folder:
            path = self.file(str(event.get("url")), Path(folder) / "file")
            return None if path is None else path.read_bytes()

    def file(self, uri: str, target: Path) -> Path | None:
        try:
            self._task.connection.download(uri, str(target))
        except FileNotFoundError:
            return None
        except ClearMLServerError as error:
            if error.status_code != 404:
                raise
            return None
        return target


def source_of(task: str | os.PathLike[str], folder: Path) -> Source:
    """Where `task` (an id, a folder or a zip file) is; `folder` takes what is unpacked.

    Raises:
        ClearMLSettingError: there is no such task, or no credentials.
    """
    path = Path(task)
    if path.is_dir():
        return _Folder(path)
    if path.is_file():
        unpacked = Path(tempfile.mkdtemp(dir=folder))
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
        return _Folder(unpacked)
    if str(task).startswith("offline-"):
        return _Folder(offline_folder() / str(task))
    return _Server(str(task))


def _events(line: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(line))
    except ValueError:  # a process died in the middle of it
        return []
