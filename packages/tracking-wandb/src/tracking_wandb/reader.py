"""A run as records again, from the transaction log that W&B keeps of it.

The log holds W&B's own protobuf messages and is what ``wandb sync`` sends; the runs of other
programs are read too.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags, Value
from tracking_wandb import names
from tracking_wandb.config import label_of, told
from tracking_wandb.rows import LARGEST_ROW
from tracking_wandb.session import PROTO, imported
from tracking_wandb.stored_media import medium_of
from tracking_wandb.transaction_log import SUFFIX, TransactionLog, is_log

__all__ = ["Segment", "native_step", "read_run", "segments_of", "steps_and_config"]

STATUS: Mapping[int, Status] = {0: "finished", 255: "killed"}


def read_run(path: str | os.PathLike[str], run_id: str | None = None) -> Iterator[Record]:
    """What was logged to a run, whoever logged it: configuration, tags, rows, and its end.

    Nested keys come as ``parent/child``; whole floats may come as integers, which is how W&B writes
    them; media as files (``format="png"``, ...); artifacts with the path of their copy in the run's
    directory. A run that was not ended has no `End`. Of a file whose end is missing or damaged, all
    other records are read.

        for record in read_run("wandb/offline-run-20260101_120000-abc123"): ...
        for record in read_run("wandb", "abc123"): ...    # with what was logged after a resume

    Args:
        path: a run's directory or its ``.wandb`` file; with `run_id`, the directory that the runs'
            directories or ``wandb/`` are in.
        run_id: as in ``run.id``. All directories of that run are read, in the order of their starts.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: a file is no log of W&B's.
    """
    segments = _in_order(_logs_of(os.path.abspath(path), run_id))
    for index, segment in enumerate(segments):
        yield from segment.records(last=index == len(segments) - 1)


def segments_of(directory: str, run_id: str) -> list[Segment]:
    """The logs of a run, in the order of their starts; none if it has none in `directory`."""
    try:
        return _in_order(_logs_of(directory, run_id))
    except FileNotFoundError:
        return []


def _in_order(logs: Iterable[str]) -> list[Segment]:
    return sorted(map(Segment, logs), key=lambda one: (one.start_time, one.path))


def steps_and_config(identity: Mapping[str, Plain], path: str) -> tuple[int, dict[str, Any]]:
    """The first step that W&B would take after what is logged of a run, and its configuration.

    Looks at what lies beside the run at `path`, the directory of which is new.
    """
    next_step, config = 0, {}
    for segment in segments_of(str(identity["dir"]), str(identity["run_id"])):
        if os.path.samefile(os.path.dirname(segment.path), os.path.dirname(path)):
            continue
        config.update(segment.config)
        next_step = max(next_step, segment.next_step)
    config.pop("_wandb", None)
    config.pop(names.END, None)
    return next_step, config


def _logs_of(path: str, run_id: str | None) -> list[str]:
    if run_id is not None:
        name = f"*run-*-{glob.escape(run_id)}*/run-{glob.escape(run_id)}{SUFFIX}"
        found = [
            log
            for folder in (path, os.path.join(path, "wandb"), os.path.join(path, ".wandb"))
            for log in glob.glob(os.path.join(glob.escape(folder), name))
        ]
        if not found:
            raise FileNotFoundError(f"no run {run_id!r} of W&B's in {path!r}, nor in wandb/ there")
        return sorted(found)
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in sorted(os.listdir(path)) if is_log(name)]
        if not found:
            raise FileNotFoundError(
                f"no W&B run: {path!r} holds no run-<id>{SUFFIX}; of a directory with several runs "
                "say which: read_run(path, run_id)"
            )
        return found
    if not os.path.exists(path):
        raise FileNotFoundError(f"no W&B run: there is no {path!r}")
    return [path]


class Segment:
    """One log: a run may have several, where it was resumed.

    Attributes:
        path: of the log.
        start_time: seconds since the epoch.
        config: the whole configuration, by W&B's names.
        files: the names of those that W&B was told to keep.
        steps: those of its rows, by W&B's counting, that W&B's service sends, each with the row's
            time, in seconds since the epoch.
        next_step: the first step that W&B would take after its rows.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.start_time = 0.0
        self.config: dict[str, Any] = {}
        self.files: list[str] = []
        self.steps: dict[int, float] = {}
        self.next_step = 0
        self._labels: list[str] = []
        self._exit: Any = None
        for record in self.raw():
            match record.WhichOneof("record_type"):
                case "run":
                    start = record.run.start_time
                    self.start_time = start.seconds + start.nanos / 1e9
                    self._labels = list(record.run.tags)
                    self._update(record.run.config)
                case "config":
                    self._update(record.config)
                case "history":
                    step = native_step(record.history)
                    self.next_step = max(self.next_step, step + 1)
                    if record.history.ByteSize() <= LARGEST_ROW:
                        self.steps[step] = _time_of(record.history)
                case "files":
                    self.files += [file.path for file in record.files.files]
                case "exit":
                    self._exit = record.exit

    def records(self, *, last: bool) -> Iterator[Record]:
        yield from self._config()
        yield from self._tags()
        files = os.path.join(os.path.dirname(self.path), "files")
        for record in self.raw():
            if record.WhichOneof("record_type") == "history":
                yield from _rows(record.history, files, self.start_time)
        if last and self._exit is not None:
            yield self._end()

    def raw(self) -> Iterator[Any]:
        """W&B's own messages, as they lie there."""
        message = imported(PROTO).Record
        log = TransactionLog(self.path)
        try:
            while records := log.records():
                for record in records:
                    yield message.FromString(record)
        finally:
            log.close()

    def _update(self, config: Any) -> None:
        for item in config.update:
            path = [item.key] if item.key else list(item.nested_key)
            _set(self.config, path, json.loads(item.value_json))
        for item in config.remove:
            self.config.pop(item.key or item.nested_key[0], None)

    def _config(self) -> Iterator[Record]:
        odd = told(self.config, names.CONFIG)
        values = {
            names.key_of(name): odd.get(name, value)
            for name, value in self.config.items()
            if name not in ("_wandb", names.CONFIG, names.TAGS, names.END)
        }
        if values:
            yield Config(values, self.start_time)

    def _tags(self) -> Iterator[Record]:
        tags_told: dict[str, str | None] = told(self.config, names.TAGS)
        ours = {label_of(key, value) for key, value in tags_told.items()}
        tags = {**dict.fromkeys(label for label in self._labels if label not in ours), **tags_told}
        if tags:
            yield Tags(tags, self.start_time)

    def _end(self) -> End:
        status = STATUS.get(self._exit.exit_code, "failed")
        end = self.config.get(names.END)
        if isinstance(end, dict) and isinstance(end.get("time"), (int, float)):
            return End(status, float(end["time"]))
        return End(status, self.start_time + self._exit.runtime)


def native_step(history: Any) -> int:
    """The step of a row by W&B's counting."""
    for item in history.item:
        if _path(item) == ["_step"]:
            return int(json.loads(item.value_json))
    return int(history.step.num)


def _time_of(history: Any) -> float:
    for item in history.item:
        if _path(item) == ["_timestamp"]:
            return float(json.loads(item.value_json))
    return 0.0


def _path(item: Any) -> list[str]:
    return [item.key] if item.key else list(item.nested_key)


def _rows(history: Any, files: str, start_time: float) -> Iterator[Record]:
    items: dict[str, Any] = {}
    for item in history.item:
        _set(items, _path(item), _number(item.value_json))
    native = int(items.pop("_step", history.step.num))
    runtime = items.pop("_runtime", 0.0)
    wall_time = float(items.pop("_timestamp", start_time + runtime))
    items.pop("_wandb", None)
    step = int(items.pop(names.STEP, native))
    for axis in items.pop(names.AXES, ()):
        items.pop(axis, None)
    values: dict[str, Value] = {}
    for name, value in items.items():
        values.update(_values(names.key_of(name), value, files))
    if values or not items:
        yield Log(values, step, step, wall_time)


def _values(key: str, value: Any, files: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, dict):
        if "_type" in value:
            yield key, medium_of(value, files)
        else:
            for name, inner in value.items():
                yield from _values(f"{key}/{name}", inner, files)
    elif isinstance(value, list):
        yield key, json.dumps(value)
    else:
        yield key, value


def _number(text: str) -> Any:
    return -0.0 if text == "-0" else json.loads(text)


def _set(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[path[-1]] = value
