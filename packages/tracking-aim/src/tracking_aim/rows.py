"""What goes where in Aim: the values of one row as points of sequences, and as artifacts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aim.storage.context import Context
from aim.storage.treeutils import encode_tree

from tracking_aim import objects
from tracking_aim.artifacts import Artifacts, inner_path
from tracking_aim.batch import Batch
from tracking_aim.layout import (
    ABOUT,
    AXIS,
    INDEX,
    KIND,
    LARGEST,
    MORE,
    NONE,
    SMALLEST,
    fitted,
    name_of,
)  # fmt: skip
from tracking_aim.store import Moment
from tracking_core.encoding import csv_text
from tracking_core.errors import UnfitValueError
from tracking_core.files import Unkept, in_words
from tracking_core.records import (
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    flat,
    media_list,
)
from tracking_core.tables import pictures_beside

__all__ = ["Rows"]

Reject = Callable[[str, object, str], None]
RESERVED = {AXIS, INDEX, KIND, MORE}


class Rows:
    """Takes rows into `batch`, and their files into `artifacts`.

    Args:
        tracker: its name, under which a row has its options.
        batch: what is going to be written.
        artifacts: where files go.
        reject: told of what can't be stored.
    """

    def __init__(self, tracker: str, batch: Batch, artifacts: Artifacts, reject: Reject) -> None:
        self._tracker = tracker
        self._batch = batch
        self._artifacts = artifacts
        self._reject = reject

    def take(self, row: Log) -> None:
        """Take all values of `row`; what can't be stored is rejected.

        Raises:
            OSError: a file could not be kept, because its place can't be written.
        """
        moment = self._moment(row)
        for key, value in flat(pictures_beside(row.values)):
            if not SMALLEST <= moment.step < LARGEST:
                self._reject(key, value, "its step does not fit into 64 bits")
                continue
            try:
                self._value(key, value, moment)
            except OSError:
                raise
            except UnfitValueError as error:
                self._reject(key, value, str(error))
            except Exception as error:  # one damaged value must not hold up what comes after it
                self._reject(key, value, f"storing it raised {type(error).__name__}")

    def _value(self, key: str, value: Any, moment: Moment) -> None:
        name = name_of(key)
        if isinstance(value, float):
            self._batch.number(name, value, moment)
        elif isinstance(value, int):
            # Aim knows no truth values among the points of a metric.
            number = int(value) if isinstance(value, bool) else fitted(value)
            self._batch.number(name, number, moment)
        elif value is None:
            self._batch.object(name, objects.text("None"), moment, {KIND: NONE})
        elif isinstance(value, str):
            self._batch.object(name, objects.text(value), moment)
        elif not media_list(value):
            self._reject(key, value, "it is empty")
        elif isinstance(value, list) and _alike(value):
            self._batch.object(name, [objects.object_of(one) for one in value], moment)
        elif isinstance(value, list):
            for index, medium in enumerate(value):
                self._medium(key, medium, moment, {INDEX: index})
        else:
            self._medium(key, value, moment, {})

    def _medium(self, key: str, medium: Media, moment: Moment, context: Mapping[str, Any]) -> None:
        if isinstance(medium, LoggedFile):
            self._files(key, medium, moment, context)
            return
        made = objects.object_of(medium)
        if isinstance(medium, LoggedTable):
            self._file_beside(key, csv_text(medium).encode(), "csv", "tables", moment)
        if made is None and isinstance(medium, (LoggedAudio, LoggedVideo)):
            sound = isinstance(medium, LoggedAudio)
            folder = "audio" if sound else "videos"
            place = self._file_beside(key, medium.data, medium.format, folder, moment)
            made = objects.file_text(medium, place)
        self._batch.object(name_of(key), made, moment, context)

    def _files(
        self, key: str, file: LoggedFile, moment: Moment, context: Mapping[str, Any]
    ) -> None:
        about = {
            "key": key,
            "step": moment.step,
            "time": moment.time,
            "context": dict(moment.context),
            "epoch": moment.epoch,
            "index": context.get(INDEX),
            "directory": file.directory,
        }
        try:
            artifacts, left_out = self._artifacts.keep(file)
        except Unkept as reason:
            self._reject(key, file, str(reason))
            return
        for artifact in artifacts:
            self._note(artifact, about)
        if left_out:
            self._reject(key, file, in_words(file, left_out))

    def _file_beside(
        self, key: str, data: bytes, suffix: str, folder: str, moment: Moment
    ) -> str | None:
        """Keep `data` as an artifact, if there is a place for it; its name there."""
        # Named by its content, so that a second one at this step does not replace it.
        name = f"{folder}/{inner_path(key)}/{moment.step}_{zlib.crc32(data):08x}.{suffix}"
        try:
            self._note(self._artifacts.add(name, data), {})
        except Unkept:
            return None
        return name

    def _note(self, artifact: Any, about: Mapping[str, Any]) -> None:
        artifact.storage[ABOUT] = json.dumps(about)
        self._batch.note(("artifacts", artifact.name), artifact)

    # --- the row's options ---

    def _moment(self, row: Log) -> Moment:
        step = row.position if row.step is None else row.step
        context: dict[str, Any] = {}
        epoch: float | None = None
        axis: str | None = None
        for option, value in row.options.get(self._tracker, {}).items():
            if option == "context" and _is_context(value):
                context = value
            elif option == "epoch" and (value is None or _is_number(value)):
                epoch = value
            elif option == AXIS and isinstance(value, (str, type(None))):
                axis = value
            elif option in ("context", "epoch", AXIS):
                self._reject(f"log_kwargs[{option!r}]", value, "Aim can't take this one")
            else:
                self._reject(f"log_kwargs[{option!r}]", value, "aim.Run.track has no such argument")
        if axis:
            context = {**context, AXIS: axis}
        return Moment(step, row.wall_time, context, epoch)


def _alike(media: Sequence[Media]) -> bool:
    """Whether Aim has a list of such objects."""
    return all(isinstance(one, LoggedImage) for one in media) or all(
        isinstance(one, LoggedAudio) and objects.is_heard(one) for one in media
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and SMALLEST <= value <= LARGEST


def _is_context(value: object) -> bool:
    if not isinstance(value, dict) or not RESERVED.isdisjoint(value) or "" in value:
        return False
    try:
        json.dumps(value), Context(value).idx, list(encode_tree(value))
    except Exception:  # something in it that one of them does not know
        return False
    return True
