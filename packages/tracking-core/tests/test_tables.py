"""Tables from whatever rows and columns lie in, and pictures in their cells."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core import Audio, GeneralTracker, Histogram, Image, Table, Tracking, Video
from tracking_core.capture import capture
from tracking_core.codec import decode, encode
from tracking_core.encoding import csv_text, markdown
from tracking_core.records import Log, LoggedImage, LoggedTable
from tracking_core.tables import pictures_beside
from tracking_core.testing import MemoryTracker, pixels_of

PICTURE = numpy.arange(12, dtype="uint8").reshape(2, 2, 3)


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def shown(value: object) -> Any:
    table = one(value)
    return [table.columns, *table.rows]


def reason(value: object) -> str:
    taken, rejected = capture({"v": value})
    assert taken == {}
    return rejected[0].reason


class Point(NamedTuple):
    x: int
    y: int


class TestPandas:
    @pytest.fixture
    def pandas(self) -> Any:
        return pytest.importorskip("pandas", reason="pandas is not installed here")

    def test_it_may_be_given_in_any_way(self, pandas: Any) -> None:
        frame = pandas.DataFrame({"x": ["a", "b"], 3: [1, 2]})
        for form in (frame, Table(dataframe=frame), Table(data=frame), Table(None, frame)):
            assert shown(form) == [["x", "3"], ["a", 1], ["b", 2]]

    def test_an_index_that_says_something_is_kept(self, pandas: Any) -> None:
        frame = pandas.DataFrame({"v": [1, 2, 3]})
        assert shown(frame) == [["v"], [1], [2], [3]]
        assert shown(frame.set_index([[0, 1, 2]])) == [["v"], [1], [2], [3]]
        assert shown(frame[frame.v > 1]) == [["index", "v"], [1, 2], [2, 3]]
        assert shown(frame.rename_axis("n")) == [["n", "v"], [0, 1], [1, 2], [2, 3]]
        for index, kept in (
            (pandas.Index(["a", "b", "c"], name="k"), "a"),
            (pandas.date_range("2024-01-01", periods=3), "2024-01-01T00:00:00"),
            (pandas.interval_range(0, 3), "(0, 1]"),
            (pandas.CategoricalIndex(["a", "b", "c"]), "a"),
            (pandas.Index([0.5, 1.5, 2.5]), 0.5),
            (pandas.RangeIndex(0, 6, 2), 0),
            (pandas.to_timedelta([1, 2, 3], "s"), 1.0),
        ):
            rows = shown(frame.set_index(index))
            assert rows[0] == [index.name or "index", "v"]
            assert rows[1] == [kept, 1]

    def test_what_groupby_and_pivot_give(self, pandas: Any) -> None:
        frame = pandas.DataFrame({"g": ["a", "b", "a"], "h": [1, 1, 2], "v": [1.0, 2.0, 3.0]})
        assert shown(frame.groupby(["g", "h"]).v.agg(["mean", "max"]).reset_index())[0] == [
            "g",
            "h",
            "mean",
            "max",
        ]
        assert shown(frame.groupby("g").agg({"v": ["mean", "max"]})) == [
            ["g", "v/mean", "v/max"], ["a", 2.0, 3.0], ["b", 2.0, 2.0],
        ]  # fmt: skip
        pivot = frame.pivot(index="g", columns="h", values="v")
        assert shown(pivot)[0] == ["g", "1", "2"]

    def test_cells_of_every_type(self, pandas: Any) -> None:
        frame = pandas.DataFrame(
            {
                "text": ["a", None], "object": pandas.Series(["x", numpy.nan], dtype=object),
                "float": [1.0, numpy.nan], "whole": pandas.Series([1, None], dtype="Int64"),
                "truth": pandas.Series([True, None], dtype="boolean"),
                "moment": [pandas.Timestamp("2024-01-01"), pandas.NaT],
                "duration": [pandas.Timedelta(5, "s"), pandas.NaT],
                "category": pandas.Series(["q", None], dtype="category"),
                "interval": pandas.arrays.IntervalArray.from_tuples([(0, 1), numpy.nan]),
                "period": pandas.PeriodIndex(["2024-01", None], freq="M"),
                "sparse": pandas.arrays.SparseArray([0, 7]),
                "list": [[1, "a"], {"b": None}],
            }
        )  # fmt: skip
        first, second = one(frame).rows
        assert first == [
            "a", "x", 1.0, 1, True, "2024-01-01T00:00:00", 5.0, "q", "(0.0, 1.0]", "2024-01", 0, '[1, "a"]',
        ]  # fmt: skip
        assert second[2] != second[2]
        del second[2]
        assert second == [None] * 8 + [None, 7, '{"b": null}']

    def test_cells_of_every_dtype_of_numpy(self, pandas: Any) -> None:
        for dtype in [*"?bhiqBHIQefdg"]:
            (cell,) = one(pandas.DataFrame({"a": numpy.ones(1, dtype)})).rows[0]
            assert type(cell) in (bool, int, float) and cell == 1

    def test_rows_of_a_frame(self, pandas: Any) -> None:
        frame = pandas.DataFrame({"a": [1], "b": [2]})
        assert shown(Table(data=[row for _, row in frame.iterrows()])) == [["a", "b"], [1, 2]]
        assert shown(Table(data=frame.itertuples(index=False))) == [["a", "b"], [1, 2]]

    def test_columns_choose(self, pandas: Any) -> None:
        frame = pandas.DataFrame({"a": [1], "b": [2]}, index=pandas.Index(["x"], name="k"))
        assert shown(Table(["b", "k"], dataframe=frame)) == [["b", "k"], [2, "x"]]
        said = reason(Table(["A", "B"], dataframe=frame))
        assert "'A'" in said and "'k', 'a', 'b'" in said

    def test_without_rows_or_columns(self, pandas: Any) -> None:
        assert shown(pandas.DataFrame()) == [[]]
        assert shown(pandas.DataFrame({"a": []})) == [["a"]]
        assert shown(pandas.DataFrame(index=["x"])) == [["index"], ["x"]]


def test_polars() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed here")
    frame = polars.DataFrame(
        {
            "a": [1, None], "f": [1.5, float("nan")], "d": [datetime.date(2024, 1, 1), None],
            "t": [datetime.timedelta(seconds=5), None], "l": [[1, 2], None], "s": [{"q": 1}, None],
        }
    )  # fmt: skip
    for form in (frame, Table(dataframe=frame), Table(data=frame)):
        first, second = one(form).rows
        assert first == [1, 1.5, "2024-01-01", 5.0, "[1, 2]", '{"q": 1}']
        assert second[1] != second[1] and [*second[:1], *second[2:]] == [None] * 5
    assert shown(Table(data=frame["a"])) == [["a"], [1], [None]]
    assert "collect()" in reason(Table(data=frame.lazy()))


def test_pyarrow() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed here")
    arrays = [pyarrow.array([1, None]), pyarrow.array([datetime.datetime(2024, 1, 1), None])]
    table = pyarrow.Table.from_arrays(arrays, names=["a", "a"])
    for form in (table, Table(dataframe=table), table.to_batches()[0]):
        assert shown(form) == [["a", "a"], [1, "2024-01-01T00:00:00"], [None, None]]


class TestOthers:
    def test_a_frame_of_another_library_is_read_by_its_methods(self) -> None:
        class WithRows:
            columns = ("a", "b")

            def rows(self) -> list[tuple[int, int]]:
                return [(1, 2)]

        class WithTuples:
            columns = ("a", "b")

            def itertuples(self, index: bool, name: None) -> Any:
                return iter([(1, 2)])

        for form in (WithRows(), WithTuples()):
            assert shown(Table(dataframe=form)) == shown(form) == [["a", "b"], [1, 2]]

    def test_tables_of_other_trackers_are_told_what_works(self) -> None:
        wandb = pytest.importorskip("wandb", reason="wandb is not installed here")
        table = wandb.Table(columns=["a"], data=[[1]])
        assert "Table(columns=table.columns, data=table.data)" in reason(table)
        assert shown(Table(columns=table.columns, data=table.data)) == [["a"], [1]]


class TestColumns:
    def test_in_whatever_they_lie(self) -> None:
        for column in (
            [1, 2],
            (1, 2),
            numpy.array([1, 2]),
            range(1, 3),
            iter([1, 2]),
            {1: 0, 2: 0}.keys(),
        ):
            assert shown(Table(data={"a": column, "b": [3, 4]})) == [["a", "b"], [1, 3], [2, 4]]

    def test_what_is_unclear_is_refused_by_name(self) -> None:
        assert "column 'b' has 1 cells, column 'a' 2" in reason(Table(data={"a": [1, 2], "b": [3]}))
        assert "column 'b' is a str" in reason(Table(data={"a": [1], "b": "xy"}))
        assert "column 'a' is a dict" in reason(Table(data={"a": {0: 1}}))
        assert "columns names 'c'" in reason(Table(["c"], {"a": [1]}))
        assert "not both" in reason(Table(data=[[1]], dataframe=[[1]]))
        assert "columns='ab' is a text" in reason(Table("ab", [[1, 2]]))

    def test_levels_are_joined(self) -> None:
        assert one(Table([("m", "a"), ("n", ""), ("", "")], [[1, 2, 3]])).columns == [
            "m/a",
            "n",
            "/",
        ]


class TestRows:
    def test_by_name(self) -> None:
        for row in ({"x": 1, "y": 2}, Point(1, 2)):
            assert shown(Table(data=[row])) == [["x", "y"], [1, 2]]
        assert shown(Table(["p", "q"], [Point(1, 2)])) == [["p", "q"], [1, 2]]
        assert shown(Table(["y"], [{"x": 1, "y": 2}])) == [["y"], [2]]

    def test_of_arrays(self) -> None:
        assert shown(Table(data=numpy.ma.array([[1, 2]], mask=[[False, True]]))) == [
            ["0", "1"],
            [1, None],
        ]
        assert shown(Table(data=numpy.array([["2024-01-01", "NaT"]], "M8[ns]")))[1] == [
            "2024-01-01T00:00:00",
            None,
        ]
        assert shown(Table(data=numpy.arange(8).reshape(2, 2, 2)))[1] == ["[0, 1]", "[2, 3]"]
        assert shown(Table(data=numpy.rec.array([(1, 2.0)], names="a,b"))) == [["a", "b"], [1, 2.0]]

    def test_what_is_no_row_is_refused_by_its_number(self) -> None:
        for row in ("xy", b"xy", 1, None, 1.5):
            assert "row 1 is one value" in reason(Table(["a", "b"], [[1, 2], row]))
        assert "row 2 of 1 cells does not fit 2 columns" in reason(
            Table(["a", "b"], [[1, 2], [1, 2], [3]])
        )
        assert "row 0 is one value (int)" in reason(Table(data=numpy.arange(3)))
        assert "is no table" in reason(Table(data="abc"))
        assert "is no table" in reason(Table(data=5))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(json_like | st.complex_numbers() | st.binary(), min_size=2, max_size=2), max_size=5
    )
)
def test_cells_of_anything_are_plain_and_travel(rows: list[list[Any]]) -> None:
    table = one(Table(["a", "b"], rows))
    record = decode(encode(Log({"t": table}, 0, 0, 0.0)))
    assert isinstance(record, Log)
    assert repr(record.values["t"]) == repr(table)
    for before, after in zip(rows, table.rows, strict=True):
        for cell, kept in zip(before, after, strict=True):
            assert type(kept) in (bool, int, float, str, type(None))
            if isinstance(cell, (list, dict)):
                json.loads(kept)


class TestPictures:
    def test_they_travel(self) -> None:
        table = one(Table(["id", "seen"], [[1, Image(PICTURE, caption="a")], [2, None]]))
        assert isinstance(table.rows[0][1], LoggedImage)
        record = decode(encode(Log({"t": table, "d": {"t": table}, "l": [table]}, 0, 0, 0.0)))
        assert isinstance(record, Log)
        assert record.values == {"t": table, "d": {"t": table}, "l": [table]}

    @pytest.mark.parametrize("lane", ["inline", "thread"])
    def test_they_are_delivered(
        self, lane: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRACKING_DIR", str(tmp_path))
        large = numpy.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype="uint8")
        memory = MemoryTracker()
        with Tracking(memory, delivery=lane) as tracking:
            tracking.init_trackers("p")
            tracking.log_table("t", ["id", "seen"], [[1, Image(large)], [2, Image(PICTURE)]])
        (table,) = memory.values("t")
        for (_, cell), picture in zip(table.rows, (large, PICTURE), strict=True):
            assert numpy.array_equal(pixels_of(cell), picture)

    def test_a_tracker_that_takes_no_records_gets_them_as_pictures(self) -> None:
        class Plain(GeneralTracker):
            name = "plain"
            requires_logging_directory = False
            tracker = None

            def __init__(self) -> None:
                super().__init__()
                self.calls: list[tuple[str, Any]] = []

            def log_images(self, values: Any, step: Any = None, **kwargs: Any) -> None:
                self.calls.append(("images", values))

            def log_table(
                self,
                table_name: str,
                columns: Any = None,
                data: Any = None,
                dataframe: Any = None,
                step: Any = None,
                **kwargs: Any,
            ) -> None:
                self.calls.append(("table", data))

        tracker = Plain()
        table = one(Table(["id", "seen"], [[1, Image(PICTURE)]]))
        tracker.deliver([Log({"t": table}, 0, 0, 0.0)])
        assert tracker.calls == [
            ("images", {"t/seen": [table.rows[0][1]]}),
            ("table", [[1, "t/seen/0"]]),
        ]

    def test_in_a_dataframe(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        table = one(pandas.DataFrame({"seen": [Image(PICTURE), None]}))
        assert [type(row[0]) for row in table.rows] == [LoggedImage, type(None)]

    @pytest.mark.parametrize(
        "cell",
        [
            Audio(numpy.zeros(4), 8000), Video(numpy.zeros((2, 4, 4))), Histogram([1, 2]),
            Table(["a"], [[1]]), [Image(PICTURE)],
        ],
    )  # fmt: skip
    def test_other_media_are_refused_with_a_remedy(self, cell: object) -> None:
        said = reason(Table(["id", "x"], [[1, 2], [2, cell]]))
        assert "row 1" in said and "column 'x'" in said and "log()" in said

    def test_one_that_can_not_be_read_costs_only_itself(self) -> None:
        found: list[str] = []
        rows = [[1, Image(object())], [2, Image(PICTURE)]]
        taken, _ = capture({"v": Table(["id", "x"], rows)}, lambda *what: found.append(what[2]))
        table: Any = taken["v"]
        assert table.rows[0][1].startswith("<Image can't take")
        assert isinstance(table.rows[1][1], LoggedImage)
        assert len(found) == 1

    def test_as_text_they_say_what_they_are(self) -> None:
        table = one(Table(["a", "b"], [[Image(PICTURE), Image(PICTURE, caption="x|y")]]))
        assert csv_text(table) == "a,b\r\npicture of 2x2,picture of 2x2: x|y\r\n"
        assert "| picture of 2x2 | picture of 2x2: x\\|y |" in markdown(table)


class TestPicturesBeside:
    PICTURES: ClassVar = [LoggedImage(bytes([number]), 1, 1, 1) for number in range(4)]

    def test_cells_name_the_pictures_that_are_beside(self) -> None:
        first, second, third, _ = self.PICTURES
        table = LoggedTable(
            ["id", "in", "out"], [[1, first, None], [2, second, third], [3, None, 0.5]]
        )
        beside = pictures_beside({"t": table, "loss": 0.5})
        assert beside == {
            "t": LoggedTable(
                ["id", "in", "out"], [[1, "t/in/0", None], [2, "t/in/1", "t/out/0"], [3, None, 0.5]]
            ),
            "loss": 0.5,
            "t/in": [first, second],
            "t/out": [third],
        }
        assert table.rows[0][1] is first

    def test_what_has_no_pictures_is_the_same_object(self) -> None:
        for values in ({"a": 1.0}, {"a": {"b": 1.0}}, {"t": LoggedTable(["a"], [[1]])}):
            assert pictures_beside(values) is values

    def test_in_dicts_and_lists(self) -> None:
        table = LoggedTable(["p"], [[self.PICTURES[0]]])
        beside = pictures_beside({"val": {"t": table}, "l": [table, self.PICTURES[1]]})
        assert beside["val/t"] == LoggedTable(["p"], [["val/t/p/0"]])
        assert beside["val/t/p"] == [self.PICTURES[0]]
        assert beside["l"] == [LoggedTable(["p"], [["l/0/p/0"]]), self.PICTURES[1]]
        assert beside["l/0/p"] == [self.PICTURES[0]]

    def test_no_key_hides_another(self) -> None:
        table = LoggedTable(
            ["p", "p", "p'"], [[self.PICTURES[0], self.PICTURES[1], self.PICTURES[2]]]
        )
        beside = pictures_beside({"t": table, "t/p": 1.0})
        assert beside["t/p"] == 1.0
        named = {cell.rpartition("/")[0]: cell for cell in beside["t"].rows[0]}
        assert len(named) == 3
        assert [beside[name] for name in named] == [[picture] for picture in self.PICTURES[:3]]
