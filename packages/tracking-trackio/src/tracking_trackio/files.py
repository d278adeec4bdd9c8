"""Files of a run on their way to its store: media beside the rows, files as artifacts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tracking_core.records import LoggedFile
from tracking_trackio.names import artifact_name, file_path, quoted
from tracking_trackio.store import RunId, Store

__all__ = ["Kept"]


class Kept(NamedTuple):
    """Keeps the files of one row (`row.Keep`)."""

    store: Store
    run: RunId
    step: int
    reject: Callable[[str, object, str], None]

    def medium(self, name: str, data: bytes) -> str:
        return self.store.keep_medium(self.run, self.step, name, data)

    def artifact(self, file: LoggedFile) -> str | None:
        """A version of the artifact of this name; the same content is the same version."""
        name = artifact_name(file.artifact_path, os.path.basename(file.path))
        files = {}
        for path, source in _files(file):
            if os.path.isfile(source):
                files[path] = source
            else:
                self.reject(path, file, "it is no file, or a link that leads nowhere")
        if not files:
            return None
        version = self.store.keep_files(self.run, name, self._type(name, file), files)
        return f"{name}:v{version}"

    def _type(self, name: str, file: LoggedFile) -> str:
        """Trackio refuses a new version of another type than that of the first."""
        kind = "directory" if file.directory else "file"
        if not self.store.has(self.run.project):
            return kind
        sql = f"SELECT type FROM artifacts WHERE name = {quoted(name)}"
        return next((row["type"] for row in self.store.query(self.run.project, sql)), kind)


def _files(file: LoggedFile) -> Iterator[tuple[str, str]]:
    """Path in the artifact, and on this machine. What links lead to is kept as if it lay there."""
    if not os.path.exists(file.path):
        raise FileNotFoundError(file.path)
    if not file.directory:
        yield file_path(file.artifact_path, os.path.basename(file.path)), file.path
        return
    for folder, _, names in sorted(os.walk(file.path)):
        for name in sorted(names):
            source = os.path.join(folder, name)
            inner = os.path.relpath(source, file.path).replace(os.sep, "/")
            yield file_path(file.artifact_path, inner), source
