"""Names that survive any library."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core.names import escape, shortened, unescape

ALLOWED = re.compile(r"[A-Za-z0-9_/ .-]")
TRICKY = st.lists(st.sampled_from(["_", "x", "_x", "4", "0", "_x40_", "_x_", "@", "A", "F"])).map(
    "".join
)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("train/loss", "train/loss"),
        ("my_xent", "my_xent"),
        ("a@b", "a_x40_b"),
        ("_x40_", "_x5F_x40_"),
        ("", "_x_"),
        ("損", "_x640D_"),
    ],
)
def test_names(name: str, escaped: str) -> None:
    assert escape(name, ALLOWED) == escaped
    assert unescape(escaped) == name


@given(st.text() | TRICKY)
def test_every_name_comes_back(name: str) -> None:
    escaped = escape(name, ALLOWED)
    assert unescape(escaped) == name
    assert all(ALLOWED.match(character) for character in escaped)


@given(st.text() | TRICKY)
def test_unescaping_anything_raises_nothing(name: str) -> None:
    unescape(name)
    unescape(f"_x{name}_")
    assert unescape("_xFFFFFFFF_") == "_xFFFFFFFF_"


def test_the_pattern_may_look_around() -> None:
    no_leading_slash = re.compile(r"(?!(?<![\s\S])/)[a-z_/0-9A-Fx]")
    assert escape("/a/b", no_leading_slash) == "_x2F_a/b"


@given(st.text(min_size=1), st.integers(20, 60))
def test_shortened_names_fit_and_stay_apart(name: str, longest: int) -> None:
    long, other = name * longest + "1", name * longest + "2"
    assert len(shortened(long, longest)) == longest
    assert shortened(long, longest) != shortened(other, longest)
    assert shortened("short", longest) == "short"
