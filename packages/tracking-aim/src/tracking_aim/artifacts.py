"""Files of a run: copied into its folder in the repository, or to where the run keeps artifacts."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from aim.sdk.objects.artifact import Artifact

from tracking_core import files
from tracking_core.files import Unkept, copy_file, files_below
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

    def keep(self, file: LoggedFile) -> Iterator[Any]:
        """Keep a copy of a file, or of all files of a directory, as Aim's artifacts.

        Raises:
            Unkept: one of them could not be kept.
            OSError: the place can't be written.
        """
        folder = inner_path(file.artifact_path)
        if not file.directory:
            yield self._keep(file.path, _joined(folder, inner_path(os.path.basename(file.path))))
            return
        for path in list(files_below(file.path)):
            inner = os.path.relpath(path, file.path).replace(os.sep, "/")
            yield self._keep(path, _joined(folder, inner_path(inner)))

    def add(self, name: str, data: bytes) -> Any:
        """Keep `data` as an artifact of Aim's.

        Raises:
            Unkept: there is no place for it.
            OSError: the place can't be written.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data")
            with open(path, "wb") as file:
                file.write(data)
            artifact = self._keep(path, name)
        artifact.storage["path"] = name  # not where it lay for a moment
        return artifact

    def _keep(self, path: str, name: str) -> Any:
        uri = self._uri()
        if uri is None:
            raise Unkept(
                "an Aim server takes no files: give artifacts_uri='s3://...', where they can go"
            )
        if not os.path.isfile(path):
            raise Unkept("it is no file, or gone")
        artifact = Artifact(path, uri=uri, name=name)
        if uri.startswith(LOCAL):
            # Not Aim's own copying, which a death leaves half done.
            copy_file(path, os.path.join(uri.removeprefix(LOCAL), *name.split("/")), name)
        else:
            artifact.upload(block=True)
        return artifact


def inner_path(path: str) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept."""
    return files.inner_path(path, _ALLOWED)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
