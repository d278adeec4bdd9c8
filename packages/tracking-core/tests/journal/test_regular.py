"""What lies in a writer directory is opened if it is a regular file, and nothing is waited for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking_core.errors import DamagedJournal, JournalError
from tracking_core.journal import open_regular, read_regular, replace_regular
from tracking_core.journal.files import CHANGE, CREATE_OR_OPEN

from .faulty import Fault, FaultyFiles


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # its address may have a hundred characters
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a socket": a_socket,
    "a link": lambda path: path.symlink_to(path.parent / "target"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a pipe": lambda path: (os.mkfifo(path.with_name("p")), path.symlink_to("p")),
}


@pytest.mark.parametrize(
    "how", [None, CHANGE, CREATE_OR_OPEN, CREATE_OR_OPEN | os.O_APPEND, os.O_WRONLY]
)
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, how: int | None
) -> None:
    (tmp_path / "target").write_text("of somebody else")
    path = tmp_path / "file"
    ODD[kind](path)
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(JournalError, match="refused"):
        open_regular(path) if how is None else open_regular(path, how)
    with pytest.raises(JournalError, match="refused"):
        read_regular(path)
    assert (tmp_path / "target").read_text() == "of somebody else"
    assert not (tmp_path / "nowhere").exists()
    assert os.listdir("/proc/self/fd") == descriptors, "a refused file is closed"


def test_a_file_in_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    (tmp_path / "folder").symlink_to("elsewhere")
    for name in ("file", "new"):
        for act in (
            lambda path: open_regular(path),
            lambda path: open_regular(path, CREATE_OR_OPEN),
            lambda path: replace_regular(path, b"y"),
        ):
            with pytest.raises(JournalError, match="symbolic link"):
                act(tmp_path / "folder" / name)
    assert os.listdir(tmp_path / "elsewhere") == ["file"]
    assert (tmp_path / "elsewhere" / "file").read_text() == "x"


def test_what_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path / "no" / "folder"):
        with pytest.raises(FileNotFoundError):
            read_regular(path)


def test_a_file_with_a_second_name_is_read_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    os.link(tmp_path / "one", tmp_path / "two")
    assert read_regular(tmp_path / "two") == b"x"
    for how in (CHANGE, CREATE_OR_OPEN, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(JournalError, match="hard link"):
            open_regular(tmp_path / "two", how)
    replace_regular(tmp_path / "two", b"y")
    assert (tmp_path / "one").read_text() == "x" and (tmp_path / "two").read_text() == "y"


@pytest.mark.parametrize("size", [11, 2**30, 2**42])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path, 10) == b"0123456789"
    os.truncate(path, size)
    with pytest.raises(DamagedJournal, match=f"{size} bytes"):
        read_regular(path, 10)


def test_a_file_is_replaced_whole_and_privately(tmp_path: Path) -> None:
    path = tmp_path / "note"
    before = os.umask(0)
    try:
        for data in (b"first", b"", b"x" * 100_000):
            replace_regular(path, data)
            assert read_regular(path) == data
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600 and os.listdir(tmp_path) == ["note"]


@pytest.mark.parametrize("kind", ["a pipe", "a link", "a socket", "a file"])
def test_what_was_planted_in_the_way_of_a_draft_is_removed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "target").write_text("of somebody else")
    draft = tmp_path / f"note.{os.getpid()}.tmp"
    if kind == "a file":
        draft.write_text("half of a no")
    else:
        ODD[kind](draft)
    replace_regular(tmp_path / "note", b"new")
    assert (tmp_path / "note").read_bytes() == b"new"
    assert (tmp_path / "target").read_text() == "of somebody else"
    assert not os.path.lexists(draft)


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "note"
    replace_regular(path, b"old")
    for at in range(1, 20):
        files = FaultyFiles(Fault(at, "before", errno.ENOSPC))
        try:
            replace_regular(path, b"new", files=files)
        except OSError:
            assert path.read_bytes() in (b"old", b"new")
        files.release()
    assert path.read_bytes() == b"new"
