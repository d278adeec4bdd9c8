"""Runs opened for writing: in a local repository, which is made if need be, or at a server."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

import aim
import aimrocks
from aim.ext.cleanup import AutoClean
from aim.sdk.repo import Repo, RepoStatus

from tracking_aim.layout import Path
from tracking_aim.store import Entry, LocalStore, Store
from tracking_core.errors import TrackingError

__all__ = ["AimRepositoryError", "LocalRun", "OpenRun", "is_remote", "opened", "repository"]

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

Result = TypeVar("Result")


class AimRepositoryError(TrackingError, ValueError):
    """A repository or an address that no run can be logged to; the message says what to do."""


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

    def close(self, ended_at: float, *, succeeded: bool) -> None:
        """End the run, and give back what it holds."""

    def give_up(self) -> None:
        """Give back what it holds, without a word to a server that is gone."""


class LocalRun:
    """A run in the repository in the directory `path`.

    Args:
        run_hash: of the run to go on with; None for a new one.
        options: of ``aim.Run``.
        began_at: when a new run began, in seconds since the epoch; None for now.

    Raises:
        AimRepositoryError: the repository can't be used.
        aim.sdk.errors.MissingRunError: it has no run `run_hash`.
        OSError: the disk is full or broken, or another process has the run open.
    """

    def __init__(
        self,
        path: str,
        run_hash: str | None,
        options: Mapping[str, Any],
        began_at: float | None = None,
    ) -> None:
        repo = repository(path)
        Repo._all_run_hashes.cache_clear()  # it may be half a second behind
        self._gone = False
        chosen = {**QUIET, **options}
        if run_hash is not None and _is_abandoned(repo, run_hash):
            chosen["force_resume"] = True
        try:
            self.native: Any = opened(run_hash, repo, began_at, chosen)
            self.store = LocalStore(repo, self.native.hash)
        except aimrocks.errors.RocksIOError as error:
            raise OSError(f"Aim's database could not be opened: {error}") from error
        self.repo_path = str(repo.root_path)

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

    def give_up(self) -> None:
        if self._gone:
            return
        self._gone, native = True, self.native
        # Aim's own close() first writes, which may be what fails.
        native._resources.finalizer.detach()
        for end in (native._heartbeat.stop, native._checkins.close, native._lock.release):
            with suppress(Exception):
                end()
        self.store.close()

    @property
    def _repo(self) -> Any:
        return self.native.repo

    def close(self, ended_at: float, *, succeeded: bool) -> None:
        repo, run_hash = self._repo, self.native.hash
        if succeeded:
            self.native.report_successful_finish(block=True)
        self.native.close()
        # Aim takes the time of the call.
        end: Path = ("meta", "meta", "chunks", run_hash, "end_time")
        self.store.write({end: Entry(ended_at)})
        del self.store  # which closes its databases
        with suppress(Exception):
            # Where `aim up` is running, it has the index open, and will do this itself.
            _index(repo, run_hash)


def opened(
    run_hash: str | None, repo: Any, began_at: float | None, options: Mapping[str, Any]
) -> Any:
    """An ``aim.Run``; a new one began at `began_at`, for which Aim has no argument."""
    if began_at is None:
        return aim.Run(run_hash, repo=repo, **options)
    created_at = datetime.fromtimestamp(began_at, timezone.utc)

    class Run(aim.Run):  # type: ignore[misc]  # aim has no types
        _props: Any

        @property
        def props(self) -> Any:
            if self._props is None:
                self._props = self.repo.request_props(self.hash, self.read_only, created_at)
            return self._props

    return Run(run_hash, repo=repo, **options)


def is_remote(address: str) -> bool:
    """Whether it is that of a server."""
    return bool(Repo.is_remote_path(address))


def repository(path: str) -> Any:
    """The repository in the directory `path`, made if there is none.

    Raises:
        AimRepositoryError: it was made by a version of Aim that is too old, is not whole, or is no
            directory of this machine.
    """
    if "://" in path:
        raise AimRepositoryError(
            f"tracker 'aim' logs to a directory or to a server (aim://host:port), not to {path!r}"
        )
    path = os.path.abspath(os.path.expanduser(path))
    if Repo.check_repo_status(path) == RepoStatus.MISSING:
        _make_repository(path)
    if Repo.check_repo_status(path) == RepoStatus.UPDATE_REQUIRED:
        raise AimRepositoryError(
            f"tracker 'aim' can't log to {os.path.join(path, '.aim')!r}: it is of an old version of "
            "Aim, or was never finished. Upgrade it with `aim upgrade`, or move it away"
        )
    return Repo.from_path(path)


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


def _index(repo: Any, run_hash: str) -> None:
    """Copy what is known of a run to where Aim's queries find it.

    Aim's own index manager does this, and starts to watch the repository.
    """
    index = repo._get_index_tree("meta", 0).view(())
    chunk = repo.request_tree("meta", run_hash, read_only=True, skip_read_optimization=True)
    chunk.subtree("meta").subtree("chunks").subtree(run_hash).finalize(index=index)


def _make_repository(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    # Made elsewhere and moved: others see it when it is whole, and one of several makers wins.
    with tempfile.TemporaryDirectory(dir=path, prefix=".aim-new-") as folder:
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
