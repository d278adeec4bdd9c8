"""Scalars, times and texts of any library, by one rule each."""

from __future__ import annotations

import datetime
import importlib
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core.errors import UnfitValueError
from tracking_core.plain import NOT_PLAIN, plain_value, text_of

UNITS = ["W", "D", "h", "m", "s", "ms", "us", "ns"]
moments = st.datetimes(
    datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1), allow_imaginary=False
)


class TestTimes:
    @settings(deadline=None)  # the first one imports pandas
    @given(moments)
    def test_a_moment_is_the_same_text_in_whatever_library_it_is_held(
        self, moment: datetime.datetime
    ) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        expected = moment.isoformat()
        held = [numpy.datetime64(moment, unit) for unit in ("us", "ns")]
        for form in (moment, *held, numpy.array(held[0]), pandas.Timestamp(moment)):
            assert plain_value(form) == expected

    @pytest.mark.parametrize("unit", UNITS)
    def test_a_datetime64_of_any_unit_is_a_text_that_can_be_read(self, unit: str) -> None:
        said = plain_value(numpy.datetime64("2024-01-04", unit))
        assert isinstance(said, str)
        assert datetime.datetime.fromisoformat(said) == datetime.datetime(2024, 1, 4)

    def test_months_and_years_have_no_more_than_they_say(self) -> None:
        assert plain_value(numpy.datetime64("2024-03", "M")) == "2024-03"
        assert plain_value(numpy.datetime64("2024", "Y")) == "2024"

    def test_nanoseconds_are_kept(self) -> None:
        moment = numpy.datetime64("2024-01-01T00:00:00.000000001")
        assert plain_value(moment) == "2024-01-01T00:00:00.000000001"

    @settings(deadline=None)
    @given(st.integers(-(10**9), 10**9), st.sampled_from(UNITS))
    def test_a_duration_is_seconds_in_whatever_unit(self, number: int, unit: str) -> None:
        seconds = plain_value(numpy.timedelta64(number, unit))
        assert type(seconds) is float
        assert seconds == pytest.approx(
            number * float(numpy.timedelta64(1, unit) / numpy.timedelta64(1, "s"))
        )

    def test_durations_of_python_and_pandas_are_seconds_too(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        for form in (
            datetime.timedelta(seconds=5),
            pandas.Timedelta(5, "s"),
            numpy.timedelta64(5000, "ms"),
        ):
            found = plain_value(form)
            assert (type(found), found) == (float, 5.0)

    def test_a_duration_without_a_length_is_refused(self) -> None:
        for unit in ("M", "Y"):
            with pytest.raises(UnfitValueError, match="no fixed length"):
                plain_value(numpy.timedelta64(1, unit))


class TestMissing:
    def test_what_is_missing_is_none(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        for form in (
            numpy.ma.masked,
            numpy.ma.masked_all(3).mean(),
            numpy.ma.array([5.0], mask=[True]),
            numpy.ma.array(5, mask=True),
            numpy.ma.array(["2024"], "M8[s]", mask=[True]),
            numpy.datetime64("NaT"),
            numpy.timedelta64("NaT"),
            pandas.NaT,
            pandas.NA,
            pandas.Series([pandas.NaT]),
        ):
            assert plain_value(form) is None

    def test_what_has_a_mask_and_is_not_masked_is_itself(self) -> None:
        assert plain_value(numpy.ma.array([5.0], mask=[False])) == 5.0
        assert plain_value(numpy.ma.array([1.0, 2.0], mask=[True, False]).sum()) == 2.0


def test_a_dataframe_of_one_cell_is_no_number() -> None:
    for name in ("pandas", "polars"):
        library = pytest.importorskip(name, reason=f"{name} is not installed here")
        assert plain_value(library.DataFrame({"a": [1]})) is NOT_PLAIN


def test_scalars_of_dtypes_that_numpy_does_not_have() -> None:
    dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed here")
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"):
        assert plain_value(numpy.ones((), getattr(dtypes, name))) == 1


class TestTexts:
    def test_texts_are_the_same_in_every_run(self) -> None:
        assert text_of(object()) == "<object object>"
        assert (
            text_of(i for i in ())
            == "<generator object TestTexts.test_texts_are_the_same_in_every_run.<locals>.<genexpr>>"
        )
        assert text_of([].append) == "list.append"
        assert text_of(print) == "builtins.print"

    def test_a_text_stays_as_it_is(self) -> None:
        long = "at 0x7f " * 5000
        assert text_of(long) == long

    def test_what_is_huge_has_a_short_text(self) -> None:
        assert len(text_of(bytes(10**6))) <= 10_000
        assert len(text_of(memoryview(bytes(10**6)))) <= 10_000
        assert text_of(10**5000) == hex(10**5000)

    def test_nothing_raises(self) -> None:
        class Mute:
            def __str__(self) -> str:
                raise RuntimeError

        assert "Mute" in text_of(Mute())
        assert text_of("\ud800") == "\\ud800"


def test_it_needs_no_library_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("numpy", "numpy.ma", "pandas", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    plain: Any = importlib.import_module("tracking_core.plain")
    for value in (datetime.date(2024, 1, 1), object(), datetime.timedelta(1)):
        plain.plain_value(value)
    assert not {"numpy", "pandas", "torch"} & sys.modules.keys()
