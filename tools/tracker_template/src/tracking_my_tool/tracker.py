"""What goes where in My Tool: `MyToolTracker`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.files import as_text, in_words, keep
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    Plain,
    Record,
    Status,
    Tags,
    Value,
    flat,
)
from tracking_core.tables import pictures_beside
from tracking_core.tracker import RecordTracker, on_main_process

if TYPE_CHECKING:  # the library is imported when a run starts, and not before
    from tracking_my_tool.stand_in import Run

__all__ = ["MyToolTracker"]


class MyToolTracker(RecordTracker):
    """Writes a run to My Tool, every row in the system's hands when the call returns.

    What goes where is in this package's README; `tracking_my_tool.read_run` reads a run back.

    ``log(values, step=None, step_axis=None)``: `step_axis` says what `step` counts ("epoch"). Each
    key has steps of its own, so it changes nothing.

    Args:
        run_name: kept with the run, which is found by its id.
        logging_dir: a local directory; a run is a folder in it.
    """

    name = "my_tool"
    requires_logging_directory = True
    lane = "process"  # whatever the library costs, the training is spared

    def __init__(self, run_name: str, logging_dir: str | os.PathLike[str]) -> None:
        super().__init__()
        self.run_name = run_name
        self.logging_dir = logging_dir
        # Chosen here, so that a process that dies while the run begins leaves no second one.
        self._run_id = uuid.uuid4().hex
        self._ended_at: float | None = None
        self._run: Run | None = None

    @property
    def tracker(self) -> Any:
        """The library's own object: the run.

        Raises:
            NotStartedError: before `start`, or after `finish`. It is an `AttributeError`.
        """
        return self._running()

    @on_main_process
    def start(self) -> None:
        """Begin the run, or go on with the one that `resume` named.

        Raises:
            AlreadyStartedError: it is running.
            OSError: its folder can't be made.
        """
        if self._run is not None:
            raise AlreadyStartedError(f"tracker {self.name!r} is running: call finish() first")
        from tracking_my_tool.stand_in import Run

        self._run = Run(self.logging_dir, self._run_id)
        self._run.write("start", time.time(), {"name": self.run_name})
        self._ended_at = None

    def deliver(self, records: Sequence[Record]) -> None:
        """Write `records` in order. When it returns, the library has them.

        Raises:
            NotStartedError: before `start`, or after `finish`.
            OSError: the disk is full or broken.
        """
        run = self._running()
        for record in records:
            match record:
                case Config():
                    run.write("config", record.wall_time, record.values)
                case Tags():
                    run.write("tags", record.wall_time, record.values)
                case Log():
                    run.write("row", record.wall_time, self._row(run, record), record.position)
                case End():  # finish() says it, once the last record has been taken
                    self._ended_at = record.wall_time

    def identity(self) -> dict[str, Plain]:
        """The run's id: ``{"run_id": ...}``."""
        return {"run_id": self._run_id}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        """Let `start` go on with the run that `identity` names."""
        run_id = identity.get("run_id")
        if not isinstance(run_id, str):
            raise ValueError(
                f"tracker {self.name!r} can't resume {dict(identity)!r}: it needs 'run_id', "
                "as identity() gives it"
            )
        self._run_id = run_id

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        """Say how the run ended, and close it. A second time it does nothing."""
        if self._run is None:
            return
        ended_at = time.time() if self._ended_at is None else self._ended_at
        self._run.write("end", ended_at, {"status": status})
        self._run.close()
        self._run = None

    # --- inside ---

    def _running(self) -> Run:
        if self._run is None:
            raise NotStartedError(f"tracker {self.name!r} is not running: call start() first")
        return self._run

    def _row(self, run: Run, record: Log) -> dict[str, Any]:
        """What the library stores of a row; what it can't is named, and costs only itself."""
        for option, value in record.options.get(self.name, {}).items():
            if option != "step_axis":
                self.reject(f"log_kwargs[{option!r}]", value, "its log() takes step_axis only")
        row = {}
        for key, value in flat(pictures_beside(record.values)):
            try:
                row[key] = self._native(run, key, value)
            except OSError:  # the disk, which may pass: the record comes again
                raise
            except Exception as error:  # one damaged medium must not come for ever
                self.reject(key, value, str(error))
        return row

    def _native(self, run: Run, key: str, value: Value) -> Any:
        """A value as the library has it."""
        match value:
            case list():
                return self._listed(run, key, value)
            case LoggedImage():
                return self._file(run, "image", *image_file(value), value.caption)
            case LoggedAudio():
                return self._file(run, "audio", *audio_file(value), value.caption)
            case LoggedVideo():
                return self._file(run, "video", *video_file(value), value.caption)
            case LoggedTable():
                return {"type": "table", "columns": value.columns, "rows": value.rows}
            case LoggedHistogram():
                fields = {name: getattr(value, name) for name in value.__struct_fields__}
                return {"type": "histogram", "fields": fields}
            case LoggedFile():
                return self._copy(run, key, value)
            case _:
                return value

    def _listed(self, run: Run, key: str, media: Sequence[Media]) -> list[Any]:
        found = []
        for medium in media:
            try:
                found.append(self._native(run, key, medium))
            except OSError:
                raise
            except Exception as error:  # nor may it cost the others of its list
                self.reject(key, medium, str(error))
        return found

    def _file(self, run: Run, kind: str, data: bytes, suffix: str, caption: str | None) -> Any:
        place = os.path.join(run.new_folder(), "data")
        with open(place, "wb") as file:
            file.write(data)
        return {"type": kind, "place": place, "suffix": suffix, "caption": caption}

    def _copy(self, run: Run, key: str, file: LoggedFile) -> Any:
        folder = run.new_folder()
        places, left_out = keep(file, folder, as_text, [run.directory])
        if left_out:
            self.reject(key, file, in_words(file, left_out))
        place = folder if file.directory else os.path.join(folder, places[0])
        return {"type": "file", "place": place, "folder": file.artifact_path}
