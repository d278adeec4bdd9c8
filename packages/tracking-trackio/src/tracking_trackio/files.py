"""Files of a run on their way to its store: media beside the rows, files as artifacts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tracking_core.files import files_of, in_words
from tracking_core.records import LoggedFile
from tracking_trackio.names import artifact_name, file_path, quoted
from tracking_trackio.store import RunId, Store, TrackioServerError

__all__ = ["Kept"]


class Kept(NamedTuple):
    """Keeps the files of one row (`row.Keep`)."""

    store: Store
    run: RunId
    step: int
    reject: Callable[[str, object, str], None]

    def medium(self, name: str, data: bytes) -> str:
        return self.store.keep_medium(self.run, self.step, name, data)

    def artifact(self, key: str, file: LoggedFile) -> str | None:
        """A version of the artifact of this name; the same content is the same version."""
        name = artifact_name(file.artifact_path, os.path.basename(file.path))
        found, left_out = files_of(file, room_in=self.store.place.get("directory"))
        files = {file_path(file.artifact_path, one.inner): one.path for one in found}
        version = None
        while files and version is None:
            try:
                version = self._kept(name, "directory" if file.directory else "file", files)
            except OSError as error:
                # Gone since it was found; the others are to be kept all the same.
                gone = [path for path, source in files.items() if source == str(error.filename)]
                if not gone:
                    raise
                left_out += [f"{files.pop(path)!r} {error.strerror}" for path in gone]
        if left_out:
            self.reject(key, file, in_words(file, left_out))
        return None if version is None else f"{name}:v{version}"

    def _kept(self, name: str, kind: str, files: Mapping[str, str]) -> int:
        """The version that `files` are. Trackio takes none of another type than the first one had."""
        try:
            return self.store.keep_files(self.run, name, kind, files)
        except (TrackioServerError, ValueError):
            sql = f"SELECT type FROM artifacts WHERE name = {quoted(name)}"
            first = [row["type"] for row in self.store.query(self.run.project, sql)]
            if first in ([], [kind]):
                raise
            return self.store.keep_files(self.run, name, first[0], files)
