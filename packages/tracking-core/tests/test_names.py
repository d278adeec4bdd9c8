"""Names that survive any library."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core.names import Names, escape, marked, shortened, unescape

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


FLAT = re.compile(r"[A-Za-z0-9_.-]")
LOWER = re.compile(r"[a-z0-9_]")
KEYS = st.text(st.sampled_from("aAbB/.é")) | TRICKY | st.text(max_size=5)


@given(st.text() | TRICKY)
def test_a_marked_name_is_another_one_and_comes_back(name: str) -> None:
    assert marked(name, FLAT) != escape(name, FLAT)
    assert unescape(marked(name, FLAT)) == name


def candidates(key: str) -> Iterator[str]:
    yield escape(key, ALLOWED)
    yield escape(key, FLAT)
    yield marked(key, FLAT)
    yield marked(key, LOWER)
    # Begins like no name that is escaped.
    yield f"_x_{key.encode('utf-8', 'surrogatepass').hex()}"


@pytest.mark.parametrize("files", [True, False])
@given(keys=st.lists(KEYS, unique=True))
def test_every_key_has_a_name_of_its_own(files: bool, keys: list[str]) -> None:
    names = Names(candidates, files=files)
    found = {key: names.name_of(key) for key in keys}
    assert {key: names.name_of(key) for key in keys} == found
    assert len({name.casefold() for name in found.values()}) == len(keys)
    for name, key in zip(found.values(), keys, strict=True):
        assert names.kept.get(name, unescape(name)) == key
    if files:
        # Each can be a file, also where capitals count for nothing.
        taken = [name.casefold() for name in found.values()]
        assert not any(other.startswith(f"{name}/") for name in taken for other in taken)
    again = Names(candidates, names.kept, found.values(), files=files)
    assert {key: again.name_of(key) for key in reversed(keys)} == found


@pytest.mark.parametrize(
    ("taken", "key", "name"),
    [
        (["loss"], "loss", "loss"),
        (["loss"], "loss/ce", "loss_x2F_ce"),
        (["loss/ce"], "loss", "loss_x_"),
        (["loss/ce"], "loss/mse", "loss/mse"),
        (["Loss"], "loss", "loss_x_"),
        (["Loss/ce"], "loss/mse", "loss_x2F_mse"),
    ],
)
def test_what_others_have_put_there_gets_in_nobodys_way(
    taken: list[str], key: str, name: str
) -> None:
    assert Names(candidates, taken=taken, files=True).name_of(key) == name
