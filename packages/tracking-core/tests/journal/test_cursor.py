"""A cursor survives every torn write and every damage, and never moves forward by either."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tracking_core.errors import JournalError
from tracking_core.journal import Cursor, Writer, cursor

from .faulty import Fault, FaultyFiles, in_child


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        return writer.directory


def stored(directory: Path) -> int:
    with Cursor.open(directory, "wandb") as again:
        return again.acked


def test_a_position_is_remembered(directory: Path) -> None:
    with Cursor.open(directory, "wandb") as mine, Cursor.open(directory, "other") as other:
        assert mine.acked == 0
        assert mine.ack(7)
        assert mine.ack(9)
        assert other.ack(3)
        assert mine.ack(4)
        assert mine.acked == 9
    assert stored(directory) == 9


def test_the_file_is_private_and_64_bytes(directory: Path) -> None:
    with Cursor.open(directory, "../wandb") as mine:
        mine.ack(1)
        mine.ack(2)
        assert mine.path.parent == directory / "cursors"
        assert mine.path.stat().st_mode & 0o777 == 0o600
        assert mine.path.stat().st_size == cursor.CURSOR_BYTES


def test_every_flipped_bit_goes_back_by_one_ack_at_most(directory: Path) -> None:
    with Cursor.open(directory, "wandb") as mine:
        for seq in (10, 20, 30):
            mine.ack(seq)
        path = mine.path
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert cursor.decode(bytes(data)) in (20, 30)
        assert stored(directory) in (20, 30)


def test_truncation_at_every_byte_never_goes_forward(directory: Path) -> None:
    with Cursor.open(directory, "wandb") as mine:
        for seq in (10, 20, 30):
            mine.ack(seq)
        path = mine.path
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert cursor.decode(whole[:size]) in (0, 20, 30)
        assert stored(directory) in (0, 20, 30)


def test_two_bad_slots_start_over_and_say_so(directory: Path) -> None:
    with Cursor.open(directory, "wandb") as mine:
        mine.ack(10)
        path = mine.path
    path.write_bytes(os.urandom(64))
    with Cursor.open(directory, "wandb") as mine:
        assert mine.acked == 0
        assert mine.damaged
        mine.ack(5)
    assert stored(directory) == 5


@pytest.mark.parametrize("part", range(32))
def test_a_torn_slot_leaves_the_other_one_in_force(directory: Path, part: int) -> None:
    files = FaultyFiles()
    with Cursor.open(directory, "wandb", files=files) as mine:
        mine.ack(10)
        mine.ack(20)
        files.fault = Fault(files.count + 1, part, errno.ENOSPC)
        assert not mine.ack(30)
        assert mine.acked == 30
        assert stored(directory) == 20
        files.fault = None
        assert mine.ack(30)
    assert stored(directory) == 30


def test_a_disk_that_refuses_for_a_while_loses_no_ack(directory: Path) -> None:
    files = FaultyFiles()
    with Cursor.open(directory, "wandb", files=files) as mine:
        files.fault = Fault(0, "before", errno.EIO, forever=True)
        assert not mine.ack(5)
        assert not mine.sync()
        files.fault = None
        assert mine.ack(5)
        assert mine.sync()
    assert stored(directory) == 5


def test_a_forked_child_moves_nothing(directory: Path) -> None:
    with Cursor.open(directory, "wandb") as mine:
        mine.ack(5)
        in_child(lambda: not mine.ack(9))
    assert stored(directory) == 5


def test_a_cursor_that_cannot_be_opened_is_one_clear_error(directory: Path) -> None:
    (directory / "cursors").mkdir()
    (directory / "cursors" / "wandb").symlink_to(directory / "elsewhere")
    with pytest.raises(JournalError, match="cursors"):
        Cursor.open(directory, "wandb")
    assert not (directory / "elsewhere").exists()


def test_a_generation_that_nothing_can_follow_does_not_count(directory: Path) -> None:
    Cursor.open(directory, "wandb").close()
    path = directory / "cursors" / "wandb"
    path.write_bytes(cursor.encode_slot(5, 3) + cursor.encode_slot(2**64 - 1, 9))
    with Cursor.open(directory, "wandb") as mine:
        assert mine.acked == 3 and mine.ack(4)
    assert cursor.decode(path.read_bytes()) == 4


@pytest.mark.parametrize("trap", ["link", "pipe", "folder"])
def test_a_place_that_is_no_file_is_refused_and_holds_back_pruning(
    directory: Path, tmp_path: Path, trap: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "wandb").write_bytes(cursor.encode_slot(1, 9) * 2)
    if trap == "folder":
        (directory / "cursors").symlink_to(tmp_path / "elsewhere")
    else:
        (directory / "cursors").mkdir()
        path = directory / "cursors" / "wandb"
        path.symlink_to(tmp_path / "elsewhere" / "wandb") if trap == "link" else os.mkfifo(path)
    with pytest.raises(JournalError, match=r"link|regular"):
        Cursor.open(directory, "wandb")
    assert cursor.lowest(directory) == 0
    assert (tmp_path / "elsewhere" / "wandb").read_bytes() == cursor.encode_slot(1, 9) * 2
