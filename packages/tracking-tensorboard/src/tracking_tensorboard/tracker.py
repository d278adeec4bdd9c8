"""A run as TensorBoard event files, written without PyTorch and TensorFlow."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_core.arguments import refuse_unknown
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.locks import only_one
from tracking_core.records import End, Plain, Record, Status
from tracking_core.tracker import RecordTracker, on_main_process
from tracking_tensorboard.artifacts import inner_path
from tracking_tensorboard.errors import TensorBoardDirectoryError

if TYPE_CHECKING:  # these import tensorboard
    from tracking_tensorboard.event_file import EventFile
    from tracking_tensorboard.summaries import Summaries

__all__ = ["TensorBoardTracker"]

SUMMARY_WRITER_TAKES = {"comment", "filename_suffix", "flush_secs", "max_queue", "purge_step"}
# What no waiting helps against: a file in the way, a directory of somebody else, a name of no use.
NO_PLACE = frozenset({
    errno.EACCES, errno.EEXIST, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
})  # fmt: skip


class TensorBoardTracker(RecordTracker):
    """Writes a run to ``<logging_dir>/<run_name>``, where ``tensorboard --logdir`` finds it.

    Every row is one event, in the operating system's hands when the call returns. What goes where
    is in this package's README; `tracking_tensorboard.read_run` reads a run back.

    A directory that already holds a run is left alone: the next is ``<run_name>-2``. To go on in
    it, give `purge_step`, or call `resume`.

    ``log(values, step=None, walltime=None)`` takes seconds since the epoch for the row's time.
    ``new_style`` and ``double_precision`` are accepted for code that was written for
    ``SummaryWriter.add_scalar`` and change nothing: TensorBoard's default server shows only 32-bit
    scalars, and those of the old style everywhere.

    Args:
        run_name: directory of the run; may be nested (``"sweep/3"``), never outside `logging_dir`.
        logging_dir: a local directory.
        **kwargs: those of ``torch.utils.tensorboard.SummaryWriter``. `purge_step` (TensorBoard
            hides earlier rows from that step on) and `filename_suffix` apply to the tracker's own
            file. `max_queue` and `flush_secs` have nothing to say about it, since it is written at
            once; `writer` gets them.

    Raises:
        TypeError: SummaryWriter has no such argument.
        ValueError: `logging_dir` is a URL.
    """

    name = "tensorboard"
    requires_logging_directory = True
    lane = "process"  # its import takes most of a second, and its events are made in Python

    def __init__(
        self, run_name: str, logging_dir: str | os.PathLike[str], **kwargs: object
    ) -> None:
        super().__init__()
        refuse_unknown(self.name, kwargs, SUMMARY_WRITER_TAKES, "SummaryWriter")
        if "://" in str(logging_dir):
            raise ValueError(
                f"tracker {self.name!r} writes to a local directory, not to {str(logging_dir)!r}: "
                "give a local logging_dir, and copy it there (with rclone or the like) or mount it"
            )
        self.run_name = run_name
        self.logging_dir = logging_dir
        self._parent = logging_dir
        self._kwargs: dict[str, Any] = kwargs
        self._resumed: str | None = None
        self._run_dir: str | None = None
        self._ended_at: float | None = None
        self._events: EventFile | None = None
        self._summaries: Summaries | None = None
        self._writer: Any = None

    @on_main_process
    def start(self) -> None:
        """Make the run's directory and event file. `logging_dir` is then the run's directory.

        Raises:
            AlreadyStartedError: it is running.
            TensorBoardDirectoryError: the directory can't be made, or not be written. It is a
                `ValueError`.
            TypeError, ValueError: an argument has a value that TensorBoard does not take.
            OSError: the disk is full or broken.
        """
        if self._events is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        try:
            self._begin()
        except OSError as error:
            if error.errno not in NO_PLACE:
                raise
            raise TensorBoardDirectoryError(
                f"tracker {self.name!r} can't write to {self._resumed or self._first_choice()!r}: "
                f"{error}. Give a logging_dir and a name in which files can be made"
            ) from error

    def _begin(self) -> None:
        from tracking_tensorboard.event_file import EventFile
        from tracking_tensorboard.summaries import Summaries

        now, purge_step = time.time(), self._kwargs.get("purge_step")
        wanted = self._resumed or self._first_choice()
        with contextlib.ExitStack() as undo:
            undo.callback(_remove_empty, _missing(wanted))
            # Else two that start at once could find the same directory free.
            with only_one(wanted):
                run_dir = self._resumed or self._first_directory(go_on=purge_step is not None)
                undo.callback(_remove_empty, _missing(run_dir))
                goes_on = _holds_a_run(run_dir)
                events = EventFile(run_dir, self._kwargs.get("filename_suffix", ""), purge_step)
            undo.callback(events.take_back)
            began_at = now if self.began_at is None else self.began_at
            summaries = Summaries(run_dir, began_at, self.reject)
            if goes_on:
                events.append([summaries.taken_up(now)])
            undo.pop_all()
        self._events, self._summaries = events, summaries
        self._run_dir = self.logging_dir = run_dir
        self._resumed = self._writer = self._ended_at = None

    def deliver(self, records: Sequence[Record]) -> None:
        """Append one event for each record, all with one write.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError: the disk is full or broken. Nothing of `records` is in the event file then.
        """
        events, summaries = self._running()
        if self._writer is not None:
            # Before our own write: if this raises, the same records may come again.
            self._writer.flush()
        made = [summaries.event(record) for record in records if not isinstance(record, End)]
        events.append([event for event in made if event is not None])
        for record in records:
            if isinstance(record, End):  # finish() says it, once the last record has been taken
                self._ended_at = record.wall_time

    def identity(self) -> dict[str, Plain]:
        """Where the run lies: ``{"run_dir": ...}``."""
        return {} if self._run_dir is None else {"run_dir": self._run_dir}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on in the directory of the run that `identity` names."""
        run_dir = identity.get("run_dir")
        if not isinstance(run_dir, str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_dir', "
                "as identity() gives it"
            )
        self._resumed = os.path.abspath(run_dir)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, and close its files. A second time it does nothing."""
        if self._events is None or self._summaries is None:
            return
        events, self._events = self._events, None
        ended_at = time.time() if self._ended_at is None else self._ended_at
        try:
            events.append([self._summaries.end(status, ended_at)])
        finally:
            events.close()
            if self._writer is not None:
                self._writer.close()

    # --- the library's own writer ---

    @property
    def tracker(self) -> Any:
        """The same as `writer`."""
        return self.writer

    @property
    def writer(self) -> Any:
        """A ``SummaryWriter`` on the run's directory: torch's, else tensorboardX's.

        It is made when first asked for, with a file of its own.

        Raises:
            NotStartedError: before `start`. It is an `AttributeError`.
            ImportError: neither torch nor tensorboardX is installed.
        """
        if self._writer is None:
            self._running()
            self._writer = self._summary_writer()
        return self._writer

    def _summary_writer(self) -> Any:
        options = dict(self._kwargs)
        # Our file has said it; said again now, it would hide the rows of this run.
        options.pop("purge_step", None)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            try:
                from tensorboardX import SummaryWriter as OtherSummaryWriter
            except ImportError:
                raise ImportError(
                    f"tracker {self.name!r}: .writer hands out a SummaryWriter of torch or "
                    "tensorboardX, and neither is installed: pip install tensorboardX"
                ) from None
            # Its file's name has nothing of the process in it, and a file of that name is truncated.
            events, _ = self._running()
            suffix = f".{events.unique}.writer{options.pop('filename_suffix', '')}"
            return OtherSummaryWriter(self._run_dir, filename_suffix=suffix, **options)
        return SummaryWriter(self._run_dir, **options)

    # --- inside ---

    def _running(self) -> tuple[EventFile, Summaries]:
        if self._events is None or self._summaries is None:
            state = "not started" if self._run_dir is None else "finished"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._events, self._summaries

    def _first_choice(self) -> str:
        """The run's directory, if no other run has it."""
        name = inner_path(str(self.run_name)) or "_x_"  # or the second run were beside logging_dir
        return os.path.join(os.path.abspath(self._parent), *name.split("/"))

    def _first_directory(self, *, go_on: bool) -> str:
        """The run's directory: the first of run_name, run_name-2, ... that holds no run."""
        first = self._first_choice()
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        return first if go_on else next(name for name in names if not _holds_a_run(name))


def _missing(directory: str) -> list[str]:
    """Of `directory` and the folders that it lies in those that are not there, the innermost first."""
    found = []
    while not os.path.lexists(directory):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found


def _remove_empty(folders: Iterable[str]) -> None:
    """Remove what a start that failed has made; not what others have put something into meanwhile."""
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _holds_a_run(directory: str) -> bool:
    try:
        return any("tfevents" in name for name in os.listdir(directory))
    except FileNotFoundError:
        return False
