"""What goes where in DVCLive: `DVCLiveTracker`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_core.arguments import parameters_of, refuse_unknown
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.faults import Fault
from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags
from tracking_core.tracker import RecordTracker, on_main_process

if TYPE_CHECKING:  # it imports dvclive
    from tracking_dvclive.run import Run

__all__ = ["DVCLiveTracker"]


class DVCLiveTracker(RecordTracker):
    """Writes a run to a DVCLive directory, where ``dvc``, its extension and its Studio find it.

    Rows go to DVCLive's own files, and are in the operating system's hands when a call returns.
    What DVCLive does at every step, at a cost that grows with the run, is done for a whole batch or
    at the end. What goes where is in this package's README; `tracking_dvclive.read_run` reads a run
    back.

    A directory that holds a run already is left alone: the next is ``<dir>-2``. It is used again,
    as DVCLive does, once DVC has saved that run as an experiment; inside a DVC pipeline; and with
    ``resume=True`` to go on in it.

    ``log(values, step=None, plot=True, timestamp=..., step_axis=None)``: with ``plot=False`` the
    numbers and texts of a row are only part of the summary, as in ``Live.log_metric``; `timestamp`
    changes nothing, since every row has one; `step_axis` says what `step` counts ("epoch").

    Args:
        run_name: kept in the run's notes. It is not the name of the DVC experiment: that is
            `exp_name`, or made up by DVC.
        live: a ``dvclive.Live`` to log to, as it is.
        **kwargs: those of ``dvclive.Live``, such as `dir` (``"dvclive"``), `save_dvc_exp` and
            `dvcyaml`.

    Raises:
        TypeError: ``dvclive.Live`` has no such argument.
    """

    name = "dvclive"
    requires_logging_directory = False
    lane = "process"  # importing dvc holds up the interpreter for a second, and so does its git

    def __init__(self, run_name: str | None = None, live: Any = None, **kwargs: Any) -> None:
        super().__init__()
        refuse_unknown(self.name, kwargs, parameters_of("dvclive.live", "Live.__init__"), "Live")
        self.run_name = run_name
        self.init_kwargs = kwargs
        self._given = live
        self._resumed: str | None = None
        self._directory: str | None = None
        self._ended_at: float | None = None
        self._run: Run | None = None
        self._live: Any = live
        self._lock = threading.RLock()

    @property
    def live(self) -> Any:
        """The ``dvclive.Live``.

        Raises:
            NotStartedError: before `start`. It is an `AttributeError`.
        """
        if self._live is None:
            raise NotStartedError(f"tracker {self.name!r} is not started: call start() first")
        return self._live

    @property
    def tracker(self) -> Any:
        """The same as `live`."""
        return self.live

    @on_main_process
    def start(self) -> None:
        """Make the ``Live``, which makes the run's directory.

        Raises:
            AlreadyStartedError: it is running.
            TypeError: `live` is no ``dvclive.Live``.
            ValueError: `dir` is a URL, or DVCLive refuses an argument.
            DVCLiveDirectoryError: the directory can't be made. It is a `ValueError`.
            OSError: the disk is full or broken.
        """
        with self._lock:
            if self._run is not None:
                raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
            from tracking_dvclive.quiet import imported

            imported()
            from tracking_dvclive.run import Run

            run = Run.begun(
                self._given, self.init_kwargs, self._resumed, self.run_name, self.reject
            )
            self._run, self._live = run, run.live
            self._directory = run.directory
            self._resumed = self._ended_at = None
            self._next_position = run.next_position

    def deliver(self, records: Sequence[Record]) -> None:
        """Write `records`: each metric's rows with one write, then the summary.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            DVCLiveRunGoneError: the run's directory was deleted.
            OSError: the disk is full or broken. No row of `records` is in the files then.
        """
        with self._lock:
            run = self._running()
            with run.batch() as batch:
                for record in records:
                    match record:
                        case Config():
                            run.take_config(record)
                        case Tags():
                            run.take_tags(record)
                        case Log():
                            run.take_row(record, record.options.get(self.name, {}), batch)
                        case End():  # finish() says it, once the last record has been taken
                            self._ended_at = record.wall_time

    def identity(self) -> dict[str, Plain]:
        """Where the run lies: ``{"dir": ...}``."""
        return {} if self._directory is None else {"dir": self._directory}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on in the directory of the run that `identity` names."""
        directory = identity.get("dir")
        if not isinstance(directory, str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'dir', "
                "as identity() gives it"
            )
        self._resumed = os.path.abspath(directory)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, and ``Live.end()``: make the report, save the DVC experiment.

        A second time it does nothing.
        """
        with self._lock:
            if self._run is None:
                return
            # If this raises it can be called again.
            self._run.end(status, time.time() if self._ended_at is None else self._ended_at)
            self._run = None

    def fault(self, error: BaseException) -> Fault:
        """Whose fault an error of DVCLive's is."""
        if type(error).__module__ == "dvclive.error":
            return "setup"  # it is about an argument
        return super().fault(error)

    def _running(self) -> Run:
        if self._run is None:
            state = "not started" if self._directory is None else "finished"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._run
