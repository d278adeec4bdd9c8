"""What goes where in Comet: `CometMLTracker`.

Nothing goes through ``comet_ml.Experiment``: of that there is one in a process, its step belongs to
whoever set it last, and what it can't send it drops without a word. An offline run is written
here in Comet's own format (`tracking_comet_ml.offline`), an online run sent to the addresses that
Comet's client uses (`tracking_comet_ml.online`).
"""

from __future__ import annotations

import json
import math
import os
import posixpath
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_comet_ml import arguments, layout, media, native
from tracking_comet_ml.batch import Asset, Batch, Parameter, Point
from tracking_comet_ml.settings import KEY, Seen, Settings, is_named, launched
from tracking_core.errors import AlreadyStartedError, NotStartedError, StepError
from tracking_core.files import Unkept, files_of, in_words
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    Media,
    Plain,
    Record,
    Status,
    Tags,
    Value,
    flat,
    media_list,
)
from tracking_core.tables import pictures_beside
from tracking_core.tracker import ONLINE_PACE, RecordTracker, on_main_process, whole_step

if TYPE_CHECKING:
    from tracking_comet_ml.offline import OfflineSession
    from tracking_comet_ml.online import OnlineSession

__all__ = ["CometMLTracker"]

STEPS = range(-(2**63), 2**63)
SECONDS_THAT_GIT_STAYS = 60.0  # what lies in the directory may be another commit later


class CometMLTracker(RecordTracker):
    """Logs to an experiment in Comet, on the server or in archives for ``comet upload``.

    Comet's variables and configuration files count (``COMET_API_KEY``, ``COMET_WORKSPACE``,
    ``COMET_START_ONLINE``, ``COMET_OFFLINE_DIRECTORY``, ...); they are read in `start`. Nothing is
    recorded but what is logged: code, environment, output and the like only if
    `experiment_config` asks for them. ``COMET_EXPERIMENT_KEY`` names the first run of a process.

    ``log(values, step=None, step_axis=None, epoch=None)``: `epoch` is Comet's own, and `step_axis`
    names what the row's step counts (``"epoch"``, ``"val_step"``).

    Args:
        run_name: the project, as in Accelerate. With `project_name` among the arguments it is the
            experiment's name instead.
        **kwargs: those of ``comet_ml.start``. `experiment_config` may be a mapping, too, of what
            ``comet_ml.ExperimentConfig`` takes: that travels to the delivery process. What Comet
            records of the process that it is in takes ``delivery="thread"``.

    Raises:
        TypeError: ``comet_ml.start`` or ``comet_ml.ExperimentConfig`` has no such argument.
        ValueError: Comet does not take a value.
    """

    name = "comet_ml"
    requires_logging_directory = False
    lane = "process"  # its import takes a second or two, and online it spends its time encoding

    def __init__(self, run_name: str | None, **kwargs: Any) -> None:
        super().__init__()
        arguments.check(kwargs)
        self.run_name = run_name
        self.init_kwargs = kwargs
        self._identity: dict[str, Plain] = {}
        self._resumed = False
        self._spent: Mapping[str, Plain] | None = None  # the `launch` of the run before
        self._theirs: str | None = None
        self._settings: Settings | None = None
        self._session: OfflineSession | OnlineSession | None = None
        self._native: Any = None
        self._ended_at: float | None = None
        self._opening: Batch | None = None
        self._names: set[str] = set()
        self._axes: set[tuple[str, str]] = set()
        self._lock = threading.RLock()

    def check_lane(self, lane: str) -> None:
        """Refuse what Comet would record of the delivery process instead of the training."""
        arguments.check_lane(self.init_kwargs, lane)

    # --- the run ---

    def at_launch(self) -> dict[str, Plain]:
        if self._spent is not None and not self._resumed:
            self._identity = {}  # the next run of this object is another one
        self._theirs = native.of_the_program()
        return launched()

    @on_main_process
    def start(self) -> None:
        """Begin the experiment, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            CometSettingError: an argument, a setting, an address or the offline directory is of no
                use.
            CometLoginError: online there is no API key, or the server does not let it in.
            CometServerError: the server can't be reached, or something else answers.
            CometRestApiException: the server says no.
        """
        if self._session is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        launch = self._launched()
        settings = Settings.of(
            self.run_name, self.init_kwargs, self._identity, launch, self._seen_here()
        )
        if settings.online:
            from tracking_comet_ml.online import OnlineSession

            # Whoever began it may have sent something that nobody has noted.
            begun = "online" in self._identity
            session: OfflineSession | OnlineSession = OnlineSession(
                settings, self.began_at, begun=begun
            )
        else:
            from tracking_comet_ml.offline import OfflineSession

            session = OfflineSession(settings, self.began_at)
        if settings.automatic:
            try:
                self._native = native.opened(settings)
            except BaseException:
                session.abandon()
                raise
        self._settings, self._session, self._ended_at = settings, session, None
        self.pace = ONLINE_PACE if settings.online else 0.0
        self._identity = {
            "experiment_key": settings.key,
            "online": settings.online,
            "offline_directory": settings.offline_directory,
        }
        self._resumed = False
        self._names, self._axes = set(), set()
        self._opening = _opening(settings)
        for option, reason in settings.left_out.items():
            self.reject(f"experiment_config[{option!r}]", True, reason)

    def identity(self) -> dict[str, Plain]:
        """``experiment_key``, whether it is ``online``, and the ``offline_directory``.

        Before `start` only the key, under which it then begins the experiment; nothing if
        arguments or Comet's settings say which experiment it is.
        """
        if not self._identity and not is_named(self.init_kwargs, self._launched()):
            self._identity = {"experiment_key": uuid.uuid4().hex}
        return dict(self._identity)

    def _launched(self) -> Mapping[str, Plain]:
        """What was said where the run began; for the next run of this object it is asked anew."""
        if self.launch is None or self.launch is self._spent:
            self.launch = self.at_launch()
        return self.launch

    def _seen_here(self) -> Seen:
        since = 0.0 if self.began_at is None else time.time() - self.began_at
        return Seen(
            process=self.training_pid in (None, os.getpid()),
            program=self.training_pid != 0,
            directory=since < SECONDS_THAT_GIT_STAYS,
        )

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the experiment that `identity` names.

        What a killed process had delivered offline becomes an archive of its own then.
        """
        if not isinstance(identity.get("experiment_key"), str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs "
                "'experiment_key', as identity() gives it"
            )
        self._identity, self._resumed = dict(identity), True

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended; offline, make its archive. A second time it does nothing.

        Raises what `deliver` raises, and may be called again then.
        """
        with self._lock:
            if self._session is None:
                return
            if self._native is not None:
                native.closed(self._native)
                self._native = None
            if self._opening is not None:
                self._store(Batch())
            ended_at = time.time() if self._ended_at is None else self._ended_at
            self._session.end(status, round(ended_at * 1000))
            self._session, self._spent = None, self.launch

    def remarks(self, identity: Mapping[str, Plain]) -> Iterable[str]:
        ours = identity.get("experiment_key")
        if not isinstance(ours, str):
            return  # whether another experiment is meant can't be told yet
        spent = (self.launch or {}).get("spent")
        if spent is not None and spent != ours:
            yield (
                f"tracker 'comet_ml': {KEY} names the first run of this process, or an experiment that "
                f"it has begun itself; this run is another one, {ours!r}"
            )
        for theirs in dict.fromkeys((self._theirs, native.of_the_program())):
            if theirs is not None and theirs != ours:
                yield (
                    f"tracker 'comet_ml' logs to an experiment of its own, {ours!r}, beside the "
                    f"experiment {theirs!r} that this program has begun itself: what it logs with "
                    "comet_ml goes there. If one is enough, leave comet_ml.start() out, and pass its "
                    'arguments in init_kwargs={"comet_ml": {...}}'
                )

    @property
    def writer(self) -> Any:
        """Comet's own ``CometExperiment``, for what this tracker does not do.

        It is made when first asked for. Offline it has an archive of its own in the same
        directory, which ``comet upload`` adds to the same experiment.

        Raises:
            NotStartedError: before `start`, or after `finish`. It is an `AttributeError`.
        """
        with self._lock:
            self._running()
            if self._native is not None and self._native.ended:
                self._native = None  # Comet ends its current one where the program begins another
            if self._native is None and self._settings is not None:
                self._native = native.opened(self._settings)
            return self._native

    @property
    def tracker(self) -> Any:
        """The same as `writer`."""
        return self.writer

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Store `records`. When it returns, they are on disk, or the server has them.

        After an error the same records may come again: offline nothing of them was stored, online
        what the server has taken is left out.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError: the disk is full or broken; or the server can't be reached, or does not answer
                in time.
            CometRestApiException: the server fails, or refuses the API key.
            CometServerError: something else answers in its place.
            CometExperimentError: it does not take the experiment any more.
        """
        batch = Batch()
        with self._lock:
            said = self._names.copy(), self._axes.copy()
            try:
                for record in records:
                    match record:
                        case Config():
                            self._take_config(record, batch)
                        case Tags():
                            self._take_tags(record, batch)
                        case Log():
                            self._take_log(record, batch)
                        case End():  # finish() says it, once the last record has been taken
                            self._ended_at = record.wall_time
                self._store(batch)
            except BaseException:
                # What is said once for each key has not arrived.
                self._names, self._axes = said
                raise

    def _running(self) -> OfflineSession | OnlineSession:
        if self._session is None:
            state = "not started" if self._settings is None else "finished"
            raise NotStartedError(f"tracker {self.name!r} is {state}: call start() first")
        return self._session

    def _store(self, batch: Batch) -> None:
        opening = self._opening
        if opening is not None:
            # Not in start(): that is tried again from the beginning when something goes wrong.
            batch.others = {**opening.others, **batch.others}
            batch.tags = opening.tags + batch.tags
            batch.assets = opening.assets + batch.assets
        for key, value, reason in self._running().store(batch):
            self.reject(key, value, reason)
        self._opening = None

    def _take_config(self, record: Config, batch: Batch) -> None:
        when = _milliseconds(record.wall_time)
        for name, value in layout.parameters(record.values):
            batch.parameters.append(Parameter(name, value, when))
        if any(isinstance(value, dict) for value in record.values.values()):
            batch.others["hasNestedParams"] = True  # as Comet's client says it, for its UI
        batch.assets.append(_note(layout.CONFIG, record.values, when))

    def _take_tags(self, record: Tags, batch: Batch) -> None:
        for key, value in record.values.items():
            if value is None:
                batch.tags.append(key)
            else:
                batch.others[layout.other_name(key)] = value[: layout.LONGEST_VALUE]
        batch.assets.append(_note(layout.TAGS, record.values, _milliseconds(record.wall_time)))

    def _take_log(self, record: Log, batch: Batch) -> None:
        step = record.position if record.step is None else record.step
        when = _milliseconds(record.wall_time)
        axis, epoch = self._options(record)
        for key, value in flat(pictures_beside(record.values)):
            if step not in STEPS:
                self.reject(key, value, "its step does not fit into 64 bits")
                continue
            if value is None:
                name = self._name(key, batch, when)
                batch.points.append(Point(name, math.nan, step, epoch, when))
                batch.points.append(Point(name + layout.NONE, 1, step, epoch, when))
            elif isinstance(value, (bool, int, float)):
                name = self._name(key, batch, when)
                number = int(value) if isinstance(value, bool) else value
                batch.points.append(Point(name, number, step, epoch, when))
            elif isinstance(value, str):
                # The newest is shown in Comet's table of experiments, as Accelerate has it.
                batch.others[layout.other_name(key)] = value[: layout.LONGEST_VALUE]
                batch.assets.append(media.text(key, value, step, when))
                continue
            else:
                batch.assets.extend(self._assets(key, value, step, when))
                continue
            if axis is not None and (name, axis) not in self._axes:
                self._axes.add((name, axis))
                batch.others[layout.axis_name(name)] = axis
        if step not in STEPS:
            return
        now = Parameter("curr_step", step, when, step, automatic=True)
        # Where the run is: Comet's client says it with each new step, here once a batch will do.
        if batch.parameters and batch.parameters[-1].automatic:
            batch.parameters[-1] = now
        else:
            batch.parameters.append(now)

    def _assets(self, key: str, value: Value, step: int, when: int) -> Iterator[Asset]:
        items: list[Media] = []
        for medium in media_list(value):
            items += self._files(key, medium) if isinstance(medium, LoggedFile) else [medium]
        listed = isinstance(value, list) or len(items) > 1
        for number, item in enumerate(items):
            try:
                yield from media.assets(key, item, step, when, number if listed else None)
            except Exception as error:  # one damaged medium must not hold up all that comes after
                self.reject(key, item, f"encoding it raised {type(error).__name__}")

    def _files(self, key: str, file: LoggedFile) -> Iterator[LoggedFile]:
        """`file` itself, or of a directory each file, in the folder that it has there."""
        settings = self._settings
        here = None if settings is None or settings.online else settings.offline_directory
        try:
            found, left_out = files_of(file, room_in=here)
        except Unkept as reason:
            self.reject(key, file, str(reason))
            return
        for one in found:
            folder = posixpath.dirname(one.inner)
            yield LoggedFile(one.path, posixpath.join(file.artifact_path, folder))
        if left_out:
            self.reject(key, file, in_words(file, left_out))
        elif not found:
            self.reject(key, file, "the directory holds no file")

    def _options(self, record: Log) -> tuple[str | None, int | None]:
        """The step axis and epoch of a row; what else ``log_metric`` takes changes nothing here."""
        axis, epoch = None, None
        for option, value in record.options.get(self.name, {}).items():
            if option == "step_axis" and isinstance(value, str):
                axis = value
            elif option == "epoch" and (number := _whole(value)) is not None:
                epoch = number
            elif not (option == "include_context" or value is None):
                reason = "Comet's log_metric has no such argument, or not of this type"
                self.reject(f"log_kwargs[{option!r}]", value, reason)
        if axis == "epoch" and epoch is None:
            epoch = record.position if record.step is None else record.step
        return axis, epoch

    def _name(self, key: str, batch: Batch, when: int) -> str:
        name = layout.name_of(key)
        if name not in self._names:
            whole = layout.whole_name(key)
            if whole != name:
                batch.assets.append(_note(layout.NAMES, {name: whole}, when))
            self._names.add(name)
        return name


def _opening(settings: Settings) -> Batch:
    """What is said of the experiment itself, with the first records."""
    others = {
        layout.STATUS: "running",
        "offline_experiment": None if settings.online else True,
        "Name": settings.name,
        "Created from": settings.source,
    }
    opening = Batch(others={key: value for key, value in others.items() if value is not None})
    if settings.tags:
        opening.tags = settings.tags
        now = _milliseconds(time.time())
        opening.assets = [_note(layout.TAGS, dict.fromkeys(settings.tags), now)]
    return opening


def _note(name: str, values: Mapping[str, Any], when: int) -> Asset:
    return Asset("asset", name, json.dumps(values).encode(), None, when, {"time": when})


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _whole(value: object) -> int | None:
    try:
        return whole_step(value)
    except StepError:
        return None
