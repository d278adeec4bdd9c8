"""Tables: what rows, columns and dataframes of any library become, by the rule of `values.Table`.

A cell may be a picture. Where a tracker's tables have none, `pictures_beside` puts them beside the
table, for all such trackers in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tracking_core.codec import is_plain
from tracking_core.config import entries_of, plain_data, read_part
from tracking_core.errors import UnfitValueError, let_through
from tracking_core.foreign import array_of, is_a
from tracking_core.plain import NOT_PLAIN, plain_value, reason_of, text_of, type_name
from tracking_core.records import (
    MEDIA_TYPES,
    Cell,
    LoggedImage,
    LoggedTable,
    Media,
    Value,
    flat,
)
from tracking_core.values import Artifact, Audio, Histogram, Image, Table, Video

__all__ = ["is_frame", "pictures_beside", "table_of"]

Read = Callable[[object, list[str]], Media | None]

LONGEST_LIST = 1000  # numbers of an array in a cell, as in a configuration

ONLY_SHAPE = (
    f"of arrays of more than {LONGEST_LIST} numbers in its cells only the shape was kept: wrap "
    "pictures in Image(...), or log an artifact"
)
UNREADABLE = "of what could not be read in its cells the reason was kept"


def table_of(table: Table, read: Read, notes: list[str]) -> LoggedTable:
    """The table that `table` means; what is lost of it is added to `notes`.

    Args:
        read: makes a medium of what may be one, in a cell.

    Raises:
        UnfitValueError: it means none.
    """
    if table.data is not None and table.dataframe is not None:
        raise UnfitValueError("Table takes data=... or dataframe=..., not both")
    source: Any = table.data if table.dataframe is None else table.dataframe
    if source is None:
        raise UnfitValueError("Table needs data=... (rows, columns by name) or dataframe=...")
    named = _columns_of(source)
    asked = None if table.columns is None else _labels(table.columns)
    if named is None:
        labels, rows = _from_rows(source, asked)
    else:
        labels, rows = _from_columns(named, asked)
    cells = _Cells(labels, read, notes)
    return LoggedTable(labels, [cells.row(number, row) for number, row in enumerate(rows)])


def is_frame(value: object) -> bool:
    """Whether it is a dataframe of pandas, polars or pyarrow, or something that can be read so."""
    return any(is_a(module, name, value) for module, name in _FRAMES) or (
        hasattr(value, "columns") and _way_of(value) is not None
    )


def _way_of(frame: object) -> str | None:
    """The method by which another library's dataframe gives all its rows; None if it has none."""
    ways = ("to_pandas", "rows", "itertuples")
    return next((way for way in ways if callable(getattr(frame, way, None))), None)


_FRAMES = (
    ("pandas", "DataFrame"),
    ("polars", "DataFrame"),
    ("pyarrow", "Table"),
    ("pyarrow", "RecordBatch"),
)

# --- columns ---

Columns = list[tuple[str, Sequence[object]]]


def _columns_of(source: Any) -> Columns | None:
    """Names and cells, if `source` knows its columns; None if it is rows."""
    if is_a("pandas", "Series", source) or is_a("polars", "Series", source):
        source = source.to_frame()
    if is_a("polars", "LazyFrame", source):
        raise UnfitValueError("a LazyFrame has no rows yet: give what its collect() gives")
    if is_a("pandas", "DataFrame", source):
        return _of_pandas(source)
    if is_a("polars", "DataFrame", source):
        return [(name, source.get_column(name).to_list()) for name in source.columns]
    if is_a("pyarrow", "Table", source) or is_a("pyarrow", "RecordBatch", source):
        names = source.schema.names
        return [(name, source.column(place).to_pylist()) for place, name in enumerate(names)]
    if isinstance(source, Mapping):
        return _of_mapping(source)
    if is_frame(source):
        return _of_another(source)
    array = array_of(source)
    if array is not None and array.dtype.names:
        return [(name, _listed(array[name])) for name in array.dtype.names]
    return None


def _of_pandas(frame: Any) -> Columns:
    columns = [(_name(label), frame.iloc[:, place]) for place, label in enumerate(frame.columns)]
    return [(name, _of_series(one)) for name, one in [*_index_of(frame), *columns]]


def _of_another(frame: Any) -> Columns | None:
    way = _way_of(frame)
    if way == "to_pandas":
        return _columns_of(frame.to_pandas())
    rows = list(frame.rows() if way == "rows" else frame.itertuples(index=False, name=None))
    names = [_name(label) for label in frame.columns]
    return [(name, [row[place] for row in rows]) for place, name in enumerate(names)]


def _index_of(frame: Any) -> list[tuple[str, Any]]:
    """The index as columns, unless it does nothing but count the rows."""
    index = frame.index
    if index.nlevels > 1:
        names = [
            f"level_{i}" if name is None else _name(name) for i, name in enumerate(index.names)
        ]
        levels = [index.get_level_values(i).to_series() for i in range(index.nlevels)]
        return list(zip(names, levels, strict=True))
    if index.name is None and _counts_from_zero(index):
        return []
    return [("index" if index.name is None else _name(index.name), index.to_series())]


def _counts_from_zero(index: Any) -> bool:
    if not len(index):
        return True
    rises = index.dtype.kind in "iu" and index.is_monotonic_increasing and index.is_unique
    return bool(rises and index[0] == 0 and index[-1] == len(index) - 1)


def _of_series(series: Any) -> Sequence[object]:
    """The cells of a column of pandas; NaN is a number among floats, and missing elsewhere."""
    cells: list[object] = series.tolist()
    if getattr(series.dtype, "kind", "O") == "f":
        return cells
    return [None if isinstance(cell, float) and cell != cell else cell for cell in cells]


def _of_mapping(columns: Mapping[Any, Any]) -> Columns:
    taken = [(_name(label), column) for label, column in columns.items()]
    single = [_is_single(column) for _, column in taken]
    if taken and all(single):
        return [(name, [cell]) for name, cell in taken]
    found: Columns = []
    for (name, column), alone in zip(taken, single, strict=True):
        if alone or isinstance(column, Mapping):
            kind = type_name(column)
            raise UnfitValueError(f"column {name!r} is a {kind}: give a list of cells for each")
        found.append((name, _cells_of(column)))
    return found


def _is_single(column: object) -> bool:
    """Whether it is one cell and no column."""
    if isinstance(column, (str, bytes)) or not isinstance(column, Iterable):
        return True
    array = array_of(column)
    return array is not None and array.ndim == 0


def _cells_of(column: Any) -> Sequence[object]:
    if is_a("pandas", "Series", column):
        return _of_series(column)
    if is_a("polars", "Series", column):
        return column.to_list()  # type: ignore[no-any-return]  # a list
    array = array_of(column)
    return list(column) if array is None else _listed(array)


def _from_columns(
    columns: Columns, asked: list[str] | None
) -> tuple[list[str], Iterable[Sequence[object]]]:
    if asked is not None:
        known = dict(reversed(columns))  # of two with one name the first
        for name in asked:
            if name not in known:
                has = ", ".join(repr(one) for one, _ in columns[:20])
                raise UnfitValueError(
                    f"columns names {name!r}, but what was given has {has or 'no columns'}: "
                    "columns chooses among them; rename them before"
                )
        columns = [(name, known[name]) for name in asked]
    lengths = [len(cells) for _, cells in columns]
    for (name, _), length in zip(columns, lengths, strict=True):
        if length != lengths[0]:
            raise UnfitValueError(
                f"column {name!r} has {length} cells, column {columns[0][0]!r} {lengths[0]}"
            )
    return [name for name, _ in columns], zip(*(cells for _, cells in columns), strict=True)


# --- rows ---


def _from_rows(
    source: Any, asked: list[str] | None
) -> tuple[list[str], Iterable[Sequence[object]]]:
    array = array_of(source)
    given = source if array is None else _listed(array)
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise UnfitValueError(
            f"a {type_name(source)} is no table: give rows, columns or a dataframe"
        )
    rows = [_row(number, row, named=asked is None) for number, row in enumerate(given)]
    labels = asked
    if labels is None:
        # Of all rows, because one need not have what another has.
        names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
        labels = list(names) or [str(place) for place in range(len(rows[0]) if rows else 0)]
    cells: list[Sequence[object]] = []
    for number, row in enumerate(rows):
        found = [row.get(label) for label in labels] if isinstance(row, dict) else row
        if len(found) != len(labels):
            raise UnfitValueError(
                f"row {number} of {len(found)} cells does not fit {len(labels)} columns"
            )
        cells.append(found)
    return labels, cells


def _row(number: int, row: Any, *, named: bool) -> dict[str, object] | Sequence[object]:
    """One row: its cells, by name where it has names. A named tuple has them only if `named`."""
    if type(row) in (list, tuple) or (isinstance(row, tuple) and not named):
        return row  # type: ignore[no-any-return]  # one of them
    if is_a("pandas", "Series", row):
        row = row.to_dict()
    if not isinstance(row, (str, bytes)):
        entries = entries_of(row)
        if entries is not None:
            cells: dict[str, object] = {}
            for label, read in entries:
                cells[_free(_name(label), cells)] = read_part(read)
            return cells
        array = array_of(row)
        if array is not None and array.ndim:
            return _listed(array)
        if isinstance(row, Iterable):
            return list(row)
    raise UnfitValueError(
        f"row {number} is one value ({type_name(row)}): give each row as a list of cells"
    )


def _listed(array: Any) -> list[Any]:
    """What is in an array; None for what is masked."""
    fits = array.dtype.kind in "biu" or (array.dtype.kind == "f" and array.dtype.itemsize <= 8)
    if array.ndim <= 2 and fits:
        listed: list[Any] = array.tolist()
        return listed
    return list(array)


def _labels(columns: Any) -> list[str]:
    if isinstance(columns, (str, bytes)):
        raise UnfitValueError(f"columns={columns!r:.50} is a text: give a list of names")
    return [_name(label) for label in columns]


def _name(label: Any) -> str:
    """A column's name; the levels of one with several are joined as those of keys."""
    if isinstance(label, tuple):
        levels = [_name(level) for level in label]
        return "/".join(level for level in levels if level) or "/".join(levels)
    return text_of(label.isoformat() if hasattr(label, "isoformat") else label)


def _free(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "'"
    return name


# --- cells ---


class _Cells:
    """Makes cells of what is in one table."""

    def __init__(self, labels: Sequence[str], read: Read, notes: list[str]) -> None:
        self._labels = labels
        self._read = read
        self._notes = notes

    def row(self, number: int, row: Sequence[object]) -> list[Cell]:
        return [
            value if type(value) in _AT_A_GLANCE else self._cell(number, place, value)  # type: ignore[misc]  # a float, a bool or None
            for place, value in enumerate(row)
        ]

    def _cell(self, number: int, place: int, value: object) -> Cell:
        try:
            plain = plain_value(value)
        except BaseException as error:  # it has a text all the same
            let_through(error)
            plain = NOT_PLAIN
        if plain is not NOT_PLAIN:
            return plain  # type: ignore[return-value]  # only plain values are not NOT_PLAIN
        if is_frame(value):
            return self._nested(value)
        try:
            medium = self._read(value, self._notes)
        except BaseException as error:  # one cell that can't be read must not cost the others
            let_through(error)
            self._notes.append(UNREADABLE)
            return f"<{reason_of(error)}>"
        if medium is None:
            if isinstance(value, (list, tuple)) and any(map(_is_typed, value)):
                raise self._unfit(number, place, "list of media")
            return self._nested(value)
        if not isinstance(medium, LoggedImage):
            raise self._unfit(number, place, type_name(value))
        return medium

    def _unfit(self, number: int, place: int, kind: str) -> UnfitValueError:
        return UnfitValueError(
            f"row {number} has a {kind} in column {self._labels[place]!r}, where one picture can "
            "be and no other medium: log it under a key of its own, with log() or log_images()"
        )

    def _nested(self, value: Any) -> str:
        plain = plain_data(value)
        if isinstance(plain, str):
            if getattr(value, "shape", None):
                self._notes.append(ONLY_SHAPE)
            return plain
        return json.dumps(plain, ensure_ascii=False)


_AT_A_GLANCE = frozenset({float, bool, type(None)})
_TYPED = (Artifact, Audio, Histogram, Image, Table, Video, *MEDIA_TYPES)


def _is_typed(value: object) -> bool:
    return isinstance(value, _TYPED) or is_a("PIL.Image", "Image", value)


# --- for trackers whose tables hold no pictures ---


def pictures_beside(values: dict[str, Value]) -> dict[str, Value]:
    """`values` with the pictures of every table beside it instead of in it.

    The pictures of a column become a list of pictures under the table's key and the column's name,
    ``"predictions/input"``, and each cell says which of them was there: ``"predictions/input/3"``.

    >>> picture = LoggedImage(b"\\0", 1, 1, 1)
    >>> beside = pictures_beside({"seen": LoggedTable(["id", "input"], [[7, picture]])})
    >>> beside["seen"].rows, beside["seen/input"] == [picture]
    ([[7, 'seen/input/0']], True)
    """
    if is_plain(values) or not any(_with_pictures(value) for _, value in flat(values)):
        return values
    found = dict(flat(values))
    for key, value in list(found.items()):
        if isinstance(value, LoggedTable):
            found[key] = _without_pictures(key, value, found)
        elif _with_pictures(value):
            found[key] = [
                _without_pictures(f"{key}/{place}", one, found)
                if isinstance(one, LoggedTable)
                else one
                for place, one in enumerate(value)
            ]
    return found


def _with_pictures(value: Any) -> bool:
    if isinstance(value, list):
        return any(_with_pictures(one) for one in value)
    return isinstance(value, LoggedTable) and any(
        isinstance(cell, LoggedImage) for row in value.rows for cell in row
    )


def _without_pictures(key: str, table: LoggedTable, beside: dict[str, Value]) -> LoggedTable:
    rows = [list(row) for row in table.rows]
    for place, column in enumerate(table.columns):
        name = f"{key}/{column}"
        pictures: list[Media] = []
        for row in rows:
            cell = row[place]
            if isinstance(cell, LoggedImage):
                if not pictures:
                    name = _free(name, beside)
                row[place] = f"{name}/{len(pictures)}"
                pictures.append(cell)
        if pictures:
            beside[name] = pictures
    return msgspec.structs.replace(table, rows=rows)
