"""What goes where: rows become the records of SwanLab's run file.

SwanLab keeps a series for each key, with a step, a time and a value at each point, and a series has
one kind. What a point can't say is said by a companion, a series beside it (``<key>/_x_none``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from swanlab.proto.swanlab.metric.column.v1.column_pb2 import (
    ColumnClass,
    ColumnRecord,
    ColumnType,
    SectionType,
)
from swanlab.proto.swanlab.metric.data.v1.data_pb2 import (
    MediaItem,
    MediaRecord,
    MediaValue,
    ScalarRecord,
    ScalarValue,
)
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.proto.swanlab.save.v1.save_pb2 import SavePolicy, SaveRecord, SaveType

from tracking_core.files import Unkept, in_words
from tracking_core.records import Log, LoggedFile, flat, media_list
from tracking_core.tables import pictures_beside
from tracking_swanlab.files import Files
from tracking_swanlab.media import MOST_ITEMS, encoded, kept
from tracking_swanlab.names import LONGEST_KEY, companion, fitted, split_companion
from tracking_swanlab.run_file import records_of

__all__ = ["Batch", "Series", "timestamp"]

STEPS = range(2**48 + 1)  # those that SwanLab takes; it drops a row with any other
KINDS = {
    "scalar": ColumnType.COLUMN_TYPE_SCALAR,
    "text": ColumnType.COLUMN_TYPE_TEXT,
    "image": ColumnType.COLUMN_TYPE_IMAGE,
    "audio": ColumnType.COLUMN_TYPE_AUDIO,
    "video": ColumnType.COLUMN_TYPE_VIDEO,
    "echarts": ColumnType.COLUMN_TYPE_ECHARTS,
}
FIRST_SECOND, LAST_SECOND = -62135596800, 253402300798  # of the years 1 and 9999
BOOKKEEPING = {"none", "step", "rest", "axis"}

Reject = Callable[[str, object, str], None]


class Series:
    """The series that a run file has.

    Attributes:
        kinds: what each holds, by its key.
        far: how many points of a key have a step that SwanLab does not take.
        last: the highest step; -1 if there is none.
    """

    def __init__(self, run_file: Path) -> None:
        self.kinds: dict[str, int] = {}
        self.far: Counter[str] = Counter()
        self.last = -1
        for record, _ in records_of(run_file):
            if record.HasField("scalar") or record.HasField("media"):
                point = record.scalar if record.HasField("scalar") else record.media
                self.last = max(self.last, point.step)
            if record.HasField("column"):
                self.kinds.setdefault(record.column.column_key, record.column.column_type)
            elif record.HasField("scalar") and split_companion(record.scalar.key)[1] == "step":
                self.far[split_companion(record.scalar.key)[0]] = record.scalar.step + 1


class _At(NamedTuple):
    """Where a row lies: its step, its time, and the series that its step counts on, if any."""

    step: int
    when: Timestamp
    axis: str


class Batch:
    """The records of some rows. Nothing of `series` changes before `commit`.

    Attributes:
        records: what is to be appended to the run file.
        keys_changed: whether there is a key that SwanLab has only cut.
    """

    def __init__(
        self, series: Series, files: Files, media: Path, section_rule: int, reject: Reject
    ) -> None:
        self.records: list[Any] = []
        self.keys_changed = False
        self._series = series
        self._kinds: dict[str, int] = {}
        self._far: Counter[str] = Counter()
        self._last = series.last
        self._files = files
        self._media = media
        self._section_rule = section_rule
        self._reject = reject

    def commit(self) -> None:
        """Remember the series, once the records are in the run file."""
        self._series.kinds.update(self._kinds)
        self._series.far.update(self._far)
        self._series.last = self._last

    def add(self, row: Log, options: Mapping[str, object]) -> None:
        """Take one row."""
        step = row.position if row.step is None else row.step
        if not -(2**100) < step < 2**100:
            self._reject("step", step, "it has more than 100 bits")
            return
        self._last = max(self._last, step if step in STEPS else -1)
        at = _At(step, timestamp(row.wall_time), self._axis(options))
        if at.axis and row.values:
            self._number(at.axis, float(step), at._replace(axis=""))
        for key, value in flat(pictures_beside(row.values)):
            name = self._name(key)
            if type(value) is float:
                self._number(name, value, at)
            elif value is None:
                self._number(companion(name, "none"), 1.0, at)
                self._number(name, math.nan, at)
            elif isinstance(value, (bool, int)):
                self._number(name, float(value), at)
            elif isinstance(value, str):
                self._items(key, name, [value], at)
            else:
                self._list(key, name, media_list(value), at)

    def save(self, place: str, when: float, kind: int = SaveType.SAVE_TYPE_CUSTOM) -> None:
        """Have SwanLab take a file of the run along when it uploads it."""
        path = str(self._files.folder / place)
        save = SaveRecord(
            name=place, source_path=path, target_path=path, type=kind,
            policy=SavePolicy.SAVE_POLICY_NOW,
        )  # fmt: skip
        # All configs have one number: the last is the one that counts.
        number = -3 if kind == SaveType.SAVE_TYPE_CONFIG else 0
        self.records.append(Record(num=number, timestamp=timestamp(when), save=save))

    # --- inside ---

    def _list(self, key: str, name: str, media: Any, at: _At) -> None:
        for one in media:
            if isinstance(one, LoggedFile):
                self._file(key, name, one, at)
        media = [one for one in media if not isinstance(one, LoggedFile)]
        if len({type(one) for one in media}) > 1:
            for number, one in enumerate(media):  # a series has one kind
                inner = f"{key}/{number}"
                self._items(inner, self._name(inner), [one], at)
        elif media:
            self._items(key, name, media, at)

    def _items(self, key: str, name: str, values: list[Any], at: _At) -> None:
        try:
            items = [encoded(value) for value in values]
        except Exception as error:  # one damaged medium must not hold up all that comes after it
            self._reject(key, values[0], f"encoding it raised {type(error).__name__}")
            return
        places = []
        for value, item in zip(values, items, strict=True):
            if item is None:
                place = self._files.add(f"media/{name}/{at.step}.{value.format}", value.data)
                self.save(place, _seconds(at.when))
                places.append(place)
        if places:
            self._notes(companion(name, "clip"), places, at)
        shown = [item for item in items if item is not None]
        if not shown:
            return
        if shown[0].what:
            name = companion(name, shown[0].what)
        step = min(max(at.step, 0), STEPS[-1])
        made = [kept(item, step, self._media) for item in shown]
        self._medium(name, shown[0].column, made, at)

    def _file(self, key: str, name: str, file: LoggedFile, at: _At) -> None:
        try:
            places, left_out = self._files.keep(file)
        except Unkept as error:
            self._reject(key, file, str(error))
            return
        if left_out:
            self._reject(key, file, in_words(file, left_out))
        for place in places:
            self.save(place, _seconds(at.when))
        self._notes(companion(name, "file"), places, at)

    def _notes(self, name: str, places: list[str], at: _At) -> None:
        """Say at this step, for all to see, which files it brought."""
        item = encoded("\n".join(places))
        if item is not None:
            step = min(max(at.step, 0), STEPS[-1])
            self._medium(name, "text", [kept(item, step, self._media)], at)

    def _number(self, name: str, number: float, at: _At) -> None:
        name, at = self._placed(name, "scalar", at)
        scalar = ScalarRecord(
            key=name, step=at.step, type=KINDS["scalar"], timestamp=at.when,
            value=ScalarValue(number=number),
        )  # fmt: skip
        self.records.append(Record(timestamp=at.when, scalar=scalar))

    def _medium(self, name: str, kind: str, items: list[MediaItem], at: _At) -> None:
        for start in range(0, len(items), MOST_ITEMS):
            if start:
                name = companion(name, "more")
            there, then = self._placed(name, kind, at)
            medium = MediaRecord(
                key=there, step=then.step, type=KINDS[kind], timestamp=then.when,
                value=MediaValue(items=items[start : start + MOST_ITEMS]),
            )  # fmt: skip
            self.records.append(Record(timestamp=then.when, media=medium))

    def _placed(self, name: str, kind: str, at: _At) -> tuple[str, _At]:
        """Key and step of a point; one that SwanLab has no step for lies beside the series.

        There the points are counted, and the series' x-axis says at which step each of them is.
        """
        if at.step in STEPS:
            return self._column(name, kind, at), at
        far = companion(name, "far")
        axis = companion(far, "step")
        count = self._series.far[far] + self._far[far]
        self._far[far] += 1
        then = _At(count, at.when, axis)
        nearest = float(at.step)
        self._number(companion(far, "rest"), float(at.step - int(nearest)), then._replace(axis=""))
        self._number(axis, nearest, then._replace(axis=""))
        return self._column(far, kind, then), then

    def _column(self, name: str, kind: str, at: _At) -> str:
        """The key of the series that a point of this kind goes to, which is made if need be."""
        wanted = KINDS[kind]
        there = self._kinds.get(name) or self._series.kinds.get(name)
        while there is not None and there != wanted:
            name = companion(name, kind)
            there = self._kinds.get(name) or self._series.kinds.get(name)
        if there is None:
            self._kinds[name] = wanted
            about, what = split_companion(name)
            column = ColumnRecord(
                column_class=ColumnClass.COLUMN_CLASS_CUSTOM,
                column_key=name,
                column_type=wanted,
                section_name=self._section(about),
                section_type=SectionType.SECTION_TYPE_PUBLIC,
                x_axis=at.axis or None,
                hidden=what in BOOKKEEPING,
            )
            self.records.append(Record(timestamp=at.when, column=column))
        return name

    def _section(self, name: str) -> str:
        parts = split_companion(name)[0].split("/")
        if len(parts) < 2:
            return ""
        return "/".join(parts[: self._section_rule % (len(parts) - 1) + 1])

    def _name(self, key: str) -> str:
        name = fitted(key)
        if len(name) == LONGEST_KEY and self._files.keys.get(name) != key:
            self._files.keys[name] = key
            self.keys_changed = True
        return name

    def _axis(self, options: Mapping[str, object]) -> str:
        axis = ""
        for option, value in options.items():
            if option == "step_axis" and isinstance(value, str) and value:
                axis = companion(self._name(value), "axis")
            elif option == "step_axis" and value is not None:
                self._reject("log_kwargs['step_axis']", value, "it is the name of an axis")
            elif option != "step_axis":
                reason = "swanlab.Run.log has no such argument"
                self._reject(f"log_kwargs[{option!r}]", value, reason)
        return axis


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as the library's time, to the nanosecond."""
    whole = min(max(math.floor(seconds), FIRST_SECOND), LAST_SECOND)
    nanos = min(max(round((seconds - whole) * 1e9), 0), 10**9)
    return Timestamp(seconds=whole + nanos // 10**9, nanos=nanos % 10**9)


def _seconds(when: Timestamp) -> float:
    return float(when.seconds + when.nanos / 1e9)
