"""Files that belong to a run, in DVCLive's folder for them: ``artifacts``."""

from __future__ import annotations

import os

from tracking_core.files import Unkept, copy_file, files_below
from tracking_core.records import LoggedFile
from tracking_dvclive.layout import ARTIFACTS, path_in
from tracking_dvclive.names import inner_path

__all__ = ["kept"]


def kept(run_dir: str, file: LoggedFile) -> tuple[str, list[str]]:
    """Copy a file or all files of a directory; its place in the run, and what was left out.

    Raises:
        Unkept: the file itself could not be copied.
        OSError: the disk is full or broken.
    """
    folder = "/".join(part for part in (ARTIFACTS, inner_path(file.artifact_path)) if part)
    if not file.directory:
        place = f"{folder}/{inner_path(os.path.basename(file.path))}"
        copy_file(file.path, path_in(run_dir, place), place)
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
            copy_file(path, path_in(run_dir, place), place)
        except Unkept as reason:
            left_out.append(str(reason))
    os.makedirs(path_in(run_dir, folder), exist_ok=True)
    return folder, left_out
