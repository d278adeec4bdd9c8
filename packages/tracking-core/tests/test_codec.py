"""Records come back from bytes as they went, and nothing else comes back from anything else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core.codec import Blob, decode, encode, travels
from tracking_core.errors import DamagedJournal
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Tags,
)

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**63), 2**64 - 1)
numbers = st.floats(allow_nan=False)
plain = st.none() | st.booleans() | integers | numbers | texts
size = st.integers(0, 2**31)
images = st.builds(
    LoggedImage, st.binary(), size, size, size, texts, st.none() | texts, st.booleans()
)
media = (
    images
    | st.builds(
        LoggedTable, st.lists(texts), st.lists(st.lists(plain | images, max_size=3), max_size=3)
    )
    | st.builds(
        LoggedHistogram, st.lists(numbers), st.lists(numbers), numbers, numbers, numbers, numbers, numbers, size
    )
    | st.builds(LoggedAudio, st.binary(), size, size, texts, st.none() | texts)
    | st.builds(LoggedVideo, st.binary(), size, size, size, size, numbers, texts, st.none() | texts)
    | st.builds(LoggedFile, texts, texts, st.booleans())
)  # fmt: skip
values = st.dictionaries(
    texts,
    st.recursive(
        plain | media | st.lists(media, max_size=3),
        lambda inner: st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
config = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.dictionaries(texts, st.dictionaries(texts, config, max_size=2), max_size=2)
only = st.none() | texts
records = (
    st.builds(Config, st.dictionaries(texts, config, max_size=4), numbers, only)
    | st.builds(Tags, st.dictionaries(texts, st.none() | texts), numbers, only)
    | st.builds(Log, values, st.none() | integers, integers, numbers, options, only)
    | st.builds(End, st.sampled_from(["finished", "failed", "killed"]), numbers)
    | st.builds(Blob, texts)
)


@given(records)
def test_every_record_comes_back_as_it_went(record: Any) -> None:
    assert decode(encode(record)) == record


@settings(max_examples=500)
@given(st.binary(max_size=200) | records.map(encode).flatmap(
    lambda data: st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)).map(
        lambda change: data[: change[0]] + bytes([change[1]]) + data[change[0] + 1 :]
    )
))  # fmt: skip
def test_foreign_bytes_are_a_damaged_journal_and_nothing_else(data: bytes) -> None:
    try:
        decode(data)
    except DamagedJournal:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x82\xa4type\xa3log\xa6values\xdd\xff\xff\xff\xff",
        b"\x82\xa4type\xa3log\xa6values\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x82\xa4type\xa3log\xa6values\x81\xa1a" + b"\x91" * 100_000,
        b"\x82\xa4type\xa3log\xa6values\x81\xa1a\xc7\x01\x05x",
        b"\x81\xa4type\xa6strange",
        b"\x83\xa4type\xa3log\xa6values\x81\xa1a\x81\x80\xc0\xa8position\x00",
        b"\x83\xa4type\xa3log\xa6values\x81\xa1a\x81\x91\x80\xc0\xa8position\x00",
    ],
)
def test_huge_sizes_and_depths_are_refused_without_using_memory(data: bytes) -> None:
    with pytest.raises(DamagedJournal):
        decode(data)


def test_a_dict_that_looks_like_a_medium_stays_a_dict() -> None:
    image = LoggedImage(b"\0", 1, 1, 1)
    values = {
        "a": {"type": "image", "data": b"".decode(), "width": 1, "height": 1, "channels": 1},
        "b": {"type": "blob", "digest": "0" * 64},
        "c": {"type": {"type": "file", "path": "/etc/passwd"}},
        "d": [image],
    }
    record = decode(encode(Log(values, None, 0, 0.0)))
    assert isinstance(record, Log) and record.values == values
    assert [type(value) for value in record.values.values()] == [dict, dict, dict, list]
    assert type(record.values["d"][0]) is LoggedImage


def test_numbers_keep_their_bits() -> None:
    values: dict[str, Any] = {
        "n": math.nan,
        "i": -math.inf,
        "z": -0.0,
        "s": 5e-324,
        "t": True,
        "o": 1,
    }
    record = decode(encode(Log(values, None, 0, 0.0)))
    assert isinstance(record, Log) and list(map(repr, record.values.values())) == list(
        map(repr, values.values())
    )


@given(config)
def test_what_travels_comes_back(value: Any) -> None:
    assert travels(value)
    record = decode(encode(Config({"value": value}, 0.0)))
    assert isinstance(record, Config) and record.values == {"value": value}


def test_what_does_not_travel_is_known_before() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    for value in (print, 2**64, -(2**63) - 1, "\ud800", {1: 2}, {"\udfff": 1}, cycle, b"", {1}, 1j):
        assert not travels(value), value
