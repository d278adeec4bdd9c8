"""What of a record is passed on to a tracker, wherever the writer directory comes from.

A record names a file by its place in the directory that it was copied into when it was logged. A
directory of somebody else may name any file of this machine, or lead there by a link; its pictures
may say that they are larger than any memory. What is not whole, inside and as large as it says is
refused, and the rest of the record is delivered.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tracking_core.delivery.copies import FILES
from tracking_core.errors import DamagedJournal
from tracking_core.records import (
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedVideo,
    Media,
    Value,
)

__all__ = ["Refused", "vetted"]

NO_PART_OF_A_SUFFIX = frozenset("/\\\0")


class Refused(NamedTuple):
    """A value that is not passed on: the key that it was logged under, its type, and why."""

    key: str
    type: str
    reason: str


def vetted(
    values: dict[str, Value], directory: Path, *, originals: bool
) -> tuple[dict[str, Value], list[Refused]]:
    """`values` with the paths that their files have now, and what is left out of them.

    Args:
        values: of a record, with files by their place in the writer directory.
        directory: the writer directory.
        originals: whether an absolute path is the original of a file that could not be copied,
            because the disk was full; else it is left out.

    Raises:
        DamagedJournal: no tracker could take such values; they are nested too deep.
    """
    try:
        vetting = _Vetting(directory, originals)
        return vetting.of_group(values, ""), vetting.refused
    except RecursionError:
        raise DamagedJournal("the values of a record are nested too deep") from None


class _Unfit(Exception):
    """A value that is not passed on; the text says why."""


class _Vetting:
    def __init__(self, directory: Path, originals: bool) -> None:
        self.refused: list[Refused] = []
        self._directory = directory
        self._originals = originals

    def of_group(self, values: dict[str, Value], parent: str) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, value in values.items():
            if type(value) is dict:
                taken: Value = self.of_group(value, f"{parent}{key}/")
            elif type(value) is list:
                taken = [one for item in value for one in self._of_one(item, parent + key)]
            else:
                several = list(self._of_one(value, parent + key))
                if len(several) == 1:
                    found[key] = several[0]
                    continue
                taken = several
            if taken or value in ([], {}):
                found[key] = taken
        return found

    def _of_one(self, value: Any, key: str) -> Iterator[Any]:
        try:
            if isinstance(value, LoggedFile):
                yield from self._of_file(value, key)
            else:
                _require_fit(value)
                yield value
        except _Unfit as error:
            self._refuse(key, value, str(error))
        except (OSError, ValueError) as error:  # a name that no file can have, say
            self._refuse(key, value, f"it can't be looked at: {error}")

    def _of_file(self, file: LoggedFile, key: str) -> Iterator[LoggedFile]:
        """`file` where it is now; of a directory with something else in it, each of its files."""
        if os.path.isabs(file.path) and self._originals:
            yield file
            return
        path = self._inside(file.path)
        here = msgspec.structs.replace(file, path=str(path))
        kind = _kind(path)
        if kind is None:
            yield here  # gone: the tracker says so, as of any file
        elif not file.directory:
            if not stat.S_ISREG(kind):
                raise _Unfit(f"{path} is no regular file")
            yield here
        elif not stat.S_ISDIR(kind):
            raise _Unfit(f"{path} is no directory")
        else:
            yield from self._of_directory(here, key)

    def _inside(self, name: str) -> Path:
        """The path of what `name` names in the writer directory, no part of which is a link."""
        parts = name.replace(os.sep, "/").split("/")
        inside = len(parts) > 2 and parts[0] == FILES and not {"", ".", ".."}.intersection(parts)
        if not inside or os.path.isabs(name) or os.path.splitdrive(name)[0]:
            raise _Unfit(
                f"{name!r} is not among the files that were copied into the run's directory: "
                "--originals (originals=True) takes it from there, if the run is your own"
            )
        path = self._directory
        for part in parts:
            path = path / part
            kind = _kind(path)
            if kind is not None and stat.S_ISLNK(kind):
                raise _Unfit(f"{path} is a symbolic link, which leads elsewhere")
        return path

    def _of_directory(self, directory: LoggedFile, key: str) -> Iterator[LoggedFile]:
        files: list[LoggedFile] = []
        odd: list[str] = []
        top = directory.path
        for folder, inner, names in os.walk(top, onerror=lambda error: odd.append(str(error))):
            relative = os.path.relpath(folder, top)
            place = "" if relative == os.curdir else relative.replace(os.sep, "/")
            target = "/".join(part for part in (directory.artifact_path, place) if part)
            for name in sorted([*inner, *names]):
                path = os.path.join(folder, name)
                kind = _kind(Path(path)) or 0
                if stat.S_ISREG(kind):
                    files.append(LoggedFile(path, target))
                elif stat.S_ISLNK(kind):
                    odd.append(f"{path} is a symbolic link, which leads elsewhere")
                elif not stat.S_ISDIR(kind):
                    odd.append(f"{path} is no regular file")
        if not odd:
            yield directory
            return
        for reason in odd:
            self._refuse(key, directory, reason)
        yield from files

    def _refuse(self, key: str, value: object, reason: str) -> None:
        self.refused.append(Refused(key, type(value).__name__, reason))


def _kind(path: Path) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None


def _require_fit(media: Media) -> None:
    """Raise `_Unfit` unless a medium is as large as it says, and its format a mere word.

    Who makes a file of it goes by what it says: a thousand million frames of no bytes, or a suffix
    that leads to another folder, are nothing that was logged.
    """
    fits = True
    if isinstance(media, LoggedHistogram):
        fits = len(media.edges) == len(media.counts) + 1
    elif isinstance(media, (LoggedImage, LoggedAudio, LoggedVideo)):
        fits = not NO_PART_OF_A_SUFFIX.intersection(media.format)
    if isinstance(media, LoggedImage) and media.format == "raw":
        fits = _are_pixels(media, 1)
    elif isinstance(media, LoggedVideo) and media.format == "raw":
        fits = media.frames > 0 and _are_pixels(media, media.frames)
    if not fits:
        raise _Unfit("what it says of itself does not fit its data")


def _are_pixels(picture: LoggedImage | LoggedVideo, count: int) -> bool:
    sides = picture.width, picture.height, picture.channels
    return (
        min(sides) > 0 and picture.channels <= 4 and math.prod(sides) * count == len(picture.data)
    )
