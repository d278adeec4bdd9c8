"""Files that belong to a run, in the folder ``artifacts`` of its directory."""

from __future__ import annotations

import itertools
import os
import re

from tracking_core import files
from tracking_core.files import Unkept, copy_file, files_below
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
        """Copy a file or all files of a directory; its place, and what could not be copied.

        Raises:
            Unkept: the file itself could not be copied.
            OSError: the disk is full or broken.
        """
        folder = "/".join(part for part in (FOLDER, inner_path(file.artifact_path)) if part)
        if not file.directory:
            place = f"{folder}/{inner_path(os.path.basename(file.path))}"
            copy_file(file.path, self._path(place), place)
            return place, []
        left_out = []
        # Listed before the first copy, in case the run lies in the directory itself.
        for path in list(files_below(file.path, leave_out=self._root)):
            inner = os.path.relpath(path, file.path).replace(os.sep, "/")
            place = f"{folder}/{inner_path(inner)}"
            try:
                copy_file(path, self._path(place), place)
            except Unkept as reason:
                left_out.append(str(reason))
        os.makedirs(self._path(folder), exist_ok=True)
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
