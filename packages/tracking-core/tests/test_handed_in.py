"""What becomes of what users hand in: the list that docs/values.md shows, each line of it tried.

`sections` writes that part of the page; ``python3 tools/dev.py values`` puts it there.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import PIL.Image
import pytest

from tracking_core import Audio, Histogram, Image, Table, Video
from tracking_core.capture import capture
from tracking_core.config import plain_config
from tracking_core.records import LoggedImage
from tracking_core.testing import frames_of, pixels_of, samples_of

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "values.md"


class Case(NamedTuple):
    """One line of the page.

    Attributes:
        given: what is handed in, in the words of the page.
        make: makes it.
        becomes: what becomes of it, in the words of the page.
        expected: and in fact.
        said: the beginning of what is said once about what is lost; empty if nothing is.
    """

    given: str
    make: Callable[[], object]
    becomes: str
    expected: object
    said: str = ""


class Section(NamedTuple):
    """A table of the page.

    Attributes:
        about: what stands above it.
        seen: what is compared with `Case.expected`.
    """

    title: str
    about: str
    seen: Callable[[Any], object]
    cases: list[Case]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Options:
    lr: float = 0.1
    started: float = dataclasses.field(init=False)


@dataclasses.dataclass
class Sample:
    id: int
    label: str


class Raising:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed here")


def pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas is not installed here")


def polars() -> Any:
    return pytest.importorskip("polars", reason="polars is not installed here")


def pyarrow() -> Any:
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed here")


def axes() -> Any:
    figures = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed here")
    return figures.Figure(figsize=(2, 1), dpi=50).subplots(2)


def row(*numbers: float, dtype: str = "float64") -> Any:
    return numpy.array([numbers], dtype)


def grey(*pixels: int) -> Any:
    return numpy.array([pixels], "uint8")


def file_of(kind: str) -> io.BytesIO:
    file = io.BytesIO()
    PIL.Image.fromarray(grey(0, 7, 255)).save(file, kind)
    return file


# --- what is compared ---


def itself(value: Any) -> object:
    return value


def first_channel(image: LoggedImage) -> object:
    """The first row of it, without the other channels."""
    return pixels_of(image)[0, :, 0].tolist()


def what_kind(image: LoggedImage) -> object:
    return (image.format, image.width, image.height, image.channels)


def frames(video: Any) -> object:
    found = frames_of(video)
    return (*found.shape, video.fps)


def samples(audio: Any) -> object:
    found, rate = samples_of(audio)
    return found.T.tolist(), rate


def cells(table: Any) -> object:
    return [
        table.columns,
        *[["a picture" if isinstance(c, LoggedImage) else c for c in one] for one in table.rows],
    ]


def bins(histogram: Any) -> object:
    rising = all(
        left < right for left, right in zip(histogram.edges, histogram.edges[1:], strict=False)
    )
    return (histogram.min, histogram.max, sum(histogram.counts), histogram.nonfinite, rising)


STRETCHED = "its values, neither 0..1 nor 0..255, were stretched"
UPPER_BITS = "its integers have more than 8 bits"

SECTIONS = [
    Section(
        "Numbers, texts and times",
        "For `log()`, and for the cells of tables and the values in configurations likewise.",
        itself,
        [
            Case("bool, int, float, text, None", lambda: 0.5, "as it is, NaN and infinities too", 0.5),
            Case("a scalar of numpy, JAX or torch, or an array of one element", lambda: numpy.ones((1, 1), "float16"), "its number", 1.0),
            Case("a tensor of bfloat16 that requires a gradient", lambda: torch().tensor(1.5, dtype=torch().bfloat16, requires_grad=True), "its number", 1.5),
            Case("an integer beyond 64 bits", lambda: 2**70, "a float", float(2**70)),
            Case("`Decimal`, `Fraction`", lambda: decimal.Decimal("0.5"), "a float", 0.5),
            Case("a member of an enum", lambda: Colour.RED, "its value", "red"),
            Case("a path", lambda: Path("a"), "text", "a"),
            Case("`datetime`, `date`, `time`", lambda: datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc), "text of ISO 8601, with its time zone", "2024-01-02T03:00:00+00:00"),
            Case("numpy's `datetime64` of any unit", lambda: numpy.datetime64("2024-01-02T03", "ns"), "the same", "2024-01-02T03:00:00"),
            Case("`pandas.Timestamp`", lambda: pandas().Timestamp("2024-01-02T03"), "the same", "2024-01-02T03:00:00"),
            Case("`timedelta`", lambda: datetime.timedelta(minutes=1), "seconds, as a float", 60.0),
            Case("numpy's `timedelta64` of any unit", lambda: numpy.timedelta64(5, "ns"), "the same", 5e-9),
            Case("`pandas.Timedelta`", lambda: pandas().Timedelta(5, "s"), "the same", 5.0),
            Case("`numpy.ma.masked`, and a masked element", lambda: numpy.ma.array([5.0], mask=[True]), "None", None),
            Case("NaT of numpy and pandas, `pandas.NA`", lambda: numpy.datetime64("NaT"), "None", None),
        ],
    ),
    Section(
        "Pictures from numbers",
        "`Image(array)`, each frame of a `Video` and each array that `log_images` is given. The number beside an arrow is the byte that it becomes.",
        first_channel,
        [
            Case("bytes", lambda: Image(grey(0, 7, 255)), "as they are", [0, 7, 255]),
            Case("booleans", lambda: Image(row(0, 1, dtype="bool")), "black and white", [0, 255]),
            Case("integers of 0..255 in any type", lambda: Image(row(0, 7, 255, dtype="int64")), "as they are", [0, 7, 255]),
            Case("the same, with an overshoot of up to a fifth", lambda: Image(row(-5, 7, 300, dtype="int16")), "clipped: -5 → 0, 300 → 255", [0, 7, 255]),
            Case("integers up to 65535, or any other number of bits", lambda: Image(row(0, 256, 65535, dtype="uint16")), "the upper 8 bits of as many as the largest has: 256 → 1", [0, 1, 255], UPPER_BITS),
            Case("integers up to 4095, in 16 or 32 bits", lambda: Image(row(0, 256, 4095, dtype="int32")), "the same: 256 → 16", [0, 16, 255], UPPER_BITS),
            Case("negative integers", lambda: Image(row(-128, 0, 127, dtype="int8")), "stretched from the smallest to the largest", [0, 128, 255], STRETCHED),
            Case("floats of 0..1", lambda: Image(row(0, 0.5, 1)), "0.5 → 128", [0, 128, 255]),
            Case("the same, with an overshoot of up to a fifth", lambda: Image(row(-0.02, 0.5, 1.02)), "clipped: -0.02 → 0, 1.02 → 255", [0, 128, 255]),
            Case("floats of 0..2", lambda: Image(row(0, 0.5, 2)), "taken as 0..1, and clipped", [0, 128, 255], "its values were clipped to 0..1"),
            Case("floats of 0..255, with an overshoot of up to a fifth", lambda: Image(row(-5, 128, 260)), "as they are, and clipped", [0, 128, 255]),
            Case("other floats, such as -1..1", lambda: Image(row(-1, 0, 1)), "stretched from the smallest to the largest: 0 → 128", [0, 128, 255], STRETCHED),
            Case("floats of any size", lambda: Image(row(-1e308, 0, 1e308)), "the same", [0, 128, 255], STRETCHED),
            Case("float16, bfloat16, float8, longdouble", lambda: Image(row(0, 0.5, 1, dtype="float16")), "as other floats", [0, 128, 255]),
            Case("NaN and infinities among floats", lambda: Image(row(numpy.nan, numpy.inf, 1)), "black, where the others are as above", [0, 0, 255], "what is NaN or infinite in it is black"),
            Case("masked elements", lambda: Image(numpy.ma.array(row(0, 1), mask=row(0, 1, dtype="bool"))), "black", [0, 0], "what is masked in it is black"),
            Case("whole numbers or floats that are nearly black", lambda: Image(row(0, 0.01)), "as above: it says so", [0, 3], "it is nearly black"),
            Case("a tensor, on any device but meta", lambda: Image(torch().ones(3, 1, 2, requires_grad=True)), "(C, H, W) is looked for first", [255, 255]),
            Case("a batch of one", lambda: Image(numpy.ones((1, 1, 2, 3))), "its picture", [255, 255]),
        ],
    ),
    Section(
        "Pictures of other libraries, and files",
        "`Image(...)` of these, or as they are.",
        what_kind,
        [
            Case("PIL images of mode L, LA, RGB, RGBA", lambda: PIL.Image.new("LA", (3, 1)), "their bytes", ("raw", 3, 1, 2)),
            Case("of mode 1", lambda: PIL.Image.new("1", (3, 1)), "grey", ("raw", 3, 1, 1)),
            Case("of mode P, CMYK, YCbCr, HSV, LAB, RGBX", lambda: PIL.Image.new("CMYK", (3, 1)), "RGB", ("raw", 3, 1, 3)),
            Case("of mode PA, RGBa, or with a transparent colour", lambda: PIL.Image.new("RGBA", (3, 1)).convert("RGBa"), "RGBA", ("raw", 3, 1, 4)),
            Case("of mode I, F, I;16 and its relatives", lambda: PIL.Image.new("F", (3, 1), 0.5), "grey, by the rule for numbers", ("raw", 3, 1, 1)),
            Case("with several frames", lambda: animated(), "the frame that it stands at", ("raw", 3, 1, 3), "it has several frames"),
            Case("a matplotlib figure, axes or several of one figure, pyplot, what `plot` gives, a grid of seaborn", lambda: axes(), "the whole figure, as PNG", ("png", 100, 50, 0)),
            Case("the content of a PNG, JPEG, GIF, WebP or BMP file, or its path", lambda: Image(file_of("png")), "the file as it is", ("png", 3, 1, 0)),
            Case("of a file of another kind", lambda: Image(file_of("tiff")), "what Pillow reads, if the program has imported it", ("raw", 3, 1, 1)),
        ],
    ),
    Section(
        "Moving pictures",
        "`Video(...)`. Numbers follow the rule for pictures, with one range for all frames.",
        frames,
        [
            Case("(T, H, W), (T, H, W, C) or (T, C, H, W)", lambda: Video(numpy.zeros((4, 3, 5, 6))), "T frames", (4, 5, 6, 3, 10.0)),
            Case("(1, T, C, H, W)", lambda: Video(numpy.zeros((1, 4, 3, 5, 6))), "the one video", (4, 5, 6, 3, 10.0)),
            Case("(N, T, C, H, W) or (N, T, H, W, C)", lambda: Video(numpy.zeros((3, 4, 3, 5, 6))), "one video of N, side by side", (4, 10, 12, 3, 10.0)),
            Case("a list of arrays, tensors or PIL images of one size", lambda: Video([PIL.Image.new("RGB", (6, 5))] * 4), "its frames", (4, 5, 6, 3, 10.0)),
            Case("PIL images of several modes", lambda: Video([PIL.Image.new(mode, (6, 5)) for mode in ("L", "RGB")]), "frames in RGBA", (2, 5, 6, 4, 10.0)),
            Case("a PIL image with several frames", lambda: Video(animated()), "its frames", (2, 1, 3, 3, 10.0)),
            Case("`fps` as any number, or its text", lambda: Video(numpy.zeros((4, 5, 6)), fps="30"), "a float", (4, 5, 6, 1, 30.0)),
            Case("`fps` that is no number above 0", lambda: Video(numpy.zeros((4, 5, 6)), fps=float("nan")), "10", (4, 5, 6, 1, 10.0), "its fps is no positive number"),
        ],
    ),
    Section(
        "Sound",
        "`Audio(...)`, kept as 16-bit samples, whatever type they had.",
        samples,
        [
            Case("16-bit integers", lambda: Audio(row(-32768, 0, 32767, dtype="int16")[0], 8000), "as they are", ([[-32768, 0, 32767]], 8000)),
            Case("floats", lambda: Audio(numpy.array([-1, 0.5, 1]), 8000), "times 32767", ([[-32767, 16384, 32767]], 8000)),
            Case("floats with an overshoot of up to a tenth", lambda: Audio(numpy.array([-1.05, 1.05]), 8000), "clipped", ([[-32767, 32767]], 8000)),
            Case("floats beyond that", lambda: Audio(numpy.array([-2, 2.0]), 8000), "clipped", ([[-32767, 32767]], 8000), "its samples were clipped to -1..1"),
            Case("NaN", lambda: Audio(numpy.array([0.5, numpy.nan]), 8000), "silence", ([[16384, 0]], 8000), "what is NaN or masked in it is silence"),
            Case("masked elements", lambda: Audio(numpy.ma.array([16384, 5], mask=[0, 1], dtype="int16"), 8000), "silence", ([[16384, 0]], 8000), "what is NaN or masked in it is silence"),
            Case("8-bit integers", lambda: Audio(numpy.array([-128, 0, 127], "int8"), 8000), "times 256", ([[-32768, 0, 32512]], 8000)),
            Case("bytes", lambda: Audio(numpy.array([0, 128, 255], "uint8"), 8000), "less 128, times 256", ([[-32768, 0, 32512]], 8000)),
            Case("other unsigned integers", lambda: Audio(numpy.array([0, 32768, 65535], "uint16"), 8000), "less the middle of their range", ([[-32768, 0, 32767]], 8000)),
            Case("32-bit integers", lambda: Audio(numpy.array([-(2**31), 0, 2**31 - 1], "int32"), 8000), "the upper 16 bits", ([[-32768, 0, 32767]], 8000)),
            Case("larger types with 16-bit samples in them", lambda: Audio(numpy.array([-32768, 5], "int64"), 8000), "as they are", ([[-32768, 5]], 8000)),
            Case("booleans", lambda: Audio(numpy.array([True, False]), 8000), "32767 and 0", ([[32767, 0]], 8000)),
            Case("(samples, channels) or (channels, samples)", lambda: Audio(numpy.array([[0, 1, 2], [3, 4, 5]], "int16"), 8000), "the longer axis counts samples", ([[0, 1, 2], [3, 4, 5]], 8000)),
            Case("(1, channels, samples)", lambda: Audio(numpy.zeros((1, 2, 3), "int16"), 8000), "its one sound", ([[0, 0, 0], [0, 0, 0]], 8000)),
            Case("`sample_rate` as any number, or its text", lambda: Audio(numpy.array([1], "int16"), "8000"), "rounded", ([[1]], 8000)),  # type: ignore[arg-type]  # users do
        ],
    ),
    Section(
        "Distributions",
        "`Histogram(...)`. Shown are the smallest and the largest number, how many there are, and how many are not finite.",
        bins,
        [
            Case("an array or tensor of any numbers and shape, a sequence of numbers, lists of these", lambda: Histogram([[1, 2], [3]]), "counted in `bins` bins of one width", (1.0, 3.0, 3.0, 0, True)),
            Case("NaN, infinities, None and what is missing", lambda: Histogram([1.0, numpy.nan, None, 2.0]), "counted apart", (1.0, 2.0, 2.0, 2, True)),
            Case("masked elements", lambda: Histogram(numpy.ma.array([1, 9, 2], mask=[0, 1, 0])), "counted apart", (1.0, 2.0, 2.0, 1, True)),
            Case("numbers that are equal, or nearly", lambda: Histogram([1.0, 1.0 + 2**-52], bins=64), "bins around them, as wide as floats allow", (1.0, 1.0 + 2**-52, 2.0, 0, True)),
            Case("numbers up to the largest float", lambda: Histogram(row(-1.7e308, 1.7e308)), "bins; a sum that no float holds is the largest float", (-1.7e308, 1.7e308, 2.0, 0, True)),
            Case("`counts` and `edges`, or what `numpy.histogram` gives", lambda: Histogram(numpy.histogram([1, 2, 4], 3)), "as they are", (1.0, 4.0, 3.0, 0, True)),
            Case("more than 10000 bins", lambda: Histogram([1.0, 2.0], bins=10**9), "10000 bins", (1.0, 2.0, 2.0, 0, True), "it has 10000 bins"),
        ],
    ),
    Section(
        "Tables",
        "`Table(...)`, `log_table(...)`, or a dataframe as it is. `data` and `dataframe` take the same.",
        cells,
        [
            Case("a dataframe of pandas, polars or pyarrow", lambda: pandas().DataFrame({"a": [1, 2]}), "its columns", [["a"], [1], [2]]),
            Case("its index, where it does nothing but count rows", lambda: pandas().DataFrame({"a": [1]}, index=[0]), "left out", [["a"], [1]]),
            Case("any other index", lambda: pandas().DataFrame({"a": [1]}, index=["x"]), "the first column, under its name or `index`", [["index", "a"], ["x", 1]]),
            Case("an index of several levels", lambda: pandas().DataFrame({"a": [1]}, index=pandas().MultiIndex.from_tuples([("x", 2)], names=["k", None])), "a column each", [["k", "level_1", "a"], ["x", 2, 1]]),
            Case("columns of several levels", lambda: pandas().DataFrame([[1, 2]], columns=pandas().MultiIndex.from_tuples([("m", "a"), ("n", "")])), "their names joined by `/`", [["m/a", "n"], [1, 2]]),
            Case("columns of the same name", lambda: pandas().DataFrame([[1, 2]], columns=["a", "a"]), "kept", [["a", "a"], [1, 2]]),
            Case("a Series", lambda: Table(data=pandas().Series([1, 2], name="a")), "one column", [["a"], [1], [2]]),
            Case("a dict of columns", lambda: Table(data={"a": [1, 2], "b": numpy.array([3, 4])}), "columns", [["a", "b"], [1, 3], [2, 4]]),
            Case("a dict of single values", lambda: Table(data={"a": 1, "b": "text"}), "one row", [["a", "b"], [1, "text"]]),
            Case("a list of dicts, dataclasses, named tuples or the like", lambda: Table(data=[Sample(1, "x"), {"id": 2}]), "rows by name; None for what one has not", [["id", "label"], [1, "x"], [2, None]]),
            Case("a list or iterator of rows, a 2-dimensional array", lambda: Table(["a", "b"], numpy.array([[1, 2]])), "rows", [["a", "b"], [1, 2]]),
            Case("a structured array", lambda: Table(data=numpy.array([(1, "x")], [("a", "i4"), ("b", "U3")])), "columns by name", [["a", "b"], [1, "x"]]),
            Case("`columns` beside named ones", lambda: Table(["b"], {"a": [1], "b": [2]}), "chooses among them", [["b"], [2]]),
            Case("cells that are None, NaT, `pandas.NA`, or masked", lambda: pandas().DataFrame({"a": pandas().Series([1, None], dtype="Int64")}), "None", [["a"], [1], [None]]),
            Case("NaN in a column that holds no floats", lambda: pandas().DataFrame({"a": ["x", None]}), "None; among floats it is a number", [["a"], ["x"], [None]]),
            Case("categories, and sparse columns", lambda: pandas().DataFrame({"a": pandas().Series(["x"], dtype="category")}), "their values", [["a"], ["x"]]),
            Case("intervals, periods, complex numbers, any other object", lambda: Table(["a"], [[1j]]), "its text", [["a"], ["1j"]]),
            Case("lists, dicts, small arrays", lambda: Table(["a"], [[[1, {"b": None}]]]), "text of JSON", [["a"], ['[1, {"b": null}]']]),
            Case("larger arrays", lambda: Table(["a"], [[numpy.zeros((40, 40))]]), "text with their shape", [["a"], ["array of shape (40, 40), float64"]], "of arrays of more than 1000 numbers"),
            Case("an `Image`, a PIL image, a figure", lambda: Table(["a"], [[Image(grey(1))], [PIL.Image.new("L", (1, 1))]]), "a picture", [["a"], ["a picture"], ["a picture"]]),
            Case("a picture that can't be read", lambda: Table(["a"], [[Image("/no such/file.png")]]), "text with the reason", [["a"], ["<[Errno 2] No such file or directory: '/no such/file.png'>"]], "of what could not be read"),
        ],
    ),
    Section(
        "Configurations",
        "What `init_trackers(..., config=...)` is given. Nothing raises, nothing is consumed, and what can be read is kept.",
        itself,
        [
            Case("a mapping, `argparse.Namespace`, dataclass, named tuple, attrs or msgspec class", lambda: Sample(1, "x"), "its names and values", {"id": 1, "label": "x"}),
            Case("an object with `to_dict()` or `model_dump()` (transformers, pydantic); any object or class with attributes", lambda: Options, "the same", {"lr": 0.1}),
            Case("a field that is not set, or raises", lambda: Options(), "the reason; the others are kept", {"lr": 0.1, "started": "<reading it raised AttributeError>"}),
            Case("an object that raises whatever it is asked", lambda: {"a": Raising(), "b": 1}, "the same", {"a": "<reading it raised RuntimeError>", "b": 1}),
            Case("sets", lambda: {"a": {3, 1, 2}}, "lists, sorted", {"a": [1, 2, 3]}),
            Case("arrays and tensors of up to 1000 elements", lambda: {"a": numpy.ma.array([1, 2], mask=[False, True])}, "lists", {"a": [1, None]}),
            Case("larger ones", lambda: {"a": numpy.zeros((100, 100))}, "text with their shape", {"a": "array of shape (100, 100), float64"}),
            Case("classes and functions", lambda: {"a": [int, len]}, "their names", {"a": ["builtins.int", "builtins.len"]}),
            Case("iterators, ranges, bytes and any other object", lambda: {"a": iter([1]), "b": range(3), "c": b"x"}, "their text, without places in memory", {"a": "<list_iterator object>", "b": "range(0, 3)", "c": "b'x'"}),
            Case("keys that are no text", lambda: {1: "a", "1": "b"}, "text; of two that meet, both are kept", {"1": "a", "1'": "b"}),
        ],
    ),
    Section(
        "What is refused",
        "It is named in one warning and counted in `Tracking.rejected`; the other values of the call land. The reason begins like this.",
        itself,
        [
            Case("a list of numbers", lambda: [1, 2], "a list of numbers or other objects is no value: wrap them in Histogram(...)", None),
            Case("an array of several numbers", lambda: numpy.zeros(3), "an array of shape (3,) is no value: wrap it in Histogram(...) or Audio(...)", None),
            Case("a table of another tracker's library", lambda: type("Table", (), {"columns": ["a"], "data": [[1]]})(), "a table of another library is no value: log it as Table(columns=table.columns, data=table.data)", None),
            Case("complex numbers", lambda: 1j, "a complex number is no value", None),
            Case("pictures of complex numbers or of no numbers", lambda: Image(row(1, dtype="complex64")), "an array of complex64 holds no pixels", None),
            Case("a tensor on the meta device", lambda: Image(torch().ones(2, 2, device="meta")), "a tensor on the meta device has no values", None),
            Case("frames of several sizes", lambda: Video([numpy.zeros((4, 4)), numpy.zeros((4, 5))]), "the frames are not of one shape: frame 1 has (4, 5), frame 0 (4, 4)", None),
            Case("an array of sound without its rate", lambda: Audio(numpy.zeros(5)), "Audio needs sample_rate=...", None),
            Case("rows that do not fit", lambda: Table(["a", "b"], [[1, 2], [3]]), "row 1 of 1 cells does not fit 2 columns", None),
            Case("a text as a row", lambda: Table(["a", "b"], ["xy"]), "row 0 is one value (str): give each row as a list of cells", None),
            Case("sound or another medium in a cell", lambda: Table(["a"], [[Histogram([1])]]), "row 0 has a tracking_core.values.Histogram in column 'a'", None),
            Case("a histogram without a finite number", lambda: Histogram([numpy.nan]), "Histogram was given no finite number", None),
            Case("anything else", object, "such an object is no value", None),
        ],
    ),
]  # fmt: skip


def animated() -> PIL.Image.Image:
    file = io.BytesIO()
    pictures = [PIL.Image.new("RGB", (3, 1), colour) for colour in ("red", "blue")]
    pictures[0].save(file, "png", save_all=True, append_images=pictures[1:])
    return PIL.Image.open(file)


TAKEN = [
    pytest.param(section, case, id=f"{section.title}-{case.given}"[:80])
    for section in SECTIONS[:-2]
    for case in section.cases
]


@pytest.mark.parametrize(("section", "case"), TAKEN)
def test_what_is_handed_in_becomes_what_the_page_says(section: Section, case: Case) -> None:
    said: list[str] = []
    value = case.make()
    taken, rejected = capture({"v": value}, lambda key, kind, what: said.append(what))
    assert rejected == []
    assert section.seen(taken["v"]) == case.expected
    assert [what.startswith(case.said) for what in said] == ([True] if case.said else [])


@pytest.mark.parametrize("case", SECTIONS[-2].cases, ids=lambda case: case.given)
def test_what_a_configuration_becomes(case: Case) -> None:
    assert plain_config(case.make()) == case.expected


@pytest.mark.parametrize("case", SECTIONS[-1].cases, ids=lambda case: case.given)
def test_what_is_refused_is_named_with_a_remedy(case: Case) -> None:
    taken, rejected = capture({"v": case.make(), "other": 1})
    assert taken == {"other": 1}
    assert rejected[0].reason.startswith(case.becomes)


def sections() -> Iterator[str]:
    """This part of the page."""
    yield "## What becomes of what you hand in\n"
    yield "Whatever is lost or changed is said once for each key, in a warning, and counted in `Tracking.changed`.\n"
    for section in SECTIONS:
        yield f"### {section.title}\n\n{section.about}\n"
        says = any(case.said for case in section.cases)
        yield "| handed in | becomes |" + (" said once |" if says else "")
        yield "| --- | --- |" + (" --- |" if says else "")
        for case in section.cases:
            said = f" {case.said} |" if case.said else " |"
            yield f"| {case.given} | {case.becomes} |" + (said if says else "")
        yield ""


def test_the_page_shows_this_list() -> None:
    if not PAGE.exists():
        pytest.skip("docs/ is not beside the package here: it is part of the repository only")
    assert "\n".join(sections()) in PAGE.read_text("utf-8"), "python3 tools/dev.py values writes it"
