"""Where everything of a journal lies, what it is called, and who owns it.

::

    <root>/<run>/<writer>/
        owner.json                            who writes here
        00000001-0000...0001-5a17c0de.seg     number, first record, salt
        cursors/<tracker>   dead/<tracker>.ndjson   blobs/<sha256>   drain.lock

One writing process has one writer directory, made by an exclusive `mkdir`, so two processes never
share one.  Directories are 0700 and files 0600 whatever the umask.  Names from outside are escaped
reversibly: whatever a run is called, nothing lands outside the root.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tracking_core.errors import DamagedJournal, JournalError, let_through
from tracking_core.journal.files import CREATE, REAL, Files
from tracking_core.journal.regular import read_regular

OWNER = "owner.json"
CURSORS = "cursors"
DEAD = "dead"
BLOBS = "blobs"
DRAIN_LOCK = "drain.lock"
IGNORE = ".gitignore"
ROOT = ".tracking"

_IGNORED = b"# Journals of training runs: nothing in here belongs into a repository.\n*\n"
_LONGEST_OWNER = 65536
_LONGEST_NAME = 120
_LARGEST = 2**63 - 1
_DIGEST_MARK = "~~"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_SEGMENT = re.compile(r"(\d{8,})-(\d{20})-([0-9a-f]{8})\.seg")
_ESCAPE = re.compile(rb"~([0-9a-f]{2})")


class SegmentName(NamedTuple):
    """What a segment's file name says: enough to read it even when its header is damaged."""

    number: int
    first: int
    salt: int
    path: Path


class Owner(NamedTuple):
    """The process that writes, or wrote, a writer directory."""

    run: str
    host: str
    pid: int
    boot: str
    namespace: str
    started: int
    created_ns: int


def escape(name: str) -> str:
    """A file name for any text: letters, digits, ``.``, ``_`` and ``-`` stay, the rest is ``~xx``.

    Different names give different file names, on a file system that ignores case too: a name with
    capitals carries a digest.  Reversible by `unescape`, except beyond 120 characters, where the
    tail gives way to a digest and the full name stands in ``owner.json`` only.
    """
    raw = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _PLAIN else f"~{byte:02x}" for byte in raw)
    if not text:
        return "~"
    if text[0] in ".-" or _RESERVED.match(text):
        text = f"~{raw[0]:02x}{text[1:]}"
    if text[-1] == ".":
        text = f"{text[:-1]}~2e"
    digest = hashlib.sha256(raw).hexdigest()
    if len(text) > _LONGEST_NAME:
        return f"{text[:80]}{_DIGEST_MARK}{digest[:32]}"
    if text != text.lower():
        return f"{text}{_DIGEST_MARK}{digest[:8]}"
    return text


def unescape(text: str) -> str | None:
    """The name that `escape` was given, or None where only ``owner.json`` still knows it."""
    if text == "~":
        return ""
    plain = text.partition(_DIGEST_MARK)[0]
    raw = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), plain.encode())
    try:
        name = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return name if escape(name) == text else None


def segment_name(number: int, first: int, salt: int) -> str:
    """The file name of a segment."""
    return f"{number:08d}-{first:020d}-{salt:08x}.seg"


def segments(directory: Path) -> list[SegmentName]:
    """The segments of a writer directory in the order in which they were made."""
    found = []
    for name in os.listdir(directory):
        match = _SEGMENT.fullmatch(name)
        if match:
            number, first, salt = int(match[1]), int(match[2]), int(match[3], 16)
            found.append(SegmentName(number, first, salt, directory / name))
    found.sort()
    return found


def require_directory(path: Path) -> None:
    """Raise `JournalError` unless `path` is a directory itself, and not a link to one."""
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        let_through(error)
        raise JournalError(f"no journal at {path}: {error.strerror or error}") from error
    if stat.S_ISLNK(mode):
        raise JournalError(f"{path} is a symbolic link: a journal's directories are never links")
    if not stat.S_ISDIR(mode):
        raise JournalError(f"{path} is not a directory")


def require_own_directory(path: Path) -> None:
    """Raise `JournalError` unless `path` is a directory, no link, and mine or the superuser's."""
    require_directory(path)
    about = os.lstat(path)
    if _is_anothers(about):
        raise JournalError(f"{path} belongs to another user, {_user(about)}: refused")


def make_directory(path: Path, *, files: Files = REAL) -> None:
    """Make a private directory, whatever the umask; one that is there already is left alone.

    Raises `JournalError` where something else, a symbolic link or a directory of another user
    stands in its place, and `OSError` where it cannot be made.
    """
    try:
        files.mkdir(str(path), 0o700)
    except FileExistsError:
        require_own_directory(path)
    else:
        files.chmod(str(path), 0o700)


def make_private_root(path: Path, *, files: Files = REAL) -> None:
    """Make the root `path` in a directory where anybody may make what they like, or take mine.

    Raises `JournalError` unless it is a directory of my own, no link, that nobody else may write to,
    and `OSError` where it cannot be made.
    """
    make_directory(path, files=files)
    about = os.lstat(path)
    if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
        raise JournalError(f"{path} belongs to another user, {_user(about)}: refused")
    if os.name == "posix" and about.st_mode & 0o022:
        raise JournalError(f"others may write to {path}: refused (chmod 700 closes it)")


def create_writer_directory(root: Path, run: str, *, files: Files = REAL) -> Path:
    """Make and own a new writer directory for `run`; the path is unique to this call.

    Raises `JournalError` where it cannot be made.
    """
    try:
        _make_root(root, files)
        _require_usable_root(root)
        _keep_out_of_git(root, files)
        directory = root / escape(run)
        make_directory(directory, files=files)
        while True:
            writer = directory / _writer_name()
            try:
                files.mkdir(str(writer), 0o700)
                break
            except FileExistsError:
                continue
        files.chmod(str(writer), 0o700)
        _write_owner(writer, run, files)
    except OSError as error:
        message = f"cannot make a journal for run {run!r} in {root}: {error.strerror or error}"
        raise JournalError(message) from error
    return writer


def runs(root: Path) -> dict[str, list[Path]]:
    """The writer directories below a root, oldest first, by the name of their run."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for directory in _directories(root):
        for writer in _directories(directory):
            owner = _owner_or_none(writer)
            if owner is None and not segments(writer):
                continue
            name = owner.run if owner else unescape(directory.name) or directory.name
            found.setdefault(name, []).append((owner.created_ns if owner else 0, writer))
    return {name: [path for _, path in sorted(writers)] for name, writers in found.items()}


def read_owner(writer: Path) -> Owner:
    """Who owns a writer directory; raises `DamagedJournal` where that can't be read."""
    path = writer / OWNER
    try:
        said = json.loads(read_regular(path, _LONGEST_OWNER))
        return Owner(
            run=str(said["run"]),
            host=str(said["host"]),
            pid=_number(said["pid"]),
            boot=str(said["boot"]),
            namespace=str(said["namespace"]),
            started=_number(said["started"]),
            created_ns=_number(said["created_ns"]),
        )
    except (
        *(OSError, JournalError, RecursionError, MemoryError),
        *(ValueError, KeyError, TypeError, OverflowError),
    ) as error:
        raise DamagedJournal(f"cannot read the owner in {path}: {error}") from error


def owner_alive(owner: Owner) -> bool | None:
    """Whether the owning process still runs; None where that can't be known from here.

    It can't be known on another host or in another process namespace, and on platforms where a
    process cannot be asked for.  A process id that was given to a new process doesn't count.
    """
    if owner.host != socket.gethostname():
        return None
    boot = _boot_id()
    if boot and owner.boot and boot != owner.boot:
        return False
    if sys.platform == "win32" or owner.namespace != _namespace():
        return None
    try:
        os.kill(owner.pid, 0)
    except (ProcessLookupError, OverflowError):  # or a number that no process has
        return False
    except OSError:
        pass
    started = _start_time(owner.pid)
    if started is None:
        return False
    return not (owner.started and started and started != owner.started)


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _owner_or_none(writer: Path) -> Owner | None:
    try:
        return read_owner(writer)
    except DamagedJournal:
        return None


def _number(said: object) -> int:
    """What `said` is meant to be, if it is one that this project writes."""
    number = int(said)  # type: ignore[call-overload]  # whatever else it is raises
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{str(said)[:40]} is out of range")
    return int(number)


def _require_usable_root(root: Path) -> None:
    """Raise `JournalError` where another user could put a run of theirs in the place of mine.

    So it is in a directory of theirs that I can write to without being the superuser, and behind a
    link of theirs. In one of my own, or the superuser's, it is for its owner to say who may write.
    """
    remedy = "name a directory of your own by TRACKING_DIR"
    link = os.lstat(root)
    if stat.S_ISLNK(link.st_mode) and _is_anothers(link):
        raise JournalError(f"{root} is a link of another user, {_user(link)}: {remedy}")
    about = os.stat(root)
    if _is_anothers(about) and about.st_mode & 0o022:
        who = f"another user, {_user(about)}"
        raise JournalError(f"{root} belongs to {who}, and is open to others: {remedy}")


def _is_anothers(about: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and about.st_uid not in (os.geteuid(), 0)


def _user(about: os.stat_result) -> str:
    try:
        import pwd

        return repr(pwd.getpwuid(about.st_uid).pw_name)
    except (ImportError, KeyError):
        return f"number {about.st_uid}"


def _keep_out_of_git(root: Path, files: Files) -> None:
    """Have git leave out a root: journals hold texts, pictures and copies of files.

    A directory that has another name and held something before may be the user's own.
    """
    with contextlib.suppress(OSError):
        if root.name != ROOT or (root / ".git").exists():
            with os.scandir(root) as entries:
                if next(entries, None) is not None:
                    return
        fd = files.open(str(root / IGNORE), CREATE, 0o600)
        try:
            files.fchmod(fd, 0o600)
            files.write_all(fd, _IGNORED)
        finally:
            files.close(fd)


def _make_root(root: Path, files: Files) -> None:
    missing = []
    path = root
    while not path.exists():
        missing.append(path)
        path = path.parent
    for part in reversed(missing):
        with contextlib.suppress(FileExistsError):
            if part == root:
                files.mkdir(str(part), 0o700)
                files.chmod(str(part), 0o700)
            else:
                # The user's own, such as the logging_dir: trackers write there what others read.
                files.mkdir(str(part), 0o777)
                mode = stat.S_IMODE(os.stat(part).st_mode)
                if mode & 0o700 != 0o700:  # by a umask under which nothing could be made inside
                    files.chmod(str(part), mode | 0o700)


def _writer_name() -> str:
    host = escape(socket.gethostname().lower())[:40]
    pid = os.getpid()
    return f"{host}-{pid}-{_start_time(pid) or 0}-{secrets.token_hex(4)}"


def _write_owner(writer: Path, run: str, files: Files) -> None:
    said = {
        "format": 1,
        "run": run,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": _boot_id(),
        "namespace": _namespace(),
        "started": _start_time(os.getpid()) or 0,
        "created_ns": time.time_ns(),
    }
    draft = str(writer / f".{OWNER}")
    fd = files.open(draft, CREATE, 0o600)
    try:
        files.fchmod(fd, 0o600)
        files.write_all(fd, json.dumps(said).encode())
    finally:
        files.close(fd)
    files.replace(draft, str(writer / OWNER))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to a process's start; 0 if unknown here, None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return None if os.path.exists("/proc/self/stat") else 0
    except OSError:
        # A process that ends while it is being read answers ESRCH.
        return None
    fields = text.rpartition(")")[2].split()
    # A zombie writes nothing any more, though its parent has not yet asked for its end.
    return None if fields[0] in "ZX" else int(fields[19])
