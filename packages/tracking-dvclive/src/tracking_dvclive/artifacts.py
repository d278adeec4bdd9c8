"""Files that belong to a run, in DVCLive's folder for them: ``artifacts``."""

from __future__ import annotations

import os

from tracking_core.records import LoggedFile
from tracking_dvclive.batch import copy_file
from tracking_dvclive.layout import ARTIFACTS, files_below, path_in
from tracking_dvclive.names import inner_path

__all__ = ["Unkept", "kept"]


class Unkept(Exception):
    """A file can't be kept, and never will be: it is gone, no file, or in another's place."""


def kept(run_dir: str, file: LoggedFile) -> tuple[str, list[str]]:
    """Copy a file or all files of a directory; its place in the run, and what was left out.

    Raises:
        Unkept: the file itself could not be copied.
        OSError: the disk is full or broken.
    """
    folder = "/".join(part for part in (ARTIFACTS, inner_path(file.artifact_path)) if part)
    if not file.directory:
        place = f"{folder}/{inner_path(os.path.basename(file.path))}"
        _copy(file.path, path_in(run_dir, place), place)
        return place, []
    if folder == ARTIFACTS:
        # DVC is given each entry of the artifacts by its name, so loose files get a folder.
        folder = f"{ARTIFACTS}/{inner_path(os.path.basename(file.path))}"
    left_out = []
    # Listed before the first copy, in case the run lies in the directory itself.
    for path in list(files_below(file.path, leave_out=path_in(run_dir, ARTIFACTS))):
        inner = os.path.relpath(path, file.path).replace(os.sep, "/")
        place = f"{folder}/{inner_path(inner)}"
        try:
            _copy(path, path_in(run_dir, place), place)
        except Unkept as reason:
            left_out.append(str(reason))
    os.makedirs(path_in(run_dir, folder), exist_ok=True)
    return folder, left_out


def _copy(source: str, path: str, place: str) -> None:
    if not os.path.isfile(source):
        raise Unkept(f"{source!r} is no file, or gone")
    try:
        copy_file(source, path)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Unkept(f"{place!r} is already something else") from error
    except OSError as error:
        if error.filename == source:  # ours to read, and we can't
            raise Unkept(str(error)) from error
        raise
