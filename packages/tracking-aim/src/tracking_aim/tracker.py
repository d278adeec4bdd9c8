"""What goes where in Aim: `AimTracker`."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tracking_aim.address import absolute, is_remote, public
from tracking_aim.errors import AimRunGoneError
from tracking_aim.importing import unhooked
from tracking_aim.layout import OURS, PARAMS, STATUS, TAGS, fitted, name_of
from tracking_core.arguments import parameters_of, refuse_unknown
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.faults import Fault
from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags
from tracking_core.tracker import ONLINE_PACE, RecordTracker, on_main_process
from tracking_core.values import Image

if TYPE_CHECKING:  # these import aim
    from tracking_aim.batch import Batch, Sequences
    from tracking_aim.runs import OpenRun

__all__ = ["AimTracker"]

# Where the library can't be looked at.
RUN_TAKES = frozenset(
    {
        "capture_terminal_logs",
        "experiment",
        "force_resume",
        "log_system_params",
        "read_only",
        "repo",
        "run_hash",
        "system_tracking_interval",
    }
)
OURS_TAKES = frozenset({"artifacts_uri"})

# As the operating system and SQLite word it, which is all that Aim's errors have of it.
NOT_WRITABLE = (
    "Permission denied",
    "Read-only file system",
    "readonly database",
    "unable to open database file",
)

OF_THIS_PROCESS = {
    "system_tracking_interval": "measure CPU and memory",
    "capture_terminal_logs": "capture the output",
    "log_system_params": "record packages, arguments and git commit",
}
"""What Aim would do, asked for by these, with the process that it lives in."""


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
            Terminal logs, system metrics and system params are off unless they are asked for, which
            takes ``delivery="thread"``: Aim looks at its own process. Beside them `artifacts_uri`
            (``"s3://..."``), where files go; without it they lie in the repository.

    Raises:
        TypeError: ``aim.Run`` has no such argument.
    """

    name = "aim"
    requires_logging_directory = True
    lane = "process"  # heavy to import, starts threads, and holds up an exit that it doesn't like

    def __init__(
        self, run_name: str, logging_dir: str | os.PathLike[str] = ".", **kwargs: object
    ) -> None:
        super().__init__()
        known = parameters_of("aim.sdk.run", "Run.__init__") or RUN_TAKES
        refuse_unknown(self.name, kwargs, (known | OURS_TAKES) - {"read_only"}, "aim.Run")
        self.run_name = run_name
        self.logging_dir = logging_dir
        self._kwargs: dict[str, Any] = kwargs
        place: Any = kwargs.get("repo") or logging_dir
        self._address = absolute(os.fspath(place))
        given = kwargs.get("run_hash")
        # Chosen here and not by Aim: a start that is tried again, by whomever, begins one run.
        self._run_hash = secrets.token_hex(12) if given is None else str(given)
        self._given = given is not None
        self._begun = self._resumed = False
        self._options: dict[str, Any] = {}
        self._open: OpenRun | None = None
        self._sequences: Sequences | None = None
        self._state: Literal["not started", "running", "finished"] = "not started"
        self._config: dict[str, Any] = {}
        self._ended_at: float | None = None
        self._lock = threading.RLock()

    def check_lane(self, lane: str) -> None:
        """Refuse what Aim would find out about the delivery process instead of the training."""
        if lane != "process":
            return
        for option, what in OF_THIS_PROCESS.items():
            if self._kwargs.get(option):
                raise ValueError(
                    f"init_kwargs['aim'][{option!r}]: Aim would {what} of the delivery process, "
                    'where it lives, not of the training: use Tracking(..., delivery="thread"), or '
                    "leave it out"
                )

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
            AimRepositoryError: the repository can't be used.
            aim.sdk.errors.MissingRunError: there is no run `run_hash`.
            OSError: the directory can't be written, or the server can't be reached.
        """
        if self._open is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        if self._state == "finished" and not (self._resumed or self._given):
            self._run_hash, self._begun = secrets.token_hex(12), False
        options = {**self._kwargs}
        for ours in ("repo", "run_hash"):
            options.pop(ours, None)
        uri = options.pop("artifacts_uri", None)
        if self.training_pid not in (None, os.getpid()):
            for option in OF_THIS_PROCESS:
                options.pop(option, None)
        self._options = options
        new = not self._begun and not self._given
        if new or self._begun:
            # At a server an earlier try, or a process that was killed, may hold its lock still.
            options = {**options, "force_resume": True} if is_remote(self._address) else options
        self._sequences = None
        self._begin(options, new=new, artifacts_uri=uri)
        self._begun, self._resumed = True, False
        self._state, self._ended_at = "running", None

    def identity(self) -> dict[str, Plain]:
        """Which run it is and where: ``{"run_hash": ..., "repo": ...}``, before `start`, too.

        Once it has begun, ``"begun": True`` is there too: if it is missing then, it was deleted.
        """
        known: dict[str, Plain] = {"run_hash": self._run_hash, "repo": public(self._address)}
        return {**known, "begun": True} if self._begun else known

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names."""
        run_hash = identity.get("run_hash")
        if not isinstance(run_hash, str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_hash', "
                "as identity() gives it"
            )
        self._run_hash = run_hash
        self._begun, self._resumed = bool(identity.get("begun")), True
        repo = identity.get("repo")
        # A run that never began may have had a wrong address, and here is another one.
        mended = not self._begun and self._kwargs.get("repo") is not None
        if isinstance(repo, str) and repo != public(self._address) and not mended:
            self._address = repo

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, and let Aim's queries see it. A second time it does nothing."""
        with self._lock:
            if self._open is None:
                return
            ended_at = time.time() if self._ended_at is None else self._ended_at
            run, batch = self._connected(), self._batch()
            # First, so that nothing below can leave a run that seems to go on.
            batch.param((STATUS,), status)
            batch.note(("end_time",), ended_at)
            self._commit(batch)
            # Only then has it ended: what fails here is tried again.
            run.close(succeeded=status == "finished")
            self._open = self._sequences = None
            self._state = "finished"

    def fault(self, error: BaseException) -> Fault:
        """Whose fault an error of Aim's is."""
        if type(error).__name__ == "MissingRunError":
            # One that the user named was never there; another one has been deleted.
            return "run" if self._begun else "setup"
        if any(words in str(error) for words in NOT_WRITABLE):
            return "setup"
        return super().fault(error)

    def _begin(
        self, options: Mapping[str, Any], *, new: bool = False, artifacts_uri: object = None
    ) -> None:
        with unhooked():
            from tracking_aim.batch import Batch, Sequences
            from tracking_aim.remote import RemoteRun
            from tracking_aim.runs import LocalRun

        run = (RemoteRun if is_remote(self._address) else LocalRun)(
            self._address, self._run_hash, options, self.began_at, new=new
        )
        sequences, config = self._sequences, self._config
        try:
            if new:
                run.call(setattr, run.native, "name", str(self.run_name))
            if artifacts_uri is not None:
                run.call(run.native.set_artifacts_uri, str(artifacts_uri))
            if sequences is None:
                sequences = Sequences(self._run_hash, run.store)
                config = json.loads(Batch(sequences).noted((OURS, "config")) or "{}")
            else:
                # As it was when the server, or the disk, said last that all is stored: what came to
                # be stored since then is written again, to the same places.
                sequences.store = run.store
            batch = Batch(sequences)
            batch.param((STATUS,), "running")
            batch.commit()
        except BaseException:
            run.undo()
            raise
        self._open, self._sequences, self._config = run, sequences, config
        self._address = run.repo_path
        self.pace = ONLINE_PACE if is_remote(self._address) else 0.0

    def _running(self) -> OpenRun:
        if self._open is None:
            raise NotStartedError(f"tracker {self.name!r} is {self._state}: call start() first")
        return self._open

    def _connected(self) -> OpenRun:
        """The run, opened anew if it has failed."""
        run = self._running()
        if run.lost:
            run.give_up()
            # What has failed may hold the run's lock still.
            self._begin({**self._options, "force_resume": True})
        return self._running()

    def _batch(self) -> Batch:
        from tracking_aim.batch import Batch

        assert self._sequences is not None
        return Batch(self._sequences)

    def _commit(self, batch: Batch) -> None:
        try:
            batch.commit()
        except AimRunGoneError:
            # Nothing shall say any more that it is alive.
            self._running().give_up()
            raise

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
            self._commit(batch)
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
