"""A run as SwanLab's run file, and on SwanLab's server: `SwanLabTracker`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_core.capture import capture_tags
from tracking_core.config import plain_config
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags
from tracking_core.tracker import ONLINE_PACE, NullTracker, RecordTracker, on_main_process
from tracking_swanlab import arguments
from tracking_swanlab import settings as chosen
from tracking_swanlab.current import say_if_config_is_lost, say_if_there_is_one

if TYPE_CHECKING:
    from tracking_swanlab.run import SwanLabRun

__all__ = ["SwanLabTracker"]


class SwanLabTracker(RecordTracker):
    """Logs to a run of SwanLab: into its run file at once, and online to its server too.

    Every row is in the operating system's hands when the call returns. What goes where is in this
    package's README; `tracking_swanlab.read_run` reads a run back. Nothing here uses SwanLab's
    current run: several runs at once, and a run of your own, don't get into each other's way.

    ``log(values, step=None, step_axis=None)`` takes the name of the axis that the step counts on.

    Args:
        run_name: the project. Characters that SwanLab refuses are escaped.
        **kwargs: those of ``swanlab.init``, but for `project` and `callbacks`. Without `mode`,
            SwanLab's own settings say whether the run is online (``SWANLAB_MODE``, ...).
    """

    name = "swanlab"
    requires_logging_directory = False
    main_process_only = False  # as in Accelerate: each process may have a run of its own
    lane = "process"  # importing it is seconds of Python, and online it waits for a server

    def __init__(self, run_name: str, **kwargs: object) -> None:
        super().__init__()
        arguments.check(kwargs)
        say_if_there_is_one(run_name)
        say_if_config_is_lost()
        self.run_name = run_name
        self._kwargs: dict[str, Any] = kwargs
        self._resumed: Mapping[str, Plain] = {}
        self._run: SwanLabRun | None = None
        self._begun: Mapping[str, Plain] = {}
        self._identity: dict[str, Plain] = {}
        self._disabled = False
        self._ended_at: float | None = None
        self._lock = threading.RLock()

    @property
    def tracker(self) -> Any:
        """The same as `run`."""
        return self.run

    @property
    def run(self) -> Any:
        """A ``swanlab.Run`` that logs to the same run file, made when first asked for.

        It is not SwanLab's current run: call its methods, not ``swanlab.log``.

        Raises:
            NotStartedError: before `start`, or after `finish`. It is an `AttributeError`.
        """
        with self._lock:
            return NullTracker() if self._disabled else self._running().native()

    @on_main_process
    def start(self) -> None:
        """Make the run's directory and file, and online its experiment.

        Raises:
            AlreadyStartedError: it is running.
            SwanLabLoginError: there is no API key, or the server refuses it.
            SwanLabSettingError: SwanLab refuses a setting, there is no place for the run's files, or
                the server's address, its certificate or a proxy is of no use.
            SwanLabServerError: the server can't be reached, or fails.
        """
        if self._run is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        self._disabled = arguments.is_disabled(self._kwargs)
        if self._disabled:
            return
        with chosen.quiet():
            settings = chosen.resolved(self.run_name, self._kwargs)
        self._disabled = settings.mode == "disabled"
        self.pace = ONLINE_PACE if settings.mode == "online" else 0.0
        if self._disabled:
            return
        from tracking_swanlab.run import SwanLabRun

        # A start that failed half-way and is tried again goes on with the run that it made.
        run = SwanLabRun(settings, self._resumed or self._begun, self.reject, self.began_at)
        self._begun = self._identity = {"run_id": run.run_id, "run_dir": str(run.directory)}
        try:
            run.start()
        except BaseException:
            run.close()
            raise
        self._run, self._ended_at, self._resumed, self._begun = run, None, {}, {}
        given: list[Record] = []
        if self._kwargs.get("config") is not None:
            given.append(
                Config(plain_config(chosen.config_of(self._kwargs["config"])), time.time())
            )
        if self._kwargs.get("tags"):
            given.append(Tags(capture_tags(self._kwargs["tags"]), time.time()))
        if given:
            self.deliver(given)

    def deliver(self, records: Sequence[Record]) -> None:
        """Append `records` to the run file with one write, and online send what it holds.

        A server that is gone does not make it fail: what the server does not have yet is sent with
        a later batch. It is asked again after a second, later once a minute.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError: the disk is full or broken. Nothing of `records` is in the run file then.
        """
        if self._disabled:
            return
        with self._lock:
            run = self._running()
            batch = run.batch()
            for record in records:
                match record:
                    case Config():
                        run.files.config.update(record.values)
                        run.files.config_time = record.wall_time
                        run.config_changed = True
                    case Tags():
                        run.files.tags.update(record.values)
                        run.files.tags_time = record.wall_time
                        run.tags_changed = True
                    case Log():
                        batch.add(record, record.options.get(self.name, {}))
                    case End():  # finish() says it, once the last record has been taken
                        self._ended_at = record.wall_time
            if all(isinstance(record, End) for record in records):
                return  # finish() sends what is left
            try:
                run.take(batch)
            finally:
                self.unarrived = run.unarrived

    def identity(self) -> dict[str, Plain]:
        """The run's id and where its file lies: ``{"run_id": ..., "run_dir": ...}``.

        Before `start` that of the run which it then begins, in a directory that is made here;
        nothing if arguments or variables say which run it is.
        """
        known = self._identity or self._resumed or self._begun
        if not known and not arguments.is_disabled(self._kwargs):
            with chosen.quiet():
                settings = chosen.resolved(self.run_name, self._kwargs)
            named = settings.run.id or settings.run.resume == "must"
            if settings.mode != "disabled" and not named:
                self._begun = chosen.named(settings)
        return dict(self._identity or self._resumed or self._begun)

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names.

        Where its directory is not at hand, a new one is made for the same run id.
        """
        if not isinstance(identity.get("run_id"), str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_id' and "
                "'run_dir', as identity() gives them"
            )
        self._resumed = dict(identity)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, close its file, and online send what is left.

        A second time it does nothing, but if it raises, the next call goes on.

        Raises:
            SwanLabArrivalError: the server did not take all within ten seconds, or now if a lane
                has told when the run ended, and tries again. It names the ``swanlab sync`` command
                that sends it, too.
        """
        with self._lock:
            if (run := self._run) is None:
                return
            told = self._ended_at
            try:
                run.finish(status, time.time() if told is None else told, patient=told is None)
            finally:
                self.unarrived = run.unarrived
            self._run, self.unarrived = None, 0

    def _running(self) -> SwanLabRun:
        if self._run is None:
            state = "finished" if self._identity else "not started"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._run
