"""Copies of logged files in the journal: their originals may be gone when a tracker is ready."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import msgspec

from tracking_core.codec import travels
from tracking_core.errors import let_through
from tracking_core.files import (
    Found,
    Unkept,
    as_text,
    changed,
    copy_whole,
    files_of,
    in_words,
    make_folders,
    size_text,
)
from tracking_core.names import shortened
from tracking_core.records import LoggedFile
from tracking_core.rejections import Rejections, say

__all__ = ["Copies"]

FILES = "files"
LONGEST, SHORT = 255, 60  # bytes of a name; characters of one that was cut
MOST_APART = 100
"""How many files of one folder are read where they are, each on its own, if a copy fails."""


class Copies:
    """The copies in the writer directory `directory`.

    A copy is whole or not there, each file on its own. It takes at most half of what is free on the
    journal's disk, which the training needs too. What can't be copied for want of a disk stays where
    it is, is read from there by the trackers, and that is said; what can't be kept at all is rejected.

    Args:
        leave_out: folders that are no part of what is logged: journals.

    Attributes:
        left_some: whether a file was left where it is.
    """

    def __init__(self, directory: Path, leave_out: Sequence[str], rejections: Rejections) -> None:
        self._directory = directory
        self._leave_out = leave_out
        self._rejections = rejections
        self._numbers = itertools.count(1)
        self._said: set[str] = set()
        self.left_some = False

    def take(self, values: dict[str, Any], parent: str = "") -> dict[str, Any]:
        """`values` with every file in them copied; a file that can't be kept is not among them."""
        taken: dict[str, Any] = {}
        for key, value in values.items():
            name = parent + key
            if type(value) is dict:
                inner = self.take(value, f"{name}/")
                if inner:
                    taken[key] = inner
            elif type(value) is list:
                listed = [
                    one
                    for item in value
                    for one in (self._copies(name, item) if _is_file(item) else [item])
                ]
                if listed:
                    taken[key] = listed
            elif _is_file(value):
                copies = self._copies(name, value)
                if copies:
                    taken[key] = copies[0] if len(copies) == 1 else copies
            else:
                taken[key] = value
        return taken

    def _copies(self, key: str, file: LoggedFile) -> list[LoggedFile]:
        """What `file` is for the trackers: its copy, and what of it stays where it is."""
        kind = "folder" if file.directory else "file"
        try:
            found, left_out = files_of(file, self._leave_out)
            copies = self._copy(key, file, found, left_out)
        except Unkept as reason:
            self._rejections.add(key, kind, str(reason))
            return []
        if left_out:
            self._rejections.add(key, kind, in_words(file, left_out))
        return copies

    def _copy(
        self, key: str, file: LoggedFile, found: list[Found], left_out: list[str]
    ) -> list[LoggedFile]:
        name = as_text(os.path.basename(file.path)) or "_"
        name = shortened(name, SHORT) if len(name.encode()) > LONGEST else name
        place = f"{FILES}/{next(self._numbers)}/{name}"
        target = os.path.join(self._directory, place)
        fitting, missed, why = self._fitting(found)
        made = _Private()
        try:
            if not self._directory.is_dir():
                raise FileNotFoundError(errno.ENOENT, "the journal is gone")
            made.folder(target if file.directory else os.path.dirname(target))
            for one in fitting:
                inner = one.inner.split("/") if file.directory else []
                try:
                    same = made.copy(one.path, os.path.join(target, *inner))
                except OSError as error:
                    let_through(error)
                    missed.append(one)
                    why = str(error.strerror or error)
                    if len(missed) > MOST_APART:
                        break
                except Unkept as reason:
                    if not file.directory:
                        raise
                    left_out.append(str(reason))
                else:
                    if not same:
                        left_out.append(changed(one))
        except OSError as error:  # not even a folder can be made
            let_through(error)
            missed, why = found, str(error.strerror or error)
        except BaseException:
            made.remove()
            raise
        if missed:
            self._say_where(key, missed, why)
        if missed and (len(missed) > MOST_APART or not made.files):
            made.remove()
            return _where_they_are(file, [file], left_out)
        # Relative, so that the directory may be moved or copied before it is delivered.
        copy = msgspec.structs.replace(file, path=place)
        apart = [
            LoggedFile(one.path, posixpath.join(file.artifact_path, posixpath.dirname(one.inner)))
            for one in missed
        ]
        return [copy, *_where_they_are(file, apart, left_out)]

    def _fitting(self, found: list[Found]) -> tuple[list[Found], list[Found], str]:
        """Which of `found` may be copied, which not, and why."""
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            let_through(error)
            free = 0
        room = free // 2
        fitting, missed = [], []
        for one in found:
            if one.size <= room:
                room -= one.size
                fitting.append(one)
            else:
                missed.append(one)
        return fitting, missed, f"copies take half of the free {size_text(free)} at most"

    def _say_where(self, key: str, missed: list[Found], why: str) -> None:
        self.left_some = True
        if key not in self._said:
            self._said.add(key)
            count = "one file is" if len(missed) == 1 else f"{len(missed)} files are"
            say(
                f"of {key!r} {count} not copied into the journal in {self._directory} "
                f"({size_text(sum(one.size for one in missed))}; {why}): trackers read them where "
                "they are, so leave them there until the run is delivered"
            )


def _where_they_are(
    file: LoggedFile, originals: list[LoggedFile], left_out: list[str]
) -> list[LoggedFile]:
    """Those of `originals` that a record can name."""
    named = [one for one in originals if travels(one.path) and travels(one.artifact_path)]
    for one in originals:
        if one not in named:
            reason = "could not be copied, and its name is no text that a record could hold"
            if not file.directory or one is file:
                raise Unkept(f"{one.path!r} {reason}")
            left_out.append(f"{one.path!r} {reason}")
    return named


class _Private:
    """Files and folders that only their owner may read, whatever the umask.

    Attributes:
        files: the copies so far.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self._folders: list[str] = []

    def folder(self, path: str) -> None:
        for made in make_folders(path, 0o700):
            os.chmod(made, 0o700)
            self._folders.append(made)

    def copy(self, source: str, target: str) -> bool:
        self.folder(os.path.dirname(target))
        same = copy_whole(source, target, 0o600)
        os.chmod(target, 0o600)
        self.files.append(target)
        return same

    def remove(self) -> None:
        for file in self.files:
            with contextlib.suppress(OSError):
                os.remove(file)
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _is_file(value: object) -> TypeGuard[LoggedFile]:
    return isinstance(value, LoggedFile)
