"""An experiment on disk: the archives that ``comet upload`` takes, one for each session.

Comet's own client writes from a thread of its own to the temporary directory, and makes an archive
of it at the end. Here a session lies beside the archives from its first moment, is written at
once and as a whole, and becomes an archive later also if its process was killed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

from tracking_comet_ml.batch import Asset, Batch
from tracking_comet_ml.errors import CometSettingError
from tracking_comet_ml.layout import STATUS
from tracking_comet_ml.messages import Messages
from tracking_comet_ml.settings import Settings, imported
from tracking_core.files import Unkept, copy_whole, whole_file
from tracking_core.locks import only_one
from tracking_core.records import Status

if os.name == "posix":
    import fcntl

__all__ = ["MESSAGES", "META", "OfflineSession", "sessions"]

MESSAGES = "messages.json"
META = "experiment.json"
LOCK = "lock"
RUNNING = ".running"  # ends the name of a session's directory until it is an archive

# A person has to do something about these: waiting for room on the disk is another matter.
NO_PLACE = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
})  # fmt: skip

_encode = json.JSONEncoder(separators=(",", ":")).encode
_ours: set[str] = set()  # sessions of this process: its file locks don't keep itself out
_ours_lock = threading.Lock()


class OfflineSession:
    """A new session of an experiment, in ``<offline_directory>/<key>-<suffix>.running``.

    What a session of the same experiment left there when it was killed is made an archive first.
    This one is said to have begun at `began_at`, or now.

    Raises:
        CometSettingError: `mode` is "create", and the experiment is there already; or the directory
            can't be written.
        OSError: the disk is full or broken.
    """

    def __init__(self, settings: Settings, began_at: float | None = None) -> None:
        self._settings = settings
        self._started_at = round((time.time() if began_at is None else began_at) * 1000)
        self._tags: list[str] = []
        self._messages = Messages()
        self._open(new=True)

    def store(self, batch: Batch) -> list[tuple[str, object, str]]:
        """Append `batch`; all or nothing of it. It survives the death of the process.

        Gives back the files that are gone meanwhile, or changed, by their name and the reason.

        Raises:
            OSError: the disk is full or broken.
        """
        if not os.path.exists(self._file.name):
            # Somebody cleaned up: rows must not go into nothing.
            self._file.close()
            _unlocked(self.directory, self._lock)
            self._open()
        kept: list[tuple[str, Asset]] = []
        gone: list[tuple[str, object, str]] = []
        for asset in batch.assets:
            try:
                asset_id = asset.id(self._settings.key)
                same = self._keep(asset, asset_id)
            except (Unkept, FileNotFoundError) as reason:
                if not isinstance(asset.content, str):
                    raise
                said = str(reason) if isinstance(reason, Unkept) else "the file is gone"
                gone.append((asset.name, asset.content, said))
                continue
            kept.append((asset_id, asset))
            if not same:
                gone.append((asset.name, asset.content, "it changed, and is as it was read"))
        if batch.tags:
            self._tags = list(dict.fromkeys([*self._tags, *batch.tags]))
            self._write_meta(round(time.time() * 1000), None)
        # Last, because this is what counts: after an error before it nothing is stored twice.
        lines = list(self._lines(batch, kept))
        self._append(b"".join(lines))
        self._count += len(lines)
        return gone

    def end(self, status: Status, ended_at: int) -> None:
        """Make the session an archive; `ended_at` is in milliseconds since the epoch."""
        if not self._file.closed:
            self.store(Batch(others={STATUS: status}))
            self._file.close()
        problem = None if status == "finished" else f"the run {_ENDS[status]}"
        self._write_meta(ended_at, problem)
        _pack(self.directory, self._archive)
        _unlocked(self.directory, self._lock)

    def abandon(self) -> None:
        """Leave nothing of a session that could not be begun."""
        self._file.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        _unlocked(self.directory, self._lock)

    def _open(self, *, new: bool = False) -> None:
        """Begin the session's directory; `new` is the first one of this object."""
        directory, key = self._settings.offline_directory, self._settings.key
        try:
            os.makedirs(directory, exist_ok=True)
            # Of one experiment one session at a time is begun: another one that begins would take
            # the half made directory for one that was left, and put it away.
            with only_one(os.path.join(directory, key)):
                if new:
                    self._look_at_those_before()
                self._begin()
        except OSError as error:
            if error.errno not in NO_PLACE:
                raise
            raise CometSettingError(
                f"tracker 'comet_ml' has no place for its archives in {directory!r} "
                f"({error.strerror}): name another directory with COMET_OFFLINE_DIRECTORY, or by "
                'experiment_config={"offline_directory": ...}'
            ) from error

    def _look_at_those_before(self) -> None:
        settings = self._settings
        before = list(sessions(settings.offline_directory, settings.key))
        if before and settings.mode == "create":
            raise CometSettingError(
                f"tracker 'comet_ml': experiment {settings.key!r} already lies in "
                f"{settings.offline_directory!r}, and mode='create' would begin it anew: "
                "go on with it by mode='get_or_create', or choose another experiment_key"
            )
        for left in before:
            if left.endswith(RUNNING):
                _pack_if_left(left)

    def _begin(self) -> None:
        settings = self._settings
        name = f"{settings.key}-{uuid.uuid4().hex[:6]}"
        self._archive = os.path.join(settings.offline_directory, name + ".zip")
        self.directory = os.path.join(settings.offline_directory, name + RUNNING)
        os.mkdir(self.directory)
        try:
            self._lock = _locked(self.directory)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        try:
            self._write_meta(self._started_at, None)
            # Unbuffered, so that a short write is ours to see.
            path = os.path.join(self.directory, MESSAGES)
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115  # `end` closes it
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            _unlocked(self.directory, self._lock)
            raise
        self._end_of_file = 0
        self._count = 0

    def _lines(self, batch: Batch, kept: list[tuple[str, Asset]]) -> Iterator[bytes]:
        numbers, make = itertools.count(self._count + 1), self._messages
        for point in batch.points:
            yield _line(make.metric(point, next(numbers)))
        for parameter in batch.parameters:
            yield _line(make.parameter(parameter, next(numbers)))
        for key, value in batch.others.items():
            yield _line(make.other(key, value, next(numbers)))
        for asset_id, asset in kept:
            yield _line(make.asset(asset, asset_id, next(numbers)))

    def _append(self, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) or 0 :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end_of_file)
                os.lseek(self._file.fileno(), self._end_of_file, os.SEEK_SET)
            raise
        self._end_of_file += len(data)

    def _keep(self, asset: Asset, name: str) -> bool:
        """Copy the content here; whether a file stayed the same meanwhile."""
        path = os.path.join(self.directory, name)
        if isinstance(asset.content, str):
            return copy_whole(asset.content, path)
        with whole_file(path) as unfinished, open(unfinished, "wb") as file:
            file.write(asset.content)
        return True

    def _write_meta(self, stopped_at: int, problem: str | None) -> None:
        write = imported().offline_utils.write_experiment_meta_file
        with tempfile.TemporaryDirectory(dir=self.directory) as folder:
            write(
                tempdir=folder,
                experiment_key=self._settings.key,
                workspace=self._settings.workspace,
                project_name=self._settings.project,
                start_time=self._started_at,
                stop_time=stopped_at,
                tags=self._tags,
                resume_strategy=self._settings.mode,
                customer_error_reported=problem is not None,
                customer_error_message=problem,
                # Whatever the order in which archives are uploaded, they are one experiment.
                user_provided_experiment_key=True,
                comet_start_sourced=True,
            )
            os.replace(os.path.join(folder, META), os.path.join(self.directory, META))


_ENDS: dict[Status, str] = {"failed": "failed", "killed": "was killed"}


def sessions(directory: str, key: str | None = None) -> Iterator[str]:
    """The archives, and directories of sessions that are none yet, of `key` or of all runs."""
    for name in sorted(os.listdir(directory)):
        if name.endswith((".zip", RUNNING)) and key in (None, name[:-4], name.split("-")[0]):
            yield os.path.join(directory, name)


def _line(message: Any) -> bytes:
    line = {"payload": message.to_message_dict(), "type": message.type}
    return _encode(line).encode() + b"\n"


def _pack(directory: str, archive: str) -> None:
    unfinished = archive + ".part"
    with zipfile.ZipFile(unfinished, "w", allowZip64=True) as packed:
        for name in _members(directory):
            packed.write(os.path.join(directory, name), name)
    os.replace(unfinished, archive)
    shutil.rmtree(directory, ignore_errors=True)


def _members(directory: str) -> Iterable[str]:
    for entry in os.scandir(directory):
        if entry.is_file() and entry.name != LOCK and not entry.name.endswith(".part"):
            yield entry.name


def _pack_if_left(directory: str) -> None:
    """Make an archive of a session whose process is gone; one that lives is left alone."""
    try:
        lock = _locked(directory)
    except OSError:
        return
    try:
        messages = os.path.join(directory, MESSAGES)
        # A process that was killed while it made the directory has written nothing yet.
        if os.path.exists(messages) and os.path.exists(os.path.join(directory, META)):
            with open(messages, "rb+") as file:
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)
            _pack(directory, directory.removesuffix(RUNNING) + ".zip")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        _unlocked(directory, lock)


def _locked(directory: str) -> IO[bytes]:
    """A file that stays locked until it is closed, or until this process dies."""
    with _ours_lock:
        if directory in _ours:
            raise BlockingIOError(f"{directory!r} is a session of this process")
        file = open(os.path.join(directory, LOCK), "ab")  # noqa: SIM115  # the caller closes it
        try:
            if os.name == "posix":
                # A lock of a process, unlike one of a file: a forked worker does not keep it.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        _ours.add(directory)
        return file


def _unlocked(directory: str, lock: IO[bytes]) -> None:
    with _ours_lock:
        lock.close()
        _ours.discard(directory)
