"""A reader follows a live writer, salvages a dead one, and says exactly what is missing."""

from __future__ import annotations

import errno
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from zlib import crc32

import pytest

from tracking_core.errors import DamagedJournal, JournalError, JournalVersionError
from tracking_core.journal import Damage, Entry, Files, Reader, Writer, frame, layout, segment

from .faulty import LONG, missing_of, read_all


def journal(root: Path, count: int = 60, *, segment_bytes: int = 500) -> Path:
    with Writer.create(
        root, "run", mapped=False, sync_interval=None, segment_bytes=segment_bytes
    ) as writer:
        for number in range(1, count + 1):
            writer.append(b"payload %d" % number)
    return writer.directory


def test_reading_begins_after_any_record(tmp_path: Path) -> None:
    directory = journal(tmp_path)
    for after in range(62):
        entries, damages = read_all(directory, after)
        assert [entry.seq for entry in entries] == list(range(after + 1, 61))
        assert damages == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_a_limit_is_kept_and_nothing_falls_between(tmp_path: Path, limit: int) -> None:
    directory = journal(tmp_path)
    with Reader(directory) as reader:
        numbers = []
        while batch := reader.read(limit):
            assert len(batch) <= limit
            numbers += [entry.seq for entry in batch if isinstance(entry, Entry)]
            assert reader.position == numbers[-1]
        assert reader.ended
        assert reader.finished
    assert numbers == list(range(1, 61))


def test_half_a_frame_of_a_living_writer_is_waited_for(tmp_path: Path) -> None:
    directory = journal(tmp_path, 3, segment_bytes=10_000)
    (name,) = layout.segments(directory)
    whole = name.path.read_bytes()[: -frame.NOTICE_BYTES]
    for padding in (0, 500):
        for cut in range(segment.HEADER_BYTES, len(whole) + 1):
            name.path.write_bytes(whole[:cut] + bytes(padding))
            with Reader(directory, live=True) as reader:
                first = reader.read()
                assert all(isinstance(item, Entry) for item in first)
                assert reader.read() == []
                with name.path.open("r+b") as file:
                    file.write(whole)
                items = first + reader.read()
                assert [item.seq for item in items if isinstance(item, Entry)] == [1, 2, 3]
                assert len(items) == 3


def test_half_a_frame_of_a_dead_writer_is_torn(tmp_path: Path) -> None:
    directory = journal(tmp_path, 3, segment_bytes=10_000)
    (name,) = layout.segments(directory)
    whole = name.path.read_bytes()[: -frame.NOTICE_BYTES]
    cut = whole[:-4]
    name.path.write_bytes(cut + bytes(500))
    with Reader(directory, live=False) as reader:
        items = reader.read()
        assert reader.finished
        assert not reader.ended
    start = len(whole) - 24 - len(b"payload 3")
    assert items[:2] == [Entry(1, b"payload 1"), Entry(2, b"payload 2")]
    assert items[2:] == [Damage(name.path, start, len(cut), range(3, 4), "torn")]


def test_damage_in_the_middle_names_its_place_and_its_numbers(tmp_path: Path) -> None:
    directory = journal(tmp_path, 9, segment_bytes=10_000)
    (name,) = layout.segments(directory)
    data = bytearray(name.path.read_bytes())
    size = 24 + len(b"payload 1")
    start = 64 + 3 * size
    data[start : start + 2 * size] = bytes(2 * size)
    name.path.write_bytes(data)
    for live in (True, False):
        entries, damages = read_all(directory, live=live)
        if live:
            # Zeros are space that a living writer has not come to yet.
            assert [entry.seq for entry in entries] == [1, 2, 3]
            continue
        assert [entry.seq for entry in entries] == [1, 2, 3, 6, 7, 8, 9]
        assert damages == [Damage(name.path, start, start + 2 * size, range(4, 6), "damaged")]


def test_damage_before_the_place_to_begin_is_not_reported_again(tmp_path: Path) -> None:
    directory = journal(tmp_path, 9, segment_bytes=10_000)
    (name,) = layout.segments(directory)
    data = bytearray(name.path.read_bytes())
    data[100] ^= 1
    name.path.write_bytes(data)
    assert missing_of(read_all(directory)[1]) == [2]
    assert read_all(directory, 4)[1] == []
    assert missing_of(read_all(directory, 1)[1]) == [2]


def test_a_damaged_segment_header_costs_no_record(tmp_path: Path) -> None:
    directory = journal(tmp_path, 20)
    for name in layout.segments(directory):
        data = name.path.read_bytes()
        name.path.write_bytes(os.urandom(64) + data[64:])
    entries, damages = read_all(directory)
    assert len(entries) == 20
    assert {(damage.start, damage.end) for damage in damages} == {(0, 64)}
    assert missing_of(damages) == []


def test_a_segment_that_is_gone_is_missing_to_the_record(tmp_path: Path) -> None:
    directory = journal(tmp_path)
    names = layout.segments(directory)
    names[2].path.unlink()
    entries, damages = read_all(directory)
    gone = list(range(names[2].first, names[3].first))
    assert missing_of(damages) == gone
    assert [entry.seq for entry in entries] == [n for n in range(1, 61) if n not in gone]


def test_a_newer_major_version_is_one_clear_error(tmp_path: Path) -> None:
    directory = journal(tmp_path, 3)
    (name,) = layout.segments(directory)
    data = bytearray(name.path.read_bytes())
    data[4] = 2
    data[60:64] = struct.pack("<I", crc32(data[:60]))
    name.path.write_bytes(data)
    with pytest.raises(JournalVersionError, match="upgrade tracking-core"):
        read_all(directory)
    data[4:6] = b"\x01\x09"
    data[60:64] = struct.pack("<I", crc32(data[:60]))
    name.path.write_bytes(data)
    assert len(read_all(directory)[0]) == 3


def test_what_is_no_journal_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        Reader(tmp_path / "absent")
    (tmp_path / "file").write_text("text")
    with pytest.raises(JournalError, match="not a directory"):
        Reader(tmp_path / "file")
    with pytest.raises(DamagedJournal, match="owner"):
        Reader(tmp_path)
    (tmp_path / "link").symlink_to(journal(tmp_path, 1))
    with pytest.raises(JournalError, match="symbolic link"):
        Reader(tmp_path / "link")


def test_a_link_or_a_pipe_in_place_of_a_segment_is_refused(tmp_path: Path) -> None:
    for replace in (os.mkfifo, lambda path: os.symlink(tmp_path / "x", path), os.mkdir):
        directory = journal(tmp_path, 3)
        (name,) = layout.segments(directory)
        name.path.unlink()
        replace(name.path)
        with pytest.raises(JournalError, match="refused"):
            read_all(directory)


def test_a_file_of_another_program_is_reported_whole(tmp_path: Path) -> None:
    directory = journal(tmp_path, 3)
    (name,) = layout.segments(directory)
    name.path.write_bytes(random.Random(6).randbytes(20_000))
    entries, damages = read_all(directory)
    assert entries == []
    assert missing_of(damages) == [1]
    assert damages[-1].end == 20_000


def test_blocks_that_the_disk_cannot_give_back_cost_what_they_held(tmp_path: Path) -> None:
    class BadBlock(Files):
        def __init__(self) -> None:
            def pread(fd: int, size: int, offset: int) -> bytes:
                if offset < 12_288 and offset + size > 8192:
                    raise OSError(errno.EIO, "Input/output error")
                return os.pread(fd, size, offset)

            self.pread = pread

    directory = journal(tmp_path, 1000, segment_bytes=1_000_000)
    with Reader(directory, live=False, files=BadBlock()) as reader:
        items = reader.read(10_000)
    entries = [item for item in items if isinstance(item, Entry)]
    missing = missing_of([item for item in items if isinstance(item, Damage)])
    assert sorted(missing + [entry.seq for entry in entries]) == list(range(1, 1001))
    assert 4096 / 40 < len(missing) < 4096 / 30


def test_reading_changes_nothing(tmp_path: Path) -> None:
    directory = journal(tmp_path)
    (directory / "owner.json").write_bytes(b"damaged")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
    for path in directory.iterdir():
        path.chmod(0o400)
    read_all(directory)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
    assert before == after


WRITE = """
import sys
from tracking_core.journal import Writer
writer = Writer.create(sys.argv[1], "run", mapped=sys.argv[2] == "True", segment_bytes=200_000)
sys.stdout.write(f"{writer.directory}\\n")
sys.stdout.flush()
for number in range(int(sys.argv[3])):
    writer.append(b"%d " % number * (1 + number % 90))
writer.close()
"""


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_following_a_writer_at_full_speed_never_sees_damage(tmp_path: Path, mapped: bool) -> None:
    count = 500_000 if LONG else 60_000
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path), str(mapped), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    directory = Path(child.stdout.readline().strip())
    expected = 0
    with Reader(directory) as reader:
        while not reader.finished:
            for item in reader.read(500):
                assert isinstance(item, Entry), item
                assert item.payload == b"%d " % expected * (1 + expected % 90)
                expected += 1
                assert item.seq == expected
        assert reader.ended
    assert expected == count
    child.communicate()


def test_a_segment_that_was_enlarged_is_read_as_fast_as_it_was(tmp_path: Path) -> None:
    directory = journal(tmp_path)
    for path in directory.glob("*.seg"):
        os.truncate(path, 2**42)
    began = time.process_time()
    entries, _ = read_all(directory)
    assert [entry.seq for entry in entries] == list(range(1, 61))
    assert time.process_time() - began < 5
