"""Files that belong to a run, in the folder ``artifacts`` of its directory."""

from __future__ import annotations

import itertools
import os
import re

from tracking_core import files
from tracking_core.records import LoggedFile

__all__ = ["FOLDER", "Artifacts", "inner_path"]

FOLDER = "artifacts"

# TensorBoard takes any directory that holds a file with "tfevents" in its name for a run.
_ALLOWED = re.compile(
    r'(?!tfevents)[^\x00-\x1f<>:"|?*\\]' if os.name == "nt" else r"(?!tfevents)[^\x00]"
)


class Artifacts:
    """The artifacts of the run in `run_dir`. Places are named from there, with slashes."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._root = os.path.join(run_dir, FOLDER)

    def keep(self, file: LoggedFile) -> tuple[str, list[str]]:
        """Copy a file or all files of a directory; its place, and what could not be kept.

        Raises:
            Unkept: nothing of it could be kept.
            OSError: the disk is full or broken.
        """
        folder = "/".join(part for part in (FOLDER, inner_path(file.artifact_path)) if part)

        def place_of(inner: str) -> str:
            return f"{folder}/{inner_path(inner)}"

        places, left_out = files.keep(file, self._run_dir, place_of, [self._root])
        if not file.directory:
            return places[0], left_out
        files.make_folders(self._path(folder))
        return f"{folder}/", left_out

    def add(self, key: str, name: str, suffix: str, data: bytes) -> str:
        """Store `data` as a new file in the folder `key`; its place."""
        folder = "/".join(part for part in (FOLDER, inner_path(key)) if part)
        try:
            os.makedirs(self._path(folder), exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # a file was kept under that name
            folder = FOLDER
        for number in itertools.count(1):
            place = f"{folder}/{name}{f'-{number}' if number > 1 else ''}.{suffix}"
            try:
                with open(self._path(place), "xb") as file:
                    file.write(data)
            except FileExistsError:
                continue
            return place
        raise AssertionError("the numbers have ended")

    def _path(self, place: str) -> str:
        return os.path.join(self._run_dir, *place.split("/"))


def inner_path(path: str) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept."""
    return files.inner_path(path, _ALLOWED)
