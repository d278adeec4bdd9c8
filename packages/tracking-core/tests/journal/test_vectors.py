"""Format version 1, byte for byte: what was written once is read by every version after."""

from __future__ import annotations

import shutil
from pathlib import Path

from tracking_core.journal import (
    Blobs,
    Cursor,
    DeadLetters,
    Entry,
    Reader,
    cursor,
    frame,
    layout,
    read_owner,
    segment,
)

VECTORS = Path(__file__).parent / "vectors" / "v1"
SALT = 0x5A17C0DE
WALL_NS = 1_700_000_000_123_456_789


def test_every_frame_is_encoded_to_the_committed_bytes() -> None:
    (name,) = layout.segments(VECTORS)
    expected = (
        segment.encode_header(SALT, 1, 1, WALL_NS)
        + frame.encode(1, b"hello", SALT)
        + frame.encode(2, bytes(range(256)), SALT)
        + frame.encode(3, "na\u00efve \u2603".encode(), SALT)
        + frame.encode_notice(frame.GAP, 5, 4, SALT)
        + frame.encode(6, b"\x00", SALT)
        + frame.encode_notice(frame.END, 6, 2, SALT)
    )
    assert name.path.read_bytes() == expected
    assert name.path.name == layout.segment_name(1, 1, SALT)


def test_the_committed_journal_is_read() -> None:
    with Reader(VECTORS) as reader:
        items = reader.read(100)
        assert reader.ended
    (name,) = layout.segments(VECTORS)
    start = segment.HEADER_BYTES + 3 * frame.HEADER_BYTES + 5 + 256 + 10
    assert items == [
        Entry(1, b"hello"),
        Entry(2, bytes(range(256))),
        Entry(3, "na\u00efve \u2603".encode()),
        (name.path, start, start + frame.NOTICE_BYTES, range(4, 6), "dropped"),
        Entry(6, b"\x00"),
    ]


def test_the_committed_cursor_is_read_and_written(tmp_path: Path) -> None:
    stored = (VECTORS / "cursors" / "wandb").read_bytes()
    assert stored == cursor.encode_slot(3, 2) + cursor.encode_slot(2, 1)
    shutil.copytree(VECTORS, tmp_path / "journal")
    with Cursor.open(tmp_path / "journal", "wandb") as mine:
        assert mine.acked == 2
        mine.ack(6)
        assert mine.path.read_bytes() == cursor.encode_slot(3, 2) + cursor.encode_slot(4, 6)


def test_the_committed_owner_blob_and_dead_letter_are_read() -> None:
    assert read_owner(VECTORS).run == "vectors"
    (path,) = (VECTORS / "blobs").iterdir()
    assert Blobs(VECTORS).get(path.name) == b"a large value\n" * 3
    assert DeadLetters(VECTORS, "wandb").list() == [(2, "refused", WALL_NS, b"\x00\x01\x02")]
