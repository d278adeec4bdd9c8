"""What goes where in Trackio: `TrackioTracker`.

Everything goes through the storage (or the server) that Trackio's own runs write to in the end,
with the run named in each call: `trackio.init` prints, finishes the run before it, and sends from a
thread of its own, half a second later and with the time of sending.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tracking_core.config import plain_config
from tracking_core.errors import AlreadyStartedError, NotStartedError, TrackingError
from tracking_core.faults import NOT_WRITABLE, Fault
from tracking_core.records import (
    Config,
    End,
    Log,
    Plain,
    Record,
    Status,
    Tags,
    flat,
)
from tracking_core.tracker import RecordTracker, on_main_process
from tracking_trackio import files, runs
from tracking_trackio.card import Card
from tracking_trackio.current import say_if_there_is_one
from tracking_trackio.row import columns, digest, without
from tracking_trackio.settings import (
    NATIVE_TAKES,
    TrackioSettingError,
    Where,
    check_arguments,
)
from tracking_trackio.store import Row, RunId, Store

__all__ = ["TrackioTracker"]

PACE = 3.0  # seconds: a batch with pictures and a file takes seven requests
STEPS = range(-(2**63), 2**63)
# What SQLite says of files that somebody has to mend.
BROKEN = ("unable to open", "readonly", "malformed", "not a database")


class TrackioTracker(RecordTracker):
    """Logs to a run of Trackio's, in its directory on this machine or on a server.

    Args:
        run_name: the project, as in Accelerate's class.
        **kwargs: those of ``trackio.init``: `name` of the run, `group`, `config`, `resume`
            (``"never"``, ``"allow"`` or ``"must"``: go on with the newest run of that name),
            `server_url` or `space_id` (else ``TRACKIO_SERVER_URL``, ``TRACKIO_SPACE_ID``, else this
            machine), `webhook_url`, `webhook_min_level`, `auto_log_gpu` and `auto_log_cpu` (on only
            if true) with their intervals. A Space must exist: what says how Trackio makes one
            (`private`, `bucket_id`, `dataset_id`, `space_storage`) is refused. `embed` has no effect.
    """

    name = "trackio"
    requires_logging_directory = False
    main_process_only = False
    # Importing trackio is 0.6 to 1.6 s of Python, during which no other thread runs.
    lane = "process"

    def __init__(self, run_name: str, **kwargs: Any) -> None:
        super().__init__()
        check_arguments(kwargs)
        say_if_there_is_one(run_name)
        self.run_name = run_name
        self.init_kwargs = kwargs
        self._project = run_name
        self._identity: Mapping[str, Plain] = {}
        self._where = Where()
        self._store: Store | None = None
        self._run: RunId | None = None
        self._card = Card()
        self._native: Any = None
        self._running = self._ended = False
        self._ended_at: float | None = None
        self._last_step = -1
        self._lock = threading.RLock()

    # --- the run ---

    @on_main_process
    def start(self) -> None:
        """Make the run, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            TrackioSettingError: an argument, a variable or the directory is of no use.
            TrackioLoginError: a token is missing.
            ConnectionError: the server can't be reached.
            TrackioServerError: the server says no.
        """
        if self._running:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        with self._lock, _said_of_the_directory():
            run, store = self._choose()
            self._card = Card(runs.card(store, run))
            self._last_step = runs.last_step(store, run)
            self._next_position = self._last_step + 1
            self._card.begin(self.init_kwargs.get("group"))
            if config := self.init_kwargs.get("config"):
                self._card.configure(plain_config(config), time.time())
            self._append([], changed=True)
            if self.init_kwargs.get("auto_log_gpu") or self.init_kwargs.get("auto_log_cpu"):
                self._native = self._make_native(run)
            self._identity, self._ended_at = {}, None
            self.pace = PACE if self._where != Where() else 0.0
            self._running, self._ended = True, False

    def fault(self, error: BaseException) -> Fault:
        return "setup" if _is_of_the_directory(error) else super().fault(error)

    def identity(self) -> dict[str, Plain]:
        """Project, name and id of the run, and the directory or the server that keeps it.

        Before `start` those of the run which it then begins.
        """
        with self._lock:
            run, store = self._run, self._store
            if run is None or store is None:
                run, store = self._choose()
        return {"project": self._project, "name": run.name, "run_id": run.id, **store.place}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names; `resume` and `name` don't count."""
        if not isinstance(identity.get("run_id"), str):
            raise TrackioSettingError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_id' and "
                "what else identity() gives"
            )
        self._identity = dict(identity)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended. A second time it does nothing."""
        with self._lock:
            if not self._running:
                return
            if self._native is not None:
                from tracking_trackio import native

                native.finish(self._native)
                self._native = None
            ended_at = time.time() if self._ended_at is None else self._ended_at
            self._card.end(status, ended_at)
            self._append([], changed=True)
            self._running, self._ended = False, True
            if self._store is not None:
                self._store.close()

    @property
    def tracker(self) -> Any:
        """The run as a ``trackio.Run``, made when first asked for: it starts a thread.

        What is logged through it is sent by that thread. It is not Trackio's current run, so
        ``trackio.log`` does not know it: call its own methods.

        Raises:
            NotStartedError: before `start`, or after `finish`. It is an `AttributeError`.
        """
        with self._lock:
            run, _ = self._started()
            if self._native is None:
                self._native = self._make_native(run)
            return self._native

    @property
    def run(self) -> Any:
        """The same as `tracker`."""
        return self.tracker

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Store `records`: their files first, then all rows and the configuration in one go.

        When it returns they are in the database (or with the server). The same records again are
        stored once.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError, sqlite3.Error: the disk is full or broken, the database is locked, the server
                can't be reached or does not answer. No row of `records` is stored then.
            TrackioServerError: the server says no.
        """
        with self._lock:
            _, store = self._started()
            try:
                self._take(records)
            except BaseException:
                store.forget_media()  # it comes again with its row
                raise

    def _take(self, records: Sequence[Record]) -> None:
        rows: list[Row] = []
        seen: Counter[str] = Counter()
        changed = False
        for record in records:
            match record:
                case Config():
                    self._card.configure(record.values, record.wall_time)
                    changed = True
                case Tags():
                    self._card.tag(record.values, record.wall_time)
                    changed = True
                case Log():
                    rows += self._rows(record, seen)
                case End():  # finish() says it, once the last record has been taken
                    self._ended_at = record.wall_time
        if rows or changed:
            self._append(rows, changed=changed)

    def _rows(self, record: Log, seen: Counter[str]) -> list[Row]:
        run, store = self._started()
        step = record.position if record.step is None else record.step
        axis = self._axis(record)
        if step not in STEPS:
            for key, value in flat(record.values):
                self.reject(key, value, "its step does not fit into 64 bits")
            return []
        metrics = columns(record, axis, files.Kept(store, run, step, self.reject), self.reject)
        if not metrics:
            return []
        content = digest(step, record.wall_time, metrics)
        # Rows alike in everything, wall time included, are told apart within one batch.
        # Time goes first: an index grows faster at its end than all over.
        log_id = f"{run.id}-{round(record.wall_time * 1e9):016x}-{content}-{seen[content]}"
        seen[content] += 1
        self._last_step = max(self._last_step, step)
        return [Row(step, record.wall_time, metrics, log_id)]

    def _axis(self, record: Log) -> str | None:
        axis = None
        for option, value in record.options.get(self.name, {}).items():
            if option == "step_axis" and isinstance(value, str):
                axis = value
            else:
                reason = "an axis is named by a text"
                if option != "step_axis":
                    reason = "trackio.Run.log has no such argument"
                self.reject(f"log_kwargs[{option!r}]", value, reason)
        return axis

    def _append(self, rows: Sequence[Row], *, changed: bool) -> None:
        assert self._run is not None and self._store is not None
        if changed or not rows:
            # Trackio takes a configuration only along with a row: this one makes the run, once.
            rows = [Row(0, time.time(), {}, f"{self._run.id}-run"), *rows]
        if refused := self._store.send_media():
            for row in rows:
                for path, reason in refused.items():
                    for key, kind in without(row.metrics, {path}).items():
                        self.rejections.add(key, kind, reason)
        self._store.append(self._run, rows, self._card.stored() if changed else None)

    # --- inside ---

    def _choose(self) -> tuple[RunId, Store]:
        """The run that it is going to be, and where it is kept."""
        self._project = str(self._identity.get("project", self.run_name))
        self._where, self._store = runs.store(self.init_kwargs, self._identity)
        # What was named before, or made by a start that failed half-way, is what it stays.
        if self._run is None or self._ended or self._identity:
            self._run = runs.found(
                self._store, self._project, self.init_kwargs, self._identity
            ) or runs.made(self._store, self._project, self.init_kwargs)
        return self._run, self._store

    def _started(self) -> tuple[RunId, Store]:
        if not self._running or self._run is None or self._store is None:
            state = "finished" if self._ended else "not started"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._run, self._store

    def _make_native(self, run: RunId) -> Any:
        from tracking_trackio import native

        options = {key: self.init_kwargs[key] for key in NATIVE_TAKES if key in self.init_kwargs}
        for monitor in ("auto_log_gpu", "auto_log_cpu"):
            options[monitor] = bool(options.get(monitor))
        return native.native_run(
            run,
            last_step=self._last_step,
            config=self._card.values,
            where=self._where.arguments_of_a_run,
            options=options,
        )


@contextmanager
def _said_of_the_directory() -> Iterator[None]:
    """Names the variable that mends it, where Trackio's directory is of no use."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        lasting = (FileNotFoundError, FileExistsError, NotADirectoryError)
        here = isinstance(error, lasting) or getattr(error, "errno", 0) in NOT_WRITABLE
        if isinstance(error, TrackingError) or not (here or _is_of_the_directory(error)):
            raise
        raise TrackioSettingError(
            f"tracker 'trackio' can't use its directory ({error}): name another one with TRACKIO_DIR"
        ) from error


def _is_of_the_directory(error: BaseException) -> bool:
    """Whether SQLite says that the files themselves are of no use: waiting won't help."""
    said = str(error).lower()
    return isinstance(error, sqlite3.Error) and any(words in said for words in BROKEN)
