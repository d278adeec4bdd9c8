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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FunctionType
from typing import Any, TypeVar

import requests
from aim.ext.cleanup import AutoClean
from aim.sdk.errors import MissingRunError
from aim.sdk.repo import Repo

from tracking_aim import client
from tracking_aim.address import look_at, public
from tracking_aim.client import Connection, Instruction
from tracking_aim.errors import AimRunGoneError
from tracking_aim.layout import STATUS, Path
from tracking_aim.runs import QUIET, end_of, leave, opened
from tracking_aim.store import COLUMNS, Entry, Points
from tracking_core.errors import TrackingError
from tracking_core.network import reason_of

__all__ = ["Link", "RemoteRun", "RemoteStore"]

SECONDS_OF_A_LIST = 0.6
"""How old the server's list of runs may be, and a little more."""
READS_AT_ONCE = 16
MOST_ENTRIES = 200
"""In one instruction, of which a message may have four."""

OF_WHAT_WAS_ASKED = (ImportError, LookupError, MissingRunError, TypeError, ValueError, Warning)
"""What is raised, here or there, though the connection is as good as before."""

Result = TypeVar("Result")

_lost: dict[str, list[Link]] = {}
"""Connections that failed, by address: the server may be there still, and believe in them."""


class Link:
    """A connection to the server at `address`, such as ``"aim://host:53800"``.

    Attributes:
        repo: Aim's repository over there.
        lost: whether a call has failed. Another one would not be better.

    Raises:
        AimServerError: somebody else answers there, or asks to be left alone for a while.
        ConnectionError: nobody answers there.
        TimeoutError: not in time.
        AimLoginError: who answers lets nobody in without a login.
        AimRepositoryError: the address, a proxy or a certificate has to be seen to.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = False
        self.repo: Any = None
        self.connection: Any = None
        scheme = look_at(address, client.SECONDS)
        self.connection = self.call(Connection, address, scheme)
        self.repo = self.call(_repository, self.connection)
        self.connection.start()
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
        connection = self.connection

        def work() -> None:
            if connection is not None:
                connection.waited_for.here = True
            try:
                done.append(function(*arguments))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="tracking-aim", daemon=True)
        thread.start()
        answers = -1
        while thread.is_alive() and answers != self._answers:
            answers = self._answers
            thread.join(client.SECONDS)
        if done:
            return done[0]
        error = failed[0] if failed else None
        if isinstance(error, OF_WHAT_WAS_ASKED) and not isinstance(error, OSError):
            raise error
        self.lost = True
        if isinstance(error, TrackingError):
            raise error
        where = f"the Aim server at {public(self.address)}"
        if error is None or isinstance(error, (TimeoutError, requests.Timeout)):
            raise TimeoutError(f"{where} did not answer in {client.SECONDS:g} s") from error
        raise ConnectionError(f"{where}: {reason_of(error)}") from error

    def write(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What `function` returns, as `call` has it; all that it writes goes at once."""

        def all_of_it() -> Result:
            with self.connection.together():
                return function(*arguments)

        return self.call(all_of_it)

    @property
    def _answers(self) -> int:
        return 0 if self.connection is None else int(self.connection.answers)

    def release(self) -> None:
        """Have the server let go of what it holds for us, which it would do minutes later.

        Until then it says that the run goes on, and holds its databases.
        """
        connection = self.connection
        if connection._ws is not None:  # there, what it wrote last is held as long as it is open
            with suppress(Exception):
                connection._ws.close()
            connection._ws = None
        # What says so last of all comes first. The rest holds nothing.
        for kind in ("RunHeartbeat", "Lock", "StructuredRun", "TreeView"):
            for handler, resource in list(connection._resource_pool.items()):
                if resource.resource_type == kind:
                    resource._resources.finalizer.detach()
                    with suppress(Exception):  # this one is forgotten there
                        connection.release_resource(-1, handler)

    def give_up(self) -> None:
        """Leave nothing that would ask the server for anything again."""
        failed, self.lost = self.lost, True
        if self.repo is None:
            return
        atexit.unregister(self._at_exit)
        connection = self.connection
        connection._heartbeat_sender._shutdown = True
        for _, finalizer in list(AutoClean._finalizers.values()):
            alive = finalizer.peek()
            owner = getattr(alive[1], "__self__", None) if alive else None
            if connection in (
                getattr(owner, "rpc_client", None),
                getattr(owner, "_client", None),
            ) or (getattr(owner, "repo", None) is self.repo):
                finalizer.detach()
        # Aim forgets it when another connection to the same address is made.
        self.repo._resources.finalizer.detach()
        if failed:
            _lost.setdefault(self.address, []).append(self)
        elif connection._ws is not None:
            with suppress(Exception):
                connection._ws.close()


class RemoteRun:
    """A run in the repository of a server.

    Args:
        address: of the server.
        run_hash: its name.
        options: of ``aim.Run``.
        began_at: when a new run began, in seconds since the epoch; None for now.
        new: whether it is made if there is none.

    Raises:
        ConnectionError, TimeoutError, AimRepositoryError: as `Link` has it.
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
        repo, connection = self._link.repo, self._link.connection
        Repo._all_run_hashes.cache_clear()
        exists = self._exists(new=new)
        if not exists and not new:
            raise MissingRunError(f"there is no run {run_hash!r} at {public(self.repo_path)}")
        connection.blank = not exists
        self.store = RemoteStore(self._link, run_hash)
        # An earlier try may have been cut off where nothing could be put back.
        self._made = new and (not exists or self.store.is_empty)
        if not self._made:
            self._before = self.store.end
        connection.hold()  # all that begins it goes with the first that is stored
        self.native: Any = opened(run_hash, repo, began_at, {**QUIET, **options}, new=self._made)

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
        return self._link.write(function, *arguments)

    def close(self, *, succeeded: bool) -> None:
        native = self.native

        def end() -> None:
            if succeeded:
                native.report_successful_finish(block=True)
            resources = native._resources
            resources.set_run_end_time = lambda: None  # it would be the time of the call
            resources._heartbeat = resources._lock = None  # which end when they are released
            native.close()
            self._link.release()

        if not self._link.call(self._exists):
            self.give_up()
            raise AimRunGoneError(f"the run {self._hash} was deleted at {public(self.repo_path)}")
        with suppress(Exception):
            self._link.call(end)
        self.give_up()

    def undo(self) -> None:
        def put_back() -> None:
            if self._before:
                self.store.write({path: Entry(value) for path, value in self._before.items()})
            self._link.release()
            if self._made:
                self._link.repo._remote_repo_proxy.delete_run(self._hash)

        if not self._link.lost:
            self._link.connection.drop()
            with suppress(Exception):
                self._link.call(put_back)
        self.give_up()

    def give_up(self) -> None:
        if "native" in self.__dict__:
            leave(self.native)
        self._link.give_up()


class RemoteStore:
    """The trees of a run at a server. What is written goes in messages that are answered."""

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
        time_at, status_at = end_of(self._hash)
        ended_at = self.read(time_at)
        return {} if ended_at is None else {time_at: ended_at, status_at: self.read(status_at)}

    @property
    def is_empty(self) -> bool:
        """Whether it has been begun and nothing more."""
        run: Path = ("meta", "meta", "chunks", self._hash)
        params = self.collect((*run, "attrs")) or {}
        return params.keys() <= {STATUS} and self.collect((*run, "traces")) is None

    def read(self, path: Path) -> Any:
        return self.collect(path)

    def read_all(self, paths: Collection[Path]) -> dict[Path, Any]:
        return self._link.call(self._side_by_side, paths) if paths else {}

    def collect(self, path: Path) -> Any:
        return self._link.call(self._collect, path)

    def _collect(self, path: Path) -> Any:
        try:
            return self._trees[path[0]].collect(path[1:])
        except LookupError:
            return None

    def _side_by_side(self, paths: Collection[Path]) -> dict[Path, Any]:
        """What is at each of `paths`: a server that takes its time for one has it for many."""
        found: dict[Path, Any] = {}
        failed: list[BaseException] = []
        left = iter(list(paths))

        def ask() -> None:
            try:
                for path in left:
                    if failed:
                        return
                    found[path] = self._collect(path)
            except BaseException as error:
                failed.append(error)

        threads = [
            threading.Thread(target=ask, name="tracking-aim", daemon=True)
            for _ in range(min(len(paths), READS_AT_ONCE))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return found

    def write(self, entries: Mapping[Path, Entry], points: Mapping[Path, Points] = {}) -> None:
        self._link.call(self._send, list(self._instructions(entries, points)))

    def _send(self, instructions: Sequence[Instruction]) -> None:
        connection = self._link.connection
        connection.write(instructions)
        connection.flush()
        connection.blank = False

    def _instructions(
        self, entries: Mapping[Path, Entry], points: Mapping[Path, Points]
    ) -> Iterator[Instruction]:
        # Points first: what says that a sequence is there must not come before it.
        yield from self._set(entry for entry in entries.items() if entry[0][0] == "seqs")
        for path, numbers in points.items():
            of_metric = iter(numbers.items())
            while some := list(itertools.islice(of_metric, MOST_ENTRIES)):
                yield from self._set(_by_column(path, some))
        yield from self._set(entry for entry in entries.items() if entry[0][0] != "seqs")

    def _set(self, entries: Iterable[tuple[Path, Entry]]) -> Iterator[Instruction]:
        """The `entries`, those at one place together: a path takes more room than a value."""
        for place, those in itertools.groupby(entries, lambda entry: entry[0][:-1]):
            values = ((path[-1], entry.value) for path, entry in those)
            while some := list(itertools.islice(values, MOST_ENTRIES)):
                yield self._trees[place[0]]._handler, "update", (place[1:], some)


def _by_column(path: Path, points: Iterable[tuple[int, Any]]) -> Iterator[tuple[Path, Entry]]:
    """`points` of the metric at `path`, as `RemoteStore` and Aim have them."""
    for number, column in enumerate((*COLUMNS, "step")):
        for spot, (value, moment) in points:
            stored = (value, moment.epoch, moment.time, moment.step)[number]
            yield (*path, column, spot), Entry(stored)


def _repository(connection: Connection) -> Any:
    """Aim's repository behind `connection`.

    Aim would make a client of its own for it.
    """
    made = Repo.__init__
    known = {**made.__globals__, "Client": lambda _: connection}
    begin = FunctionType(made.__code__, known, made.__name__, made.__defaults__, made.__closure__)
    begin.__kwdefaults__ = made.__kwdefaults__
    repo: Any = Repo.__new__(Repo)
    begin(repo, connection.address)
    request_tree, trees = repo.request_tree, dict[object, Any]()

    def request_tree_once(name: str, sub: str | None = None, **options: Any) -> Any:
        """Each that is written to is asked for once, here and by an ``aim.Run``."""
        if options.get("read_only"):
            return request_tree(name, sub, **options)
        key = name, sub
        if key not in trees:
            trees[key] = request_tree(name, sub, **options)
        return trees[key]

    repo.request_tree = request_tree_once
    return repo


def _weak(link: Link) -> Callable[[], None]:
    """What gives `link` up at exit, and does not keep it until then."""
    reference = weakref.ref(link)

    def give_up() -> None:
        alive = reference()
        if alive is not None:
            alive.give_up()

    return give_up
