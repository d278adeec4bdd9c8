"""A configuration of any shape becomes plain data and never raises."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import enum
import functools
import itertools
import json
import re
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core.config import LEFT_OUT, plain_config


@dataclasses.dataclass
class Optimizer:
    name: str
    betas: tuple[float, float]


class Model:
    def __init__(self) -> None:
        self.layers = 2

    def to_dict(self) -> dict[str, Any]:
        return {"layers": self.layers, "kind": "bert"}


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        ({"lr": 0.1}, {"lr": 0.1}),
        (argparse.Namespace(lr=0.1, layers=[1, 2]), {"lr": 0.1, "layers": [1, 2]}),
        (types.SimpleNamespace(a=1), {"a": 1}),
        (Optimizer("adam", (0.9, 0.99)), {"name": "adam", "betas": [0.9, 0.99]}),
        (Model(), {"layers": 2, "kind": "bert"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (None, {"config": None}),
        ([1, {"a": 2}], {"config": [1, {"a": 2}]}),
        ("text", {"config": "text"}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
    ],
)
def test_whatever_a_configuration_comes_in(config: object, plain: dict[str, Any]) -> None:
    assert plain_config(config) == plain


def test_values_of_every_kind() -> None:
    config = {
        "nested": {"optimizer": Optimizer("sgd", (0.0, 1.0))},
        "types": [int, len, numpy.dtype("float32")],
        "set": {3, 1, 2},
        "array": numpy.arange(3),
        "matrix": numpy.ones((2, 2)),
        "large": numpy.zeros((1000, 1000)),
        "scalar": numpy.float32(0.5),
        "path": Path("a"),
        "bytes": b"x",
        "complex": 1j,
        "big": 2**70,
        1: "one",
    }
    assert plain_config(config) == {
        "nested": {"optimizer": {"name": "sgd", "betas": [0.0, 1.0]}},
        "types": ["builtins.int", "builtins.len", "float32"],
        "set": [1, 2, 3],
        "array": [0, 1, 2],
        "matrix": [[1.0, 1.0], [1.0, 1.0]],
        "large": "array of shape (1000, 1000), float64",
        "scalar": 0.5,
        "path": "a",
        "bytes": "b'x'",
        "complex": "1j",
        "big": float(2**70),
        "1": "one",
    }


def test_keys_that_meet_as_text_are_both_kept() -> None:
    assert plain_config({1: "a", "1": "b"}) == {"1": "a", "1'": "b"}


class TestWhatRaises:
    """The broken part becomes the reason, and everything else is kept."""

    def test_a_field_that_is_not_set(self) -> None:
        @dataclasses.dataclass
        class Options:
            lr: float = 0.1
            started: float = dataclasses.field(init=False)

        plain = {"lr": 0.1, "started": "<reading it raised AttributeError>"}
        assert plain_config(Options()) == plain
        assert plain_config({"options": [Options()]}) == {"options": [plain]}

    def test_a_mapping_that_raises_on_the_way(self) -> None:
        class Half(Mapping[str, Any]):
            def __iter__(self) -> Iterator[str]:
                yield "a"
                yield "b"
                raise RuntimeError

            def __getitem__(self, key: str) -> Any:
                if key == "b":
                    raise OSError(key)
                return 1

            def __len__(self) -> int:
                raise ValueError

        plain = {
            "a": 1,
            "b": "<reading it raised OSError>",
            "<the rest>": "<reading it raised RuntimeError>",
        }
        assert plain_config(Half()) == plain
        assert plain_config({"half": Half(), "c": 2}) == {"half": plain, "c": 2}

    def test_a_mapping_that_raises_at_once(self) -> None:
        class Dead(Mapping[str, Any]):
            def __iter__(self) -> Iterator[str]:
                raise RuntimeError

            __getitem__ = __len__ = __iter__  # type: ignore[assignment]  # raises, too

        assert plain_config(Dead()) == {"config": "<reading it raised RuntimeError>"}
        assert plain_config({"dead": Dead()}) == {"dead": "<reading it raised RuntimeError>"}

    def test_what_a_dict_holds_is_kept_although_its_class_raises(self) -> None:
        class Lazy(dict[str, Any]):
            def __iter__(self) -> Iterator[str]:
                raise RuntimeError("not loaded")

            keys = __iter__  # type: ignore[assignment]  # raises, too

        assert plain_config(Lazy(a=1)) == {
            "a": 1,
            "<the rest>": "<reading it raised RuntimeError>",
        }

        class Broken(dict[str, Any]):
            def __getitem__(self, key: str) -> Any:
                raise KeyError(key)

        assert plain_config(Broken(a=1)) == {"a": "<reading it raised KeyError>"}

    def test_objects_that_raise_whatever_they_are_asked(self) -> None:
        class Proxy:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

        class Classless:
            @property
            def __class__(self) -> Any:
                raise RuntimeError

        for one in (Proxy(), Classless()):
            assert plain_config(one) == {"config": "<reading it raised RuntimeError>"}
            plain = plain_config({"one": one, "two": 2})
            assert plain == {"one": "<reading it raised RuntimeError>", "two": 2}

    def test_what_is_set_on_an_object_that_raises_for_other_names(self) -> None:
        class Strict:
            def __init__(self) -> None:
                self.lr = 0.1

            def __getattr__(self, name: str) -> Any:
                raise KeyError(name)

        assert plain_config(Strict()) == {"lr": 0.1}

    def test_texts_keys_and_hashes_that_raise(self) -> None:
        class Unhashable(Raising):
            __hash__ = None  # type: ignore[assignment]  # the point

        plain = plain_config({"raising": Raising(), "unhashable": Unhashable(), Raising(): 1})
        assert "Raising" in str(plain["raising"]) and "Unhashable" in str(plain["unhashable"])
        assert len(plain) == 3

    def test_conversions_that_raise(self) -> None:
        class Model:
            def __init__(self) -> None:
                self.layers = 2

            def to_dict(self) -> dict[str, Any]:
                raise RuntimeError

        assert plain_config(Model()) == {"layers": 2}

    def test_one_element_of_a_list(self) -> None:
        class Gaps(Sequence[int]):
            def __len__(self) -> int:
                return 3

            def __getitem__(self, index: Any) -> Any:
                if index == 1:
                    raise ValueError
                return index

        assert plain_config({"a": Gaps()}) == {"a": [0, "<reading it raised ValueError>", 2]}


class TestKinds:
    def test_enums(self) -> None:
        class Colour(enum.Enum):
            RED = "red"
            MIXED = (1, 2)

        plain = plain_config({"a": Colour.RED, "b": Colour.MIXED, "c": Colour, Colour.RED: 1})
        prefix = Colour.__qualname__
        assert plain["a"] == "red"
        assert plain["b"] == "Colour.MIXED"
        assert str(plain["c"]).endswith(prefix)
        assert plain["Colour.RED"] == 1
        assert plain_config(Colour.RED) == {"config": "red"}

    def test_objects_and_classes_with_attributes(self) -> None:
        class Options:
            lr = 0.1
            activation = len

            class optimizer:
                name = "adam"

            @property
            def heavy(self) -> float:
                raise RuntimeError

            def method(self) -> None: ...

        class More(Options):
            def __init__(self) -> None:
                self.layers = 2

        base = {"lr": 0.1, "activation": "builtins.len", "optimizer": {"name": "adam"}}
        assert plain_config(Options) == base
        assert plain_config(Options()) == base
        assert plain_config(More()) == {**base, "layers": 2}

        class Slots:
            __slots__ = ("a", "b")

            def __init__(self) -> None:
                self.a = 1

        assert plain_config(Slots()) == {"a": 1, "b": "<reading it raised AttributeError>"}

    def test_attrs_and_msgspec(self) -> None:
        attr = pytest.importorskip("attr", reason="attrs is not installed here")
        made = attr.make_class("Made", {"x": attr.ib(default=1), "y": attr.ib(factory=list)})

        class Struct(msgspec.Struct):
            x: int = 1

        assert plain_config(made()) == {"x": 1, "y": []}
        assert plain_config({"a": made(), "b": Struct()}) == {"a": {"x": 1, "y": []}, "b": {"x": 1}}

    def test_pydantic_keeps_its_secrets(self) -> None:
        pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed here")
        secret = pydantic.SecretStr("hunter2")
        model = pydantic.create_model("Options", lr=(float, 0.1), key=(pydantic.SecretStr, secret))
        for config in (model(), {"a": model()}, [model()], secret, {"a": [secret]}):
            assert "hunter2" not in json.dumps(plain_config(config))
        assert plain_config(model()) == {"lr": 0.1, "key": "**********"}

    def test_nothing_is_consumed(self) -> None:
        numbers = iter([1, 2])
        endless = itertools.count()
        plain = plain_config(
            {"a": numbers, "b": endless, "c": (i for i in numbers), "d": range(10**15)}
        )
        assert list(numbers) == [1, 2] and next(endless) == 0
        assert plain["a"] == "<list_iterator object>"
        assert plain["d"] == "range(0, 1000000000000000)"

    def test_times_masks_and_other_values(self) -> None:
        config = {
            "moment": numpy.datetime64("2024-01-01", "ns"),
            "duration": datetime.timedelta(minutes=1),
            "moments": numpy.array(["2024-01-01", "NaT"], "M8[ns]"),
            "masked": numpy.ma.array([1, 2], mask=[False, True]),
            "months": numpy.timedelta64(5, "M"),
            "texts": numpy.array(["a", "b"]),
            "objects": numpy.array([{"a": 1}, None]),
            "wide": numpy.ones(2, "longdouble"),
            "structure": numpy.zeros(1, [("a", "i4"), ("b", "f4")]),
            "complex": numpy.array([1j, 2]),
            "deque": collections.deque([1, {2}]),
            "pattern": re.compile("a+"),
            "slice": slice(1, 2),
            "partial": functools.partial(len, "x"),
            "huge": 10**5000,
            "bytes": bytes(10**6),
        }
        plain = plain_config(config)
        json.dumps(plain, allow_nan=False)
        assert {key: plain[key] for key in list(config)[:11]} == {
            "moment": "2024-01-01T00:00:00",
            "duration": 60.0,
            "moments": ["2024-01-01T00:00:00", None],
            "masked": [1, None],
            "months": "5 months",
            "texts": ["a", "b"],
            "objects": [{"a": 1}, None],
            "wide": [1.0, 1.0],
            "structure": [{"a": 0, "b": 0.0}],
            "complex": ["1j", "(2+0j)"],
            "deque": [1, [2]],
        }
        assert plain["pattern"] == "re.compile('a+')"
        assert plain["slice"] == "slice(1, 2, None)"
        assert plain["huge"] == hex(10**5000)
        assert len(str(plain["bytes"])) <= 10_000

    def test_frames_are_kept_while_they_are_small(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        small, large = pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"a": range(5000)})
        plain = plain_config({"small": small, "large": large})
        assert plain["small"] == {"a": {"0": 1, "1": 2}}
        assert str(plain["large"]).endswith("DataFrame of shape (5000, 1)")

    def test_tensors(self) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed here")
        config = {
            "dtype": torch.float16, "device": torch.device("cpu"), "size": torch.Size([1, 2]),
            "small": torch.ones(2, dtype=torch.bfloat16, requires_grad=True),
            "large": torch.ones(100, 100), "meta": torch.ones(3, device="meta"),
        }  # fmt: skip
        plain = plain_config(config)
        assert list(plain.values())[:5] == [
            "torch.float16", "cpu", [1, 2], [1.0, 1.0], "array of shape (100, 100), float32",
        ]  # fmt: skip
        assert "meta" in str(plain["meta"])

    def test_keys_that_look_like_an_array(self) -> None:
        assert plain_config({"a": AttrDict(item=1, shape=(1,))}) == {"a": {"item": 1, "shape": [1]}}


class AttrDict(dict[str, Any]):
    """As many write it: what is not there raises KeyError where AttributeError is asked for."""

    __getattr__ = dict.__getitem__


class TestSize:
    def test_lists_in_lists_that_would_fill_any_memory(self) -> None:
        bomb: Any = [1]
        for _ in range(30):
            bomb = [bomb] * 10
        began = time.monotonic()
        plain = plain_config({"bomb": bomb, "after": [1]})
        assert time.monotonic() - began < 20
        assert LEFT_OUT in json.dumps(plain)

    def test_large_ones_are_kept(self) -> None:
        config = {"list": list(range(200_000)), "dict": {str(i): i for i in range(50_000)}}
        assert plain_config(config) == config


def test_a_configuration_in_itself_ends() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["loop"] = loop
    loop["list"] = [loop]
    assert plain_config(loop) == {
        "a": 1,
        "loop": "<the dict that this is in>",
        "list": ["<the dict that this is in>"],
    }
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert "nested deeper than" in json.dumps(plain_config({"deep": deep}))


def test_omegaconf() -> None:
    omegaconf = pytest.importorskip("omegaconf", reason="OmegaConf is not installed here")
    config = omegaconf.OmegaConf.create({"a": {"b": [1, "${a.c}"], "c": 2}, "bad": "${nowhere}"})
    plain = plain_config(config)
    assert plain["a"] == {"b": [1, 2], "c": 2}
    assert "reading it raised" in str(plain["bad"])
    config = omegaconf.OmegaConf.create({"a": [1, "???", "${nowhere}"], "b": "???", "c": 3})
    plain = plain_config(config)
    missing = "<reading it raised omegaconf.errors.MissingMandatoryValue>"
    assert plain["a"][:2] == [1, missing] and "reading it raised" in plain["a"][2]
    assert (plain["b"], plain["c"]) == (missing, 3)
    assert plain_config(omegaconf.OmegaConf.create([1, 2])) == {"config": [1, 2]}
    structured = omegaconf.OmegaConf.structured(Optimizer("adam", (0.9, 0.99)))
    assert plain_config(structured) == {"name": "adam", "betas": [0.9, 0.99]}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary()
    | st.builds(object) | st.builds(Raising) | st.just(numpy.zeros((2, 0))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.sets(st.integers()),
    max_leaves=20,
)  # fmt: skip


@given(anything)
def test_nothing_raises_and_all_of_it_is_json(config: Any) -> None:
    plain = plain_config(config)
    json.dumps(plain).encode("utf-8")
    if isinstance(config, dict):
        assert len(plain) == len(config)
