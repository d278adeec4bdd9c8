"""Logged files: what there is of one, and copies of it that are whole or not there at all.

What a `LoggedFile` stands for is looked at in one way everywhere, by `files_of`: regular files only,
through links to files and folders but in no circle, nothing that would be waited for (pipes, devices,
sockets), no journals, and not without end. Whatever is left out is named.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from typing import NamedTuple

from tracking_core.errors import let_through
from tracking_core.names import escape, shortened
from tracking_core.records import LoggedFile

__all__ = [
    "Found",
    "Unkept",
    "absolute",
    "as_text",
    "changed",
    "copy_file",
    "copy_whole",
    "files_below",
    "files_of",
    "in_words",
    "inner_path",
    "keep",
    "logged_file",
    "make_folders",
    "open_file",
    "read_file",
    "size_text",
    "too_large",
    "whole_file",
]

MOST_ENTRIES = 100_000
"""How many files and folders a logged folder may hold."""
MOST_TIMES = 10
"""How often one folder is kept, if links lead to it from several places."""
MOST_LOOKS = 10
"""How many times `MOST_ENTRIES` are looked at, to tell which links lead to too much."""
MOST_NAMED = 5

LONGEST_PART = 255  # bytes, on every common file system
SHORT_PART = 60  # characters, of at most four bytes

AT_ONCE = 64 * 1024 * 1024  # bytes, between two moments in which Ctrl-C is heard
PART = 1024 * 1024  # bytes
MOST_READS = 1024  # of a file that says that it is empty
MOST_MADE_UP = 1024 * 1024  # bytes of a file that the kernel makes up

_JOURNAL = {"owner.json", "cursors"}  # what every writer directory of a journal holds
# Some of their files never end, and some wait for what is still to happen.
_MADE_UP = frozenset([
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
    "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs",
    "selinuxfs", "sysfs", "tracefs",
])  # fmt: skip
_NO_WAIT = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_TRUNC
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# Not the file's fault: it can be read once the process has memory and descriptors again.
_SHORT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Nor the disk's: a copy of this name or size will never be taken there.
_NO_PLACE = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EFBIG, errno.ELOOP})


class Unkept(Exception):
    """A file can't be kept, and never will be: it is gone, no file, or in another's place."""


class Found(NamedTuple):
    """A regular file that belongs to a `LoggedFile`.

    Attributes:
        path: on this machine; it may be a link to the file.
        inner: its path below the logged folder, with slashes; of a single file its name.
        size: in bytes, when it was found.
    """

    path: str
    inner: str
    size: int


# --- what there is ---


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` for any working directory; as it is where this process's own was deleted."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return os.fspath(path)


def logged_file(path: str, artifact_path: str = "") -> LoggedFile:
    """The file or folder that `path` is.

    Raises:
        Unkept: there is none, or it is a pipe, a socket or a device.
        OSError: it can't be looked at.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # a NUL in the name
        if os.path.islink(path):
            raise Unkept(f"{path!r} is a link that leads nowhere") from error
        raise Unkept(f"no such file or directory: {path!r}") from error
    if not stat.S_ISDIR(mode):
        _require_file(path, mode)
    return LoggedFile(path, artifact_path, stat.S_ISDIR(mode))


def files_of(
    file: LoggedFile, leave_out: Iterable[str] = (), room_in: str | None = None
) -> tuple[list[Found], list[str]]:
    """The files that `file` stands for, in order, and sentences about what of it can't be kept.

    Links are followed, to files and to folders, but not to a folder that they lie in, and no folder
    is kept more than `MOST_TIMES` times. Journals are no part of a folder. `in_words` puts the
    sentences together.

    Args:
        leave_out: folders that are not looked into, such as that of the copies.
        room_in: a folder on the disk that is going to hold copies, if it is of this machine.

    Raises:
        Unkept: there is no such file or folder, it can't be read, it is no file (but a pipe, a
            socket, a device), the folder holds more than `MOST_ENTRIES` files and folders, or the
            file is larger than the whole disk of `room_in`.
        OSError: there is not room enough on that disk, at the moment.
    """
    found, left_out = _listed(file, leave_out)
    if room_in is not None:
        found = _that_fit(file, {one: one.size for one in found}, room_in, left_out)
    return found, left_out


def _listed(file: LoggedFile, leave_out: Iterable[str]) -> tuple[list[Found], list[str]]:
    try:
        about = os.stat(file.path)
    except OSError as error:
        let_through(error)
        raise Unkept(f"{file.path!r} {_trouble_of(file.path, error)}") from error
    except ValueError as error:  # a NUL in the name
        raise Unkept(f"{file.path!r} is no path: {error}") from error
    made_up = _made_up_devices()
    if file.directory and stat.S_ISDIR(about.st_mode):
        if about.st_dev in made_up:
            raise Unkept(
                f"{file.path!r} is made up by the kernel, and no folder of files: "
                "log the files that you need, one by one"
            )
        listing = _Listing(leave_out, made_up, MOST_ENTRIES)
        listing.take(file.path, about)
        return listing.files, listing.left_out
    trouble = "is no folder" if file.directory else _trouble_with(file.path, about, made_up)
    if trouble:
        raise Unkept(f"{file.path!r} {trouble}")
    return [Found(file.path, os.path.basename(file.path), about.st_size)], []


def files_below(directory: str, leave_out: str | None = None) -> Iterator[str]:
    """The paths of all files below `directory`, as `files_of` finds them, and however many.

    List them before the first copy where copies may lie in the directory itself.
    """
    listing = _Listing([] if leave_out is None else [leave_out], _made_up_devices(), float("inf"))
    with contextlib.suppress(OSError, Unkept):
        listing.take(directory, os.stat(directory))
    for found in listing.files:
        yield found.path


def in_words(file: LoggedFile, left_out: Sequence[str]) -> str:
    """One sentence of the sentences about `file`: how many there are, and the first few."""
    if not file.directory:
        return "; ".join(left_out)
    count = "one entry" if len(left_out) == 1 else f"{len(left_out)} entries"
    more = [f"and {len(left_out) - MOST_NAMED} more"] if len(left_out) > MOST_NAMED else []
    return f"all is kept but for {count}: " + "; ".join([*left_out[:MOST_NAMED], *more])


def changed(found: Found) -> str:
    """The sentence about a file that did not stay the same while it was copied."""
    return f"{found.inner!r} changed while it was copied, and is as it was read"


class _Folder(NamedTuple):
    """A folder on the way; `inner` ends with a slash, but for the topmost, of which it is empty."""

    path: str
    inner: str
    identity: tuple[int, int]
    parent: _Folder | None


class _TooMany(Exception):
    pass


class _Listing:
    """What lies below a folder: first what is really there, then what links lead to."""

    def __init__(self, leave_out: Iterable[str], made_up: frozenset[int], most: float) -> None:
        self.files: list[Found] = []
        self.left_out: list[str] = []
        self._made_up = made_up
        self._left = self._most = most
        self._looks = most * MOST_LOOKS
        self._times: Counter[tuple[int, int]] = Counter()
        self._links: deque[_Folder] = deque()
        self._apart: set[tuple[int, int]] = set()
        for path in leave_out:
            with contextlib.suppress(OSError):
                self._apart.add(_identity(os.stat(path)))

    def take(self, top: str, about: os.stat_result) -> None:
        """List all of it.

        Raises:
            Unkept: it can't be read, is a journal, or holds too much.
        """
        if _identity(about) in self._apart:
            raise Unkept(f"{top!r} is where copies go: a run holds no copy of itself")
        try:
            self._below(_Folder(top, "", _identity(about), None))
        except _TooMany:
            raise Unkept(
                f"{top!r} holds more than {self._most:,} files and folders, and is not kept: pack "
                "it into one file (shutil.make_archive) and log that, or log its folders one by one"
            ) from None
        while self._links:
            link = self._links.popleft()
            before = self._left, len(self.files), len(self.left_out), len(self._links)
            try:
                self._below(link)
            except _TooMany:
                self._left, files, left_out, links = before
                del self.files[files:], self.left_out[left_out:]
                while len(self._links) > links:
                    self._links.pop()
                self._leave_out_folder(
                    link,
                    f"is a link to a folder that holds too much beside the rest: {self._most:,} "
                    "files and folders are kept together",
                )

    def _below(self, top: _Folder) -> None:
        ahead = [top]
        while ahead:
            folder = ahead.pop()
            if not self._is_to_be_kept(folder):
                continue
            inner: list[_Folder] = []
            for entry in self._entries(folder):
                self._look(folder, entry, inner)
            ahead += reversed(inner)

    def _is_to_be_kept(self, folder: _Folder) -> bool:
        above = folder.parent
        while above is not None and above.identity != folder.identity:
            above = above.parent
        if above is not None:
            self._leave_out_folder(folder, "leads back to a folder that it lies in")
        elif self._times[folder.identity] >= MOST_TIMES:
            reason = f"leads to a folder that is kept {MOST_TIMES} times already"
            self._leave_out_folder(folder, reason)
        elif folder.identity[0] in self._made_up:
            self._leave_out_folder(folder, "is made up by the kernel, and no folder of files")
        elif folder.identity not in self._apart:
            self._times[folder.identity] += 1
            return True
        return False

    def _entries(self, folder: _Folder) -> list[os.DirEntry[str]]:
        left = min(self._left, self._looks)
        most = None if left == float("inf") else int(left) + 1
        try:
            with os.scandir(folder.path) as found:
                entries = list(itertools.islice(found, most))
        except OSError as error:
            let_through(error)
            self._leave_out_folder(folder, _trouble_of(folder.path, error))
            return []
        self._left -= len(entries)
        self._looks -= len(entries)
        if min(self._left, self._looks) < 0:
            raise _TooMany
        if {entry.name for entry in entries} >= _JOURNAL:
            self._leave_out_folder(folder, "is the journal of a run, and no part of another")
            return []
        entries.sort(key=lambda entry: entry.name)
        return entries

    def _look(self, folder: _Folder, entry: os.DirEntry[str], inner: list[_Folder]) -> None:
        name = folder.inner + entry.name
        try:
            about = os.stat(entry.path)
            if not stat.S_ISDIR(about.st_mode):
                trouble = _trouble_with(entry.path, about, self._made_up)
            elif not entry.is_symlink():
                inner.append(_Folder(entry.path, f"{name}/", _identity(about), folder))
                return
            elif _lies_in(folder.path, entry.path):
                trouble = "leads back to a folder that it lies in"
            else:
                self._links.append(_Folder(entry.path, f"{name}/", _identity(about), folder))
                return
        except OSError as error:
            let_through(error)
            trouble = _trouble_of(entry.path, error)
        if trouble:
            self._leave_out(name, trouble)
        else:
            self.files.append(Found(entry.path, name, about.st_size))

    def _leave_out_folder(self, folder: _Folder, reason: str) -> None:
        if folder.parent is None:
            raise Unkept(f"{folder.path!r} {reason}")
        self._leave_out(folder.inner[:-1], reason)

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(f"{name!r} {reason}")


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _lies_in(folder: str, link: str) -> bool:
    """Whether `folder` is what `link` leads to, or lies below it."""
    here, there = os.path.realpath(folder), os.path.realpath(link)
    return here == there or here.startswith(there.rstrip(os.sep) + os.sep)


def _trouble_with(path: str, about: os.stat_result, made_up: frozenset[int]) -> str:
    """Why something that is there can't be kept as a file; empty if it can."""
    if not stat.S_ISREG(about.st_mode):
        return _kind(about.st_mode)
    if not os.access(path, os.R_OK):
        return "can't be read: Permission denied"
    if about.st_dev in made_up and not _ends(path):
        return f"is made up by the kernel, and has no end within {size_text(MOST_MADE_UP)}"
    return ""


def _trouble_of(path: str, error: OSError) -> str:
    """Why nothing can be had of what is there."""
    if isinstance(error, FileNotFoundError):
        return "is a link that leads nowhere" if os.path.islink(path) else "is gone"
    if error.errno == errno.ELOOP:
        return "is a link that leads to itself"
    return f"can't be read: {error.strerror or error}"


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder, and no file"
    if stat.S_ISFIFO(mode):
        return "is a pipe, and no file"
    if stat.S_ISSOCK(mode):
        return "is a socket, and no file"
    return "is a device, and no file"


def _made_up_devices() -> frozenset[int]:
    """The devices (``st_dev``) of file systems that hold no files but what the kernel makes up."""
    found = set()
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            for line in mounts:
                mount, _, system = line.decode("ascii", "replace").partition(" - ")
                if system.partition(" ")[0] in _MADE_UP:
                    major, _, minor = mount.split(" ", 3)[2].partition(":")
                    found.add(os.makedev(int(major), int(minor)))
    except (OSError, ValueError) as error:
        let_through(error)
    return frozenset(found)


def _ends(path: str) -> bool:
    """Whether a file that says nothing of its size can be read to its end, without waiting."""
    try:
        with open_file(path) as file:
            left = MOST_MADE_UP
            while part := os.read(file.fileno(), left + 1):
                left -= len(part)
                if left < 0:
                    return False
    except (OSError, Unkept) as error:
        let_through(error)
        return False
    return True


# --- reading and copying ---


def open_file(path: str | os.PathLike[str]) -> FileIO:
    """A regular file, open for reading. Nothing else is ever opened, or waited for.

    Raises:
        Unkept: it is a folder, a pipe, a socket or a device.
        OSError: it is gone, or can't be read.
    """
    # Opening a device may do something; and what lies there may be another thing by then.
    _require_file(path, os.stat(path).st_mode)
    file = open(path, "rb", buffering=0, opener=_opened)  # noqa: SIM115  # it is handed on
    try:
        _require_file(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_file(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a regular file.

    Raises:
        Unkept: it is a folder, a pipe, a socket or a device.
        OSError: it is gone, or can't be read.
    """
    with open_file(path) as file:
        data = file.read()
    if data is None:
        raise BlockingIOError(errno.EAGAIN, "it would have to be waited for", os.fspath(path))
    return data


def _opened(path: str, flags: int) -> int:
    return os.open(path, _NO_WAIT)


def _require_file(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise Unkept(f"{os.fspath(path)!r} {_kind(mode)}")


def copy_whole(source: str, target: str, mode: int = 0o666) -> bool:
    """Copy a file; whether it stayed the same meanwhile. A death leaves no half copy, nor an error.

    The folder of `target` is made if need be. Where the file system can clone, it does.

    Raises:
        Unkept: `source` is gone, no file, or not readable.
        OSError: `target` can't be written.
    """
    try:
        reading = open_file(source)
    except OSError as error:
        let_through(error)
        if error.errno in _SHORT_OF_MEANS:
            raise
        raise Unkept(f"{source!r} {_trouble_of(source, error)}") from error
    with reading, whole_file(target) as unfinished:
        before = os.fstat(reading.fileno())
        writing = os.open(unfinished, _WRITE, mode)
        try:
            _copy_bytes(source, reading.fileno(), writing, before.st_size)
        finally:
            os.close(writing)
        after = os.fstat(reading.fileno())
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _copy_bytes(source: str, reading: int, writing: int, size: int) -> None:
    """Copy what the file held when it was opened: one that grows would be followed for ever."""
    left = size
    try:
        while left and (copied := os.copy_file_range(reading, writing, min(left, AT_ONCE))):
            left -= copied
    except (AttributeError, OSError) as error:  # whose fault it is shows below
        let_through(error)
    while left and (part := _read(source, reading, min(left, PART))):
        left -= len(part)
        _write(writing, part)
    if size:
        return
    # What the kernel makes up, and some network file systems, say of every file that it is empty.
    for _ in range(MOST_READS):
        part = _read(source, reading, PART)
        if not part:
            return
        _write(writing, part)
    raise Unkept(f"{source!r} says that it is empty, and has no end")


def _read(source: str, reading: int, most: int) -> bytes:
    try:
        return os.read(reading, most)
    except OSError as error:
        let_through(error)
        raise Unkept(f"{source!r} can't be read: {error.strerror or error}") from error


def _write(writing: int, data: bytes) -> None:
    while data:
        data = data[os.write(writing, data) :]


def copy_file(source: str, target: str, place: str | None = None) -> bool:
    """Like `copy_whole`; what can never be at `target` is told from a disk that is full or broken.

    Args:
        place: what to call `target` in an error.

    Raises:
        Unkept: `source` is gone, no file, or not readable; something else is at `target`; or its
            file system takes no such name or size.
        OSError: the disk is full or broken.
    """
    try:
        return copy_whole(source, target)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Unkept(f"{place or target!r} is already something else") from error
    except OSError as error:
        if error.errno in _NO_PLACE:
            reason = error.strerror or error
            raise Unkept(f"{place or target!r} can't be written there: {reason}") from error
        raise


def keep(
    file: LoggedFile,
    root: str,
    place_of: Callable[[str], str],
    leave_out: Iterable[str] = (),
) -> tuple[list[str], list[str]]:
    """Copy all files of `file` below `root`: their places there, and what could not be kept.

    Args:
        place_of: the place of a file, with slashes, by its path in the folder (`Found.inner`).
        leave_out: as in `files_of`.

    Raises:
        Unkept: nothing can be kept of it, as in `files_of`, or because no disk like this holds it.
        OSError: the disk is full or broken.
    """
    found, left_out = files_of(file, leave_out)
    targets, sizes = {}, {}
    for one in found:
        place = place_of(one.inner)
        targets[one] = place, os.path.join(root, *place.split("/"))
        sizes[one] = 0 if _is_there(one, targets[one][1]) else one.size
    places = []
    for one in _that_fit(file, sizes, root, left_out):
        place, target = targets[one]
        try:
            same = copy_file(one.path, target, place)
        except Unkept as reason:
            if not file.directory:
                raise
            left_out.append(str(reason))
        else:
            places.append(place)
            if not same:
                left_out.append(f"{one.inner!r} changed while it was copied, and is as it was read")
    return places, left_out


def _that_fit(
    file: LoggedFile, sizes: dict[Found, int], root: str, left_out: list[str]
) -> list[Found]:
    """What can be copied to the disk of `root`, before the first copy: half of it helps nobody.

    What that disk could not even hold if it were empty is put with `left_out`, the largest first.
    """
    while not os.path.exists(root):
        root = os.path.dirname(root)
    disk = shutil.disk_usage(root)
    needed = sum(sizes.values())
    too_large = set()
    for one in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if needed <= disk.total:
            break
        needed -= sizes[one]
        too_large.add(one)
        reason = (
            f"{one.inner!r} has {size_text(one.size)}, and with the rest is more than the "
            f"{size_text(disk.total)} of the whole disk of {root}"
        )
        if not file.directory:
            raise Unkept(reason)
        left_out.append(reason)
    if needed > disk.free:
        reason = f"{size_text(needed)} of {file.path!r} do not fit: {size_text(disk.free)} are free"
        raise OSError(errno.ENOSPC, reason, root)
    return [one for one in sizes if one not in too_large]


def _is_there(one: Found, target: str) -> bool:
    """Whether a copy that is as large is there already: a record may come twice."""
    try:
        return os.stat(target).st_size == one.size
    except (OSError, ValueError):
        return False


def _is_folder(path: str) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: str) -> int | None:
    """What lies there; None if nothing does. `os.path` would keep a handler's error to itself."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError) as error:
        let_through(error)
        return None


def make_folders(path: str, mode: int = 0o777) -> list[str]:
    """Make a folder and those above it; those that were not there. As deep as the system allows.

    Raises:
        OSError: something else is in its place, or it can't be made.
    """
    missing = []
    while not _is_folder(path):
        missing.append(path)
        path = os.path.dirname(path)
    missing.reverse()
    for folder in missing:
        try:
            os.mkdir(folder, mode)
        except FileExistsError:
            if not _is_folder(folder):
                raise
    return missing


@contextmanager
def whole_file(target: str) -> Iterator[str]:
    """A path to write to; what is there in the end gets to `target`, and replaces what was there.

    Where the block raises, nothing of it stays. The folder of `target` is made if need be.
    """
    folder = os.path.dirname(target)
    make_folders(folder)
    unfinished = os.path.join(folder, f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        if _mode(unfinished) is not None:
            os.remove(unfinished)


# --- names ---


def inner_path(path: str, allowed: re.Pattern[str]) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept.

    Every part is written in what `allowed` matches (`tracking_core.names.escape`), and cut where no
    common file system would take it. Bytes that are no UTF-8 are always escaped: what such a name is
    written into later may be text.

    >>> any_character = re.compile(".")
    >>> inner_path("/models//best/", any_character), inner_path("../up", any_character)
    ('models/best', '_x2E__x2E_/up')
    """
    parts = path.replace(os.sep, "/").split("/")
    return "/".join(_part(part, allowed) for part in parts if part not in ("", os.curdir))


def as_text(path: str) -> str:
    """`path` with what is no text in it (bytes that are no UTF-8) escaped, and else as it is."""
    return _NO_TEXT.sub(lambda found: f"_x{ord(found[0]):X}_", path)


def too_large(size: int, place: str, status: int) -> str:
    """Why `place` does not keep a file or a value of so many bytes, which an HTTP `status` said.

    >>> too_large(12_000_000, "Comet", 413)
    '12.0 MB are more than Comet, or a proxy before it, takes at once (HTTP 413)'
    """
    return f"{size_text(size)} are more than {place}, or a proxy before it, takes at once (HTTP {status})"


def size_text(size: int) -> str:
    """A number of bytes as a person reads it.

    >>> size_text(999), size_text(1_500_000), size_text(32 * 10**9)
    ('999 bytes', '1.5 MB', '32.0 GB')
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def _part(name: str, allowed: re.Pattern[str]) -> str:
    if name == os.pardir:
        return "_x2E_" * 2
    name = as_text(escape(name, allowed))
    return shortened(name, SHORT_PART) if len(os.fsencode(name)) > LONGEST_PART else name


_NO_TEXT = re.compile(r"[\ud800-\udfff]")
