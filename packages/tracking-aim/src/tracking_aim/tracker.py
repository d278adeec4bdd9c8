"""What goes where in Aim: `AimTracker`."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_aim.importing import unhooked
from tracking_aim.layout import OURS, PARAMS, STATUS, TAGS, fitted, name_of
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags
from tracking_core.tracker import RecordTracker, on_main_process
from tracking_core.values import Image

if TYPE_CHECKING:  # these import aim
    from tracking_aim.batch import Batch, Sequences
    from tracking_aim.runs import OpenRun

__all__ = ["AimTracker"]

RUN_TAKES = {
    "capture_terminal_logs",
    "experiment",
    "force_resume",
    "log_system_params",
    "repo",
    "run_hash",
    "system_tracking_interval",
}


class AimTracker(RecordTracker):
    """Logs to a run in an Aim repository.

    What goes where is in this package's README; `tracking_aim.read_run` reads a run back.

    ``log(values, step=None, context=None, epoch=None, step_axis=None)`` takes Aim's context and
    epoch of the row, and the name of the axis that its step counts on.

    Args:
        run_name: shown in the UI.
        logging_dir: the directory that holds the repository (its ``.aim``). It is made if need be.
        **kwargs: those of ``aim.Run``. `repo` is used in place of `logging_dir`, and may be the
            address of an Aim server (``"aim://host:53800"``). `run_hash` goes on with a run.
            Terminal logs and system metrics are off unless they are asked for. Beside them
            `artifacts_uri` (``"s3://..."``), where files go; without it they lie in the repository.
    """

    name = "aim"
    requires_logging_directory = True
    lane = "process"  # heavy to import, starts threads, and holds up an exit that it doesn't like

    def __init__(
        self, run_name: str, logging_dir: str | os.PathLike[str] = ".", **kwargs: object
    ) -> None:
        super().__init__()
        self.run_name = run_name
        self.logging_dir = logging_dir
        self._kwargs: dict[str, Any] = kwargs
        self._resumed: Mapping[str, Plain] = {}
        self._half_started = False
        self._identity: dict[str, Plain] = {}
        self._open: OpenRun | None = None
        self._sequences: Sequences | None = None
        self._config: dict[str, Any] = {}
        self._ended_at: float | None = None
        self._lock = threading.RLock()

    # --- the run ---

    @property
    def writer(self) -> Any:
        """The ``aim.Run``, as Accelerate names it.

        Raises:
            NotStartedError: before `start` and after `finish`. It is an `AttributeError`.
        """
        return self._running().native

    @property
    def tracker(self) -> Any:
        """The same as `writer`."""
        return self.writer

    @on_main_process
    def start(self) -> None:
        """Make the repository and the run, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            TypeError: the constructor was given an argument that ``aim.Run`` does not have.
            AimRepositoryError: the repository can't be used.
            aim.sdk.errors.MissingRunError: there is no run `run_hash`.
            OSError: the directory can't be written, or the server can't be reached.
        """
        if self._open is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        unknown = sorted(self._kwargs.keys() - RUN_TAKES - {"artifacts_uri"})
        if unknown:
            raise TypeError(
                f"tracker {self.name!r} has no argument {', '.join(map(repr, unknown))}: beside "
                f"run_name and logging_dir it takes artifacts_uri, {', '.join(sorted(RUN_TAKES))}"
            )
        options = {**self._kwargs}
        uri, address = options.pop("artifacts_uri", None), options.pop("repo", self.logging_dir)
        given = options.pop("run_hash", None)
        run_hash = self._resumed.get("run_hash", given)
        address = self._resumed.get("repo", address)
        self._begin(os.fspath(address), None if run_hash is None else str(run_hash), options)
        run, ours = self._running(), self._half_started or not self._resumed
        # A start that fails from here on and is tried again goes on with the run that it made.
        self._resumed, self._half_started = self.identity(), ours
        self._ended_at = None
        try:
            if ours:
                run.call(setattr, run.native, "name", str(self.run_name))
            if uri is not None:
                run.call(run.native.set_artifacts_uri, str(uri))
        except BaseException:
            self._open = self._sequences = None
            run.give_up()
            raise
        self._resumed, self._half_started = {}, False

    def identity(self) -> dict[str, Plain]:
        """Which run it is and where: ``{"run_hash": ..., "repo": ...}``."""
        return dict(self._identity)

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names."""
        if not isinstance(identity.get("run_hash"), str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_hash', "
                "as identity() gives it"
            )
        self._resumed, self._half_started = dict(identity), False

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, and let Aim's queries see it. A second time it does nothing."""
        with self._lock:
            if self._open is None:
                return
            ended_at = time.time() if self._ended_at is None else self._ended_at
            run, batch = self._connected(), self._batch()
            batch.param((STATUS,), status)
            batch.commit()
            self._open = self._sequences = None
            run.close(ended_at, succeeded=status == "finished")

    def _begin(self, address: str, run_hash: str | None, options: Mapping[str, Any]) -> None:
        with unhooked():
            from tracking_aim.batch import Batch, Sequences
            from tracking_aim.remote import RemoteRun
            from tracking_aim.runs import LocalRun, is_remote

        run = (RemoteRun if is_remote(address) else LocalRun)(
            address, run_hash, options, self.began_at
        )
        try:
            found = run.native.hash
            sequences = Sequences(found, run.store)
            batch = Batch(sequences)
            config = batch.noted((OURS, "config")) if run_hash else None
            batch.param((STATUS,), "running")
            batch.commit()
        except BaseException:
            run.give_up()
            raise
        self._open, self._sequences = run, sequences
        self._config = json.loads(config or "{}")
        self._identity = {"run_hash": found, "repo": run.repo_path}

    def _running(self) -> OpenRun:
        if self._open is None:
            state = "finished" if self._identity else "not started"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._open

    def _connected(self) -> OpenRun:
        """The run, opened anew if it has failed."""
        run = self._running()
        if run.lost:
            run.give_up()
            where, which = str(self._identity["repo"]), str(self._identity["run_hash"])
            # What has failed may hold the run's lock still.
            self._begin(where, which, {"force_resume": True})
        return self._running()

    def _batch(self) -> Batch:
        from tracking_aim.batch import Batch

        assert self._sequences is not None
        return Batch(self._sequences)

    # --- what goes where ---

    @on_main_process
    def log_images(
        self,
        values: Mapping[str, Any],
        step: int | None = None,
        kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Store pictures: for each key one, a list, a batch, or ``(picture, caption)``.

        `kwargs`, ``{"track": {...}}``, is Accelerate's way to give what `options` are.
        """
        options.update((kwargs or {}).get("track", {}))
        pictures = {
            key: Image(value[0], caption=value[1]) if _captioned(value) else value
            for key, value in values.items()
        }
        super().log_images(pictures, step, **options)

    def deliver(self, records: Sequence[Record]) -> None:
        """Write `records`: files first, then all points with one write, then Aim's tags.

        Sending the same records again changes nothing.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError: the disk is full or broken.
        """
        with self._lock:
            from tracking_aim.artifacts import Artifacts
            from tracking_aim.rows import Rows

            run = self._connected()
            batch = self._batch()
            rows = Rows(self.name, batch, Artifacts(lambda: run.artifacts_uri), self.reject)
            config, labels = self._config, dict[str, str | None]()
            for record in records:
                match record:
                    case Config():
                        config = {**config, **record.values}
                        for key, value in record.values.items():
                            batch.param((PARAMS, name_of(key)), fitted(value))
                        batch.note((OURS, "config"), json.dumps(config))
                    case Tags():
                        for key, value in record.values.items():
                            path = (TAGS, name_of(key))
                            if value is not None or batch.noted(("attrs", *path)) is not None:
                                batch.param(path, value)
                        labels.update(record.values)
                    case Log():
                        rows.take(record)
                    case End():  # finish() says it, once the last record has been taken
                        self._ended_at = record.wall_time
            batch.commit()
            self._config = config
            if labels:
                run.call(_set_labels, run.native, labels)


def _captioned(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str)


def _set_labels(run: Any, labels: Mapping[str, str | None]) -> None:
    """Aim's tags are labels; each call of it is a transaction in the repository's SQLite."""
    there = set(run.tags)
    for label, value in labels.items():
        if value is None and label not in there:
            run.add_tag(label)
        elif value is not None and label in there:
            run.remove_tag(label)
