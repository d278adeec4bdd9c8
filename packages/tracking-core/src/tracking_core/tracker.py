"""What a tracker is.

`GeneralTracker` is the contract: a class written for Accelerate needs nothing but a changed import.
`RecordTracker` is the shorter way to a complete tracker: one method, `deliver`, takes everything.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import posixpath
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, cast

from tracking_core.capture import capture, capture_images, capture_tags
from tracking_core.config import plain_config
from tracking_core.encoding import markdown
from tracking_core.errors import StepError, TrackingError, let_through
from tracking_core.faults import Fault, fault_of
from tracking_core.files import Found, Unkept, absolute, files_of, in_words
from tracking_core.plain import type_name
from tracking_core.process import PartialState
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedImage,
    LoggedTable,
    Plain,
    Record,
    Status,
    Tags,
    Value,
    flat,
    media_list,
)
from tracking_core.rejections import Rejections
from tracking_core.tables import pictures_beside
from tracking_core.values import Artifact, Table, base_name

__all__ = [
    "ONLINE_PACE",
    "GeneralTracker",
    "NullTracker",
    "RecordTracker",
    "end",
    "on_main_process",
    "whole_step",
]

ONLINE_PACE = 2.0
"""Seconds: `GeneralTracker.pace` of a tracker whose server is asked with each `deliver`."""

Method = TypeVar("Method", bound=Callable[..., Any])


def on_main_process(function: Method) -> Method:
    """`function`, a method of a tracker, made to do nothing off the main process.

    Whether it applies is read from ``self.main_process_only`` when the method is *called*; only if
    that is true is the state of the process looked at.
    """

    @functools.wraps(function)
    def execute_on_main_process(self: GeneralTracker, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, "main_process_only", False) and not PartialState().is_main_process:
            return None
        return function(self, *args, **kwargs)

    return cast(Method, execute_on_main_process)


class GeneralTracker:
    """A place that a run is logged to.

    A subclass needs `name`, `requires_logging_directory`, the property `tracker` and the method
    `log`. It keeps its constructor's arguments and does the rest in `start`: constructing a tracker
    imports no library, makes no file and does not look at the process.

    Everything beyond `log` has a default here that turns what it is given into something that `log`
    or `store_init_configuration` can take, so nothing is dropped; override what the library does
    better. A subclass that takes everything as records is shorter: see `RecordTracker`.

    Attributes:
        name: what users ask for it by, such as ``"wandb"``.
        requires_logging_directory: whether it is constructed with a directory as second argument.
        main_process_only: whether `on_main_process` applies to its methods.
        lane: where ``delivery="auto"`` has it live: ``"thread"``, a thread of the training process,
            or ``"process"``, the delivery process, for libraries that are heavy. An object may say
            otherwise than its class, from its constructor on.
        began_at: when the run began, in seconds since the epoch, if `start` may be called later than
            that: in the delivery process, or by whoever recovers a run. None: it begins with `start`.
        launch: what `at_launch` said in the process that began the run. None: nobody asked.
        late: whether `start` is called by another program than the training and its delivery
            process, or long after the run began: what it sees around it is not the training's then.
        training_pid: the process whose run it is, where a lane has said so: what a library notes of
            its program, or measures, is meant to be that one's. 0: that is over, or on another
            machine, and a run is only delivered here. None: it is this process.
        taken: how many records of the `deliver` call that is under way the library surely has. A
            lane sets it to 0 before each call; a `deliver` that raises after a part of its records
            went through sets it, and that part is not delivered again.
        unarrived: of a library that takes records and sends them later: how many it has taken that
            the place where people look is not known to have. `finish` returns once there are none,
            and raises if that takes too long; the next call goes on.
        pace: seconds from one `deliver` call to the next while the run goes on, for a server that
            many runs ask; the first one, and the last, wait for nothing. `start` may set it.
    """

    name: str
    requires_logging_directory: bool
    main_process_only: bool = True
    lane: Literal["thread", "process"] = "thread"
    began_at: float | None = None
    launch: Mapping[str, Plain] | None = None
    late: bool = False
    training_pid: int | None = None
    taken: int = 0
    unarrived: int = 0
    pace: float = 0.0

    if TYPE_CHECKING:
        # Only declared: a subclass that forgets it must be told so.
        @property
        def tracker(self) -> Any:
            """The library's own object, once `start` has made it."""

    def __init__(self, _blank: bool = False) -> None:
        if _blank:
            return
        missing = [
            f"`{attribute}`"
            for attribute in ("name", "requires_logging_directory", "tracker")
            if attribute not in dir(self)
        ]
        if missing:
            raise NotImplementedError(
                f"The implementation for this tracker class ({type(self).__qualname__}) is missing "
                "the following required attributes. Please define them in the class definition: "
                + ", ".join(missing)
            )

    # A model, a trainer or a dataset that holds a tracker is copied and stored with it.
    _in_a_run = False

    def __copy__(self) -> GeneralTracker:
        return self

    def __deepcopy__(self, memo: object) -> GeneralTracker:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        # Its run is this process's: elsewhere it can do nothing.
        return (NullTracker, ()) if self._in_a_run else super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_rejections"}

    def at_launch(self) -> dict[str, Plain]:
        """What `start` has to know of the process that the run begins in; by default nothing.

        Called in that process once, when the run begins, on an object that may never be started:
        others may be, in other processes, each time that `start` is tried and by whoever recovers
        the run. All of them find this in `launch`. It must be quick and import nothing.
        """
        return {}

    def check_lane(self, lane: str) -> None:
        """Refuse, or say, what can't be right where this tracker is going to live.

        Called on the training's side once its lane is known, ``"inline"``, ``"thread"`` or
        ``"process"``, before anything is started. An argument that makes the library record the
        process that it lives in is wrong in the delivery process.

        Raises:
            ValueError: an argument can't be right there; it says why, and where it would be.
        """

    def start(self) -> None:
        """Begin the native run: import the library, open files, connect."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Store `values` as the run's hyperparameters."""

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Store `values` at `step`; `kwargs` go to the library where it knows them."""

    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Store pictures: one, a list or a batch for each key. By default `log` gets a text."""
        captured, _ = capture_images(values, kwargs.pop("dataformats", None))
        notes = {key: _note(media_list(value)) for key, value in flat(captured)}
        self.log(notes, step=step, **kwargs)

    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Iterable[Any] | None = None,
        dataframe: object = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Store a table, given as rows or as a dataframe. By default `log` gets it as Markdown."""
        captured, _ = capture({table_name: Table(columns, data, dataframe)})
        notes = {
            key: markdown(value) if isinstance(value, LoggedTable) else _note(media_list(value))
            for key, value in pictures_beside(captured).items()
        }
        self.log(notes, step=step, **kwargs)

    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Keep a file, in the folder `artifact_path` of the run's artifacts.

        By default `log` gets a text with its place and size.
        """
        name = os.path.join("artifacts", artifact_path or "", os.path.basename(local_path))
        file = LoggedFile(absolute(local_path))
        for one in self._files_of(name, file)[0]:
            self.log({name: f"{one.path} ({one.size} bytes)"}, step=None)

    def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        """Keep every file below a directory. By default each goes to `log_artifact`."""
        file = LoggedFile(absolute(local_dir), directory=True)
        for one in self._files_of(base_name(local_dir), file)[0]:
            folder = os.path.join(artifact_path or "", os.path.dirname(one.inner))
            self.log_artifact(one.path, folder or None)

    def set_tags(self, tags: object) -> None:
        """Tag the run: labels or a mapping. By default they are part of the configuration."""
        self.store_init_configuration({"tags": capture_tags(tags)})

    def identity(self) -> dict[str, Plain]:
        """Plain data that names the native run, for `resume` to find it again.

        A tracker that chooses its run's name itself may say it before `start` already: `resume`
        then gets it, whether or not a process lived long enough to begin that run.
        """
        return {}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Called before `start`, which then goes on with the run that `identity` names."""

    def finish(self, status: Status = "finished") -> None:
        """End the native run as finished, failed or killed, and give back what it holds."""

    def deliver(self, records: Sequence[Record]) -> None:
        """Take `records` in order. When it returns, the library has them.

        By default each goes to the method above that fits. Override it where the library is faster
        in batches. A run that was ended brings an `End` last, which says when; `finish` follows.
        """
        for record in records:
            match record:
                case Config():
                    self.store_init_configuration(record.values)
                case Tags():
                    self.set_tags(record.values)
                case Log():
                    self._deliver_log(record)
                case End():
                    pass  # finish() says it, once the last record has been taken
            self.taken += 1

    def fault(self, error: BaseException) -> Fault:
        """Whose fault it is that `error` was raised by `start`, `deliver` or `finish`.

        By default what it says itself (`TrackingError.fault`), or what
        `tracking_core.faults.fault_of` makes of it, by its HTTP status and its class. Override it
        where the library says in a way of its own that a run is gone, a record can't be stored, or
        nobody is logged in.
        """
        said = error.fault if isinstance(error, TrackingError) else None
        return said or fault_of(error)

    def remarks(self, identity: Mapping[str, Plain]) -> Iterable[str]:
        """What the user should be told of this process, such as calls that go to another run.

        Called in the process that logs, on the object of `at_launch`: every half second, and once
        when the run ends. Each remark is said once. It must be quick and import nothing.

        Args:
            identity: as `identity()` gives it; empty before `start`.
        """
        return ()

    def reject(self, key: str, value: object, reason: str) -> None:
        """Count a value that this tracker can't store, and warn once for its key."""
        self.rejections.add(key, type_name(value), reason)

    @property
    def rejections(self) -> Rejections:
        """The values that this tracker could not store."""
        # Made on first use: a subclass need not call our constructor.
        found: Rejections = self.__dict__.setdefault(
            "_rejections", Rejections(f"tracker {self.name!r}")
        )
        return found

    def _deliver_log(self, record: Log) -> None:
        options = self._options_that_log_takes(record)
        scalars, pictures, rest = _sorted_out(pictures_beside(record.values))
        if scalars:
            self.log(scalars, step=record.step, **options)
        if pictures:
            self.log_images(pictures, step=record.step)
        for key, media in rest:
            for medium in media:
                if isinstance(medium, LoggedTable):
                    self.log_table(key, columns=medium.columns, data=medium.rows, step=record.step)
                elif isinstance(medium, LoggedFile):
                    self._log_file(key, medium)
                else:
                    self.log({key: _note([medium])}, step=record.step)

    def _log_file(self, key: str, file: LoggedFile) -> None:
        found, all_of_it = self._files_of(key, file)
        if file.directory and all_of_it:
            self.log_artifacts(file.path, file.artifact_path or None)
            return
        # A library that is given the whole folder would wait for a pipe, or walk in a circle.
        for one in found:
            folder = posixpath.join(file.artifact_path, posixpath.dirname(one.inner))
            self.log_artifact(one.path, folder.rstrip("/") or None)

    def _files_of(self, key: str, file: LoggedFile) -> tuple[list[Found], bool]:
        """The files of `file`, and whether they are all of it; what is left out is rejected."""
        try:
            found, left_out = files_of(file)
        except Unkept as reason:
            self.reject(key, file, str(reason))
            return [], False
        if left_out:
            self.reject(key, file, in_words(file, left_out))
        return found, not left_out

    def _options_that_log_takes(self, record: Log) -> dict[str, Any]:
        options = record.options.get(self.name, {})
        parameters = inspect.signature(self.log).parameters.values()
        if not options or any(p.kind is p.VAR_KEYWORD for p in parameters):
            return options
        known = {p.name for p in parameters}
        for name in options.keys() - known:
            self.reject(f"log_kwargs[{name!r}]", options[name], "its log() has no such argument")
        return {name: value for name, value in options.items() if name in known}


class RecordTracker(GeneralTracker):
    """A tracker whose public methods all end in `deliver`.

    A subclass defines `name`, `requires_logging_directory`, `tracker`, `start`, `deliver` and
    `finish`. Whatever users hand to `log`, `log_images`, ... arrives in `deliver` as one record,
    the same that a delivery lane brings.
    """

    _next_position = 0

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.deliver([Config(plain_config(values), time.time())])

    @on_main_process
    def set_tags(self, tags: object) -> None:
        self.deliver([Tags(capture_tags(tags), time.time())])

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self._deliver_captured(capture(values, self.rejections.changed), step, kwargs)

    @on_main_process
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        layout = kwargs.pop("dataformats", None)
        captured = capture_images(values, layout, self.rejections.changed)
        self._deliver_captured(captured, step, kwargs)

    @on_main_process
    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Iterable[Any] | None = None,
        dataframe: object = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        table = Table(columns, data, dataframe)
        captured = capture({table_name: table}, self.rejections.changed)
        self._deliver_captured(captured, step, kwargs)

    @on_main_process
    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        artifact = Artifact(local_path, artifact_path or "")
        self._deliver_captured(capture({base_name(local_path): artifact}), None, {})

    @on_main_process
    def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str | None = None
    ) -> None:
        self.log_artifact(local_dir, artifact_path)

    def deliver(self, records: Sequence[Record]) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define deliver(records)")

    def _deliver_captured(
        self,
        captured: tuple[dict[str, Value], list[Any]],
        step: object,
        options: dict[str, Any],
    ) -> None:
        values, rejected = captured
        for rejection in rejected:
            self.rejections.add(*rejection)
        try:
            number = whole_step(step)
        except StepError as error:
            raise StepError(f"tracker {self.name!r}: {error}") from None
        position = self._next_position if number is None else number
        self._next_position = position + 1
        self.deliver([Log(values, number, position, time.time(), {self.name: options})])


class NullTracker(GeneralTracker):
    """What stands in for a tracker where nothing is logged: takes every call and does nothing.

    Any attribute is again such an object, so ``get_tracker("wandb").run.log(...)`` is safe on every
    rank. It is false, so ``if tracker:`` tells it from a real one.
    """

    name = "null"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__(_blank=True)

    @property
    def tracker(self) -> NullTracker:
        return self

    def __getattribute__(self, attribute: str) -> Any:
        if attribute.startswith("__") or attribute in ("name", "requires_logging_directory"):
            return super().__getattribute__(attribute)
        return self

    def __call__(self, *args: object, **kwargs: object) -> NullTracker:
        return self

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def whole_step(step: object) -> int | None:
    """`step` as a Python integer; None stays None.

    Takes anything that is a whole number: numpy integers, integer tensors of one element, 3.0.

    Raises:
        StepError: it is no whole number.
    """
    if step is None or type(step) is int:
        return step
    try:
        return operator.index(step)  # type: ignore[arg-type]  # that is what is being asked
    except BaseException as error:  # tensors raise their own types
        let_through(error)
    try:
        if not isinstance(step, (str, bytes)) and float(step).is_integer():  # type: ignore[arg-type]  # likewise
            return int(step)  # type: ignore[call-overload, no-any-return]  # likewise
    except BaseException as error:
        let_through(error)
    raise StepError(
        f"a step must be an integer, not a {type_name(step)}: "
        "pass step=int(...), or leave it out to count the calls"
    )


def end(tracker: GeneralTracker, status: Status) -> None:
    """Call ``tracker.finish(status)``, or ``finish()`` where it takes no argument."""
    try:
        inspect.signature(tracker.finish).bind(status)
    except TypeError:
        tracker.finish()
    else:
        tracker.finish(status)


def _sorted_out(
    values: Mapping[str, Value],
) -> tuple[dict[str, Value], dict[str, Value], list[tuple[str, Sequence[Any]]]]:
    """What `log`, `log_images` and the other methods of a tracker take of one row."""
    scalars: dict[str, Value] = {}
    pictures: dict[str, Value] = {}
    rest: list[tuple[str, Sequence[Any]]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            inner, inner_pictures, inner_rest = _sorted_out(value)
            if inner:
                scalars[key] = inner
            pictures.update({f"{key}/{name}": media for name, media in inner_pictures.items()})
            rest.extend((f"{key}/{name}", media) for name, media in inner_rest)
        elif media := media_list(value):
            if all(isinstance(medium, LoggedImage) for medium in media):
                pictures[key] = list(media)
            else:
                rest.append((key, media))
        else:
            scalars[key] = value
    return scalars, pictures, rest


def _note(media: Sequence[Any]) -> str:
    """A line of text that stands for media where there is nothing but text."""
    parts = []
    for medium in media:
        kind = type(medium).__name__.removeprefix("Logged").lower()
        size = f" {medium.width}x{medium.height}" if getattr(medium, "width", 0) else ""
        caption = getattr(medium, "caption", None)
        parts.append(kind + size + (f" ({caption})" if caption else ""))
    return ", ".join(parts)
