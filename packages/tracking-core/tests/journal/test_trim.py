"""A writer that was killed leaves a segment that is allocated whole: what it never used is given back."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from tracking_core.journal import Writer, frame, layout, trim

from .faulty import Fault, FaultyFiles, read_all

DIES = """
import ast, os, sys
from tracking_core.journal import Writer
writer = Writer.create(sys.argv[1], "run", mapped=True, sync_interval=None)
for payload in ast.literal_eval(sys.argv[2]):
    writer.append(payload)
print(writer.directory, flush=True)
os._exit(0)
"""


def killed(root: Path, payloads: Sequence[bytes]) -> Path:
    """The directory of a writer whose process died after it had appended `payloads`."""
    command = [sys.executable, "-c", DIES, str(root), repr(list(payloads))]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(said.stdout.strip())


def only_segment(directory: Path) -> Path:
    ((_, _, _, path),) = layout.segments(directory)
    return path


def test_unused_space_is_given_back_and_every_record_stays(tmp_path: Path) -> None:
    payloads = [b"first", b"ends in zeros" + bytes(5000), b"\0"]
    directory = killed(tmp_path, payloads)
    before = only_segment(directory).stat().st_size
    assert before == 16 * 1024 * 1024
    freed = trim(directory)
    size = only_segment(directory).stat().st_size
    assert (size + freed, size) == (before, 64 + sum(24 + len(one) for one in payloads))
    entries, damages = read_all(directory)
    assert [entry.payload for entry in entries] == payloads
    assert damages == []
    assert trim(directory) == 0


@pytest.mark.parametrize("torn", [b"half a frame", b"half a frame" + bytes(9) + b"and its end"])
def test_what_is_no_zero_stays_for_a_person_to_look_at(tmp_path: Path, torn: bytes) -> None:
    directory = killed(tmp_path, [b"first"])
    segment = only_segment(directory)
    at = 64 + 24 + 5 + 100
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(torn)
    before = read_all(directory)
    assert trim(directory) > 0
    assert segment.stat().st_size == at + len(torn)
    assert read_all(directory) == before


@pytest.mark.parametrize("cut", [3, 20, 24, 30, 60])
def test_a_frame_that_was_half_written_is_read_as_before(tmp_path: Path, cut: int) -> None:
    directory = killed(tmp_path, [b"first"])
    ((_, _, salt, segment),) = layout.segments(directory)
    with segment.open("r+b") as file:
        file.seek(64 + 24 + 5)
        file.write(frame.encode(2, b"the second" * 10, salt)[:cut])
    before = read_all(directory)
    assert [entry.payload for entry in before[0]] == [b"first"]
    assert trim(directory) > 0
    entries, damages = read_all(directory)
    assert entries == before[0]
    assert [damage.missing for damage in damages] == [damage.missing for damage in before[1]]


def test_a_record_behind_damage_keeps_its_zeros(tmp_path: Path) -> None:
    directory = killed(tmp_path, [b"damaged", b"whole" + bytes(5000)])
    segment = only_segment(directory)
    with segment.open("r+b") as file:
        file.seek(64 + 3)
        file.write(b"?")
    assert trim(directory) > 0
    entries, (damage,) = read_all(directory)
    assert [entry.payload for entry in entries] == [b"whole" + bytes(5000)]
    assert list(damage.missing) == [1]


def test_the_segment_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with Writer.create(tmp_path, "run", mapped=True) as writer:
        writer.append(b"first")
        assert trim(writer.directory) == 0
        assert only_segment(writer.directory).stat().st_size == 16 * 1024 * 1024


def test_what_is_no_segment_is_neither_followed_nor_touched(tmp_path: Path) -> None:
    directory = killed(tmp_path / "root", [b"first"])
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(100_000))
    (directory / layout.segment_name(2, 2, 7)).symlink_to(outside)
    os.mkfifo(directory / layout.segment_name(3, 3, 7))
    trim(directory)
    assert outside.stat().st_size == 100_000
    assert trim(tmp_path / "nothing") == 0


@pytest.mark.parametrize("how", ["before", "after"])
def test_no_failing_operation_costs_a_record(
    tmp_path: Path, how: Literal["before", "after"]
) -> None:
    at = 0
    fired = True
    while fired:
        at += 1
        directory = killed(tmp_path, [b"first"])
        files = FaultyFiles(Fault(at, how, errno.EIO))
        trim(directory, files=files)
        files.release()
        entries, damages = read_all(directory)
        assert ([entry.payload for entry in entries], damages) == ([b"first"], [])
        fired = files.fired
    assert at > 4
