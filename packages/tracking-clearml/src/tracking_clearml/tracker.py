"""What goes where in ClearML: `ClearMLTracker`.

ClearML's own way in, ``Task.init``, makes the one main task of the process: it replaces hooks and
signal handlers, prints, and keeps what it is given in memory for seconds. So nothing goes through
it: a task is made and filled by the server's API, or written as the folder of an offline session.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from tracking_clearml import arguments, events, plots
from tracking_clearml.batch import Batch, task_folder
from tracking_clearml.current import identity_of, main_task
from tracking_clearml.errors import ClearMLSettingError, fault_said
from tracking_clearml.notes import Notes, config_item, config_of, parameters_of, shown_tag
from tracking_clearml.samples import samples_of
from tracking_clearml.series import ABOUT, NOT_FINITE
from tracking_clearml.stores import Store, found_or_made, offline
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.faults import Fault
from tracking_core.files import as_text
from tracking_core.names import shortened
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedHistogram,
    LoggedTable,
    Plain,
    Record,
    Status,
    Tags,
    flat,
    media_list,
)
from tracking_core.rejections import say
from tracking_core.tables import pictures_beside
from tracking_core.tracker import RecordTracker, on_main_process

if TYPE_CHECKING:
    from clearml import Task

__all__ = ["ClearMLTracker"]

STEPS = range(-(2**63), 2**63)
STATUS = {"finished": "completed", "failed": "failed", "killed": "stopped"}
LONGEST_LINE = 5000
MAIN = "main_task."
# They say how ClearML's own functions work; these values are stored whole and for good.
WITHOUT_EFFECT = ("delete_after_upload", "max_image_history")


class ClearMLTracker(RecordTracker):
    """Logs to a task of ClearML: on the server of the user's settings, or offline.

    With ``CLEARML_OFFLINE_MODE=1`` (or after ``Task.set_offline(True)``) the task is a folder below
    ``CLEARML_CACHE_DIR``, which ``Task.import_offline_session`` brings to a server.

    Where the user's own ``Task.init`` has made a main task in this process, the tracker logs to it,
    lives in a thread beside it, and leaves its end to the user. It makes none itself.

    Args:
        run_name: name of the project and of the task, unless ``project_name`` and ``task_name``,
            or the variables ``CLEARML_PROJECT`` and ``CLEARML_TASK``, name them.
        **kwargs: those of ``Task.init``. ``continue_last_task`` and ``reuse_last_task_id`` take the
            id of the task to go on with; it keeps all that it has. ``output_uri`` is where
            artifacts go. The ``auto_*`` arguments, which need a main task, may only be false.

    Raises:
        TypeError: ``Task.init`` has no such argument.
        ClearMLSettingError: an argument needs a main task, or has a value that ClearML does not know.
    """

    name = "clearml"
    requires_logging_directory = False
    lane: Literal["thread", "process"] = (
        "process"  # a second of Python and 90 MB to import, which the training is spared
    )

    def __init__(self, run_name: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        arguments.check(kwargs)
        self.run_name = run_name
        self.user_provided_init_kwargs = kwargs
        self._resumed: Mapping[str, Plain] = {}
        self._store: Store | None = None
        self._task: Task | None = None
        self._of_the_user = False
        self._ended = False
        self._lock = threading.RLock()
        if self._main_task():
            self.lane = "thread"  # only beside it can both write to one task
            self._say_what_has_no_effect()

    # --- the run ---

    def _main_task(self) -> dict[str, Plain]:
        """The identity of the user's own main task; empty if there is none, or another is named."""
        named = arguments.continued(self.user_provided_init_kwargs, os.environ)
        found = {} if (task := main_task()) is None else identity_of(task)
        return found if named in (None, found.get("task_id")) else {}

    def _say_what_has_no_effect(self) -> None:
        given = self.user_provided_init_kwargs
        idle = [name for name in arguments.OF_THE_TASK if given.get(name) and "last" not in name]
        if idle:
            say(
                f"tracker 'clearml' logs to the task that this program has begun with Task.init(), "
                f"and of init_kwargs {', '.join(map(repr, idle))} has no effect: pass it to Task.init"
            )

    def at_launch(self) -> dict[str, Plain]:
        """Which task it is, as arguments, variables and the program say; and the machine's name."""
        said: dict[str, Plain] = {name: os.environ.get(name) for name in arguments.VARIABLES}
        theirs = {f"{MAIN}{name}": value for name, value in self._main_task().items()}
        return {**said, **theirs, "worker": socket.gethostname()}

    def check_lane(self, lane: str) -> None:
        """Refuse the delivery process where the program has a main task: it would get a second one."""
        if lane == "process" and self._main_task():
            raise ClearMLSettingError(
                "tracker 'clearml' can't log to the task that this program has begun with "
                "Task.init() from the delivery process: leave out delivery='process' (or use "
                "'thread'), or leave out Task.init() and pass its arguments in "
                'init_kwargs={"clearml": {...}}'
            )

    def remarks(self, identity: Mapping[str, Plain]) -> Iterator[str]:
        """That the program has begun another task itself."""
        task = main_task()
        theirs = {} if task is None else identity_of(task)
        ours = identity.get("task_id")
        named = arguments.continued(self.user_provided_init_kwargs, os.environ)
        if ours and theirs and named is None and theirs["task_id"] != ours:
            yield (
                f"tracker 'clearml' logs to the task {ours!r}, and this program has begun another "
                f"one, {theirs['task_id']!r}, with Task.init(). To have all in one, call Task.init() "
                "before init_trackers(); or leave it out and pass its arguments in "
                'init_kwargs={"clearml": {...}}'
            )

    @on_main_process
    def start(self) -> None:
        """Make the task, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            ClearMLLoginError: there are no credentials, or the server does not let them in.
            ClearMLSettingError: a task, a file, a directory, the server's address, a proxy or a
                certificate is of no use.
            ClearMLRunGoneError: the task to go on with was deleted.
            ClearMLUnreachableError, ClearMLServerError: the server can't be reached, or says no.
        """
        if self._store is not None and not self._ended:
            raise AlreadyStartedError("tracker 'clearml' is running: call finish() first")
        launch = self.at_launch() if self.launch is None else self.launch
        choice = arguments.wanted(self.run_name, self.user_provided_init_kwargs, launch)
        identity = self._resumed or {
            name.removeprefix(MAIN): value
            for name, value in launch.items()
            if name.startswith(MAIN)
        }
        of_the_user = bool(identity.get("of_the_user"))
        task = main_task() if of_the_user else None
        if task is not None and task.id != identity.get("task_id"):
            task = None
        store = found_or_made(choice, identity, task)
        # A start that fails from here on and is tried again goes on with the task that it made.
        self._resumed = {**store.identity, **({"of_the_user": True} if of_the_user else {})}
        if not of_the_user:
            store.go_on()
        fields = store.fields()
        self._folder = task_folder(fields)
        self._notes = Notes(fields)
        self._worker = str(launch.get("worker") or socket.gethostname())
        self._task, store.stays_ended = task, of_the_user
        if self._notes.end is not None:
            self._notes.end = None
            self._store_notes(store)
        self._config = config_of(fields)
        self._our_tags = self._shown_tags()
        self._ended_at: float | None = None
        self._store, self._of_the_user = store, of_the_user
        self.pace = store.pace
        self._ended, self._resumed = False, {}

    def identity(self) -> dict[str, Plain]:
        """The task's id, and where it is: the folder, or the server."""
        known = {} if self._store is None else self._store.identity
        return {**known, "of_the_user": True} if self._of_the_user else known

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the task that `identity` names."""
        if not identity.get("task_id"):
            raise ValueError(
                f"tracker 'clearml' can't resume {dict(identity)!r}: it needs 'task_id', "
                "as identity() gives it"
            )
        self._resumed = dict(identity)

    @property
    def task_id(self) -> str:
        """The id of the task.

        Raises:
            NotStartedError: before `start`.
        """
        if self._store is None:
            raise NotStartedError("tracker 'clearml' has no task before start()")
        return self._store.id

    @property
    def tracker(self) -> Task:
        """The same as `task`."""
        return self.task

    @property
    def task(self) -> Task:
        """The ``clearml.Task``, for models, plots and the like; made when first asked for.

        It is no main task: what ``task.get_logger()`` reports waits in ClearML's own threads.

        Raises:
            NotStartedError: before `start`. It is an `AttributeError`.
        """
        task_id, store = self.task_id, self._store
        if self._task is None and store is not None:
            from clearml import Task

            if offline() and not Task.is_offline():
                Task.set_offline(True)  # the variable said so after clearml was imported
            self._task = Task.get_task(task_id=task_id)
            store.native = self._task
        return self._task

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """End the task as completed, failed or stopped; nothing more happens the second time."""
        with self._lock:
            if self._store is None or self._ended:
                return
            if self._task is not None and not self._of_the_user:
                # Unlike our own calls it may try for hours if the server is gone.
                flushing = threading.Thread(target=_flush, args=(self._task,), daemon=True)
                flushing.start()
                flushing.join(LONGEST_FLUSH)
            ended_at = time.time() if self._ended_at is None else self._ended_at
            if not self._of_the_user:
                self._notes.end = status, ended_at
                self._store_notes(self._store)
                self._store.end(STATUS[status])
            else:
                self._say_if_archived_before()
            self._ended = True
            self._store.close()

    def fault(self, error: BaseException) -> Fault:
        """Whose fault an error of ClearML's is."""
        return fault_said(error) or super().fault(error)

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Store `records`: names and configuration first, then files, then the values.

        Online the server has them when this returns, offline the operating system: they survive the
        death of the process. Storing the same records again changes nothing on a server; an offline
        session holds them twice, until it is imported.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            ClearMLRunGoneError: the offline session was deleted.
            ClearMLServerError, requests.RequestException: the server says no, or can't be reached
                within seconds.
            OSError: the disk is full or broken.
        """
        with self._lock:
            store = self._running()
            batch = Batch(store, self.reject)
            config, tags = False, False
            for record in records:
                match record:
                    case Config():
                        self._config.update(record.values)
                        config = True
                    case Tags():
                        self._notes.tags.update(record.values)
                        tags = True
                    case Log():
                        self._take_log(record, batch)
                    case End():  # finish() says it, once the last record has been taken
                        self._ended_at = record.wall_time
            self._store_notes(store)
            if config:
                store.set_configuration(config_item(self._config))
                store.set_parameters(parameters_of(self._config))
            if tags:
                self._store_tags(store)
            batch.send(self._folder)

    def _take_log(self, record: Log, batch: Batch) -> None:
        step = record.position if record.step is None else record.step
        when = max(0, round(record.wall_time * 1000))
        axis, layout = self._options(record)
        for key, value in flat(pictures_beside(record.values)):
            if step not in STEPS:
                self.reject(key, value, "its step does not fit into 64 bits")
                continue
            if axis is not None:
                self._notes.axes[key] = axis
            if isinstance(value, str):
                self._take_samples(key, [value], step, when, batch)
                line = f"{key} [{step}]: {value}"
                batch.event(key, events.console(when, line[:LONGEST_LINE], self._worker))
            elif isinstance(value, (bool, int, float, type(None))):
                self._take_number(key, value, record, step, when, batch)
            else:
                self._take_media(key, media_list(value), step, when, layout, batch)

    def _take_number(
        self, key: str, value: float | None, record: Log, step: int, when: int, batch: Batch
    ) -> None:
        try:
            number = None if value is None else float(value)
        except OverflowError:
            self.reject(key, value, "it does not fit into a 64-bit float")
            return
        title, series = self._notes.places.of(key)
        if number is None or not math.isfinite(number):
            # The server has no number for it: a gap in the line, and a second plot that says where.
            code = events.not_finite(number)
            batch.event(key, events.scalar((title + NOT_FINITE, series), step, when, code))
            return
        batch.event(key, events.scalar((title, series), step, when, number))
        if record.step is None:
            batch.single_value(shortened(key, LONGEST_NAME), when, number)

    def _take_media(
        self,
        key: str,
        media: Sequence[Any],
        step: int,
        when: int,
        layout: dict[str, Any],
        batch: Batch,
    ) -> None:
        title, series = self._notes.places.of(key)
        files = []
        drawn = 0
        for medium in media:
            if isinstance(medium, LoggedFile):
                self._take_file(key, medium, step, when, batch)
            elif isinstance(medium, (LoggedTable, LoggedHistogram)):
                draw = plots.table_plot if isinstance(medium, LoggedTable) else plots.histogram_plot
                place = (title, f"{series}/{drawn}" if drawn else series)
                text = draw(medium, key, layout)  # type: ignore[arg-type]  # chosen by its type
                batch.event(key, events.plot(place, step, when, text))
                drawn += 1
            else:
                files.append(medium)
        self._take_samples(key, files, step, when, batch)

    def _take_samples(
        self, key: str, values: Sequence[object], step: int, when: int, batch: Batch
    ) -> None:
        title, series = self._notes.places.of(key)
        try:
            samples = samples_of(values, step, when)
        except Exception as error:  # one damaged medium must not hold up all that comes after it
            self.reject(key, values, f"encoding it raised {type(error).__name__}")
            return
        for file, sample in samples:
            batch.sample(key, (title, series), file, sample)
        about = [sample.about for _, sample in samples]
        if any(about):
            text = plots.about_media(about, key)
            batch.event(key, events.plot((title, series + ABOUT), step, when, text))

    def _take_file(self, key: str, file: LoggedFile, step: int, when: int, batch: Batch) -> None:
        name = "/".join(part for part in (file.artifact_path, _base_name(file.path)) if part)
        name = as_text(name)
        about = {
            "key": key,
            "artifact path": file.artifact_path,
            "step": str(step),
            "logged": str(when),
        }
        batch.artifact(name, file, about)

    def _options(self, record: Log) -> tuple[str | None, dict[str, Any]]:
        """What `log` was given beside values: the name of the steps' axis, and a plot's layout."""
        axis, layout = None, {}
        for option, value in record.options.get(self.name, {}).items():
            if option == "step_axis" and isinstance(value, (str, type(None))):
                axis = value
            elif option == "extra_layout" and isinstance(value, (dict, type(None))):
                layout = value or {}
            elif option not in WITHOUT_EFFECT:
                reason = "log() takes step_axis (a text) and extra_layout (a dict for Plotly)"
                self.reject(f"log_kwargs[{option!r}]", value, reason)
        return axis, layout

    # --- inside ---

    def _running(self) -> Store:
        if self._store is None or self._ended:
            state = "not started" if self._store is None else "finished"
            raise NotStartedError(f"tracker 'clearml' is {state}: call start() first")
        return self._store

    def _shown_tags(self) -> list[str]:
        return [shown_tag(name, value) for name, value in self._notes.tags.items()]

    def _store_tags(self, store: Store) -> None:
        """Beside those that others have given the task meanwhile."""
        there = store.fields().get("tags") or []
        ours = self._shown_tags()
        others = [tag for tag in there if tag not in self._our_tags]
        store.set_tags(list(dict.fromkeys([*others, *ours])))
        self._our_tags = ours

    def _say_if_archived_before(self) -> None:
        """ClearML packs an offline session when its main task is closed, and never again."""
        folder = self.identity().get("offline_folder")
        if folder and main_task() is None and os.path.exists(f"{folder}.zip"):
            say(
                f"tracker 'clearml': the task was closed before its run ended, and {folder}.zip may "
                f"lack what came later: import the folder {folder} in its place, and next time call "
                "end_training() before Task.close()"
            )

    def _store_notes(self, store: Store) -> None:
        """Before the values, which nobody could assign to their keys without them."""
        if self._notes.changed():
            store.set_configuration(self._notes.item())
            self._notes.stored()


LONGEST_FLUSH = 10.0  # seconds
LONGEST_NAME = 200


def _flush(task: Task) -> None:
    with suppress(Exception):  # what the user reported there is the user's to look after
        task.flush(wait_for_uploads=True)


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
