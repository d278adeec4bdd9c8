"""Files of a run: copied into its folder in the repository, or to where the run keeps artifacts."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

from aim.sdk.objects.artifact import Artifact

from tracking_core import files
from tracking_core.files import Unkept, copy_file
from tracking_core.records import LoggedFile

__all__ = ["Artifacts", "inner_path"]

LOCAL = "file://"

_ALLOWED = re.compile(r"[^\x00-\x1f\x7f\\]")


class Artifacts:
    """Where a run's files go.

    Args:
        uri: asked for when the first file comes: ``file://``, or what Aim has a storage for, such
            as ``s3://``; None where there is no place for files.
    """

    def __init__(self, uri: Callable[[], str | None]) -> None:
        self._uri = uri

    def keep(self, file: LoggedFile) -> tuple[list[Any], list[str]]:
        """Keep a file, or all files of a directory: Aim's artifacts, and what could not be kept.

        Raises:
            Unkept: nothing of it could be kept, or there is no place for it.
            OSError: the place can't be written.
        """
        uri = self._place()
        folder = inner_path(file.artifact_path)

        def name_of(inner: str) -> str:
            return _joined(folder, inner_path(inner))

        if uri.startswith(LOCAL):
            # Not Aim's own copying, which a death leaves half done.
            root = uri.removeprefix(LOCAL)
            names, left_out = files.keep(file, root, name_of, [root])
            return [
                Artifact(os.path.join(root, name), uri=uri, name=name) for name in names
            ], left_out
        found, left_out = files.files_of(file)
        return [self._upload(one.path, uri, name_of(one.inner)) for one in found], left_out

    def add(self, name: str, data: bytes) -> Any:
        """Keep `data` as an artifact of Aim's.

        Raises:
            Unkept: there is no place for it.
            OSError: the place can't be written.
        """
        uri = self._place()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data")
            with open(path, "wb") as file:
                file.write(data)
            if uri.startswith(LOCAL):
                copy_file(path, os.path.join(uri.removeprefix(LOCAL), *name.split("/")), name)
                artifact = Artifact(path, uri=uri, name=name)
            else:
                artifact = self._upload(path, uri, name)
        artifact.storage["path"] = name  # not where it lay for a moment
        return artifact

    def _place(self) -> str:
        uri = self._uri()
        if uri is None:
            raise Unkept(
                "an Aim server takes no files: give artifacts_uri='s3://...', where they can go"
            )
        return uri

    def _upload(self, path: str, uri: str, name: str) -> Any:
        artifact = Artifact(path, uri=uri, name=name)
        artifact.upload(block=True)
        return artifact


def inner_path(path: str) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept."""
    return files.inner_path(path, _ALLOWED)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
