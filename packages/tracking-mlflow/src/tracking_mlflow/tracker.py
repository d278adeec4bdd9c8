"""What goes where in MLflow: `MLflowTracker`.

Everything goes through `MlflowClient` with an explicit run and an explicit address. MLflow's fluent
functions (``mlflow.log_metric``) act on a run that belongs to a thread, and start a new one where
there is none.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tracking_core.errors import AlreadyStartedError, NotStartedError, StepError
from tracking_core.faults import Fault
from tracking_core.files import Unkept, files_of, in_words
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedHistogram,
    Plain,
    Record,
    Status,
    Tags,
    flat,
    media_list,
)
from tracking_core.tracker import ONLINE_PACE, RecordTracker, on_main_process, whole_step
from tracking_mlflow import layout, runs, stores
from tracking_mlflow.advice import explained
from tracking_mlflow.batch import Batch, NamesClash
from tracking_mlflow.distribution import Course
from tracking_mlflow.faults import fault_of_mlflow
from tracking_mlflow.grid import copies
from tracking_mlflow.library import ended_fluent_runs
from tracking_mlflow.naming import Naming
from tracking_mlflow.remarks import remarks
from tracking_mlflow.sent import Sent
from tracking_mlflow.settings import BOUNDED, QUIET, chosen, imported

if TYPE_CHECKING:
    from mlflow.entities import Run, RunData

__all__ = ["MLflowTracker"]

STEPS = range(-(2**63), 2**63)
RENAMINGS = 3
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class MLflowTracker(RecordTracker):
    """Logs to a run in MLflow, on the server or in the database that ``MLFLOW_TRACKING_URI`` names.

    The variables ``MLFLOW_EXPERIMENT_NAME``, ``MLFLOW_RUN_ID``, ``MLFLOW_TAGS`` (JSON) and
    ``MLFLOW_NESTED_RUN`` win over the arguments, as they are when the run begins. A run id names
    the first run of the process; the next one is another.

    Args:
        experiment_name: made if it does not exist, restored if it was deleted. Without it the
            experiment of ``MLFLOW_EXPERIMENT_ID``, else MLflow's "Default".
        logging_dir: where a *new* experiment keeps its artifacts: a directory or a URI.
        run_id: the run to go on with; `experiment_name` is then of no consequence.
        tags: of the run; values that are no text become text.
        nested_run: whether to hang the run below the active run of MLflow's fluent API, if the
            thread that begins the run (`Tracking.init_trackers`, else `start`) has one.
        run_name: shown in the UI; MLflow makes one up without it.
        description: shown in the UI.
    """

    name = "mlflow"
    requires_logging_directory = False
    lane = "process"  # heavy to import, and seconds of Python for every thousand rows

    def __init__(
        self,
        experiment_name: str | None = None,
        logging_dir: str | os.PathLike[str] | None = None,
        run_id: str | None = None,
        tags: Mapping[str, Any] | str | None = None,
        nested_run: bool = False,
        run_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__()
        self.experiment_name = experiment_name
        self.logging_dir = logging_dir
        self.run_id = run_id
        self.tags = tags
        self.nested_run = nested_run
        self.run_name = run_name
        self.description = description
        self._identity: Mapping[str, Plain] = {}
        self._store: stores.Store | None = None
        self._run: Run | None = None
        self._running = False
        self._ended_at: float | None = None
        self._config: dict[str, Any] | None = {}
        self._params: dict[str, str] = {}
        self._changed: set[str] = set()
        self._tables: list[dict[str, str]] = []
        self._ended_before: set[str] = set()
        self._spent: Mapping[str, Plain] | None = None  # the `launch` of the run before
        self._naming = Naming()
        self._sent = Sent()
        self._courses: dict[str, Course] = {}
        self._continues = False
        self._lock = threading.RLock()

    # --- the run ---

    @property
    def active_run(self) -> Run:
        """The ``mlflow.entities.Run``; ``active_run.info.run_id`` names it."""
        if self._run is None:
            raise NotStartedError("tracker 'mlflow' has no run before start()")
        return self._run

    @property
    def tracker(self) -> Run:
        return self.active_run

    def at_launch(self) -> dict[str, Plain]:
        self._ended_before = ended_fluent_runs()
        return runs.launched()

    @on_main_process
    def start(self) -> None:
        """Make the run, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            MLflowSettingError: an argument, a variable or the store is of no use.
            MLflowLoginError: the server does not let the user in.
            MlflowException: the server can't be reached or says no.
        """
        if self._running:
            raise AlreadyStartedError("tracker 'mlflow' is running: call finish() first")
        # A start that failed half-way and is tried again goes on with the run that it made.
        begun = self._run is not None and self._ended_at is None
        identity = self.identity() if begun else self._identity
        uri = "MLFLOW_TRACKING_URI"
        try:
            mlflow = imported()
            if self.launch is None or self.launch is self._spent:
                self.launch = self.at_launch()
            wanted = runs.wanted(self, identity)
            uri = runs.address(mlflow, self, identity)
            with chosen(QUIET, BOUNDED):
                self._store = store = stores.opened(mlflow, uri)
                self._continues = wanted.run_id is not None
                if self._continues:
                    run = runs.continued(store, wanted)
                    # Read when it is needed.
                    self._config, self._courses = None, {}
                else:
                    run = runs.created(store, wanted, self)
                self._run = run
                self._look_at(run.data)
            if wanted.tags:
                self._send([Tags(dict(wanted.tags), time.time())])
        except Exception as error:
            better = explained(error, uri)
            if better is error:
                raise
            raise better from error
        self._running, self._ended_at = True, None
        self.pace = ONLINE_PACE if store.is_a_server else 0.0

    def _look_at(self, data: RunData) -> None:
        """Take over what the run has already."""
        store = self._opened()
        self._params = dict(data.params)
        self._changed = {name for name in data.tags if name.startswith(layout.CHANGED_TAG)}
        with suppress(ValueError):
            self._tables = json.loads(data.tags.get("mlflow.loggedArtifacts", "[]"))
        self._naming = Naming(data, files=store.keeps_files)
        self._sent = Sent(self._history if store.keeps_files else None, in_doubt=self._continues)

    def identity(self) -> dict[str, Plain]:
        info = self.active_run.info
        return {
            "run_id": info.run_id,
            "experiment_id": info.experiment_id,
            "tracking_uri": self._opened().uri,
        }

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self._identity = dict(identity)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """End the run with this status; nothing more happens the second time."""
        if not self._running:
            return
        with self._lock, chosen(QUIET, BOUNDED):
            store, run_id = self._opened(), self.active_run.info.run_id
            store.check()
            ended_at = time.time() if self._ended_at is None else self._ended_at
            store.client.set_terminated(run_id, STATUS[status], end_time=round(ended_at * 1000))
            self._running, self._ended_at = False, ended_at
            self._spent = self.launch

    def fault(self, error: BaseException) -> Fault:
        return fault_of_mlflow(error)

    def remarks(self, identity: Mapping[str, Plain]) -> Iterable[str]:
        parent = runs.wanted(self, identity).parent
        return remarks(identity, parent, self._ended_before)

    @on_main_process
    def log_figure(self, figure: Any, artifact_file: str, **save_kwargs: Any) -> None:
        """``mlflow.log_figure``: keep a matplotlib or plotly figure as the file `artifact_file`."""
        run_id = self.active_run.info.run_id
        with chosen(QUIET):
            self._opened().client.log_figure(run_id, figure, artifact_file, **save_kwargs)

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Send `records`: metrics first, in as few requests as MLflow allows, then files, then tags.

        Sending the same records again changes nothing. A single item that the server refuses is
        rejected, and the rest lands.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            MlflowException: the server can't be reached, or fails. It is tried twice, and within 20
                seconds each, unless ``MLFLOW_HTTP_REQUEST_TIMEOUT`` says otherwise.
        """
        if not self._running:
            state = "not started" if self._run is None else "finished"
            raise NotStartedError(f"tracker 'mlflow' is {state}: call start() first")
        self._send(records)

    def _send(self, records: Sequence[Record]) -> None:
        store, run_id = self._opened(), self.active_run.info.run_id
        with self._lock, chosen(QUIET), tempfile.TemporaryDirectory() as folder:
            store.check()
            for _ in range(RENAMINGS):
                batch = Batch(run_id, store, folder, self.reject, self._sent)
                plain = self._fill(batch, records)
                try:
                    batch.send(len(records))
                except NamesClash as clash:
                    self._naming = Naming(clash.data, files=True)
                    self._sent.ask(self._history)
                except BaseException:
                    self.taken = plain if batch.has_sent_metrics else 0
                    raise
                else:
                    self._params.update(batch.params)
                    return
            raise NamesClash(self.active_run.data)

    def _fill(self, batch: Batch, records: Sequence[Record]) -> int:
        """Put `records` into `batch`; how many of the first are rows of numbers alone."""
        changed: dict[str, Course] = {}
        plain = 0
        for number, record in enumerate(records):
            match record:
                case Config():
                    self._take_config(record.values, batch)
                case Tags():
                    for key, value in record.values.items():
                        self._take_tag(key, layout.label_text(value), batch)
                case Log():
                    self._take_log(record, batch, changed)
                case End():  # finish() says it, once the last record has been taken
                    self._ended_at = record.wall_time
            if not (batch.params or batch.tags or batch.files or changed):
                plain = number + 1
        for key, course in changed.items():
            self._draw(key, course, batch)
        return plain

    def _history(self, name: str) -> list[Any]:
        """The points that the run has of a metric."""
        run_id = self.active_run.info.run_id
        return list(self._opened().client.get_metric_history(run_id, name))

    def _opened(self) -> stores.Store:
        if self._store is None:
            raise NotStartedError("tracker 'mlflow' is not started: call start() first")
        return self._store

    def _take_config(self, values: Mapping[str, Any], batch: Batch) -> None:
        if self._config is None:
            self._config = runs.config_of(self._opened().client, batch.run_id)
        self._config.update(values)
        batch.files[layout.CONFIG_PATH] = json.dumps(self._config, indent=2).encode()
        for key, value in layout.leaves(values):
            name, text = self._naming.param(key), str(value)[: layout.LONGEST_PARAM]
            self._keep_whole(name, key, batch)
            changed = layout.CHANGED_TAG + name
            if batch.params.get(name, self._params.get(name, text)) != text:
                self._changed.add(changed)
            if changed in self._changed:
                # A param is written once: what it is now is shown beside it.
                batch.tags[changed] = text
            elif name not in self._params:
                batch.params[name] = text

    def _take_tag(self, key: str, value: str, batch: Batch) -> None:
        name = self._naming.tag(key)
        self._keep_whole(name, key, batch)
        batch.tags[name] = value[: layout.LONGEST_TAG]
        if len(value) > layout.LONGEST_TAG:
            batch.files[layout.tag_path(name)] = value.encode("utf-8")

    def _take_log(self, record: Log, batch: Batch, changed: dict[str, Course]) -> None:
        step = record.position if record.step is None else record.step
        when, model_id = self._options(record)
        for key, value in flat(record.values):
            if step not in STEPS:
                self.reject(key, value, "its step does not fit into 64 bits")
            elif isinstance(value, str):
                self._take_media(key, [value], step, when, batch)
            elif not isinstance(value, (bool, int, float, type(None))):
                media = media_list(value)
                self._take_media(key, media, step, when, batch)
                for medium in media:
                    if isinstance(medium, LoggedHistogram):
                        changed[key] = course = self._course(key, batch)
                        course.take(medium, step, when)
            else:
                number = math.nan if value is None else float(value)
                name = self._naming.metric(key)
                self._keep_whole(name, key, batch)
                batch.metric(name, number, when, step, model_id)
                if value is None:
                    batch.metric(self._naming.companion(name, "none"), 1, when, step, model_id)
                elif math.isinf(number):
                    # SQL stores make the largest float of it.
                    sign = math.copysign(1, number)
                    batch.metric(self._naming.companion(name, "inf"), sign, when, step, model_id)

    def _take_media(
        self, key: str, media: Sequence[Any], step: int, when: int, batch: Batch
    ) -> None:
        for medium in media:
            if isinstance(medium, LoggedFile):
                self._take_file(key, medium, batch)
        try:
            items = [
                layout.encoded(medium) for medium in media if not isinstance(medium, LoggedFile)
            ]
        except Exception as error:  # one damaged medium must not hold up all that comes after it
            self.reject(key, media, f"encoding it raised {type(error).__name__}")
            return
        about: dict[str, list[Any]] = {}
        for place, item in zip(layout.Place.of(key, step, when, items), items, strict=True):
            batch.files[place.path] = item.data
            batch.files.update(item.beside)
            about.setdefault(place.about_path, []).append([place.number, item.about])
            if item.about or place.whole_key != key:
                notes = {"key": key, "items": about[place.about_path]}
                batch.files[place.about_path] = json.dumps(notes).encode()
            if place.kind == "images":
                self._show(place, item.data, batch)
            elif place.kind == "tables":
                self._list_table({"path": place.path, "type": "table"}, batch)

    def _show(self, place: layout.Place, picture: bytes, batch: Batch) -> None:
        batch.files[place.path] = picture
        batch.files.update(copies(place, picture))
        batch.tags["mlflow.loggedImages"] = "True"

    def _course(self, key: str, batch: Batch) -> Course:
        course = self._courses.get(key)
        if course is None:
            course = Course()
            if self._continues:
                client = self._opened().client
                kept = runs.artifact(client, batch.run_id, layout.course_path(key))
                with suppress(ValueError, TypeError):  # somebody else's file
                    course = Course(json.loads(kept or b"[]"))
            self._courses[key] = course
        return course

    def _draw(self, key: str, course: Course, batch: Batch) -> None:
        batch.files[layout.course_path(key)] = json.dumps(course.plain()).encode()
        try:
            picture = course.picture()
        except Exception:  # a Pillow without fonts: the histograms themselves are safe
            picture = None
        if picture is not None:
            self._show(layout.Place.of_course(key), picture, batch)

    def _list_table(self, table: dict[str, str], batch: Batch) -> None:
        """The UI's evaluation view shows the tables that this tag lists; the newest if too many."""
        if table not in self._tables:
            self._tables.append(table)
        while len(text := json.dumps(self._tables)) > layout.LONGEST_TAG:
            del self._tables[0]
        batch.tags["mlflow.loggedArtifacts"] = text

    def _take_file(self, key: str, file: LoggedFile, batch: Batch) -> None:
        uri = urlsplit(self.active_run.info.artifact_uri)
        local = url2pathname(uri.path) if uri.scheme in ("", "file") else None
        try:
            found, left_out = files_of(file, [local] if local else [], room_in=local)
        except Unkept as reason:
            self.reject(key, file, str(reason))
            return
        for one in found:
            batch.files[layout.file_path(file.artifact_path, one.inner)] = one.path
        if left_out:
            self.reject(key, file, in_words(file, left_out))

    def _options(self, record: Log) -> tuple[int, str | None]:
        """Timestamp and model of a row: what ``mlflow.log_metrics`` takes beside values and step."""
        when, model_id = max(0, round(record.wall_time * 1000)), None
        for option, value in record.options.get(self.name, {}).items():
            reason = "mlflow.log_metrics has no such argument"
            if option == "timestamp" and (milliseconds := _milliseconds(value)) is not None:
                when = milliseconds
            elif option == "model_id" and isinstance(value, (str, type(None))):
                model_id = value
            elif option == "run_id" and value in (None, self.active_run.info.run_id):
                pass
            # It always is synchronous: the lane is what makes it asynchronous. Every metric has
            # steps of its own, so an axis needs nothing but to be allowed.
            elif option not in ("synchronous", "step_axis"):
                if option in ("timestamp", "model_id", "run_id", "dataset"):
                    reason = "this tracker can't pass it on: it logs to its own run, plain values"
                self.reject(f"log_kwargs[{option!r}]", value, reason)
        return when, model_id

    def _keep_whole(self, name: str, key: str, batch: Batch) -> None:
        if len(name) == layout.LONGEST_KEY:
            batch.tags[layout.name_tag(name)] = key[: layout.LONGEST_TAG]


def _milliseconds(value: object) -> int | None:
    try:
        number = whole_step(value)
    except StepError:
        return None
    return number if number is not None and 0 <= number < 2**63 else None
