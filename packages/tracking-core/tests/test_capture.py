"""What `log()` takes, and what it says of the rest."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import importlib
import math
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core import Audio, Histogram, Image, Table, Video
from tracking_core.capture import (
    MOST_SEEN_NAMES,
    capture,
    capture_images,
    capture_tags,
    plain_row,
)
from tracking_core.capture import _seen_names as seen_names

SCALAR_DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "longdouble",
]  # fmt: skip


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def refused(value: object) -> str:
    taken, rejected = capture({"v": value, "good": 1})
    assert taken == {"good": 1}
    ((key, _, reason),) = rejected
    assert key == "v"
    return reason


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, True),
        (7, 7),
        (0.5, 0.5),
        ("text", "text"),
        (None, None),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (2**80, float(2**80)),
        (numpy.str_("s"), "s"),
        (numpy.array(2.5), 2.5),
        (numpy.array([2.5]), 2.5),
        (numpy.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Path("a") / "b", str(Path("a") / "b")),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
    ],
)
def test_plain_values(value: object, plain: object) -> None:
    found = one(value)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize("dtype", SCALAR_DTYPES)
def test_numpy_scalars_of_every_dtype(dtype: str) -> None:
    for number in (numpy.dtype(dtype).type(1), numpy.ones((), dtype), numpy.ones((1, 1), dtype)):
        found = one(number)
        assert found == 1
        assert type(found) in (bool, int, float)


@given(st.floats(width=32))
def test_floats_keep_their_bits(number: float) -> None:
    for form in (number, numpy.float32(number), numpy.float64(number), numpy.array(number)):
        found = one(form)
        assert math.isnan(found) if math.isnan(number) else found == number
        assert math.copysign(1, found) == math.copysign(1, number) or math.isnan(number)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "Histogram(...)"),
        ([[1, 2]], "Table(data=...)"),
        ([{"a": 1}], "Table(data=...)"),
        ([numpy.zeros((2, 2))], "wrap each in Image(...)"),
        (["a", "b"], "log each under its own key"),
        ([], "an empty list"),
        (numpy.zeros(3), "shape (3,)"),
        (numpy.zeros((2, 2), dtype=complex), "shape (2, 2)"),
        (numpy.complex128(1j), "complex"),
        (1j, "complex"),
        (b"bytes", "such an object is no value"),
        ({1, 2}, "such an object is no value"),
        (object(), "such an object is no value"),
        (10**400, "log it as text"),
        (lambda: 1, "such an object is no value"),
    ],
)
def test_what_is_no_value_is_refused_with_a_remedy(value: object, reason: str) -> None:
    assert reason in refused(value)


def test_what_the_remedies_say_works() -> None:
    for value, form in (
        ([1, 2], Histogram([1, 2])),
        ([[1, 2]], Table(data=[[1, 2]])),
        ([{"a": 1}], Table(data=[{"a": 1}])),
        (numpy.zeros(3), Audio(numpy.zeros(3), 8000)),
        (numpy.zeros((2, 3)), Table(data=numpy.zeros((2, 3)))),
        (numpy.zeros((2, 3)), Image(numpy.zeros((2, 3)))),
        (numpy.zeros((2, 3, 4)), Video(numpy.zeros((2, 3, 4)))),
        (numpy.zeros((2, 3, 4, 3)), Video(numpy.zeros((2, 3, 4, 3)))),
    ):
        assert type(form).__name__ in refused(value)
        one(form)


def test_what_is_lost_is_told_once_for_each_value() -> None:
    told: list[tuple[str, str, str]] = []
    picture = numpy.array([[-1.0, numpy.nan, 1.0]])
    values = {"a": Image(picture), "b": {"c": [Image(picture), Image(picture)]}, "d": 1.0}
    taken, rejected = capture(values, lambda *what: told.append(what))
    assert rejected == [] and set(taken) == {"a", "b", "d"}
    assert [(key, kind) for key, kind, _ in told] == [
        *[("a", "tracking_core.values.Image")] * 2,
        *[("b/c", "list")] * 2,
    ]
    assert [what for _, _, what in told[:2]] == [what for _, _, what in told[2:]]
    # What is refused in the end is not said to have been taken.
    told.clear()
    _, rejected = capture({"a": [Image(picture), 1]}, lambda *what: told.append(what))
    assert len(rejected) == 1 and told == []


def test_a_foreign_error_is_named_without_its_text() -> None:
    class Secretive:
        shape = ()

        def item(self) -> float:
            raise RuntimeError("the value was hunter2")

    reason = refused(Secretive())
    assert "RuntimeError" in reason
    assert "hunter2" not in reason


def test_the_type_is_named_as_a_user_would_write_it() -> None:
    _, ((_, name, _),) = capture({"v": decimal.Context()})
    assert name == "decimal.Context"


def test_nested_dicts_keep_their_shape() -> None:
    taken, rejected = capture({"a": {"b": {"c": numpy.int8(1)}, "bad": object()}, "empty": {}})
    assert taken == {"a": {"b": {"c": 1}}}
    assert [rejection.key for rejection in rejected] == ["a/bad"]


def test_a_dict_in_itself_is_refused() -> None:
    loop: dict[str, Any] = {"good": 1}
    loop["loop"] = loop
    taken, rejected = capture({"v": loop, "other": 2})
    assert taken["other"] == 2
    assert rejected[0].reason == "this is the dict that it is in"


def test_very_deep_dicts_are_refused() -> None:
    deep: dict[str, Any] = {"end": 1}
    for _ in range(50):
        deep = {"d": deep}
    _, rejected = capture(deep)
    assert "nested deeper than" in rejected[0].reason


def test_keys_become_text_and_do_not_hide_one_another() -> None:
    taken, rejected = capture({1: "one", "ü": 2, "1": "another one", "x\ud800": 3})
    assert taken == {"1": "one", "ü": 2, "x\\ud800": 3}
    assert [(r.key, r.reason) for r in rejected] == [
        ("1", "another value of the same call has this key")
    ]


def test_a_nested_value_and_a_flat_one_of_the_same_name_do_not_hide_one_another() -> None:
    taken, rejected = capture({"a": {"b": 1, "c": object()}, "a/b": 2, "a/c": 3})
    assert taken == {"a": {"b": 1}, "a/c": 3}
    assert [r.key for r in rejected] == ["a/c", "a/b"]


def test_a_key_without_a_text_costs_only_its_value() -> None:
    class Nameless:
        def __str__(self) -> str:
            raise RuntimeError

    taken, rejected = capture({Nameless(): 1, "good": 2})
    assert taken == {"good": 2}
    assert "Nameless" in rejected[0].key


hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
    | st.builds(object)
    | st.sampled_from([numpy.zeros((0,)), numpy.array("text"), numpy.zeros((2, 3, 4)), int, len]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters()) | st.integers(), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(hostile)
def test_nothing_raises_and_everything_is_taken_or_named(value: Any) -> None:
    taken, rejected = capture({"v": value})
    empty_dict = isinstance(value, dict) and not taken and not rejected
    assert taken or rejected or empty_dict


numbers = st.floats() | st.booleans() | st.integers(-(2**65), 2**65)
names = st.text(max_size=5) | st.integers() | st.none()


@given(st.dictionaries(names, numbers | st.none() | st.text(max_size=3) | hostile, max_size=4))
def test_what_is_plain_at_a_glance_is_what_a_closer_look_would_take(values: Any) -> None:
    row = plain_row(values)
    if row is not None:
        assert row is not values
        taken, rejected = capture(values)
        assert rejected == []
        assert repr(row) == repr(taken)


def test_a_row_of_numbers_is_plain_at_a_glance() -> None:
    row = {"loss": 0.5, "nan": math.nan, "best": True, "epoch": 3, "seen": 2**64 - 1}
    assert plain_row(row) == row
    for other in (2**64, -(2**63) - 1, numpy.float64(1), Level.HIGH, "text", None, {"a": 1.0}):
        assert plain_row({**row, "other": other}) is None
    for name in (1, "\ud800", "\u00e9"):
        assert plain_row({**row, name: 1.0}) is None
    assert plain_row([("loss", 0.5)]) is None


def test_a_name_that_raises_when_it_is_looked_at_is_left_to_the_closer_look() -> None:
    class Name:
        fine = True

        def __hash__(self) -> int:
            if not self.fine:
                raise RuntimeError
            return hash("loss")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __str__(self) -> str:
            return "odd"

    assert plain_row({"loss": 0.5}) == {"loss": 0.5}
    odd: dict[Any, float] = {Name(): 1.0}
    assert plain_row(odd) is None
    Name.fine = False
    assert plain_row(odd) is None
    assert capture(odd) == ({"odd": 1.0}, [])


def test_names_that_were_seen_do_not_pile_up() -> None:
    for number in range(0, 3 * MOST_SEEN_NAMES, 100):
        row = {f"metric {name}": 1.0 for name in range(number, number + 100)}
        assert plain_row(row) == row
    assert len(seen_names) <= MOST_SEEN_NAMES + 100


def test_a_name_is_its_characters_whatever_its_class() -> None:
    class Name(str, enum.Enum):
        LOSS = "loss"

    assert list(capture({Name.LOSS: "text"})[0]) == ["loss"]
    assert plain_row({Name.LOSS: 1.0}) == {"loss": 1.0}


@settings(deadline=None)  # Pillow loads what it knows of formats when it is asked for the first one
@given(hostile)
def test_images_of_anything_raise_nothing(value: Any) -> None:
    capture_images({"v": value})
    capture_images(value)
    capture_images({"v": value}, "nonsense")


def test_arrays_are_not_kept_alive() -> None:
    array = numpy.random.default_rng(0).random((4, 4))
    reference = weakref.ref(array)
    kept = capture({"i": Image(array), "h": Histogram(array), "s": array[0, :1]})
    del array
    assert reference() is None
    assert len(kept[0]) == 3


@pytest.mark.parametrize(
    ("tags", "plain"),
    [
        (["a", "b"], {"a": None, "b": None}),
        ("a", {"a": None}),
        ({"team": "nlp", "n": 3, "label": None}, {"team": "nlp", "n": "3", "label": None}),
        (("x",), {"x": None}),
        (3, {"3": None}),
    ],
)
def test_tags(tags: object, plain: dict[str, str | None]) -> None:
    assert capture_tags(tags) == plain


class TestTorch:
    """With the real library, where it is installed."""

    @pytest.fixture
    def torch(self) -> Any:
        if os.environ.get("TRACKING_REQUIRE") == "1":
            return importlib.import_module("torch")
        return pytest.importorskip("torch", reason="torch is not installed here")

    def test_scalars(self, torch: Any) -> None:
        for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
            assert one(torch.tensor(1.5, dtype=dtype)) == 1.5
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            assert one(torch.tensor(3, dtype=dtype)) == 3
        assert one(torch.tensor(True)) is True
        assert one(torch.tensor(70000.0, dtype=torch.bfloat16)) == 70144.0
        assert one(torch.tensor([2.0], requires_grad=True)) == 2.0

    def test_larger_tensors_are_refused_with_a_remedy(self, torch: Any) -> None:
        assert "shape (2, 3)" in refused(torch.zeros(2, 3))

    def test_pictures_have_their_channels_first(self, torch: Any) -> None:
        image = one(Image(torch.zeros(3, 8, 4, requires_grad=True)))
        assert (image.height, image.width, image.channels) == (8, 4, 3)
        image = one(Image(torch.zeros(3, 8, 3, dtype=torch.bfloat16)))
        assert (image.height, image.width, image.channels) == (8, 3, 3)
        histogram = one(Histogram(torch.arange(10, dtype=torch.bfloat16), bins=5))
        assert histogram.counts == [2.0] * 5

    def test_a_tensor_is_not_kept_alive(self, torch: Any) -> None:
        tensor = torch.tensor(1.0, requires_grad=True) * 2
        reference = weakref.ref(tensor)
        kept = capture({"loss": tensor})
        del tensor
        assert reference() is None
        assert kept[0] == {"loss": 2.0}

    def test_steps_may_be_tensors(self, torch: Any) -> None:
        from tracking_core.tracker import whole_step

        assert whole_step(torch.tensor(5)) == 5


def test_capturing_numbers_imports_nothing() -> None:
    before = set(sys.modules)
    capture({"a": 1.0, "b": {"c": True}, "d": "text"})
    assert set(sys.modules) == before
