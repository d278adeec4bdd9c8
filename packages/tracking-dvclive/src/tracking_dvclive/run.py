"""A run that is being written: each record to its place in DVCLive's directory.

Imports dvclive, so only `DVCLiveTracker.start` imports this.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tracking_core.files import Unkept, in_words
from tracking_core.records import (
    Config,
    Log,
    LoggedFile,
    LoggedHistogram,
    LoggedTable,
    Media,
    Plain,
    Status,
    Tags,
    flat,
)
from tracking_core.rejections import say
from tracking_core.tables import pictures_beside
from tracking_dvclive import layout, native
from tracking_dvclive.artifacts import kept
from tracking_dvclive.batch import Batch, json_bytes
from tracking_dvclive.errors import DVCLiveRunGoneError
from tracking_dvclive.history import header, line, milliseconds
from tracking_dvclive.layout import path_in
from tracking_dvclive.media import Stored, histogram_plot, stored, table_plot
from tracking_dvclive.names import names
from tracking_dvclive.notes import Notes
from tracking_dvclive.opening import Opened, opened
from tracking_dvclive.quiet import quiet
from tracking_dvclive.shown import Shown

__all__ = ["Run"]

Reject = Callable[[str, object, str], None]

LONGEST_CELL = 100_000  # characters of a text; Python's own reader takes 131,072
LONGEST_SUMMARY = 200  # characters of a text in metrics.json, which is a table on a screen

# Said by default outside a git repository, where nobody expects experiments to be saved.
_NO_GIT = "Can't save experiment"
# Said of the user's own files at the end of every run.
_OTHER_FILES = "The following untracked files were present"


class Run:
    """One run, from its beginning to its end. Not for several threads at once.

    Attributes:
        live: the ``dvclive.Live``.
        directory: the run's, absolute.
        next_position: the step of the next row that has none.
    """

    def __init__(self, begun: Opened, reject: Reject) -> None:
        self.live: Any = begun.live
        self.directory = os.path.abspath(begun.live.dir)
        self.next_position = begun.next_position
        self._notes: Notes = begun.notes
        self._indexed = begun.indexed
        self._metrics = names(self._notes.names, begun.metrics)
        self._reject = reject
        self._said: set[str] = set()
        self._shown = Shown(self.live, self.directory, self._say, reject)
        self._files: dict[str, str] = {}
        self._notes_changed = False
        self._step: int | None = None

    @classmethod
    def begun(
        cls,
        live: Any,
        kwargs: Mapping[str, Any],
        resumed: str | None,
        run_name: str | None,
        reject: Reject,
    ) -> Run:
        """A new run, or the one in the directory `resumed`.

        Raises:
            TypeError, ValueError, OSError: as `DVCLiveTracker.start` says.
        """
        with quiet() as heard:
            begun = opened(live, kwargs, resumed)
            run = cls(begun, reject)
            run._notes.run_name = run_name or run._notes.run_name
            run._notes.store(run.directory)
        if begun.unsaved:
            reject("DVC experiment", run_name or "", begun.unsaved.format(run.directory))
            return run
        explicit = kwargs.get("save_dvc_exp")
        run._pass_on([one for one in heard if explicit or not one.startswith(_NO_GIT)])
        return run

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """What is taken within it lands when it ends, or not at all.

        Raises:
            DVCLiveRunGoneError: the run's directory is not there any more.
        """
        self._check_that_it_is_there()
        batch = Batch()
        with quiet() as heard:
            try:
                self._step = None
                yield batch
                if self._notes_changed:  # before the rows, which may need the names in it
                    self._notes.store(self.directory)
                    self._notes_changed = False
                batch.write()
                self._store_summary()
            except BaseException:
                batch.undo()
                raise
            self._shown.refresh()
        self._pass_on(heard)

    # --- what goes where ---

    def take_config(self, record: Config) -> None:
        """Hyperparameters: ``params.yaml``."""
        self._shown.params()
        native.store_params(self.live, self.directory, record.values)
        self._notes.config_at = record.wall_time
        self._notes_changed = True

    def take_tags(self, record: Tags) -> None:
        """Tags: our notes, which DVC shows among the parameters."""
        self._notes.tags.update(record.values)
        self._notes.tags_at = record.wall_time
        self._notes_changed = True

    def take_row(self, record: Log, options: Mapping[str, Any], batch: Batch) -> None:
        """Numbers and texts: their metric's file; media: files of their own."""
        step = record.position if record.step is None else record.step
        plot, axis = self._options(options)
        when = milliseconds(record.wall_time)
        for key, value in flat(pictures_beside(record.values)):
            if value is None or isinstance(value, (bool, int, float, str)):
                self._take_plain(key, value, step, when, record.wall_time, plot, batch)
            else:
                many = isinstance(value, list)
                for number, medium in enumerate(value if many else [value]):
                    place = number if many else None
                    self._take_medium(key, medium, place, step, record.wall_time, batch)
            if axis is not None and self._notes.step_axes.get(key) != axis:
                self._notes.step_axes[key] = axis
                self._notes_changed = True
        if axis is None:
            self._step = step

    def _take_plain(
        self,
        key: str,
        value: Plain,
        step: int,
        when: str,
        wall_time: float,
        plot: bool,
        batch: Batch,
    ) -> None:
        in_summary = value
        if isinstance(value, float) and not math.isfinite(value):
            in_summary = str(value)  # as DVCLive does: JSON has no such number
        if not plot:
            native.summarised(self.live.summary, self._name_of(key), in_summary)
            return
        name, path = self._metric(key)
        if isinstance(value, str) and len(value) > LONGEST_SUMMARY:
            in_summary = value[:LONGEST_SUMMARY] + "…"
        if value is not None:
            native.summarised(self.live.summary, name, in_summary)
        cut = value
        if isinstance(value, str) and (len(value) > LONGEST_CELL or "\0" in value):
            # DVC can't read such a cell, nor anything else of the file then.
            cut = value[:LONGEST_SUMMARY].replace("\0", "") + "…"
            about = {"text": value, "cell": cut}
            self._put_in_index("text", key, None, step, wall_time, about, batch)
        batch.append(path, line(when, step, cut), header(name))

    def _take_medium(
        self,
        key: str,
        medium: Media,
        number: int | None,
        step: int,
        wall_time: float,
        batch: Batch,
    ) -> None:
        name = names().name_of(key if number is None else f"{key}/{number}")
        try:
            if isinstance(medium, LoggedFile):
                kind, about = "file", self._kept_file(key, medium)
            else:
                found = _encoded(medium)
                kind, about = found.kind, found.about
                if found.data is not None:
                    top = layout.IMAGES if found.is_shown else layout.MEDIA
                    folder = path_in(self.directory, f"{top}/{name}")
                    path = batch.create(
                        folder, str(step), found.ending, found.data, self._is_indexed
                    )
                    about = {**about, "file": self._place(path)}
                    if found.is_shown:
                        self._shown.image(about["file"], step)
                if isinstance(medium, LoggedTable):
                    self._shown.plot(name, table_plot(medium))
                elif isinstance(medium, LoggedHistogram):
                    self._shown.plot(name, histogram_plot(medium))
        except Unkept as error:
            self._reject(key, medium, str(error))
            return
        self._put_in_index(kind, key, number, step, wall_time, about, batch)

    def _kept_file(self, key: str, file: LoggedFile) -> dict[str, Any]:
        place, left_out = kept(self.directory, file)
        if left_out:
            self._reject(key, file, in_words(file, left_out))
        self._shown.artifact(place)
        return {
            "file": place,
            "artifact_path": file.artifact_path,
            "directory": file.directory,
        }

    def _put_in_index(
        self,
        kind: str,
        key: str,
        number: int | None,
        step: int,
        wall_time: float,
        about: Mapping[str, Any],
        batch: Batch,
    ) -> None:
        entry = {"kind": kind, "key": key, "n": number, "step": step, "time": wall_time, **about}
        batch.append(path_in(self.directory, layout.INDEX), json_bytes(entry).decode())
        if "file" in about:
            self._indexed.add(about["file"])

    def _options(self, options: Mapping[str, Any]) -> tuple[bool, str | None]:
        plot, axis = True, None
        for option, value in options.items():
            if option == "plot" and isinstance(value, bool):
                plot = value
            elif option == "step_axis" and isinstance(value, (str, type(None))):
                axis = value
            elif option == "timestamp" and isinstance(value, bool):
                pass  # every row has one
            else:
                reason = "log() takes step_axis (a name), plot and timestamp (True or False)"
                self._reject(f"log_kwargs[{option!r}]", value, reason)
        return plot, axis

    def _metric(self, key: str) -> tuple[str, str]:
        """Name and file of the metric that `key` is."""
        name = self._name_of(key)
        path = self._files.get(name)
        if path is None:
            path = self._files[name] = self._shown.metric(name)
        return name, path

    def _name_of(self, key: str) -> str:
        before = len(self._metrics.kept)
        name = self._metrics.name_of(key)
        if len(self._metrics.kept) > before:
            self._notes.names = self._metrics.kept
            self._notes_changed = True
        return name

    def _store_summary(self) -> None:
        native.store_summary(self.live, self.directory, self._step)
        if self._step is not None:
            self.live.step = self._step + 1  # where DVCLive stands after Live.next_step()

    # --- the end ---

    def end(self, status: Status, wall_time: float) -> None:
        """Say how the run ended, and let DVCLive do what it does then.

        Raises:
            OSError: the disk is full or broken.
        """
        self._check_that_it_is_there()
        self._notes.status, self._notes.ended_at = status, wall_time
        with quiet() as heard:
            self._notes.store(self.directory)
            self._shown.end()
        self._pass_on(heard)

    # --- inside ---

    def _check_that_it_is_there(self) -> None:
        """What is written to a file that is not there makes another, with the rest of its rows."""
        if not os.path.isdir(path_in(self.directory, layout.OURS)):
            raise DVCLiveRunGoneError(
                f"the run's directory {self.directory} was deleted or moved: put it back, and it "
                "goes on"
            )

    def _place(self, path: str) -> str:
        return os.path.relpath(path, self.directory).replace(os.sep, "/")

    def _is_indexed(self, path: str) -> bool:
        return self._place(path) in self._indexed

    def _pass_on(self, heard: list[str]) -> None:
        for message in heard:
            if not message.startswith(_OTHER_FILES):
                self._say(message)

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            say(f"tracker 'dvclive': {message}")


def _encoded(medium: Media) -> Stored:
    try:
        return stored(medium)
    except Exception as error:  # one damaged medium must not cost the others, nor come for ever
        raise Unkept(f"encoding it raised {type(error).__name__}") from error
