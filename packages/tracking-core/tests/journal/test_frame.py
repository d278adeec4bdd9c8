"""Damaged bytes cost what they hold and nothing else; nothing is altered or invented."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core.journal import Writer, frame, layout, segment

from .faulty import LONG, missing_of, read_all

RECORDS = 40


class Journal:
    """One segment with `RECORDS` records whose bytes a test may change."""

    def __init__(self, root: Path, *, closed: bool = False) -> None:
        rng = random.Random(1)
        writer = Writer.create(root, "run", sync_interval=None, mapped=False)
        self.payloads = {}
        for number in range(1, RECORDS + 1):
            payload = b"record %d " % number + rng.randbytes(rng.randrange(1, 400))
            assert writer.append(payload) == number
            self.payloads[number] = payload
        self.directory = writer.directory
        (name,) = layout.segments(self.directory)
        self.path = name.path
        self.salt = name.salt
        if closed:
            writer.close()
        self.whole = self.path.read_bytes()
        if not closed:
            writer.close()
        self.ends = []
        at = segment.HEADER_BYTES
        for payload in self.payloads.values():
            at += frame.HEADER_BYTES + len(payload)
            self.ends.append(at)

    def after(self, data: bytes) -> tuple[dict[int, bytes], set[int]]:
        """What a reader makes of other bytes, having checked that nothing in it is untrue."""
        with self.path.open("r+b") as file:
            # Not through an empty file: some file systems then flush on close.
            file.write(data)
            file.truncate()
        entries, damages = read_all(self.directory)
        numbers = [entry.seq for entry in entries]
        assert numbers == sorted(set(numbers))
        for entry in entries:
            assert self.payloads[entry.seq] == entry.payload
        missing = missing_of(damages)
        assert len(missing) == len(set(missing))
        assert not set(missing) & set(numbers)
        return {entry.seq: entry.payload for entry in entries}, set(missing)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return Journal(tmp_path_factory.mktemp("journal"))


@pytest.fixture(scope="module")
def closed_journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return Journal(tmp_path_factory.mktemp("closed"), closed=True)


def test_check_value_of_the_polynomial() -> None:
    assert crc32(b"123456789") == 0xCBF43926


@given(
    seq=st.integers(1, 2**64 - 1),
    payload=st.binary(min_size=1, max_size=2000),
    salt=st.integers(0, 2**32 - 1),
)
def test_what_goes_in_comes_out(seq: int, payload: bytes, salt: int) -> None:
    data = frame.encode(seq, payload, salt)
    frames, end = frame.read_run(data, 0, salt, 10)
    assert frames == [(frame.RECORD, seq, payload)]
    assert end == len(data)


def test_truncation_at_every_byte_keeps_all_that_is_whole(journal: Journal) -> None:
    step = 1 if LONG else 3
    cuts = sorted({*range(0, len(journal.whole) + 1, step), *journal.ends})
    for cut in cuts:
        records, missing = journal.after(journal.whole[:cut])
        whole = sum(1 for end in journal.ends if end <= cut)
        assert list(records) == list(range(1, whole + 1))
        torn = cut > segment.HEADER_BYTES and cut not in (segment.HEADER_BYTES, *journal.ends)
        assert missing == ({whole + 1} if torn else set())


def test_a_cut_closed_journal_says_that_its_end_is_gone_or_is_whole(
    closed_journal: Journal,
) -> None:
    records, missing = closed_journal.after(closed_journal.whole)
    assert len(records) == RECORDS
    assert not missing


def test_every_flipped_bit_costs_one_record(closed_journal: Journal) -> None:
    journal = closed_journal
    bits = range(len(journal.whole) * 8)
    headers = {
        bit
        for start in [0, *journal.ends[:-1]]
        for bit in range(start * 8, (start + frame.HEADER_BYTES) * 8)
    }
    chosen: list[int] = list(bits)
    if not LONG:
        sampled = random.Random(2).sample(bits, 1500)
        some_headers = random.Random(3).sample(sorted(headers), 1500)
        chosen = sorted({*range(segment.HEADER_BYTES * 8), *some_headers, *sampled})
    for bit in chosen:
        data = bytearray(journal.whole)
        data[bit // 8] ^= 1 << bit % 8
        hit = [seq for seq, end in enumerate(journal.ends, 1) if bit // 8 < end]
        expected = {hit[0]} if hit and bit // 8 >= segment.HEADER_BYTES else set()
        records, missing = journal.after(bytes(data))
        # Behind the last record stands the closing notice: without it nothing tells how many
        # records there were, and the reader says that at least one may be gone.
        if bit // 8 >= journal.ends[-1]:
            expected = missing
            assert missing <= {RECORDS + 1}
        assert missing == expected, bit
        assert set(records) == set(journal.payloads) - expected, bit


def damaged(whole: bytes, rng: random.Random) -> bytes:
    data = bytearray(whole)
    start = rng.randrange(len(data))
    size = rng.choice((1, 7, 24, 64, 512, 4096))
    kind = rng.randrange(7)
    if kind == 0:
        data[start : start + size] = bytes(len(data[start : start + size]))
    elif kind == 1:
        data[start : start + size] = rng.randbytes(len(data[start : start + size]))
    elif kind == 2:
        del data[start : start + size]
    elif kind == 3:
        data[start:start] = data[start : start + size]
    elif kind == 4:
        other = rng.randrange(len(data))
        block = bytes(data[start : start + size])
        data[start : start + size] = data[other : other + size]
        data[other : other + size] = block
    elif kind == 5:
        data[start:start] = rng.randbytes(size)
    else:
        data += bytes(1024 * 1024 if rng.random() < 0.02 else 4096)
    return bytes(data)


def test_damaged_regions_lose_only_what_they_held(closed_journal: Journal) -> None:
    rng = random.Random(4)
    everything = set(closed_journal.payloads)
    for _ in range(20_000 if LONG else 1500):
        data = closed_journal.whole
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = damaged(data, rng)
        records, missing = closed_journal.after(data)
        if data.endswith(closed_journal.whole[-frame.NOTICE_BYTES :]):
            assert set(records) | missing == everything
        assert missing <= everything | {RECORDS + 1}


def test_zeros_behind_the_end_are_no_damage(journal: Journal) -> None:
    records, missing = journal.after(journal.whole + bytes(1024 * 1024))
    assert len(records) == RECORDS
    assert not missing


def test_a_journal_inside_a_payload_never_surfaces(tmp_path: Path, journal: Journal) -> None:
    writer = Writer.create(tmp_path, "outer", sync_interval=None, mapped=False)
    payloads = [b"before", journal.whole, b"behind"]
    for payload in payloads:
        writer.append(payload)
    writer.close()
    (name,) = layout.segments(writer.directory)
    whole = name.path.read_bytes()
    for at in range(segment.HEADER_BYTES + 30, segment.HEADER_BYTES + 30 + 60):
        data = bytearray(whole)
        data[at] ^= 0xFF
        name.path.write_bytes(data)
        entries, _ = read_all(writer.directory)
        assert {entry.payload for entry in entries} <= set(payloads)
        assert len(entries) >= 2


def test_a_copy_of_the_own_journal_inside_a_payload_is_not_read_twice(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "self", sync_interval=None, mapped=False)
    for number in range(5):
        writer.append(b"early %d" % number)
    (name,) = layout.segments(writer.directory)
    early = name.path.stat().st_size
    writer.append(name.path.read_bytes())
    writer.append(b"late")
    writer.close()
    data = bytearray(name.path.read_bytes())
    data[early + 3] ^= 0xFF
    name.path.write_bytes(data)
    entries, damages = read_all(writer.directory)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 7]
    assert missing_of(damages) == [6]


@pytest.mark.parametrize("length", [frame.MAX_PAYLOAD + 1, 2**31, 2**32 - 1, 0])
def test_a_length_that_no_record_has_is_not_believed(tmp_path: Path, length: int) -> None:
    writer = Writer.create(tmp_path, "run", sync_interval=None, mapped=False)
    writer.append(b"one")
    (name,) = layout.segments(writer.directory)
    first = struct.pack("<4sIQI", b"\xa7TJ\x01", length, 2, 0)
    forged = first + struct.pack("<I", crc32(first, name.salt))
    with name.path.open("ab") as file:
        file.write(forged + frame.encode(3, b"three", name.salt))
    tracemalloc.start()
    try:
        entries, damages = read_all(writer.directory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        writer.close()
    assert [entry.payload for entry in entries] == [b"one", b"three"]
    assert missing_of(damages) == [2]
    assert peak < 4 * 1024 * 1024


@settings(max_examples=2000 if LONG else 300, deadline=None)
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.just(frame.MAGIC),
            st.builds(
                lambda seq, payload: frame.encode(seq, payload, 7),
                st.integers(0, 9),
                st.binary(min_size=1, max_size=40),
            ),
            st.builds(
                lambda kind, seq, number: frame.encode_notice(kind, seq, number, 7),
                st.integers(0, 5),
                st.integers(0, 9),
                st.integers(0, 2**64 - 1),
            ),
        ),
        max_size=12,
    )
)
def test_any_bytes_can_be_scanned(parts: list[bytes]) -> None:
    data = b"".join(parts)
    at, last = 0, 0
    for span in frame.scan(data, 7):
        assert at <= span.start < span.end <= len(data)
        at = span.end
        if span.frame is not None:
            assert span.frame.seq >= last
            last = span.frame.seq


def test_many_false_beginnings_are_scanned_in_linear_time(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path, "run", sync_interval=None, mapped=False)
    writer.append(b"one")
    hostile = frame.MAGIC * 300_000
    writer.append(hostile)
    writer.append(b"three")
    writer.close()
    (name,) = layout.segments(writer.directory)
    data = bytearray(name.path.read_bytes())
    data[segment.HEADER_BYTES + 30] ^= 1
    name.path.write_bytes(data)
    entries, _ = read_all(writer.directory)
    assert [entry.seq for entry in entries] == [1, 3]
