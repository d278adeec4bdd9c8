"""What one `deliver` sends to a task: files first, then the events that show them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

from tracking_clearml import events
from tracking_clearml.errors import ClearMLServerError
from tracking_clearml.events import MediaFile
from tracking_clearml.samples import Sample
from tracking_clearml.wanted import Store
from tracking_core.names import escape, shortened
from tracking_core.records import LoggedFile

__all__ = ["Batch"]

Reject = Callable[[str, object, str], None]
REFUSED_FILE = (400, 413, 414, 415, 422)

_IN_PATHS = re.compile(r"[A-Za-z0-9_-]|(?<=[^/])\.")
LONGEST_PART = 80


class Batch:
    """Events, files and artifacts of one task on their way.

    Attributes:
        events: as in `tracking_clearml.events`.
    """

    def __init__(self, store: Store, reject: Reject) -> None:
        self.events: list[dict[str, Any]] = []
        self._keys: list[str] = []
        self._samples: list[tuple[str, tuple[str, str], MediaFile, Sample]] = []
        self._artifacts: dict[str, tuple[LoggedFile, dict[str, str]]] = {}
        self._singles: dict[str, dict[str, Any]] = {}
        self._store = store
        self._reject = reject

    def event(self, key: str, event: dict[str, Any]) -> None:
        """Add an event; `key` is who is named if the server refuses it."""
        self._keys.append(key)
        self.events.append(event)

    def single_value(self, name: str, when: int, value: float) -> None:
        """Add a number without an iteration. ClearML shows the last one only."""
        self._singles[name] = events.single_value(name, when, value)

    def sample(self, key: str, place: tuple[str, str], file: MediaFile, sample: Sample) -> None:
        """Add a file and the event that shows it."""
        self._samples.append((key, place, file, sample))

    def artifact(self, name: str, file: LoggedFile, about: dict[str, str]) -> None:
        """Add a file or a directory of the user's; the last one of a name stays."""
        self._artifacts[name] = file, about

    def send(self, folder: str) -> None:
        """Send everything; `folder` is the task's own among the files.

        What the server refuses for good is rejected by its key.
        """
        if self._samples or self._artifacts:
            with tempfile.TemporaryDirectory() as scratch:
                for one in self._samples:
                    self._send_sample(folder, scratch, *one)
                for name, (artifact, about) in self._artifacts.items():
                    self._send_artifact(folder, scratch, name, artifact, about)
        for name, event in self._singles.items():
            self.event(name, event)
        refused = self._store.add_events(self.events)
        names = {_identity(event): key for key, event in zip(self._keys, self.events, strict=True)}
        for event in refused:
            # The server's reason may hold the value, and a value may be a secret.
            self._reject(names[_identity(event)], event.get("value"), "ClearML's server refuses it")

    def _send_sample(
        self,
        folder: str,
        scratch: str,
        key: str,
        place: tuple[str, str],
        file: MediaFile,
        sample: Sample,
    ) -> None:
        path = os.path.join(scratch, "sample")
        with open(path, "wb") as out:
            out.write(sample.data)
        inner = "/".join([folder, "metrics", *map(_part, place), file.name])
        address = f"{self._store.files}/{inner}"
        if self._upload(key, path, address):
            variant = (place[0], file.variant(place[1]))
            self.event(key, events.media(variant, file.step, file.when, inner, address))

    def _send_artifact(
        self, folder: str, scratch: str, name: str, file: LoggedFile, about: dict[str, str]
    ) -> None:
        path, base = file.path, os.path.basename(file.path)
        if not os.path.exists(path):
            self._reject(name, file, "the file is gone")
            return
        preview = f"{base} - {os.path.getsize(path)} bytes"
        if file.directory:
            base, path = f"{base}.zip", os.path.join(scratch, "archive.zip")
            preview = _zip(file.path, path)
        address = "/".join([self._store.artifacts, folder, "artifacts", _part(name), _part(base)])
        if not self._upload(name, path, address):
            return
        self._store.add_artifact(
            {
                "key": name,
                "type": "archive" if file.directory else "custom",
                "mode": "output",
                "uri": address,
                "hash": _digest(path),
                "content_size": os.path.getsize(path),
                "timestamp": int(about["logged"]) // 1000,
                "type_data": {
                    "preview": preview,
                    "content_type": "application/zip" if file.directory else "",
                },
                "display_data": [list(pair) for pair in about.items()],
            }
        )

    def _upload(self, key: str, path: str, address: str) -> bool:
        try:
            self._store.upload(path, address)
        except ClearMLServerError as error:
            if error.status_code not in REFUSED_FILE:
                raise
            self._reject(key, path, f"the file server refuses it ({error.status_code})")
            return False
        return True


def task_folder(fields: dict[str, Any]) -> str:
    """The folder of a task's files, named as ClearML does but for characters that URLs escape."""
    project = "/".join(map(_part, str(fields.get("project_name") or "Untitled").split("/")))
    return f"{project}/{_part(str(fields.get('name') or ''))}.{fields['id']}"


def _part(name: str) -> str:
    return shortened(escape(name, _IN_PATHS), LONGEST_PART)


def _identity(event: dict[str, Any]) -> tuple[Any, ...]:
    return event.get("metric"), event.get("variant"), event.get("iter"), event["timestamp"]


def _zip(directory: str, path: str) -> str:
    """Pack `directory`; a list of what is in it."""
    names = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, _, files in sorted(os.walk(directory)):
            for file in sorted(files):
                source = os.path.join(folder, file)
                if os.path.isfile(source):
                    inner = os.path.relpath(source, directory)
                    archive.write(source, inner)
                    names.append(inner.replace(os.sep, "/"))
    shown = names[:100] + ([f"and {len(names) - 100} more"] if len(names) > 100 else [])
    return "\n".join(shown)


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
