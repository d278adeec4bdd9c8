"""One call in, every tracker behind it."""

from __future__ import annotations

import os
import pickle
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import time as now
from types import TracebackType
from typing import Any, get_args

from tracking_core import runs
from tracking_core.aside import Aside
from tracking_core.assembly import Delivery, Options, free_name, lanes_of, members_of
from tracking_core.capture import Rejected, capture, capture_images, capture_tags, plain_row
from tracking_core.config import PlainConfig, plain_config
from tracking_core.delivery.journaled import Handle, JournaledLanes, Member
from tracking_core.delivery.lane import Lane, TrackerStatus
from tracking_core.errors import (
    AlreadyStartedError,
    NoTrackerError,
    NotStartedError,
    StepError,
    TrackerNotInstalledError,
    UnknownTrackerError,
    let_through,
)
from tracking_core.exits import status_of
from tracking_core.filtering import Choice, LogWith, choose_trackers
from tracking_core.journal import Durability
from tracking_core.plain import text, type_name
from tracking_core.process import PartialState
from tracking_core.records import Config, Log, Status, Tags, Value
from tracking_core.recovery import recover, replay
from tracking_core.registry import get_available_trackers
from tracking_core.rejections import Rejection, Rejections, say, speak_for, users_line
from tracking_core.tracker import GeneralTracker, NullTracker, whole_step
from tracking_core.values import Artifact, Table, base_name

__all__ = ["Delivery", "Tracking"]

SECONDS_AT_EXIT = 10.0
SECONDS_TO_UNDO = 3.0
LARGEST_STEP = 2**63 - 1

_NEVER_ELSEWHERE = {"_run", "_hold", "_rejections", "_trackers", "_lanes", "_active"}


class Tracking:
    """Logs one run to several trackers.

    On a process that is not the main one (see `PartialState`) every method returns at once and
    makes nothing, so a training script needs no ``if rank == 0``. A tracker that raises is reported
    once and hurts neither the others nor the training: `log` and its relatives never raise.

    As a context manager it ends the run, as failed if the block raised. A run that nobody ends is
    ended when nobody holds this any more, nor what `get_tracker` gave, or when the program exits.

    A copy of it is itself. Pickled before its run begins, it can begin one elsewhere; after that,
    every call of it returns at once there, as in a forked child.

    Args:
        log_with: tracker names (``"tensorboard"``), `LoggerType` members, tracker instances, or
            several of them; ``"all"`` is every installed tracker; ``[]`` is none, without a word.
            One of this project that is not installed is left out with a warning, which comes again
            when the run ends. See `filter_trackers`.
        logging_dir: where trackers that need a directory write.
        delivery: which lane records take to the trackers.

            * ``"inline"``: the caller's thread; when a call returns, the library has the record.
            * ``"thread"``: a journal on disk, and a thread of this process for each tracker.
            * ``"process"``: a journal on disk, and one delivery process, which goes on when this one
              is killed. Instances that are handed in live in a thread all the same.
            * ``"auto"``: what each tracker class names as right for its library.
        durability: what `log` waits for where a journal is kept. With ``"process"`` no death of the
            process loses what was logged, and a power cut costs the last seconds at most; with
            ``"power"`` not even that, and each call waits for the disk, some hundred times as long.
        strict: whether a tracker that is not installed is an error, as is a run that would be
            logged nowhere.

    Raises:
        ValueError: an unknown tracker, a missing `logging_dir`, an unknown lane or durability.
        TrackerNotInstalledError: a tracker is not installed, and `strict`. It is a `ValueError` and
            an `ImportError`.
        NoTrackerError: there is no tracker at all, and `strict`. It is a `ValueError`.

    Example:
        >>> import tempfile
        >>> from tracking_core import Tracking
        >>> with Tracking([], logging_dir=tempfile.mkdtemp()) as tracking:
        ...     tracking.init_trackers("digits", config={"lr": 0.1})
        ...     tracking.log({"loss": 0.5}, step=0)
    """

    def __init__(
        self,
        log_with: LogWith = None,
        logging_dir: str | os.PathLike[str] | None = None,
        *,
        delivery: Delivery = "auto",
        durability: Durability = "process",
        strict: bool = False,
    ) -> None:
        if delivery not in get_args(Delivery):
            raise ValueError(f"delivery={delivery!r} is none of {', '.join(get_args(Delivery))}")
        if durability not in get_args(Durability):
            raise ValueError(
                f"durability={durability!r} is none of {', '.join(get_args(Durability))}"
            )
        self.logging_dir = logging_dir
        self._delivery = delivery
        self._durability: Durability = durability
        choice = choose_trackers(log_with, logging_dir)
        self._chosen, self._left_out = choice.trackers, choice.left_out
        nothing_was_asked_for = log_with is None and logging_dir is None and not strict
        self._nowhere = _why_nowhere(log_with, choice, nothing_was_asked_for)
        if strict and self._left_out:
            raise TrackerNotInstalledError("; ".join(self._left_out.values()))
        if strict and self._nowhere:
            raise NoTrackerError(self._nowhere)
        if PartialState().is_main_process:
            for reason in self._left_out.values():
                say(reason)
        self._lanes: list[Lane] = []
        self._trackers: list[GeneralTracker] = []
        # Whether there is a run to log to in *this* process: a forked child has none.
        self._active = False
        self._started = False
        self._ended = False
        # Whether its run, if it has one, is that of another process.
        self._elsewhere = False
        self._run: runs.Run | None = None
        self._hold: runs.Hold | None = None
        self._project: str | None = None
        self._run_id: str | None = None
        self._next_position = 0
        self._rejections = Rejections("log()")

    # --- the run ---

    def init_trackers(
        self,
        project_name: str,
        config: object = None,
        init_kwargs: Options | None = None,
    ) -> None:
        """Start the run in every tracker.

        Args:
            project_name: the run, project or experiment, whichever the tracker has.
            config: hyperparameters of any shape: a (nested) dict, ``argparse.Namespace``,
                dataclass, OmegaConf, pydantic model, ... Values without a plain form are kept as
                text, and of what can't be read the reason; nothing of it raises.
            init_kwargs: arguments for the trackers' constructors, by tracker name, such as
                ``{"wandb": {"entity": "me"}}``.

        Raises:
            AlreadyStartedError: called twice without `end_training` between.
            TypeError: a tracker's constructor does not take its `init_kwargs`.
            ValueError: one of them can't be right in the lane that its tracker is going to live in.
        """
        if self._started and not (self._ended or self._elsewhere):
            raise AlreadyStartedError(
                "init_trackers() was called twice: call end_training() before the next run, "
                "or use a second Tracking for a run beside this one"
            )
        runs.end_those_let_go()
        project_name = text(_words(project_name, str))
        settings = None if config is None else self._settings_of(config)
        if PartialState().is_main_process:
            if self._nowhere:
                say(self._nowhere)
                self._nowhere = ""
            members = members_of(
                self._chosen,
                project_name,
                logging_dir=self.logging_dir,
                delivery=self._delivery,
                init_kwargs=init_kwargs or {},
            )
            self._begin(project_name, members, settings)
        else:
            self._forget()
            self._project, self._run_id = project_name, _new_run_id()
            self._started, self._elsewhere = True, False

    def _begin(
        self, project_name: str, members: list[Member], settings: dict[str, PlainConfig] | None
    ) -> None:
        """Begin a run with `members`, or leave nothing of it."""
        run_id = _new_run_id()
        place = users_line()

        def make() -> list[Lane]:
            speak_for(place)
            return lanes_of(
                members,
                project_name,
                run_id,
                logging_dir=self.logging_dir,
                delivery=self._delivery,
                durability=self._durability,
                rejections=self._rejections,
                place=place,
                on_start=runs.end_before_libraries,
                settings=settings,
            )

        making = Aside(make)
        try:
            making.start()
            lanes = making.result()
            # No comprehension in here: a Ctrl-C in one passes this `except` by (Python 3.12, 3.13).
            callers = _that_need_their_caller(lanes)
            for lane in callers:
                lane.start()
                if settings is not None:
                    lane.put(Config(settings, now()))
            self._lanes = lanes
            self._trackers = _trackers_of(lanes)
            if lanes or self._left_out:
                runs.end_at_exit(lambda: SECONDS_AT_EXIT, _end_all)
                self._run = runs.Run(lanes, place, self._what_was_left_out())
                self._hold = self._run.open()
            if callers:
                runs.end_before_libraries()
            for tracker in self._trackers:
                if isinstance(tracker, Handle):
                    tracker.hold = self._hold
                else:
                    object.__setattr__(tracker, "_in_a_run", True)
            self._project, self._run_id = project_name, run_id
            self._next_position = 0
            self._elsewhere = self._ended = False
            self._started = True
            _here.add(self)
            self._active = bool(lanes)
        except BaseException:
            self._forget()
            undoing = Aside(lambda: _undo(making))
            undoing.start()
            undoing.settle(SECONDS_TO_UNDO)
            raise

    def _forget(self) -> None:
        """Be as before `init_trackers`."""
        self._active = self._started = self._ended = False
        if self._run is not None:
            self._run.forget()
        _here.discard(self)
        self._run = self._hold = None
        self._lanes, self._trackers = [], []
        self._project = self._run_id = None

    def end_training(self, status: Status = "finished", timeout: float = 30.0) -> None:
        """End the run in every tracker.

        Args:
            status: ``"finished"``, ``"failed"`` or ``"killed"``.
            timeout: seconds to wait for what is still on its way. What is left then is kept, and a
                warning says how much and which command delivers it.

        Raises:
            ValueError: another `status`.
        """
        if status not in get_args(Status):
            raise ValueError(f"status={status!r} is none of {', '.join(get_args(Status))}")
        if self._run is None or self._elsewhere or self._ended:
            self._ended = self._started and not self._elsewhere
            return
        self._active, self._ended = False, True
        self._run.end(status, timeout)
        self._hold = None
        _here.discard(self)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_training(status_of(error))

    def __copy__(self) -> Tracking:
        return self

    def __deepcopy__(self, memo: object) -> Tracking:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name not in _NEVER_ELSEWHERE}
        state["_elsewhere"] = self._started or self._elsewhere
        state["_chosen"] = [
            one
            for one in self._chosen
            if isinstance(one, str) or (not self._started and _is_picklable(one))
        ]
        return _unpickled, (type(self), self._run_id), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_lanes" in vars(self):
            return  # it is the very one that was pickled
        vars(self).update(state, _run=None)
        self._rejections = Rejections("log()")
        self._forget()
        self._project, self._run_id = state["_project"], state["_run_id"]

    recover = staticmethod(recover)
    replay = staticmethod(replay)

    # --- logging: nothing below raises ---

    def log(
        self,
        values: Mapping[str, Any],
        step: int | None = None,
        log_kwargs: Options | None = None,
    ) -> None:
        """Log `values` to every tracker.

        Args:
            values: numbers (Python, numpy, torch, JAX; NaN and infinities too), booleans, text,
                None, dates (kept as text of ISO 8601), durations (as seconds), `Image`, `Table`,
                `Histogram`, `Audio`, `Video`, `Artifact`, PIL images, matplotlib figures and axes,
                dataframes, lists of media, and nested dicts of all these. What is missing (masked,
                NaT, ``pandas.NA``) is None. Copied before `log` returns.
            step: any integer, of numpy or torch too. Without one the row comes after the last.
            log_kwargs: arguments for the trackers' own `log`, by tracker name.

        Never raises: a value that can't be taken is left out, counted (`rejected`) and named in one
        warning; a step that is no integer is left out likewise, and its row is kept. One of which
        something is lost is taken, counted in `changed`, and named in one warning too.
        """
        if self._active or self._in_a_run("log"):
            row = plain_row(values)
            if row is None:
                self._log(capture(values, self._rejections.changed), step, log_kwargs)
            elif row and log_kwargs is None and type(step) is int and 0 <= step < LARGEST_STEP:
                # What a training loop does all day: no more calls than it takes.
                self._next_position = step + 1
                record = Log(row, step, step, now())
                for lane in self._lanes:
                    lane.put_row(record)
            else:
                self._log_row(row, step, log_kwargs)

    def log_images(
        self,
        values: Mapping[str, Any],
        step: int | None = None,
        log_kwargs: Options | None = None,
    ) -> None:
        """Log pictures: for each key one, a list, or a batch with a leading axis (see `Image`)."""
        if self._in_a_run("log_images"):
            captured = capture_images(values, changed=self._rejections.changed)
            self._log(captured, step, log_kwargs)

    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Iterable[Any] | None = None,
        dataframe: object = None,
        step: int | None = None,
        log_kwargs: Options | None = None,
    ) -> None:
        """Log a table, given as rows or columns (`data`) or as a `dataframe`: see `Table`."""
        if self._in_a_run("log_table"):
            table = Table(columns, data, dataframe)
            self._log(
                capture({_words(table_name, str): table}, self._rejections.changed),
                step,
                log_kwargs,
            )

    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Keep a file, or all files of a directory, among the run's artifacts.

        Args:
            local_path: where it is now.
            artifact_path: folder of the artifacts to put it in; without it their root.
        """
        if self._in_a_run("log_artifact"):
            artifact = Artifact(local_path, "" if artifact_path is None else artifact_path)
            self._log(capture({_words(local_path, base_name): artifact}), None, None)

    def set_tags(self, tags: Iterable[str] | Mapping[str, Any]) -> None:
        """Tag the run, with labels or with keys and values."""
        if self._in_a_run("set_tags"):
            try:
                plain = capture_tags(tags)
            except BaseException as error:  # a stranger's object: its text may raise anything
                let_through(error)
                self._rejections.add("tags", type_name(tags), type(error).__name__)
            else:
                self._put(Tags(plain, now()))

    # --- what there is to see ---

    @property
    def trackers(self) -> list[GeneralTracker]:
        """The trackers of this run; empty before `init_trackers` and off the main process."""
        for tracker in self._trackers:
            self._give_out(tracker)
        return list(self._trackers)

    @property
    def run_id(self) -> str | None:
        """This run's own name, unique; None before `init_trackers`."""
        return self._run_id

    @property
    def run_dir(self) -> Path | None:
        """The directory of the run's journal; None where no journal is written (inline lane)."""
        for lane in self._lanes:
            if isinstance(lane, JournaledLanes):
                return lane.run_dir
        return None

    def get_tracker(self, name: str, unwrap: bool = False) -> Any:
        """The tracker called `name`, or its native object with ``unwrap=True``.

        Of two trackers with one name the second is ``name#2``, as in `status`.

        Where nothing is logged (off the main process, or without any tracker) it is an object that
        takes every call and does nothing.

        Raises:
            UnknownTrackerError: this run has no such tracker. It is a `ValueError`.
            NotStartedError: `init_trackers` was not called yet.
        """
        found: dict[str, GeneralTracker] = {}
        for tracker in self._trackers:
            found[free_name(tracker.name, found)] = tracker
        if name in found:
            self._give_out(found[name])
            return found[name].tracker if unwrap else found[name]
        if self._elsewhere:
            return NullTracker()
        if not self._chosen or not PartialState().is_main_process:
            return NullTracker()
        if not self._started:
            raise NotStartedError(f"get_tracker({name!r}): call init_trackers() first")
        raise UnknownTrackerError(
            f"{name} is not an available tracker stored inside the `Tracking`: "
            f"it has {', '.join(sorted(found))}; name it in log_with to have it"
        )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every tracker has what was logged so far; whether it has.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.
        """
        if not self._active:
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        done = True
        for lane in self._lanes:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done = lane.flush(left) and done
        return done

    def status(self) -> dict[str, TrackerStatus]:
        """How each tracker is doing, by name; of two with one name the second is ``name#2``."""
        found: dict[str, TrackerStatus] = {}
        for lane in self._lanes:
            for given, status in lane.status():
                found[free_name(given, found)] = status
        return found

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Values that no tracker could be given, and calls outside a run, with how often they came."""
        return self._rejections.counts

    @property
    def changed(self) -> Mapping[Rejection, int]:
        """Values that were taken, but not as they were, with how often they came.

        A picture whose values were stretched, sound that was clipped, and the like: what was done
        is the `reason`. It is also said in one warning for each key.
        """
        return self._rejections.changes

    def __repr__(self) -> str:
        """Which run it is, its state, each tracker with its own, and where the journal lies."""
        try:
            return f"<{self._described()}>"
        except Exception as error:  # it is asked for when something is wrong, by debuggers too
            return f"<Tracking: describing it raised {type(error).__name__}>"

    # --- inside ---

    def _settings_of(self, config: object) -> dict[str, PlainConfig]:
        try:
            return plain_config(config)
        except BaseException as error:  # a stranger's object
            let_through(error)
            reason = f"reading it raised {type_name(error)}"
            self._rejections.add("config", type_name(config), reason)
            return {"config": f"<{reason}>"}

    def _described(self) -> str:
        run = "Tracking" if self._project is None else f"Tracking {self._project!r} {self._run_id}"
        if not self._started:
            state = "not started"
        elif self._ended:
            state = "ended"
        elif self._active:
            state = "running"
        elif self._lanes:
            state = "the run of the process that this one was forked from"
        else:
            state = "logs nowhere"
        if self._chosen and not PartialState().is_main_process:
            state = "logs nothing, because this is not the main process"
        trackers = [f"{name} {one.state}" for name, one in self._states().items()]
        parts = [state, ", ".join(trackers or map(_name_of, self._chosen)) or "no tracker"]
        if self._left_out:
            parts.append(f"left out: {', '.join(self._left_out)}")
        if self.run_dir is not None:
            parts.append(f"run_dir {str(self.run_dir)!r}")
        return f"{run}: {'; '.join(parts)}"

    def _states(self) -> dict[str, TrackerStatus]:
        try:
            return self.status()
        except Exception:  # a journal that is damaged or gone
            return {}

    def _in_a_run(self, call: str) -> bool:
        """Whether there is a run to log to; it is said if there is none that should be there."""
        if self._active:
            return True
        over = self._ended or not (self._started or self._elsewhere)
        if over and self._chosen and PartialState().is_main_process:
            when = "after end_training()" if self._ended else "before init_trackers()"
            remedy = (
                "begin another run with init_trackers()"
                if self._ended
                else "call init_trackers() first"
            )
            self._rejections.add(
                f"{call}() {when}",
                "call",
                "there is no run",
                f"{call}() was called {when}, so nothing of it is kept: {remedy}",
            )
        return False

    def _what_was_left_out(self) -> str:
        if not self._left_out:
            return ""
        names, reasons = " and ".join(self._left_out), "; ".join(self._left_out.values())
        later = ""
        if self.run_dir is not None:
            later = f". Afterwards Tracking.replay({str(self.run_dir)!r}, log_with=...) does it"
        return f"this run was not logged to {names}: {reasons}{later}"

    def _give_out(self, tracker: GeneralTracker) -> None:
        """Keep the run open for a tracker that does not do so itself."""
        if self._hold is not None and not isinstance(tracker, Handle):
            self._hold.keep()

    def _log(
        self,
        captured: tuple[dict[str, Value], list[Rejected]],
        step: object,
        log_kwargs: Options | None,
    ) -> None:
        values, rejected = captured
        for rejection in rejected:
            self._rejections.add(*rejection)
        self._log_row(values, step, log_kwargs)

    def _log_row(
        self,
        values: dict[str, Value],
        step: object,
        log_kwargs: Options | None,
    ) -> None:
        if type(step) is int and -LARGEST_STEP <= step <= LARGEST_STEP:
            number: int | None = step
            position = step
        else:
            number = self._whole(step)
            position = self._next_position if number is None else number
        self._next_position = position + 1 if position < LARGEST_STEP else position
        options: dict[str, dict[str, Any]] = {}
        if log_kwargs is not None:
            options = self._options_of(log_kwargs)
        if values:
            self._put(Log(values, number, position, now(), options))

    def _whole(self, step: object) -> int | None:
        try:
            number = whole_step(step)
        except StepError as error:
            self._rejections.add("step", type_name(step), str(error))
            return None
        if number is not None and abs(number) > LARGEST_STEP:
            self._rejections.add("step", "int", "it is beyond 63 bits")
            return None
        return number

    def _options_of(self, log_kwargs: Options) -> dict[str, dict[str, Any]]:
        try:
            return {name: dict(given) for name, given in log_kwargs.items()}
        except BaseException as error:  # anything may have been passed
            let_through(error)
            reason = "it must be a dict of dicts, by tracker name"
            self._rejections.add("log_kwargs", type_name(log_kwargs), reason)
            return {}

    def _put(self, record: Tags | Log) -> None:
        for lane in self._lanes:
            lane.put(record)


_here: weakref.WeakSet[Tracking] = weakref.WeakSet()
"""Those with a run in this process."""


def _end_all() -> None:
    for tracking in list(_here):
        tracking._active, tracking._ended = False, True


def _that_need_their_caller(lanes: list[Lane]) -> list[Lane]:
    return [lane for lane in lanes if lane.needs_its_caller]


def _trackers_of(lanes: list[Lane]) -> list[GeneralTracker]:
    return [tracker for lane in lanes for tracker in lane.trackers()]


def _undo(making: Aside[list[Lane]]) -> None:
    if making.settle(float("inf")):
        for lane in making.result():
            lane.undo()


def _leave_to_the_parent() -> None:
    """In a forked child: the runs are its parent's, to log to and to end."""
    for tracking in list(_here):
        tracking._active, tracking._elsewhere = False, True
    _here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def _unpickled(kind: type[Tracking], run_id: str | None) -> Tracking:
    """The one whose run goes on here, or one without state."""
    for tracking in list(_here):
        if tracking._run_id == run_id and tracking._active:
            return tracking
    return kind.__new__(kind)


def _is_picklable(tracker: GeneralTracker) -> bool:
    try:
        pickle.dumps(tracker)
    except BaseException as error:  # a stranger's object
        let_through(error)
        return False
    return True


def _why_nowhere(log_with: LogWith, choice: Choice, nothing_was_asked_for: bool) -> str:
    """What is to be said of a run without trackers, unless that is as it should be."""
    if choice.trackers or choice.deliberately_none or nothing_was_asked_for:
        return ""
    if log_with is None:
        here = ", ".join(get_available_trackers()) or "none"
        why = f"no tracker was named. Name some in log_with (installed here: {here})"
    elif choice.left_out:
        why = "none of the trackers that were asked for can be used, as was said"
    else:
        why = "no tracker is installed here"
    return f"this run is logged nowhere: {why}. If that is meant, pass log_with=[]"


def _words(given: object, read: Callable[[Any], object]) -> str:
    """What `read` makes of a stranger's object, as text; the object's type where that fails."""
    try:
        return str(read(given))
    except BaseException as error:
        let_through(error)
        return type_name(given)


def _name_of(tracker: str | GeneralTracker) -> str:
    return tracker.name if isinstance(tracker, GeneralTracker) else str(tracker)


def _new_run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
