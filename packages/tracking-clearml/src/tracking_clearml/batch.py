"""What one `deliver` sends to a task: files first, then the events that show them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any

from tracking_clearml import events
from tracking_clearml.errors import ClearMLServerError
from tracking_clearml.events import MediaFile
from tracking_clearml.samples import Sample
from tracking_clearml.stores import Store
from tracking_core.files import Found, Unkept, as_text, files_of, in_words, open_file, too_large
from tracking_core.names import escape, shortened
from tracking_core.records import LoggedFile

__all__ = ["Batch"]

Reject = Callable[[str, object, str], None]
REFUSED_FILE = (400, 413, 414, 415, 422)
TOO_LARGE = (413, 414)  # a gateway, too, says that of the file

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
        # Of a store on this machine: there a file is copied to.
        self._here = store.artifacts if os.path.isabs(store.artifacts) else None

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
        try:
            found, left_out = files_of(file, room_in=scratch if file.directory else self._here)
            path, base = file.path, as_text(os.path.basename(file.path))
            if file.directory:
                base, path = f"{base}.zip", os.path.join(scratch, "archive.zip")
                preview = _zip(found, path, left_out)
            else:
                preview = f"{base} - {found[0].size} bytes"
            digest, size = _digest(path), os.path.getsize(path)
        except (Unkept, FileNotFoundError) as reason:
            self._reject(name, file, str(reason))
            return
        if left_out:
            self._reject(name, file, in_words(file, left_out))
        address = "/".join([self._store.artifacts, folder, "artifacts", _part(name), _part(base)])
        if not self._upload(name, path, address):
            return
        self._store.add_artifact(
            {
                "key": name,
                "type": "archive" if file.directory else "custom",
                "mode": "output",
                "uri": address,
                "hash": digest,
                "content_size": size,
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
            if error.status_code not in (TOO_LARGE if error.foreign else REFUSED_FILE):
                raise
            said = f"the file server refuses it (HTTP {error.status_code})"
            if error.status_code in TOO_LARGE:
                said = too_large(os.path.getsize(path), "the file server", error.status_code)
            self._reject(key, path, said)
            return False
        except Unkept as reason:
            self._reject(key, path, str(reason))
            return False
        except FileNotFoundError:
            if os.path.isfile(path):
                raise
            self._reject(key, path, f"{path!r} is gone")
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


def _zip(found: Sequence[Found], path: str, left_out: list[str]) -> str:
    """Pack `found`; a list of what is in there. What can't be read is not, and goes to `left_out`."""
    failed: set[Found] = set()
    while True:
        names = []
        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for one in found:
                    if one not in failed:
                        _pack(one, archive)
                        names.append(as_text(one.inner))
        except _Broken as error:
            failed.add(error.file)
            left_out.append(str(error))
        else:
            shown = names[:100] + ([f"and {len(names) - 100} more"] if len(names) > 100 else [])
            return "\n".join(shown)


class _Broken(Exception):
    def __init__(self, file: Found, reason: object) -> None:
        super().__init__(str(reason))
        self.file = file


def _pack(one: Found, archive: zipfile.ZipFile) -> None:
    try:
        source = open_file(one.path)
    except (OSError, Unkept) as error:
        raise _Broken(one, error) from error
    with source:
        about = _about(one, source)
        left = about.file_size
        with archive.open(about, "w") as target:
            while left and (part := _part_of(one, source, left)):
                target.write(part)
                left -= len(part)


def _about(one: Found, source: FileIO) -> zipfile.ZipInfo:
    try:
        # Files from before 1980, which this format does not know, are from then.
        about = zipfile.ZipInfo.from_file(one.path, as_text(one.inner), strict_timestamps=False)
        about.file_size = os.fstat(source.fileno()).st_size
    except OSError as error:
        raise _Broken(one, error) from error
    about.compress_type = zipfile.ZIP_DEFLATED
    return about


def _part_of(one: Found, source: FileIO, left: int) -> bytes:
    try:
        return source.read(min(left, 1 << 20)) or b""
    except OSError as error:
        raise _Broken(one, error) from error


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
