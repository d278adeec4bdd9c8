"""Files that belong to a run, in DVCLive's folder for them: ``artifacts``."""

from __future__ import annotations

import os

from tracking_core.files import keep, make_folders
from tracking_core.records import LoggedFile
from tracking_dvclive.layout import ARTIFACTS, path_in
from tracking_dvclive.names import inner_path

__all__ = ["kept"]


def kept(run_dir: str, file: LoggedFile) -> tuple[str, list[str]]:
    """Copy a file or all files of a directory; its place in the run, and what was left out.

    Raises:
        Unkept: nothing of it could be kept.
        OSError: the disk is full or broken.
    """
    folder = "/".join(part for part in (ARTIFACTS, inner_path(file.artifact_path)) if part)
    if file.directory and folder == ARTIFACTS:
        # DVC is given each entry of the artifacts by its name, so loose files get a folder.
        folder = f"{ARTIFACTS}/{inner_path(os.path.basename(file.path))}"

    def place_of(inner: str) -> str:
        return f"{folder}/{inner_path(inner)}"

    places, left_out = keep(file, run_dir, place_of, [path_in(run_dir, ARTIFACTS)])
    if not file.directory:
        return places[0], left_out
    make_folders(path_in(run_dir, folder))
    return folder, left_out
