"""Histograms of any finite numbers."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tracking_core import Histogram
from tracking_core.capture import capture


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def reason(value: object) -> str:
    taken, rejected = capture({"v": value})
    assert taken == {}
    return rejected[0].reason


def is_whole(histogram: Any, numbers: Any) -> bool:
    """Whether everything is in it that there is to say of finite `numbers`."""
    edges = histogram.edges
    return (
        all(left < right for left, right in itertools.pairwise(edges))
        and len(edges) == len(histogram.counts) + 1
        and edges[0] <= histogram.min == min(numbers)
        and edges[-1] >= histogram.max == max(numbers)
        and sum(histogram.counts) == histogram.num == len(numbers)
        and all(map(math.isfinite, [*edges, histogram.sum, histogram.sum_squares]))
    )


finite = st.floats(allow_nan=False, allow_infinity=False)
near = st.builds(
    lambda start, steps: [start + step * math.ulp(start) for step in steps],
    st.floats(-1e300, 1e300),
    st.lists(st.integers(-40, 40), min_size=1, max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(finite, min_size=1, max_size=50) | near, st.sampled_from([1, 2, 7, 64, 1000]))
@pytest.mark.filterwarnings("error")
def test_any_finite_numbers_are_counted(numbers: list[float], bins: int) -> None:
    for form in (numbers, numpy.array(numbers)):
        histogram = one(Histogram(form, bins=bins))
        assert len(histogram.counts) == bins
        assert is_whole(histogram, numbers)
        # Each bin holds what its edges say.
        below = 0.0
        for edge, count in zip(histogram.edges[1:-1], histogram.counts, strict=False):
            below += count
            assert sum(number < edge for number in numbers) == below


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([numpy.array(items, dtype=object) for items in (None, [1, None], ["a"], [])])
    | arrays.arrays(
        st.one_of(
            arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(),
            arrays.floating_dtypes(), arrays.complex_number_dtypes(), arrays.datetime64_dtypes(),
            st.just(numpy.dtype("longdouble")),
        ),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_any_array_is_counted_or_refused_by_name(array: Any) -> None:
    taken, rejected = capture({"v": Histogram(array)})
    if rejected:
        assert not rejected[0].reason.startswith("reading it raised")
        return
    histogram: Any = taken["v"]
    assert histogram.num + histogram.nonfinite == array.size
    assert sum(histogram.counts) == histogram.num


@pytest.mark.parametrize(
    "numbers",
    [
        [1.0, 1.0 + 2**-52],
        [1.797e308, 1.7970000000000002e308],
        [-1.7e308, 1.7e308],
        [0.0, 5e-324],
        [1e-320, 3e-320],
        [2**53, 2**53 + 2],
        [1.7976931348623157e308] * 3,
        [1e308, 1e308, -1e308],
    ],
)
def test_the_hardest_ones(numbers: list[float]) -> None:
    for form in (numbers, numpy.array(numbers, "float64")):
        for bins in (1, 64, 10_000):
            assert is_whole(one(Histogram(form, bins=bins)), numbers)


def test_the_sum_is_right_where_only_the_way_to_it_is_too_large() -> None:
    for form in ([1e308, 1e308, -1e308], numpy.array([1e308, 1e308, -1e308])):
        assert one(Histogram(form)).sum == pytest.approx(1e308)


def test_numbers_in_whatever_they_lie() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed here")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
    for form in (
        [1, 2, 4], (1, 2, 4), {1, 2, 4}, iter([1, 2, 4]), [[1, 2], [4]], [numpy.array([1, 2]), [4]],
        numpy.array([[1, 2, 4]], "float16"), torch.tensor([1, 2, 4], dtype=torch.bfloat16),
        [torch.tensor([1.0, 2.0]), torch.tensor([4.0])], [torch.tensor(1), numpy.float32(2), 4],
        pandas.Series([1, 2, 4]), pandas.Series([1, 2, 4], dtype="Int64"), numpy.longdouble([1, 2, 4]),
        numpy.ma.array([1, 2, 4, 9], mask=[0, 0, 0, 1]),
    ):  # fmt: skip
        histogram = one(Histogram(form))
        assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (1, 4, 3, 7)


def test_counts_and_edges_in_whatever_they_lie() -> None:
    expected = one(Histogram(counts=[1, 3], edges=[0, 2, 4]))
    counts, edges = numpy.array([1, 3]), numpy.array([0.0, 2.0, 4.0])
    assert one(Histogram(counts=counts, edges=edges)) == expected
    assert one(Histogram((counts, edges))) == expected
    assert expected.middles == [1, 3]


@pytest.mark.parametrize(
    ("histogram", "why"),
    [
        (Histogram("123"), "not a str"),
        (Histogram(["1"]), "a str is none"),
        (Histogram([1j]), "a complex number"),
        (Histogram({"a": 1}), "not a dict"),
        (Histogram([10**400]), "larger than any float"),
        (Histogram([1], bins=0), "bins=0 is no number of bins"),
        (Histogram([1], bins=-1), "bins=-1"),
        (Histogram([1], bins="auto"), "bins='auto'"),  # type: ignore[arg-type]  # numpy takes it
        (Histogram([1], edges=[0, 1]), "either numbers, or both"),
        (Histogram(counts=[1]), "either numbers, or both"),
        (Histogram(), "either numbers, or both"),
        (Histogram(counts=[math.nan], edges=[0, 1]), "the counts must be finite"),
        (Histogram(counts=[1], edges=[0, math.inf]), "the edges must be finite"),
    ],
)
def test_what_is_refused_says_why(histogram: Histogram, why: str) -> None:
    assert why in reason(histogram)


def test_too_many_bins_are_bounded_at_once() -> None:
    began = time.monotonic()
    assert len(one(Histogram(numpy.arange(1000.0), bins=10**9)).counts) == 10_000
    assert len(one(Histogram([1.0, 2.0], bins=10**9)).counts) == 10_000
    assert time.monotonic() - began < 5
