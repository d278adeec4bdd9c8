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
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from aim.ext.cleanup import AutoClean
from aim.sdk.errors import MissingRunError
from aim.sdk.repo import Repo

from tracking_aim.layout import Path
from tracking_aim.runs import QUIET, AimRepositoryError, opened
from tracking_aim.store import COLUMNS, Entry, Points

__all__ = ["Link", "RemoteRun", "RemoteStore"]

SECONDS = 20.0
"""How long one call may take."""
MOST_ENTRIES = 200
"""In one message: the server's time for one grows with the square of its length."""

Result = TypeVar("Result")


class Link:
    """A connection to the server at `address`, such as ``"aim://host:53800"``.

    Attributes:
        repo: Aim's repository over there.
        lost: whether a call has failed. Another one would not be better.

    Raises:
        ConnectionError: nobody answers there.
        TimeoutError: not in time.
        AimRepositoryError: somebody else answers.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = False
        self.repo: Any = None
        try:
            self.repo = self.call(Repo, address)
        except ValueError as error:  # an answer that can't be read
            raise AimRepositoryError(
                f"tracker 'aim': what answers at {address!r} is no Aim server"
            ) from error
        client = self.repo._client
        queue, client._queue = client.get_queue(), _AtOnce()
        queue._shutdown = True
        queue._queue.put((list, ((),)))  # wakes its thread, which then sees this
        # Before Aim's own way to close everything at exit, which waits for a server that is gone.
        self._at_exit = _weak(self)
        atexit.register(self._at_exit)

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
        thread.join(SECONDS)
        if done:
            return done[0]
        error = failed[0] if failed else None
        if isinstance(error, (LookupError, MissingRunError, TypeError, ValueError)):
            raise error  # about what was asked
        self.lost = True
        if error is None:
            raise TimeoutError(f"the Aim server at {self.address} did not answer in {SECONDS:g} s")
        reason = f"{type(error).__name__}: {error}"
        raise ConnectionError(f"the Aim server at {self.address}: {reason}") from error

    def give_up(self) -> None:
        """Leave nothing that would ask the server for anything again."""
        failed, self.lost = self.lost, True
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
        if client._ws is not None and not failed:
            with suppress(Exception):
                client._ws.close()


class RemoteRun:
    """A run in the repository of a server.

    Args:
        address: of the server.
        run_hash: of the run to go on with; None for a new one.
        options: of ``aim.Run``.
        began_at: when a new run began, in seconds since the epoch; None for now.

    Raises:
        ConnectionError, TimeoutError, AimRepositoryError: as `Link` has it.
        aim.sdk.errors.MissingRunError: the server has no run `run_hash`.
    """

    def __init__(
        self,
        address: str,
        run_hash: str | None,
        options: Mapping[str, Any],
        began_at: float | None = None,
    ) -> None:
        try:
            self._link = Link(address)
        except AimRepositoryError as error:
            if run_hash is None:
                raise
            # There was a server, and it comes back: this is a gateway's page about it, say.
            raise ConnectionError(str(error)) from error
        self.repo_path = address
        repo = self._link.repo

        def begin() -> tuple[Any, RemoteStore]:
            native = opened(run_hash, repo, began_at, {**QUIET, **options})
            return native, RemoteStore(self._link, native.hash)

        try:
            self.native, self.store = self._link.call(begin)
        except BaseException:
            self._link.give_up()
            raise

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
        run_hash = self.native.hash

        def end() -> None:
            if succeeded:
                self.native.report_successful_finish(block=True)
            self.native.close()

        try:
            self.call(end)
            path: Path = ("meta", "meta", "chunks", run_hash, "end_time")
            self.store.write({path: Entry(ended_at)})
        finally:
            self.give_up()

    def give_up(self) -> None:
        if self.native._resources is not None:
            self.native._resources.finalizer.detach()
        if self.native._checkins is not None:
            self.native._checkins.stop_signal.set()
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
