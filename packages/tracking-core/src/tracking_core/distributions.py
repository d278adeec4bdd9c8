"""Numbers, counted in bins: any finite numbers, however near to one another or far apart."""

from __future__ import annotations

import bisect
import itertools
import math
import operator
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tracking_core.errors import UnfitValueError
from tracking_core.foreign import array_of, imported_numpy, without_mask
from tracking_core.plain import plain_value, type_name
from tracking_core.records import LoggedHistogram
from tracking_core.values import Histogram

__all__ = ["histogram_of"]

MOST_BINS = 10_000
LARGEST = sys.float_info.max

FEWER_BINS = f"it has {MOST_BINS} bins, which is the most that are kept"


def histogram_of(histogram: Histogram, notes: list[str]) -> LoggedHistogram:
    """The distribution that `histogram` means; what is lost of it is added to `notes`.

    Raises:
        UnfitValueError: it means none.
    """
    data, counts, edges = histogram.data, histogram.counts, histogram.edges
    if data is None and counts is not None and edges is not None:
        return _ready(counts, edges)
    if data is None or counts is not None or edges is not None:
        raise UnfitValueError("Histogram takes either numbers, or both counts and edges")
    bins = _bins(histogram.bins, notes)
    if _is_ready(data):
        return _ready(*data)  # type: ignore[misc]  # so it is a pair
    array = _numbers_in_array(data)
    if array is not None:
        return _of_array(array, bins)
    everything = list(_numbers([data] if getattr(data, "ndim", None) == 0 else data))
    numbers = [number for number in everything if math.isfinite(number)]
    _require_some(len(numbers))
    return _of_numbers(numbers, bins, len(everything) - len(numbers))


def _bins(given: Any, notes: list[str]) -> int:
    try:
        bins = operator.index(given)
    except TypeError:
        bins = 0
    if bins < 1:
        raise UnfitValueError(
            f"bins={given!r:.50} is no number of bins: for edges of your own give counts and "
            "edges, as numpy.histogram() does"
        )
    if bins > MOST_BINS:
        notes.append(FEWER_BINS)
    return min(bins, MOST_BINS)


def _require_some(count: int) -> None:
    if not count:
        raise UnfitValueError("Histogram was given no finite number")


# --- the numbers ---


def _is_ready(data: object) -> bool:
    """Whether it is the pair of counts and edges that ``numpy.histogram`` gives."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False
    counts, edges = array_of(data[0]), array_of(data[1])
    if counts is None or edges is None or counts.ndim != 1 or edges.ndim != 1:
        return False
    return len(edges) == len(counts) + 1


def _numbers_in_array(data: Any) -> Any:
    """All numbers of an array, or of a list of arrays, one after the other; None if it is neither."""
    if isinstance(data, (list, tuple)):
        parts = [] if not data or array_of(data[0]) is None else [array_of(one) for one in data]
        if not parts or any(part is None for part in parts):
            return None
    else:
        parts = [array_of(data)]
    flat = []
    for part in parts:
        if part is None or part.dtype.kind == "O":
            return None  # pandas holds whole numbers with gaps in such
        if part.dtype.kind not in "buif":
            raise UnfitValueError(f"Histogram can't take an array of {part.dtype}")
        with imported_numpy().errstate(all="ignore"):  # longdouble may be beyond it
            flat.append(without_mask(part.ravel().astype("float64", copy=False), math.nan))
    return flat[0] if len(flat) == 1 else imported_numpy().concatenate(flat)


def _numbers(data: object) -> Iterator[float]:
    """All numbers of a sequence, also of sequences in it; NaN for what is missing."""
    if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Iterable):
        raise UnfitValueError(
            "Histogram takes an array, a sequence of numbers, or counts and edges, "
            f"not a {type_name(data)}"
        )
    for item in data:
        if type(item) is float:
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _numbers(item)
        else:
            array = array_of(item)
            if array is not None and array.ndim:
                yield from _numbers(array.ravel().tolist())
                continue
            plain = plain_value(item)
            if plain is None:
                yield math.nan
            elif isinstance(plain, (bool, int, float)):
                yield float(plain)
            else:
                raise UnfitValueError(f"Histogram takes numbers: a {type_name(item)} is none")


# --- the bins ---


def _of_array(numbers: Any, bins: int) -> LoggedHistogram:
    numpy = imported_numpy()
    is_finite = numpy.isfinite(numbers)
    finite = numbers if is_finite.all() else numbers[is_finite]
    _require_some(len(finite))
    low, high = float(finite.min()), float(finite.max())
    edges = _edges(low, high, bins)
    with numpy.errstate(all="ignore"):
        # Bins of one width are counted far sooner, but only where numpy can tell them apart.
        usual = low < high and edges[0] == low and 1e-300 < high - low < math.inf
        counts, borders = numpy.histogram(finite, bins=bins if usual else numpy.array(edges))
        total, squares = finite.sum(), numpy.square(finite).sum()
        if not math.isfinite(total):
            total = (finite / len(finite)).sum() * len(finite)
    return LoggedHistogram(
        counts.astype("float64").tolist(), borders.tolist(), low, high, float(len(finite)),
        _bounded(float(total)), _bounded(float(squares)), len(numbers) - len(finite),
    )  # fmt: skip


def _of_numbers(numbers: list[float], bins: int, nonfinite: int) -> LoggedHistogram:
    low, high = min(numbers), max(numbers)
    edges = _edges(low, high, bins)
    counts = [0.0] * bins
    for number in numbers:
        counts[min(bisect.bisect_right(edges, number) - 1, bins - 1)] += 1
    squares = _sum([number * number for number in numbers])
    return LoggedHistogram(
        counts, edges, low, high, float(len(numbers)), _sum(numbers), squares, nonfinite
    )


def _edges(low: float, high: float, bins: int) -> list[float]:
    """The borders of bins of one width that hold `low` to `high`, each above the one before it."""
    start, stop = (low, high) if low < high else (low - 0.5, high + 0.5)
    # Fewer floats than borders lie between numbers that are nearly equal.
    least = 4 * bins * math.ulp(max(abs(start), abs(stop)))
    if stop - start < least:
        middle = start / 2 + stop / 2
        start, stop = middle - least / 2, middle + least / 2
        if stop > LARGEST:
            start, stop = LARGEST - least, LARGEST
        elif start < -LARGEST:
            start, stop = -LARGEST, least - LARGEST
    # Not by a width, which may be more than a float holds.
    parts = [index / bins for index in range(bins)]
    return [*(start * (1 - part) + stop * part for part in parts), stop]


def _ready(counts: object, edges: object) -> LoggedHistogram:
    heights, borders = _row(counts, "counts"), _row(edges, "edges")
    if len(borders) != len(heights) + 1 or not heights:
        raise UnfitValueError(
            f"{len(heights)} counts need {len(heights) + 1} edges, not {len(borders)}"
        )
    if any(right < left for left, right in itertools.pairwise(borders)):
        raise UnfitValueError("the edges must rise")
    ready = LoggedHistogram(heights, borders, borders[0], borders[-1], _sum(heights), 0.0, 0.0)
    weighted = [count * middle for count, middle in zip(heights, ready.middles, strict=True)]
    squares = [part * middle for part, middle in zip(weighted, ready.middles, strict=True)]
    return msgspec.structs.replace(ready, sum=_sum(weighted), sum_squares=_sum(squares))


def _row(numbers: object, what: str) -> list[float]:
    row = list(_numbers(numbers))
    if not all(map(math.isfinite, row)):
        raise UnfitValueError(f"the {what} must be finite numbers")
    return row


def _sum(numbers: Sequence[float]) -> float:
    try:
        return _bounded(math.fsum(numbers))
    except OverflowError:  # on the way
        parts = 2 * len(numbers)
        return _bounded(math.fsum(number / parts for number in numbers) * parts)


def _bounded(number: float) -> float:
    """`number`, or the largest float: many who read a histogram can't read infinities."""
    return max(-LARGEST, min(number, LARGEST))
