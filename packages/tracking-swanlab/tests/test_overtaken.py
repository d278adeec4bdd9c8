"""What is remembered of points that later ones have overtaken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracking_swanlab.overtaken import Overtaken


def test_what_is_kept_is_known_to_whoever_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "overtaken.json"
    Overtaken(path).keep([3, 5])
    second = Overtaken(path)
    assert second.take(3)
    assert not second.take(3)
    assert not second.take(4)
    second.keep([])  # 5 was not read yet
    third = Overtaken(path)
    assert (third.take(3), third.take(5)) == (False, True)


def test_a_run_in_which_none_was_overtaken_has_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "overtaken.json"
    Overtaken(path).keep([])
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"7", b'["x"]', b"[null]", b"\xff"])
def test_a_file_that_says_nothing_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "overtaken.json"
    path.write_bytes(content)
    assert not Overtaken(path).take(7)
    Overtaken(path).keep([8])
    assert Overtaken(path).take(8)
