"""Runs opened for writing: in a local repository, which is made if need be, or at a server."""

from __future__ import annotations

import atexit
import fcntl
import glob
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

import aim
import aimrocks
from aim.ext.cleanup import AutoClean
from aim.sdk.configs import get_aim_repo_name
from aim.sdk.errors import MissingRunError
from aim.sdk.lock_manager import LockManager, SFRunLock
from aim.sdk.repo import Repo, RepoStatus
from aim.sdk.reporter import ScheduledStatusReporter
from aim.sdk.utils import clean_repo_path
from aim.storage.structured.db import DB

from tracking_aim.address import ADDRESS, public
from tracking_aim.errors import AimRepositoryError
from tracking_aim.layout import STATUS, Path
from tracking_aim.store import LocalStore, Store
from tracking_core.locks import only_one
from tracking_core.rejections import say

__all__ = ["LocalRun", "OpenRun", "end_of", "leave", "opened", "repository"]

# Aim's warnings go to whoever listens; where nobody does, Python would print them.
logging.getLogger("aim").addHandler(logging.NullHandler())

if sys.version_info >= (3, 12):
    # Aim closes what is open at exit, in a thread, which Python refuses there: it would say so on
    # stderr and close nothing.
    atexit.unregister(AutoClean.cleanup)
    AutoClean._registered_with_atexit = True
    atexit.register(AutoClean._cleanup)

QUIET: Mapping[str, Any] = {
    # Aim would patch sys.stdout and sample the machine every minute, though nobody asked for it.
    "system_tracking_interval": None,
    "capture_terminal_logs": False,
}
ARTIFACTS = "artifacts"
UNFINISHED = ".aim-new-"
STORES = ("meta", "seqs")
SECONDS_TO_STOP = 5.0
SECONDS_FOR_INDEX = 20.0

Result = TypeVar("Result")


class OpenRun(Protocol):
    """A run that is being written.

    Attributes:
        native: the ``aim.Run``.
        store: where its trees are.
        repo_path: the directory that holds ``.aim``, or the server's address.
        artifacts_uri: where its files go; None for nowhere.
        lost: whether it failed so that it has to be opened anew.
    """

    @property
    def native(self) -> Any: ...

    @property
    def store(self) -> Store: ...

    @property
    def repo_path(self) -> str: ...

    @property
    def artifacts_uri(self) -> str | None: ...

    @property
    def lost(self) -> bool: ...

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What `function`, something of Aim's, returns.

        Raises:
            OSError: it could not reach the run.
        """

    def close(self, *, succeeded: bool) -> None:
        """Give back what a run holds whose end has been stored.

        Raises:
            AimRunGoneError: it was deleted.
            OSError: Aim does not know that it has ended: open it anew, and close that.
        """

    def undo(self) -> None:
        """Leave things as they were before it was opened: a run that was made is deleted."""

    def give_up(self) -> None:
        """Give back what it holds, without a word to a server that is gone."""


class LocalRun:
    """A run in the repository in the directory `path`.

    Args:
        run_hash: its name.
        options: of ``aim.Run``.
        began_at: when a new run began, in seconds since the epoch; None for now.
        new: whether it is made if there is none.

    Raises:
        AimRepositoryError: the repository can't be used.
        aim.sdk.errors.MissingRunError: it has no run `run_hash`, and is not to make it.
        OSError: the disk is full or broken, or another process has the run open.
    """

    def __init__(
        self,
        path: str,
        run_hash: str,
        options: Mapping[str, Any],
        began_at: float | None = None,
        *,
        new: bool = False,
    ) -> None:
        _see_that_it_is_a_directory(path)
        if not new and Repo.check_repo_status(path) == RepoStatus.MISSING:
            raise MissingRunError(
                f"there is no run {run_hash!r}: there is no repository in {path!r}"
            )
        self._repo: Any = repository(path)
        Repo._all_run_hashes.cache_clear()  # it may be half a second behind
        self._hash = run_hash
        self._gone = False
        self._made = not self._repo.run_exists(run_hash)
        if self._made and not new:  # to be asked first: whatever opens it makes its directory
            raise MissingRunError(f"there is no run {run_hash!r} in {self._repo.path!r}")
        self._before = {} if self._made else _end_of(self._repo, run_hash)
        self.repo_path = str(self._repo.root_path)
        chosen = {**QUIET, **options}
        if not self._made and _is_abandoned(self._repo, run_hash):
            chosen["force_resume"] = True
        try:
            self.native: Any = opened(run_hash, self._repo, began_at, chosen, new=self._made)
            self.store = LocalStore(self._repo, run_hash)
        except BaseException as error:
            self.undo()
            if isinstance(error, aimrocks.errors.RocksIOError):
                raise OSError(f"Aim's database could not be opened: {error}") from error
            raise
        _keep_reporting(self.native)

    @property
    def lost(self) -> bool:
        return self._gone or self.store.failed

    @property
    def artifacts_uri(self) -> str | None:
        uri = self.native.artifacts_uri
        if uri is None:
            self.native.set_artifacts_uri(f"file://{os.path.join(self._repo.path, ARTIFACTS)}")
        return str(self.native.artifacts_uri)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return function(*arguments)

    def close(self, *, succeeded: bool) -> None:
        native = self.native
        native._resources.set_run_end_time = lambda: None  # Aim would take the time of the call
        with suppress(Exception):
            if succeeded:
                native.report_successful_finish(block=True)
            native.close()
        self._let_go(flush=True)
        reason = _indexed(self._repo, self._hash)
        if reason:
            say(
                f"tracker 'aim': the run {self._hash} is whole, but could not be put into the index "
                f"of {self.repo_path}, where Aim's queries look: {reason}. `aim up`, or `aim storage "
                f"--repo {self.repo_path} reindex`, does it"
            )

    def undo(self) -> None:
        if self._made:
            self._let_go()
            _delete(self._repo, self._hash)
            return
        self.give_up()
        if self._before:
            # Whoever opens a run takes its end away.
            with suppress(Exception):
                container = self._repo.request_container("meta", self._hash, read_only=False)
                for path, value in self._before.items():
                    container.tree()[path[1:]] = value
                container.close()
                _remove(self._marks())

    def give_up(self) -> None:
        self._let_go()
        if os.path.isdir(os.path.join(self._repo.path, "meta", "chunks", self._hash)):
            # It has not ended. If nobody goes on with it, `aim up` shall see that, by this.
            with suppress(OSError):
                open(self._marks()[0], "ab").close()

    def _marks(self) -> list[str]:
        """The files by which Aim sees that a run goes on."""
        return [os.path.join(self._repo.path, part, "progress", self._hash) for part in STORES]

    def _let_go(self, *, flush: bool = False) -> None:
        if self._gone:
            return
        self._gone = True
        if "native" in self.__dict__:  # as far as it came
            leave(self.native)
        # Whoever else still holds on to them: an error's traceback, a user of the native run.
        for (_, name, read_only), container in list(self._repo.container_pool.items()):
            if name == self._hash and not read_only:
                if flush:
                    _do(container.close)
                # All of it is in the log anyway, and on a full disk RocksDB flushes for ever.
                container._resources.finalizer.detach()
                container._db = None
        _remove(self._marks())
        _unlock(self._repo, self._hash)


def opened(
    run_hash: str, repo: Any, began_at: float | None, options: Mapping[str, Any], *, new: bool
) -> Any:
    """An ``aim.Run``. A new one has the name `run_hash` and began at `began_at`.

    Aim has no arguments for that. What a run that can't be opened has begun is stopped.
    """
    created_at = None if began_at is None else datetime.fromtimestamp(began_at, timezone.utc)

    class Run(aim.Run):  # type: ignore[misc]  # aim has no types
        _props: Any

        @property
        def hash(self) -> str:
            return run_hash

        @hash.setter
        def hash(self, made_up: str) -> None:
            """Aim names a new run itself."""

        @property
        def props(self) -> Any:
            if self._props is None:
                self._props = self.repo.request_props(run_hash, self.read_only, created_at)
            return self._props

    run: Any = Run.__new__(Run)
    try:
        run.__init__(None if new else run_hash, repo=repo, **options)
    except BaseException:
        leave(run)
        raise
    # Whether there was such a run has been asked, and for half a second Aim knows the answer still.
    forget = getattr(aim.Repo._all_run_hashes, "cache_clear", None)
    if new and forget is not None:
        forget()
    return run


def leave(run: Any) -> None:
    """Stop what an ``aim.Run`` has begun, also one that came into being only in part.

    Its own ``close`` first writes, which may be what fails. Two of its threads would go on saying
    that it is alive.
    """
    resources = getattr(run, "_resources", None)
    if resources is not None:
        resources.finalizer.detach()
        for extra in resources.extra_resources:
            _do(extra.close)  # it waits for a thread that may be waiting for a server
    heartbeat = getattr(run, "_heartbeat", None)
    if isinstance(heartbeat, ScheduledStatusReporter):
        heartbeat.touch_path = None
        heartbeat.stop_signal.set()
        heartbeat.thread.join(SECONDS_TO_STOP)
    checkins = getattr(run, "_checkins", None)
    if checkins is not None:
        checkins.instances.discard(checkins)
        checkins.stop_signal.set()
        with checkins.refresh_condition:
            checkins.refresh_condition.notify()
        if isinstance(heartbeat, ScheduledStatusReporter):
            checkins.thread.join(SECONDS_TO_STOP)
    lock = getattr(run, "_lock", None)
    if isinstance(lock, SFRunLock):
        with suppress(Exception):
            lock.release()


def _keep_reporting(run: Any) -> None:
    """Have the thread that says that `run` is alive outlive a full disk.

    Aim's dies of the first error, and then its ``close`` waits for it for ever.
    """
    manager = run._checkins.file_manager
    touch = manager.touch

    def touch_if_it_can(*arguments: Any) -> None:
        with suppress(OSError, ValueError):
            touch(*arguments)

    manager.touch = touch_if_it_can


def repository(path: str) -> Any:
    """The repository in the directory `path`, made if there is none.

    Raises:
        AimRepositoryError: it was made by a version of Aim that is too old, is not whole, or is no
            directory of this machine.
    """
    _see_that_it_is_a_directory(path)
    path = clean_repo_path(os.path.abspath(os.path.expanduser(path)))
    try:
        if Repo.check_repo_status(path) == RepoStatus.MISSING:
            # It takes seconds, most of them of CPU: not for each process of a sweep.
            with only_one(os.path.join(path, get_aim_repo_name())):
                if Repo.check_repo_status(path) == RepoStatus.MISSING:
                    _make_repository(path)
            _forget_repository(path)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise AimRepositoryError(
            f"tracker 'aim' can't make its repository in {path!r}: {error}. Give another logging_dir "
            "(or init_kwargs={'aim': {'repo': ...}}), a directory that it may write to"
        ) from error
    if Repo.check_repo_status(path) == RepoStatus.UPDATE_REQUIRED:
        raise AimRepositoryError(
            f"tracker 'aim' can't log to {os.path.join(path, '.aim')!r}: it is of an old version of "
            "Aim, or was never finished. Upgrade it with `aim upgrade`, or move it away"
        )
    return Repo.from_path(path)


def _see_that_it_is_a_directory(path: str) -> None:
    if "://" in path:
        raise AimRepositoryError(
            "tracker 'aim' logs to a directory or to a server (aim://host:port), not to "
            f"{public(path)!r}: see to {ADDRESS}"
        )


def _forget_repository(path: str) -> None:
    """Have Aim look at a repository anew: one of the same place was deleted, and it may still have
    that one's database open."""
    with suppress(AttributeError):  # another version of Aim
        Repo._pool.pop(path, None)
        DB._pool.pop(os.path.join(path, get_aim_repo_name()), None)


def _is_abandoned(repo: Any, run_hash: str) -> bool:
    """Whether nobody writes to a run that Aim holds for locked.

    Aim asks whether a process of the number in its lock is alive; after a container has started
    again that is ourselves. RocksDB's own lock dies with its process.
    """
    if any(one.sub == run_hash and not one.read_only for one in list(repo.container_pool)):
        return False
    try:
        with open(os.path.join(repo.path, "meta", "chunks", run_hash, "LOCK"), "rb+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.path.exists(os.path.join(repo.path, "locks", f"{run_hash}.softlock"))


def end_of(run_hash: str) -> tuple[Path, Path]:
    """Where a run's end is, its time and its status."""
    run: Path = ("meta", "meta", "chunks", run_hash)
    return (*run, "end_time"), (*run, "attrs", STATUS)


def _end_of(repo: Any, run_hash: str) -> dict[Path, Any]:
    """The end that a run has; empty if it has none, or there is no such run."""
    try:
        tree = repo.request_tree("meta", run_hash, read_only=True, skip_read_optimization=True)
        found = {path: tree.get(path[1:]) for path in end_of(run_hash)}
    except Exception:  # nothing can be read of it: opening it will say so
        return {}
    return found if found[end_of(run_hash)[0]] is not None else {}


def _indexed(repo: Any, run_hash: str) -> str:
    """Copy what is known of a run to where Aim's queries find it; why that failed, if it did.

    Aim's own index manager does this, and starts to watch the repository. Whoever else does it has
    the index for a moment.
    """
    until = time.monotonic() + SECONDS_FOR_INDEX
    while True:
        try:
            index = repo._get_index_tree("meta", 0).view(())
            chunk = repo.request_tree("meta", run_hash, read_only=True, skip_read_optimization=True)
            chunk.subtree("meta").subtree("chunks").subtree(run_hash).finalize(index=index)
        except aimrocks.errors.RocksIOError as error:
            if time.monotonic() > until:
                return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        else:
            return ""
        time.sleep(0.05)


def _delete(repo: Any, run_hash: str) -> None:
    """Delete a run that nobody has logged anything to."""
    until = time.monotonic() + SECONDS_FOR_INDEX
    # It needs the index.
    while not repo.delete_run(run_hash) and time.monotonic() < until:
        time.sleep(0.05)
    _remove(os.path.join(repo.path, part, "progress", run_hash) for part in STORES)
    for part in STORES:
        shutil.rmtree(os.path.join(repo.path, part, "chunks", run_hash), ignore_errors=True)
    folder = os.path.join(repo.path, "check_ins")
    with suppress(OSError):
        _remove(
            os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(run_hash)
        )


def _do(function: Callable[[], object]) -> None:
    """Call `function`, and don't wait for it for ever."""

    def work() -> None:
        with suppress(Exception):
            function()

    thread = threading.Thread(target=work, name="tracking-aim", daemon=True)
    thread.start()
    thread.join(SECONDS_TO_STOP)


def _unlock(repo: Any, run_hash: str) -> None:
    """Remove this process's lock of a run: Aim's own lock is let go only by the thread that took it."""
    path = os.path.join(repo.path, "locks", LockManager.softlock_fname(run_hash))
    with suppress(OSError, ValueError):
        with open(path) as file:
            machine, process, *_ = file.read().split("-")
        if (int(machine), int(process)) == (LockManager.machine_id, LockManager.pid):
            os.unlink(path)


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)


def _make_repository(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(path), UNFINISHED + "*")):
        shutil.rmtree(left, ignore_errors=True)  # its maker was killed
    # Made elsewhere and moved: others see it when it is whole.
    with tempfile.TemporaryDirectory(dir=path, prefix=UNFINISHED) as folder:
        repo = Repo(folder, init=True)
        made = repo.path
        repo.structured_db.engine.dispose()
        del repo
        place = os.path.join(path, os.path.basename(made))
        try:
            os.rename(made, place)
        except OSError:
            if not os.path.isdir(place):
                raise
