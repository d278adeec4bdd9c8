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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tracking_core.errors import NotStartedError, StepError
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
from tracking_core.tracker import RecordTracker, on_main_process, whole_step
from tracking_mlflow import layout, runs
from tracking_mlflow.batch import Batch
from tracking_mlflow.distribution import Course
from tracking_mlflow.grid import copies
from tracking_mlflow.settings import BOUNDED, QUIET, chosen, imported

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["MLflowTracker"]

STEPS = range(-(2**63), 2**63)
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class MLflowTracker(RecordTracker):
    """Logs to a run in MLflow, on the server or in the database that ``MLFLOW_TRACKING_URI`` names.

    The variables ``MLFLOW_EXPERIMENT_NAME``, ``MLFLOW_RUN_ID``, ``MLFLOW_TAGS`` (JSON) and
    ``MLFLOW_NESTED_RUN`` win over the arguments; they are read in `start`.

    Args:
        experiment_name: made if it does not exist, restored if it was deleted. Without it the
            experiment of ``MLFLOW_EXPERIMENT_ID``, else MLflow's "Default".
        logging_dir: where a *new* experiment keeps its artifacts: a directory or a URI.
        run_id: the run to go on with; `experiment_name` is then of no consequence.
        tags: of the run; values that are no text become text.
        nested_run: whether to hang the run below the active run of MLflow's fluent API, if the
            thread that calls `start` has one.
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
        self._client: Any = None
        self._run: Run | None = None
        self._ended = False
        self._ended_at: float | None = None
        self._config: dict[str, Any] | None = {}
        self._params: dict[str, str] = {}
        self._changed: set[str] = set()
        self._tables: list[dict[str, str]] = []
        self._names: dict[str, str] = {}
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

    @on_main_process
    def start(self) -> None:
        """Make the run, or go on with the one that was named.

        Raises:
            MLflowSettingError: an argument, a variable or the store is of no use.
            MlflowException: the server can't be reached or says no.
        """
        mlflow = imported()
        # A start that failed half-way and is tried again goes on with the run that it made.
        begun = self._run is not None and not self._ended
        identity = self.identity() if begun else self._identity
        wanted = runs.wanted(self, identity)
        with chosen(QUIET, BOUNDED):
            self._client = runs.client(mlflow, identity)
            if wanted.run_id:
                run = runs.continued(self._client, wanted)
                # Read when it is needed.
                self._config, self._courses, self._continues = None, {}, True
            else:
                run = runs.created(mlflow, self._client, wanted, self.began_at)
            self._params = dict(run.data.params)
            self._changed = {name for name in run.data.tags if name.startswith(layout.CHANGED_TAG)}
            with suppress(ValueError):
                self._tables = json.loads(run.data.tags.get("mlflow.loggedArtifacts", "[]"))
            self._run, self._ended, self._ended_at = run, False, None
        if wanted.tags:
            self.deliver([Tags(dict(wanted.tags), time.time())])

    def identity(self) -> dict[str, Plain]:
        info = self.active_run.info
        return {
            "run_id": info.run_id,
            "experiment_id": info.experiment_id,
            "tracking_uri": runs.without_password(self._client.tracking_uri),
        }

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self._identity = dict(identity)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """End the run with this status; nothing more happens the second time."""
        if self._run is None or self._ended:
            return
        with chosen(QUIET, BOUNDED):
            run_id = self._run.info.run_id
            ended_at = time.time() if self._ended_at is None else self._ended_at
            self._client.set_terminated(run_id, STATUS[status], end_time=round(ended_at * 1000))
        self._ended = True

    @on_main_process
    def log_figure(self, figure: Any, artifact_file: str, **save_kwargs: Any) -> None:
        """``mlflow.log_figure``: keep a matplotlib or plotly figure as the file `artifact_file`."""
        run_id = self.active_run.info.run_id
        with chosen(QUIET):
            self._client.log_figure(run_id, figure, artifact_file, **save_kwargs)

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Send `records`: metrics first, in as few requests as MLflow allows, then files, then tags.

        Sending the same records again changes nothing. A single item that the server refuses is
        rejected, and the rest lands.

        Raises:
            MlflowException: the server can't be reached, or fails. It is tried twice, and within 20
                seconds each, unless ``MLFLOW_HTTP_REQUEST_TIMEOUT`` says otherwise.
        """
        run_id = self.active_run.info.run_id
        with self._lock, chosen(QUIET), tempfile.TemporaryDirectory() as folder:
            batch = Batch(run_id, self._client, folder, self.reject)
            changed: dict[str, Course] = {}
            for record in records:
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
            for key, course in changed.items():
                self._draw(key, course, batch)
            batch.send()
            self._params.update(batch.params)

    def _take_config(self, values: Mapping[str, Any], batch: Batch) -> None:
        if self._config is None:
            self._config = runs.config_of(self._client, batch.run_id)
        self._config.update(values)
        batch.files[layout.CONFIG_PATH] = json.dumps(self._config, indent=2).encode()
        for key, value in layout.leaves(values):
            name, text = self._name(key, batch), str(value)[: layout.LONGEST_PARAM]
            changed = layout.CHANGED_TAG + name
            if batch.params.get(name, self._params.get(name, text)) != text:
                self._changed.add(changed)
            if changed in self._changed:
                # A param is written once: what it is now is shown beside it.
                batch.tags[changed] = text
            elif name not in self._params:
                batch.params[name] = text

    def _take_tag(self, key: str, value: str, batch: Batch) -> None:
        name = layout.fitted_tag(key)
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
                name = self._name(key, batch)
                batch.metric(name, number, when, step, model_id)
                if value is None:
                    batch.metric(layout.companion(name, "none"), 1, when, step, model_id)
                elif math.isinf(number):
                    # SQL stores make the largest float of it.
                    sign = math.copysign(1, number)
                    batch.metric(layout.companion(name, "inf"), sign, when, step, model_id)

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
                kept = runs.artifact(self._client, batch.run_id, layout.course_path(key))
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

    def _name(self, key: str, batch: Batch) -> str:
        name = self._names.get(key)
        if name is None:
            name = layout.fitted(key)
            if len(self._names) < 10_000:
                self._names[key] = name
        self._keep_whole(name, key, batch)
        return name

    def _keep_whole(self, name: str, key: str, batch: Batch) -> None:
        if len(name) == layout.LONGEST_KEY:
            batch.tags[layout.name_tag(name)] = key[: layout.LONGEST_TAG]


def _milliseconds(value: object) -> int | None:
    try:
        number = whole_step(value)
    except StepError:
        return None
    return number if number is not None and 0 <= number < 2**63 else None
