"""Runs at an Aim server.

Aim's client queues what it sends, tries for ever when the server is gone, and then neither its
``close`` nor the exit of the process returns. Here everything is sent while the caller waits, for a
bounded time, and what fails is raised. A connection that failed once is given up: the next one goes
on with the run.
"""

from __future__ import annotations

import atexit
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from aim.ext.cleanup import AutoClean
from aim.sdk.errors import MissingRunError
from aim.sdk.repo import Repo

from tracking_aim.address import look_at, public
from tracking_aim.errors import AimRunGoneError
from tracking_aim.layout import Path
from tracking_aim.runs import QUIET, end_of, leave, opened
from tracking_aim.store import COLUMNS, Entry, Points

__all__ = ["Link", "RemoteRun", "RemoteStore"]

SECONDS = 20.0
"""How long the server may take to answer once."""
SECONDS_OF_A_LIST = 0.6
"""How old the server's list of runs may be, and a little more."""
MOST_ENTRIES = 200
"""In one message: the server's time for one grows with the square of its length."""

OF_WHAT_WAS_ASKED = (ImportError, LookupError, MissingRunError, TypeError, ValueError, Warning)
"""What is raised, here or there, though the connection is as good as before."""

# Of Aim's client, each one request and its answer.
REQUESTS = (
    "get_resource_handler",
    "release_resource",
    "_run_read_instructions",
    "_run_write_instructions",
)

Result = TypeVar("Result")

_lost: dict[str, list[Link]] = {}
"""Connections that failed, by address: the server may be there still, and believe in them."""


class Link:
    """A connection to the server at `address`, such as ``"aim://host:53800"``.

    Attributes:
        repo: Aim's repository over there.
        lost: whether a call has failed. Another one would not be better.

    Raises:
        ConnectionError: nobody answers there, or somebody else.
        TimeoutError: not in time.
        requests.HTTPError: who answers lets nobody in without a login.
        AimRepositoryError: its certificate is not trusted.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = False
        self.repo: Any = None
        self._answers = 0
        look_at(address, SECONDS)
        self.repo = self.call(Repo, address)
        client = self.repo._client
        for name in REQUESTS:
            setattr(client, name, self._counted(getattr(client, name)))
        queue, client._queue = client.get_queue(), _AtOnce()
        queue._shutdown = True
        queue._queue.put((list, ((),)))  # wakes its thread, which then sees this
        # Before Aim's own way to close everything at exit, which waits for a server that is gone.
        self._at_exit = _weak(self)
        atexit.register(self._at_exit)
        for lost in _lost.pop(address, []):
            with suppress(Exception):
                self.call(lost.release)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What `function` returns.

        Raises:
            ConnectionError: the server is gone, or forgot us.
            TimeoutError: it does not answer.
        """
        done: list[Result] = []
        failed: list[BaseException] = []

        def work() -> None:
            _AtOnce.waited_for.here = True
            try:
                done.append(function(*arguments))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="tracking-aim", daemon=True)
        thread.start()
        answers = -1
        while thread.is_alive() and answers != self._answers:
            answers = self._answers
            thread.join(SECONDS)
        if done:
            return done[0]
        error = failed[0] if failed else None
        if isinstance(error, OF_WHAT_WAS_ASKED):
            raise error
        self.lost = True
        where = f"the Aim server at {public(self.address)}"
        if error is None:
            raise TimeoutError(f"{where} did not answer in {SECONDS:g} s")
        reason = f"{type(error).__name__}: {error}"
        raise ConnectionError(f"{where}: {reason}") from error

    def release(self) -> None:
        """Have the server let go of what it holds for us, which it would do minutes later.

        Until then it says that the run goes on, and holds its databases.
        """
        client = self.repo._client
        if client._ws is not None:  # there, what it wrote last is held as long as it is open
            with suppress(Exception):
                client._ws.close()
            client._ws = None
        # What says so last of all comes first.
        for kind in ("RunHeartbeat", "Lock", "FileManager", "StructuredRun", "TreeView"):
            for handler, resource in list(client._resource_pool.items()):
                if resource.resource_type == kind:
                    resource._resources.finalizer.detach()
                    with suppress(Exception):  # this one is forgotten there
                        client.release_resource(-1, handler)

    def give_up(self) -> None:
        """Leave nothing that would ask the server for anything again."""
        failed, self.lost = self.lost, True
        if self.repo is None:
            return
        atexit.unregister(self._at_exit)
        client = self.repo._client
        client._heartbeat_sender._shutdown = True
        for _, finalizer in list(AutoClean._finalizers.values()):
            alive = finalizer.peek()
            owner = getattr(alive[1], "__self__", None) if alive else None
            if client in (getattr(owner, "rpc_client", None), getattr(owner, "_client", None)) or (
                getattr(owner, "repo", None) is self.repo
            ):
                finalizer.detach()
        # Aim forgets it when another connection to the same address is made.
        self.repo._resources.finalizer.detach()
        if failed:
            _lost.setdefault(self.address, []).append(self)
        elif client._ws is not None:
            with suppress(Exception):
                client._ws.close()

    def _counted(self, request: Callable[..., Result]) -> Callable[..., Result]:
        """`request`, which says so when it was answered: a slow server has time for each."""

        def ask(*arguments: Any, **options: Any) -> Result:
            answer = request(*arguments, **options)
            self._answers += 1
            return answer

        return ask


class RemoteRun:
    """A run in the repository of a server.

    Args:
        address: of the server.
        run_hash: its name.
        options: of ``aim.Run``.
        began_at: when a new run began, in seconds since the epoch; None for now.
        new: whether it is made if there is none.

    Raises:
        ConnectionError, TimeoutError, requests.HTTPError, AimRepositoryError: as `Link` has it.
        aim.sdk.errors.MissingRunError: the server has no run `run_hash`, and is not to make it.
    """

    def __init__(
        self,
        address: str,
        run_hash: str,
        options: Mapping[str, Any],
        began_at: float | None = None,
        *,
        new: bool = False,
    ) -> None:
        self.repo_path = address
        self._hash = run_hash
        self._made = False
        self._before: dict[Path, Any] = {}
        self._link = Link(address)
        try:
            self._link.call(self._open, run_hash, options, began_at, new)
        except BaseException:
            self.undo()
            raise

    def _open(
        self, run_hash: str, options: Mapping[str, Any], began_at: float | None, new: bool
    ) -> None:
        repo = self._link.repo
        Repo._all_run_hashes.cache_clear()
        exists = self._exists(new=new)
        if not exists and not new:
            raise MissingRunError(f"there is no run {run_hash!r} at {public(self.repo_path)}")
        self._made = not exists
        store = RemoteStore(self._link, run_hash)
        if exists:
            self._before = store.end
        self.native: Any = opened(run_hash, repo, began_at, {**QUIET, **options}, new=self._made)
        self.store = store

    def _exists(self, *, new: bool = False) -> bool:
        """Whether the server has the run; of a new one it may not know for a moment."""
        proxy = self._link.repo._remote_repo_proxy
        if self._hash in proxy.list_all_runs():
            return True
        if not new:
            time.sleep(SECONDS_OF_A_LIST)
        return not new and self._hash in proxy.list_all_runs()

    @property
    def lost(self) -> bool:
        return self._link.lost

    @property
    def artifacts_uri(self) -> str | None:
        uri: str | None = self.call(lambda: self.native.artifacts_uri)
        return uri

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return self._link.call(function, *arguments)

    def close(self, ended_at: float, *, succeeded: bool) -> None:
        native = self.native

        def end() -> None:
            if succeeded:
                native.report_successful_finish(block=True)
            native._resources.set_run_end_time = lambda: None  # it would be the time of the call
            native.close()
            self._link.release()

        if not self.call(self._exists):
            self.give_up()
            raise AimRunGoneError(f"the run {self._hash} was deleted at {public(self.repo_path)}")
        # First, so that nothing below can leave a run that seems to go on.
        self.store.write({end_of(self._hash)[0]: Entry(ended_at)})
        with suppress(Exception):
            self.call(end)
        self.give_up()

    def undo(self) -> None:
        def put_back() -> None:
            if self._before:
                store = RemoteStore(self._link, self._hash)
                store.write({path: Entry(value) for path, value in self._before.items()})
            self._link.release()
            if self._made:
                self._link.repo._remote_repo_proxy.delete_run(self._hash)

        if not self._link.lost:
            with suppress(Exception):
                self._link.call(put_back)
        self.give_up()

    def give_up(self) -> None:
        if "native" in self.__dict__:
            leave(self.native)
        self._link.give_up()


class RemoteStore:
    """The trees of a run at a server. Entries go in messages, each of which waits for its answer."""

    def __init__(self, link: Link, run_hash: str) -> None:
        self._link = link
        self._hash = run_hash
        self._trees: dict[str, Any] = {
            part: link.repo.request_tree(part, run_hash, read_only=False)
            for part in ("seqs", "meta")
        }

    @property
    def end(self) -> dict[Path, Any]:
        """The end that the run has; empty if it has none."""
        found = {path: self.read(path) for path in end_of(self._hash)}
        return found if found[end_of(self._hash)[0]] is not None else {}

    def read(self, path: Path) -> Any:
        return self.collect(path)

    def collect(self, path: Path) -> Any:
        try:
            return self._link.call(self._trees[path[0]].collect, path[1:])
        except LookupError:
            return None

    def write(self, entries: Mapping[Path, Entry], points: Mapping[Path, Points] = {}) -> None:
        # Points first: what says that a sequence is there must not come before it.
        ordered = itertools.chain(
            (entry for entry in entries.items() if entry[0][0] == "seqs"),
            _entries(points),
            (entry for entry in entries.items() if entry[0][0] != "seqs"),
        )
        while message := list(itertools.islice(ordered, MOST_ENTRIES)):
            self._link.call(self._send, message)

    def _send(self, entries: Sequence[tuple[Path, Entry]]) -> None:
        client = self._link.repo._client
        client.start_instructions_batch(self._hash)
        for path, entry in entries:
            self._trees[path[0]][path[1:]] = entry.value
        client.flush_instructions_batch(self._hash)


def _entries(metrics: Mapping[Path, Points]) -> Iterator[tuple[Path, Entry]]:
    for path, points in metrics.items():
        for spot, (value, moment) in points.items():
            columns = (value, moment.epoch, moment.time, moment.step)
            for column, stored in zip((*COLUMNS, "step"), columns, strict=True):
                yield (*path, column, spot), Entry(stored)


class _AtOnce:
    """Stands in for the queue of Aim's client: does what it is given, where it is given it."""

    waited_for = threading.local()

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def register_task(self, client: object, task: Callable[..., object], *args: Any) -> None:
        try:
            with self._lock:
                task(*args)
        except Exception:
            # Aim's own threads send signs of life, which nobody misses.
            if getattr(self.waited_for, "here", False):
                raise

    def wait_for_finish(self) -> None:
        """Nothing is ever left."""

    def stop(self) -> None:
        """Nothing is running."""


def _weak(link: Link) -> Callable[[], None]:
    """What gives `link` up at exit, and does not keep it until then."""
    reference = weakref.ref(link)

    def give_up() -> None:
        alive = reference()
        if alive is not None:
            alive.give_up()

    return give_up
