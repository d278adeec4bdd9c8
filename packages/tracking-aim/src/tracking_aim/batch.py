"""What one delivery writes into a run: points of sequences, params, artifacts.

Aim's own ``Run.track`` keeps one value for each step of a sequence, takes the time of the call, and
writes each number by itself. Here points are laid out as it does, so that everything of Aim reads
them, but with the time that they are given, all with one write, and none in place of another.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from aim.sdk.sequences.sequence_type_map import SEQUENCE_TYPE_MAP
from aim.storage.context import Context
from aim.storage.hashing import hash_auto
from aim.storage.treeutils import encode_tree

from tracking_aim.layout import KIND, MORE, Path
from tracking_aim.store import COLUMNS, Entry, Moment, Points, Store

__all__ = ["Batch", "Sequences"]

_Stored: TypeAlias = tuple[float | None, Any]
"""The time of a point, None if there is none, and its value."""

NUMBERS = ("float", "int", "float64", "number")


@dataclass(slots=True)
class _Sequence:
    dtype: str
    end: int | None = None  # the step after the last one
    last: float | None = None  # the number there, if it is of this batch
    least: float = float("inf")
    greatest: float = float("-inf")
    longest: int = 0
    points: Points = field(default_factory=dict)  # numbers of this batch


@dataclass(frozen=True, slots=True)
class _Number:
    """A number that may be stored already, and the place where it is looked for."""

    metric: tuple[int, str]
    sequence: _Sequence
    spot: int
    value: float
    moment: Moment


class Sequences:
    """The sequences of a run as far as they are stored, by context and name.

    Args:
        run_hash: Aim's name for the run.
        store: where it lies.
    """

    def __init__(self, run_hash: str, store: Store) -> None:
        self.hash = run_hash
        self.store = store
        self.known: dict[tuple[int, str], _Sequence] = {}
        self.contexts: dict[str, int] = {}
        traces = store.collect(("meta", "meta", "chunks", run_hash, "traces")) or {}
        for index, names in traces.items():
            for name, about in names.items():
                last = about.get("last_step")
                self.known[index, name] = _Sequence(
                    dtype=about.get("dtype", "float"),
                    end=None if last is None else last + 1,
                    least=about.get("min", float("inf")),
                    greatest=about.get("max", float("-inf")),
                    longest=about.get("record_max_length", 0),
                )


class Batch:
    """Collects what is to be written to `sequences` and beside them; `commit` writes it."""

    def __init__(self, sequences: Sequences) -> None:
        self._all = sequences
        self._run: Path = ("meta", "meta", "chunks", sequences.hash)
        self._entries: dict[Path, Entry] = {}
        self._touched: dict[tuple[int, str], _Sequence] = {}
        self._contexts: dict[str, int] = {}
        self._unsure: list[_Number] = []

    def commit(self) -> None:
        """Write everything.

        Raises:
            OSError: not everything is stored. Done again with the same values, nothing is doubled.
        """
        self._place()
        points = {}
        for (index, name), sequence in self._touched.items():
            about = (*self._run, "traces", index, name)
            known = self._all.known.get((index, name))
            if sequence.end is not None and (known is None or known.end != sequence.end):
                self._put((*about, "last_step"), sequence.end - 1)
                if sequence.last is not None:
                    self._put((*about, "last"), sequence.last)
            if sequence.points:
                points[self._numbers(index, name)] = sequence.points
            if sequence.least <= sequence.greatest:
                self._put((*about, "min"), sequence.least)
                self._put((*about, "max"), sequence.greatest)
            elif sequence.longest:
                self._put((*about, "record_max_length"), sequence.longest)
        if self._entries or points:
            self._all.store.write(self._entries, points)
        for key, sequence in self._touched.items():
            self._all.known[key] = replace(sequence, last=None, points={})
        self._all.contexts.update(self._contexts)

    # --- beside the sequences ---

    def param(self, path: Path, value: Any) -> None:
        """Set a param of the run, as ``run[path] = value`` does."""
        self._entries[(*self._run, "attrs", *path)] = Entry(value, replace=True)
        # What the whole repository knows of params: its search offers their names.
        self._entries[("meta", "meta", "attrs", *path)] = Entry(value, replace=True)

    def note(self, path: Path, value: Any) -> None:
        """Set something of the run that is no param."""
        self._entries[(*self._run, *path)] = Entry(value, replace=True)

    def noted(self, path: Path) -> Any:
        """The scalar that is there, or is going to be; None if there is none."""
        return self._found((*self._run, *path))

    # --- points ---

    def number(self, name: str, value: float, moment: Moment) -> None:
        """Add a number to a metric. A step may have several."""
        index, sequence = self._sequence(name, "float", moment.context)
        step, spot = moment.step, moment.spot
        if sequence.end is None:
            for column in ("step", *COLUMNS):
                self._put((*self._numbers(index, name), column), [])  # that it is an array
        if sequence.end is not None and step < sequence.end:
            self._unsure.append(_Number((index, name), sequence, spot, value, moment))
        else:
            sequence.points[spot] = value, moment
        self._reached(index, name, sequence, step, value)
        if value < sequence.least:
            sequence.least = value
        if value > sequence.greatest:
            sequence.greatest = value

    def _numbers(self, index: int, name: str) -> Path:
        """Where the columns of a metric are."""
        return ("seqs", "seqs", "v2", "chunks", self._all.hash, index, name)

    def _place(self) -> None:
        """Find places for the numbers whose steps may have one already."""
        unsure, self._unsure = self._unsure, []
        for number in itertools.count():
            if not unsure:
                return
            stored = self._stored(unsure)
            taken = []
            for one in unsure:
                points = one.sequence.points
                if one.spot in points:
                    value, moment = points[one.spot]
                    there: _Stored = moment.time, value
                else:
                    there = stored[one.metric, one.spot]
                same = there[0] == one.moment.time and _same(there[1], one.value)
                if same or there[0] is None:
                    points[one.spot] = one.value, one.moment
                else:  # another hash is another point
                    spot = hash_auto([one.moment.step, one.moment.time, number])
                    taken.append(replace(one, spot=spot))
            unsure = taken

    def _stored(self, numbers: list[_Number]) -> dict[tuple[tuple[int, str], int], _Stored]:
        """Time and value of what is stored where `numbers` would be; the value if the time is theirs."""
        store = self._all.store

        def read(column: str, some: list[_Number]) -> list[Any]:
            paths = [(*self._numbers(*one.metric), column, one.spot) for one in some]
            found = store.read_all(paths)
            return [found[path] for path in paths]

        asked = [one for one in numbers if one.spot not in one.sequence.points]
        times = read("time", asked)
        same = [one for one, time in zip(asked, times, strict=True) if time == one.moment.time]
        stored: dict[tuple[tuple[int, str], int], _Stored] = {
            (one.metric, one.spot): (time, None) for one, time in zip(asked, times, strict=True)
        }
        for one, value in zip(same, read("val", same), strict=True):
            stored[one.metric, one.spot] = one.moment.time, value
        return stored

    def object(
        self, name: str, value: Any, moment: Moment, context: Mapping[str, Any] | None = None
    ) -> None:
        """Add an object of Aim's, or a list of them, to a sequence of such objects."""
        within = {**moment.context, **(context or {})}
        listed = isinstance(value, list)
        kind = value[0].get_typename() if listed else value.get_typename()
        dtype = f"list({kind})" if listed else kind
        mark = _checksum(value)
        index, sequence = self._sequence(name, dtype, within)
        base = ("seqs", "seqs", "chunks", self._all.hash, index, name)
        step = moment.step
        if not self._is_free(base, sequence, moment, mark):
            # Here Aim has one place for a step, and none for a negative one.
            index, sequence = self._sequence(name, dtype, {**within, MORE: True})
            base = ("seqs", "seqs", "chunks", self._all.hash, index, name)
            found = (*base, "spots", hash_auto([moment.step, moment.time, mark]))
            there = self._found(found)
            step = (sequence.end or 0) if there is None else there
            self._put(found, step)
            self._put((*base, "step", step), moment.step)
            if moment.epoch is None:
                moment = Moment(moment.step, moment.time, moment.context, moment.step)
        self._put((*base, "mark", step), mark)
        for column, stored in zip(COLUMNS, (value, moment.epoch, moment.time), strict=True):
            if sequence.end is None:
                self._put((*base, column), [])  # that it is an array
            self._put((*base, column, step), stored)
        self._reached(index, name, sequence, step, None)
        sequence.longest = max(sequence.longest, len(value) if listed else 0)

    def _is_free(self, base: Path, sequence: _Sequence, moment: Moment, mark: int) -> bool:
        if moment.step < 0:
            return False
        if sequence.end is None or moment.step >= sequence.end:
            return True
        there = self._found((*base, "time", moment.step))
        return there is None or (
            there == moment.time and self._found((*base, "mark", moment.step)) == mark
        )

    def _reached(
        self, index: int, name: str, sequence: _Sequence, step: int, value: float | None
    ) -> None:
        if sequence.end is None:
            number = value is not None
            about = (*self._run, "traces", index, name)
            kind = SEQUENCE_TYPE_MAP.get(sequence.dtype, "sequence")
            self._put(("meta", "meta", "traces_types", sequence.dtype, index, name), 1)
            self._put((*self._run, "typed_traces", kind, index, name), 1)
            self._put((*about, "dtype"), sequence.dtype)
            self._put((*about, "version"), 2 if number else 1)
            self._put((*about, "first_step"), step)
            if number:
                self._put((*about, "first"), value)
        if sequence.end is None or step >= sequence.end:
            sequence.end, sequence.last = step + 1, value

    def _sequence(self, name: str, dtype: str, context: Mapping[str, Any]) -> tuple[int, _Sequence]:
        """The sequence for such values: Aim keeps values of one kind in each."""
        index = self._index(context)
        known = self._touched.get((index, name))
        if known is not None and known.dtype == dtype:  # nearly always
            return index, known
        for within in (context, {**context, KIND: dtype}):
            index = self._index(within)
            known = self._all.known.get((index, name), _Sequence(dtype))
            # A copy of what is known: if the writing fails, nothing of this has happened.
            sequence = self._touched.get((index, name)) or replace(known, points={})
            if sequence.dtype == dtype or (dtype in NUMBERS and sequence.dtype in NUMBERS):
                self._touched[index, name] = sequence
                return index, sequence
        raise ValueError(f"the sequence {name!r} holds {sequence.dtype} where {dtype} was meant")

    def _index(self, context: Mapping[str, Any]) -> int:
        key = json.dumps(context, sort_keys=True) if context else ""
        index = self._all.contexts.get(key, self._contexts.get(key))
        if index is None:
            index = self._contexts[key] = Context(dict(context)).idx
            for path in (("meta", "meta"), self._run):
                self._put((*path, "contexts", index), dict(context))
        return index

    def _put(self, path: Path, value: Any) -> None:
        self._entries[path] = Entry(value)

    def _found(self, path: Path) -> Any:
        entry = self._entries.get(path)
        return self._all.store.read(path) if entry is None else entry.value


def _same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)


def _checksum(value: Any) -> int:
    checksum = 0
    for key, encoded in encode_tree(value):
        checksum = zlib.crc32(bytes(encoded), zlib.crc32(key, checksum))
    return checksum
