"""A configuration of any shape becomes plain data and never raises."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import types
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core.config import plain_config


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


def test_objects_that_raise_are_named() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise KeyError(key)

    plain = plain_config({"raising": Raising(), "broken": Broken(a=1), Raising(): 1})
    assert "Raising" in str(plain["raising"])
    assert plain["broken"] == {"a": "<reading it raised KeyError>"}
    assert len(plain) == 3


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
