"""What goes where in Weights & Biases: `WandBTracker`."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.files import Unkept, in_words
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedImage,
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
from tracking_wandb import arguments, names
from tracking_wandb.arrival import bring, can_tell
from tracking_wandb.config import Entries
from tracking_wandb.current import say_if_there_is_one
from tracking_wandb.errors import WandBArrivalError, WandBServiceError, WandBSettingError
from tracking_wandb.media import Files, medium_json
from tracking_wandb.reader import steps_and_config
from tracking_wandb.rows import LARGEST_ROW, Rows, files_message, text_of
from tracking_wandb.service import Service, rows_in_common, stamp_of
from tracking_wandb.session import abandon, began, bury, is_finished
from tracking_wandb.uploads import Uploads
from tracking_wandb.watch import Current, make_watchable

__all__ = ["WandBTracker"]

SECONDS_BETWEEN_LOOKS = 1.0

LARGEST_TEXT = LARGEST_ROW - 1024 * 1024  # so many bytes are left for numbers and for names
LONG_TEXT = 1024

EXIT_CODES: Mapping[Status, int] = {"finished": 0, "failed": 1, "killed": 255}


class WandBTracker(RecordTracker):
    """Logs to a run of the W&B project `run_name`, on the server or offline.

    ``WANDB_MODE``, ``WANDB_DIR``, ``WANDB_API_KEY`` and W&B's other variables and settings apply.
    When `deliver` returns, the rows are in the run's file in ``wandb/``, also with the server gone:
    ``wandb sync`` sends what did not get there. `tracking_wandb.read_run` reads it back.

    ``log(values, step=None, step_axis=None)`` takes the name of what the row's step counts, where
    that is not the training's step: ``step_axis="epoch"``.

    Args:
        run_name: the project, as with Accelerate.
        **kwargs: those of ``wandb.init`` (``name``, ``group``, ``tags``, ``mode``, ``settings``, ...),
            and `step_axes`: for keys the axis that they are drawn over, ``{"val/*": "val_step"}``.
    """

    name = "wandb"
    requires_logging_directory = False
    main_process_only = False
    lane = "process"  # 1 to 2 seconds of import, 35 MB, two threads, and hooks in the process

    def __init__(self, run_name: str, **kwargs: Any) -> None:
        super().__init__()
        arguments.check(kwargs)
        say_if_there_is_one(run_name)
        self.run_name = run_name
        self.init_kwargs = kwargs
        self._identity: Mapping[str, Plain] = {}
        self._run: Any = None
        self._service: Service | None = None
        self._uploads: Uploads | None = None
        self._looked = 0.0
        self._off = False
        self._lost = False
        self._over: Mapping[str, Plain] = {}
        self._ended_at: float | None = None
        self._lock = threading.RLock()

    # --- the run ---

    @property
    def run(self) -> Any:
        """The ``wandb.Run``; one that does nothing where W&B is turned off."""
        if self._off and self._run is None:
            self._run = began({"mode": "disabled"})
        if self._run is None:
            raise NotStartedError("tracker 'wandb' has no run before start()")
        return self._run

    @property
    def tracker(self) -> Any:
        return self.run

    @on_main_process
    def start(self) -> None:
        """Begin a run, or go on with the one that was named.

        Raises:
            AlreadyStartedError: it is running.
            WandBLoginError: there is no key, or the server refuses it.
            WandBServiceError: the server can't be reached.
            WandBSettingError: W&B refuses a setting, or there is no place for the run's files.
            WandBRunError: the run was deleted, or is another's.
        """
        if self._service is not None or self._off:
            raise AlreadyStartedError("tracker 'wandb' is running: call finish() first")
        with self._lock:
            if arguments.is_disabled(self.init_kwargs):
                self._off, self._run = True, None
                return
            try:
                self._begin(self._identity)
            except BaseException:
                self._service = None
                raise
            self._identity = {}

    def identity(self) -> dict[str, Plain]:
        """``run_id``, ``project``, ``entity`` (empty if it is not known) and ``dir``, the directory
        that ``wandb/`` is in.

        Before `start` only the ``run_id``, which it then begins; nothing if arguments or variables
        say which run it is.
        """
        if self._run is None or self._off:
            if not self._identity and not arguments.is_named(self.init_kwargs):
                self._identity = {"run_id": secrets.token_hex(8)}
            return dict(self._identity)
        settings = self.run.settings
        return {
            "run_id": str(self.run.id),
            "project": settings.project or "",
            "entity": settings.entity or "",
            "dir": os.path.abspath(settings.root_dir),
        }

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names.

        Offline, W&B can't go on with a run: it goes on in another directory with the same run id,
        and ``wandb sync`` puts the two together.
        """
        if not isinstance(identity.get("run_id"), str):
            raise ValueError(
                f"tracker 'wandb' can't resume {dict(identity)!r}: it needs 'run_id', as "
                "identity() gives it"
            )
        self._identity = dict(identity)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """End the run: W&B shows it as finished, failed or killed. A second time it does nothing.

        Online it returns when the server has all rows; what W&B's service could not send is sent
        with ``wandb sync``. If it raises, the next call goes on.

        Raises:
            WandBLoginError: the server refuses the key by now.
            WandBServiceError: rows have not arrived, or W&B's service died.
        """
        with self._lock:
            self._off = False
            if (service := self._service) is not None:
                if self._lost:
                    self._again()
                try:
                    self._end(status)
                except WandBServiceError:
                    if not self._running().dead:
                        raise
                    self._again()
                    self._end(status)
                self._over = self.identity()
                service.close()
                self._service = None
            if self._over:
                self._see_to_arrival()
                self._over = {}

    def _see_to_arrival(self) -> None:
        """Return once the server has all rows; where nobody can tell, say what W&B's log does."""
        settings = self._run.settings
        if self._run.disabled or self._run.offline:
            return
        if can_tell(settings):
            self._bring(settings, self._over, ended=True)
        elif self._uploads is not None and (trouble := self._uploads.in_words()):
            kept = (
                "with x_skip_transaction_log nothing on this machine has it"
                if settings.x_skip_transaction_log
                else "it is all on this machine. This delivers them: wandb sync --include-online "
                f"{settings.sync_dir}"
            )
            say(f"tracker 'wandb' could not send everything ({trouble}); {kept}")

    def _bring(self, settings: Any, run: Mapping[str, Plain], *, ended: bool) -> None:
        try:
            bring(settings, run, ended=ended)
        except WandBArrivalError as error:
            self.unarrived = error.rows
            raise
        except WandBSettingError as error:
            # W&B's service has reached it: it has other certificates and proxies than we.
            say(f"{error}; what W&B sent is not known")
        self.unarrived = 0

    def _begin(self, identity: Mapping[str, Plain]) -> None:
        given = {**self.init_kwargs}
        axes = arguments.axes_of(given.pop("step_axes", None))
        given.setdefault("project", names.project_name(self.run_name))
        if identity:
            given |= {"id": identity["run_id"], "resume": "allow"}
            given |= {
                key: identity[key] for key in ("project", "entity", "dir") if identity.get(key)
            }

        def before(settings: Any) -> None:
            # Afterwards, what W&B's service failed to send would come behind what is logged now.
            if identity.get("dir") and can_tell(settings):
                self._bring(settings, identity, ended=False)

        run = began(given, self.training_pid, before)
        try:
            self._go_on_with(run, identity, axes)
        except BaseException:
            abandon(run)  # else its id could not be used again
            raise

    def _go_on_with(self, run: Any, identity: Mapping[str, Plain], axes: Mapping[str, str]) -> None:
        self._files = Files(run.dir)
        self._entries = Entries(run.config)
        service, next_step = Service(run), 0
        config: dict[str, Any] = {}
        if not run.disabled:
            next_step = service.next_step()
            if identity and run.offline:
                # Offline, W&B knows nothing of what was logged to the run before.
                there = {"dir": os.path.abspath(run.settings.root_dir), **identity}
                next_step, config = steps_and_config(there, run.settings.sync_file)
                self._entries = Entries(config)
            make_watchable(run, lambda: Current(self._run, self._rows.next_step))
        self._rows = Rows(next_step, axes)
        self._run, self._service, self._lost, self._ended_at = run, service, False, None
        self._uploads = Uploads(run.settings.log_internal)
        if config:
            run.config.update(config, allow_val_change=True)
        self._send(self._rows.opening())

    def _end(self, status: Status) -> None:
        run, service = self._run, self._running()
        if is_finished(run):
            return  # by the program itself
        if not run.disabled:
            service.next_step()  # raises if the service has died
        ended_at = time.time() if self._ended_at is None else self._ended_at
        run.config.update({names.END: {"status": status, "time": ended_at}}, allow_val_change=True)
        with suppress(TimeoutError):  # what has not arrived is seen to by `finish`
            run.finish(exit_code=EXIT_CODES[status])
        if not run.disabled:
            service.wait_for_end()

    # --- what goes where ---

    def deliver(self, records: Sequence[Record]) -> None:
        """Take `records`; when it returns, they are in the run's file on disk.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            WandBServiceError: W&B's service on this machine died or is stuck. The next call begins
                it anew and goes on with the run.
        """
        with self._lock:
            if self._off:
                return
            if self._over and all(isinstance(record, End) for record in records):
                return  # it has ended, and only what its server lacks is left to `finish`
            self._running()
            if self._run.disabled:
                return
            if self._lost or is_finished(self._run) or self._gave_up():
                self._again()
            rows = self._rows
            # What is half made when something raises comes again, with the same records.
            self._rows = rows.copy()
            sent: list[int] = []
            try:
                self._take(records, sent)
            except BaseException:
                self._rows = rows
                self._lost = self._running().dead
                if self._lost and (self._run.offline or can_tell(self._run.settings)):
                    # What lies there is sent before the run goes on.
                    self.taken = self._landed(records, sent)
                raise

    def _gave_up(self) -> bool:
        """Whether W&B's service sends nothing more; looked at now and then."""
        now = time.monotonic()
        if self._uploads is None or now - self._looked < SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = now
        self._uploads.look()
        self.unarrived = max(0, self.unarrived - self._uploads.answered)
        self._uploads.answered = 0
        return bool(self._uploads.trouble) and can_tell(self._run.settings)

    def _take(self, records: Sequence[Record], sent: list[int]) -> None:
        """Take `records`; into `sent` goes how many rows each of them and those before it make."""
        self._rows.next_step = max(self._rows.next_step, self._running().next_step())
        messages: list[Any] = []
        for record in records:
            match record:
                case Config():
                    shown = self._entries.config(record.values)
                    self._run.config.update(shown, allow_val_change=True)
                case Tags():
                    self._take_tags(record)
                case Log():
                    messages += self._log(record)
                case End():  # finish() says it, once the last record has been taken
                    self._ended_at = record.wall_time
            sent.append(sum(message.HasField("request") for message in messages))
        self._send(messages)
        if not self._run.offline:
            self.unarrived += sent[-1] if sent else 0

    def _landed(self, records: Sequence[Record], sent: Sequence[int]) -> int:
        """How many of `records` are on disk, though the service died meanwhile."""
        before = [0, *sent]
        expected = [
            stamp
            for record, first, last in zip(records, before, sent, strict=False)
            if isinstance(record, Log)
            for stamp in [stamp_of(record)] * (last - first)
        ]
        landed = rows_in_common(self._run.settings.sync_file, expected)
        # Configuration and tags go first: with the first row all of them are there.
        return sum(rows <= landed for rows in sent) if landed else 0

    def _take_tags(self, record: Tags) -> None:
        gone, new, entry = self._entries.tag(record.values)
        self._run.config.update(entry, allow_val_change=True)
        kept = [label for label in self._run.tags or () if label not in gone | new]
        self._run.tags = (*kept, *sorted(new))

    def _log(self, record: Log) -> list[Any]:
        step = record.position if record.step is None else record.step
        axis = self._options(record)
        messages: list[Any] = []
        values = list(flat(pictures_beside(record.values)))
        while values:
            native = self._rows.place(step, axis)
            items: dict[str, str] = {}
            left = []
            for key, value in values:
                # Two values of one key ("a/b" and "b" in "a") are two rows, and so is too much.
                if not self._item(key, value, native, items):
                    left.append((key, value))
            values = left
            messages += self._rows.messages(items, native, step, record.wall_time, axis)
        return messages

    def _item(self, key: str, value: Any, native: int, items: dict[str, str]) -> bool:
        """Put a value into the row `items`; false if its name is taken, or there is no room."""
        media = media_list(value)
        if not media:
            name, said = names.name_of(key), text_of(value)
            if len(said) > LARGEST_TEXT:
                self.reject(key, value, f"W&B takes rows up to {LARGEST_ROW} bytes")
                return True
            if name in items or (
                len(said) > LONG_TEXT and len(said) + sum(map(len, items.values())) > LARGEST_TEXT
            ):
                return False
            items[name] = said
            return True
        if len(media) > 1 and not all(isinstance(one, LoggedImage) for one in media):
            parts: list[tuple[str, Any]] = [(f"{key}/{i}", one) for i, one in enumerate(media)]
        else:
            parts = [(key, media[0] if len(media) == 1 else list(media))]
        if any(names.name_of(key) in items for key, _ in parts):
            return False
        for key, medium in parts:
            try:
                items[names.name_of(key)] = text_of(self._medium(key, medium, native))
            except Unkept as reason:
                self.reject(key, medium, str(reason))
            except OSError:
                raise
            except Exception as error:  # one damaged medium must not hold up all that follows
                self.reject(key, medium, f"encoding it raised {type(error).__name__}")
        return True

    def _medium(self, key: str, medium: Any, native: int) -> dict[str, Any]:
        if isinstance(medium, LoggedFile):
            place, left_out = self._files.copy(medium)
            if left_out:
                self.reject(key, medium, in_words(medium, left_out))
            folder = {"artifact_path": medium.artifact_path}
            return {"_type": "file", "path": place, "size": 0, **folder}
        return medium_json(key, medium, native, self._files)

    def _options(self, record: Log) -> str | None:
        """The name of the row's axis, if it has one; it is all that a row can say beside values."""
        axis = None
        for option, value in record.options.get(self.name, {}).items():
            if option == "step_axis" and isinstance(value, (str, type(None))):
                axis = names.name_of(value) if value else None
            elif option == "step_axis":
                self.reject("log_kwargs['step_axis']", value, "an axis is named by a text")
            elif option != "commit":  # every call is a row of its own
                self.reject(
                    f"log_kwargs[{option!r}]", value, "wandb's run.log has no such argument"
                )
        return axis

    # --- inside ---

    def _running(self) -> Service:
        if self._service is None:
            state = "not started" if self._run is None else "finished"
            raise NotStartedError(f"tracker 'wandb' is {state}: call start() first")
        return self._service

    def _send(self, messages: list[Any]) -> None:
        if self._run.disabled:
            return
        new, self._files.new = self._files.new, []
        files = [files_message(new)] if new else []
        self._running().send([*files, *messages])

    def _again(self) -> None:
        """Go on with the run, after W&B's service has died or the program has ended it."""
        identity = self.identity()
        ended_at = self._ended_at
        service = self._running()
        service.close()
        if service.dead:
            bury(self._run)
        elif not is_finished(self._run):
            abandon(self._run)
        self._lost = True  # until it goes on
        self._begin(identity)
        self._ended_at = ended_at
