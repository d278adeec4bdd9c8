from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tracking_core import files
from tracking_core.files import (
    Unkept,
    copy_file,
    copy_whole,
    files_below,
    files_of,
    in_words,
    inner_path,
    keep,
    make_folders,
    open_file,
    read_file,
)
from tracking_core.records import LoggedFile


def unreadable(path: Path) -> Path:
    path.write_text("secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    return path


def folder(path: Path) -> LoggedFile:
    return LoggedFile(str(path), directory=True)


def found_in(path: Path, *leave_out: Path) -> tuple[list[str], list[str]]:
    found, left_out = files_of(folder(path), [str(one) for one in leave_out])
    for one in found:
        assert (os.stat(one.path).st_size, stat.S_ISREG(os.stat(one.path).st_mode)) == (
            one.size,
            True,
        )
    return [one.inner for one in found], left_out


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder ``tree`` with files, beside which a test may put more."""
    for name in ("b/2.txt", "b/1.txt", "b/inner/3.txt", "a.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


TREE = ["a.txt", "b/1.txt", "b/2.txt", "b/inner/3.txt"]


# --- what there is ---


def test_files_are_found_in_order_and_in_no_circle(tree: Path) -> None:
    (tree / "copies").mkdir()
    (tree / "copies" / "4.txt").write_text("4")
    (tree / "b" / "inner" / "up").symlink_to(tree)
    found = files_below(str(tree), leave_out=str(tree / "copies"))
    assert [os.path.relpath(path, tree) for path in found] == TREE
    assert list(files_below(str(tree / "nowhere"))) == []


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("self", "."), ("b/self", "."), ("b/up", ".."), ("b/inner/top", "../.."), ("above", ".."),
        ("root", "/"), ("b/inner/absolute", "{tree}"),
    ],
)  # fmt: skip
def test_a_link_to_a_folder_that_it_lies_in_is_left_out(tree: Path, link: str, to: str) -> None:
    (tree / link).symlink_to(to.format(tree=tree))
    found, left_out = found_in(tree)
    assert found == TREE
    assert left_out == [f"{link!r} leads back to a folder that it lies in"]


def test_links_that_lead_to_each_other_are_followed_once(tree: Path) -> None:
    (tree / "c").mkdir()
    (tree / "c" / "4.txt").write_text("4")
    (tree / "c" / "to b").symlink_to("../b")
    (tree / "b" / "to c").symlink_to("../c")
    found, left_out = found_in(tree)
    assert [name for name in found if " " not in name] == [*TREE, "c/4.txt"]
    assert [name for name in found if " " in name] == [
        "b/to c/4.txt", "c/to b/1.txt", "c/to b/2.txt", "c/to b/inner/3.txt",
    ]  # fmt: skip
    assert left_out == [
        "'b/to c/to b' leads back to a folder that it lies in",
        "'c/to b/to c' leads back to a folder that it lies in",
    ]


def test_what_links_lead_to_is_found_as_if_it_lay_there(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.txt").write_text("5")
    (tree / "file").symlink_to("a.txt")
    (tree / "linked").symlink_to("b")
    (tree / "twice").symlink_to("b")
    (tree / "far").symlink_to(tmp_path / "elsewhere")
    inner = ["1.txt", "2.txt", "inner/3.txt"]
    assert found_in(tree) == (
        [
            "a.txt", "file", *TREE[1:], "far/5.txt",
            *(f"linked/{name}" for name in inner), *(f"twice/{name}" for name in inner),
        ],
        [],
    )  # fmt: skip


def test_a_folder_that_is_itself_a_link_is_that_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("tree")
    assert found_in(tmp_path / "latest") == (TREE, [])


def test_links_that_multiply_do_so_ten_times_at_most(tree: Path) -> None:
    for number in range(20):
        (tree / f"{number:02}").mkdir()
        (tree / f"{number:02}" / "file").write_text("x")
        for name in "xy":
            (tree / f"{number:02}" / name).symlink_to(f"../{number + 1:02}")
    (tree / "20").mkdir()
    found, left_out = found_in(tree)
    assert [name for name in found if name in TREE] == TREE
    assert [f"{number:02}/file" for number in range(20)] == [
        name for name in found if name.count("/") == 1 and name.endswith("file")
    ]
    assert len(found) == 4 + sum(min(2 ** (n + 1) - 1, files.MOST_TIMES) for n in range(20))
    assert {reason.partition(" ")[2] for reason in left_out} == {
        "leads to a folder that is kept 10 times already"
    }


def test_what_is_no_file_is_named(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        cwd = os.getcwd()
        os.chdir(tree)  # a socket's path is short
        bound.bind("socket")
        os.chdir(cwd)
    (tree / "dangling").symlink_to("/no/such/target")
    (tree / "looped").symlink_to("looped")
    (tree / "zero").symlink_to("/dev/zero")
    (tree / "null").symlink_to("/dev/null")
    (tree / "b" / "to pipe").symlink_to("../pipe")
    assert found_in(tree) == (
        TREE,
        [
            "'dangling' is a link that leads nowhere",
            "'looped' is a link that leads to itself",
            "'null' is a device, and no file",
            "'pipe' is a pipe, and no file",
            "'socket' is a socket, and no file",
            "'zero' is a device, and no file",
            "'b/to pipe' is a pipe, and no file",
        ],
    )
    for name in ("pipe", "socket", "zero"):
        with pytest.raises(Unkept, match=f"{name}' is a {name.replace('zero', 'device')}"):
            files_of(LoggedFile(str(tree / name)))


def test_what_may_not_be_read_is_named(tree: Path) -> None:
    unreadable(tree / "secret")
    (tree / "closed").mkdir(mode=0)
    try:
        assert found_in(tree) == (
            TREE,
            [
                "'secret' can't be read: Permission denied",
                "'closed' can't be read: Permission denied",
            ],
        )
        for file in (LoggedFile(str(tree / "secret")), folder(tree / "closed")):
            with pytest.raises(Unkept, match="Permission denied"):
                files_of(file)
    finally:
        (tree / "closed").chmod(0o700)


def test_what_is_gone_or_another_thing_by_now_is_named(tree: Path) -> None:
    with pytest.raises(Unkept, match=r"nowhere' is gone"):
        files_of(LoggedFile(str(tree / "nowhere")))
    with pytest.raises(Unkept, match=r"nowhere' is gone"):
        files_of(folder(tree / "nowhere"))
    with pytest.raises(Unkept, match=r"is no path: .*embedded null"):
        files_of(LoggedFile(str(tree / "a\0b")))
    with pytest.raises(Unkept, match=r"b' is a folder, and no file"):
        files_of(LoggedFile(str(tree / "b")))
    with pytest.raises(Unkept, match=r"a.txt' is no folder"):
        files_of(folder(tree / "a.txt"))


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    names = sorted(["new\nline", "quote'\"", "\udcff\udcfe", "损失", " ", "-rf", "a\\b"])
    for name in names:
        (tmp_path / name).write_text(name, errors="surrogateescape")
    (tmp_path / "\udcff link").symlink_to("nowhere")
    found, left_out = found_in(tmp_path)
    assert sorted(found) == names
    assert left_out == ["'\\udcff link' is a link that leads nowhere"]


def test_a_folder_deeper_than_functions_may_nest_is_kept(tmp_path: Path) -> None:
    deep = "/".join("d" * 1500)
    made = make_folders(str(tmp_path / "tree" / deep))
    try:
        (tmp_path / "tree" / deep / "file").write_text("deep")
        assert found_in(tmp_path / "tree") == ([f"{deep}/file"], [])
        places, left_out = kept(folder(tmp_path / "tree"), tmp_path)
        assert (places, left_out) == ([f"artifacts/{deep}/file"], [])
        assert (tmp_path / places[0]).read_text() == "deep"
    finally:
        # Not by shutil.rmtree, nor by pytest later on: they nest.
        for top in ("tree", "artifacts"):
            file = tmp_path / top / deep / "file"
            file.unlink(missing_ok=True)
            with suppress(OSError):
                os.removedirs(file.parent)
    assert len(made) == 1501


def test_a_folder_without_end_is_refused_with_the_way_out(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_ENTRIES", 6)  # four files and two folders
    assert found_in(tree) == (TREE, [])
    (tree / "one more").write_text("")
    with pytest.raises(Unkept, match=r"more than 6 files and folders.*make_archive.*one by one"):
        files_of(folder(tree))
    assert len(list(files_below(str(tree)))) == 5, "a run's own files are not counted"


def test_a_link_to_too_much_costs_only_what_it_leads_to(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("huge", "small"):
        (tmp_path / name).mkdir()
    (tmp_path / "huge" / "inner").mkdir()
    for number in range(100):
        (tmp_path / "huge" / "inner" / str(number)).write_text("")
    (tmp_path / "small" / "5.txt").write_text("5")
    for name in ("data", "more data"):
        (tree / name).symlink_to(tmp_path / "huge")
    (tree / "small").symlink_to(tmp_path / "small")
    monkeypatch.setattr(files, "MOST_ENTRIES", 50)
    found, left_out = found_in(tree)
    assert found == [*TREE, "small/5.txt"]
    assert [one.partition(" is a link")[0] for one in left_out] == ["'data'", "'more data'"]
    assert all("holds too much beside the rest" in one for one in left_out)


def test_looking_at_links_that_lead_to_too_much_has_an_end(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        huge = tmp_path / "huge" / str(number)
        huge.mkdir(parents=True)
        for inner in range(30):
            (huge / str(inner)).write_text("")
        (tree / f"link {number:02}").symlink_to(huge)
    monkeypatch.setattr(files, "MOST_ENTRIES", 60)
    scanned = []
    scandir = os.scandir

    def counting(path: str) -> object:
        scanned.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    found, left_out = found_in(tree)
    assert found == TREE
    assert len(left_out) == 40
    assert len(scanned) <= 3 + 40


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="Linux has them")
def test_what_the_kernel_makes_up_is_no_folder_of_files(tree: Path) -> None:
    (tree / "self").symlink_to("/proc/self")
    (tree / "map").symlink_to("/proc/self/pagemap")
    (tree / "cpu").symlink_to("/proc/cpuinfo")
    found, left_out = found_in(tree)
    assert found == ["a.txt", "cpu", *TREE[1:]]
    assert left_out == [
        "'map' is made up by the kernel, and has no end within 1.0 MB",
        "'self' is made up by the kernel, and no folder of files",
    ]
    with pytest.raises(Unkept, match="'/proc' is made up by the kernel"):
        files_of(folder(Path("/proc")))
    copy_whole("/proc/self/mountinfo", str(tree / "copy"))
    assert (tree / "copy").read_bytes() == Path("/proc/self/mountinfo").read_bytes() != b""


def test_journals_are_no_part_of_a_folder(tree: Path) -> None:
    for run in ("ours", "another"):
        (tree / run / "host-1" / "cursors").mkdir(parents=True)
        (tree / run / "host-1" / "owner.json").write_text("{}")
    assert found_in(tree, tree / "ours") == (
        TREE,
        ["'another/host-1' is the journal of a run, and no part of another"],
    )
    with pytest.raises(Unkept, match="ours' is where copies go"):
        found_in(tree / "ours", tree / "ours")
    with pytest.raises(Unkept, match="host-1' is the journal of a run"):
        found_in(tree / "another" / "host-1")


def test_many_exceptions_are_counted_and_the_first_are_named(tree: Path) -> None:
    assert in_words(folder(tree), ["'a' is gone"]) == "all is kept but for one entry: 'a' is gone"
    many = [f"'{number}' is gone" for number in range(23)]
    assert in_words(folder(tree), many) == (
        "all is kept but for 23 entries: '0' is gone; '1' is gone; '2' is gone; '3' is gone; "
        "'4' is gone; and 18 more"
    )


# --- reading ---


def test_nothing_but_a_file_is_ever_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "pipe")
    for path, kind in [(tree / "pipe", "pipe"), (Path("/dev/zero"), "device"), (tree, "folder")]:
        with pytest.raises(Unkept, match=f"is a {kind}, and no file"):
            open_file(path)
    assert read_file(tree / "a.txt") == b"a.txt"
    # It may become another thing after it was looked at.
    about = os.stat(tree / "a.txt")
    monkeypatch.setattr(os, "stat", lambda *_, **__: about)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(Unkept, match="is a pipe, and no file"):
        open_file(tree / "pipe")
    assert not before or len(os.listdir("/proc/self/fd")) == before


# --- copying ---


@pytest.fixture(params=["copy_file_range", "read and write"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By which of the operating system's calls copies are made."""
    if request.param == "read and write":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif not hasattr(os, "copy_file_range"):
        pytest.skip("Linux has it")
    return str(request.param)


def test_a_copy_takes_the_place_of_an_older_one(tmp_path: Path, means: str) -> None:
    source, target = tmp_path / "source", tmp_path / "made" / "deep" / "copy"
    for content in ("old" * 1_000_000, "new", ""):
        source.write_text(content)
        assert copy_file(str(source), str(target))
        assert target.read_text() == content
    assert os.listdir(target.parent) == ["copy"]


def test_a_refused_call_is_made_good_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))
    before = os.copy_file_range
    calls = []

    def refusing(reading: int, writing: int, count: int) -> int:
        calls.append(count)
        if len(calls) > 1:
            raise OSError(errno.EXDEV, "not between these")
        return before(reading, writing, 1_000_000)

    monkeypatch.setattr(os, "copy_file_range", refusing)
    assert copy_whole(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()
    assert len(calls) == 2


def test_what_can_never_be_copied_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with pytest.raises(Unkept, match=r"source' is gone"):
        copy_file(str(source), str(tmp_path / "copy"))
    source.write_text("content")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unkept, match=r"^'models/folder' is already something else$"):
        copy_file(str(source), str(tmp_path / "folder"), "models/folder")
    with pytest.raises(Unkept, match=r"already something else"):
        copy_file(str(source), str(source / "below a file"))
    with pytest.raises(Unkept, match=r"can't be written there: File name too long"):
        copy_file(str(source), str(tmp_path / ("x" * 300)))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unkept, match=r"is a pipe, and no file"):
        copy_file(str(tmp_path / "pipe"), str(tmp_path / "copy"))
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe", "source"]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    source = unreadable(tmp_path / "source")
    with pytest.raises(Unkept, match="Permission denied"):
        copy_file(str(source), str(tmp_path / "copy"))


def full_after(size: int) -> Callable[[int, bytes], int]:
    write = os.write

    def full(fd: int, data: bytes) -> int:
        nonlocal size
        if size <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(fd, data[:size])
        size -= written
        return written

    return full


def test_a_full_disk_is_an_error_that_passes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "copy"
    source.write_text("content")
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "write", full_after(3))
    with pytest.raises(OSError, match="No space"):
        copy_file(str(source), str(target))
    assert os.listdir(tmp_path) == ["source"]


def test_a_file_that_fails_while_it_is_read_is_not_half_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    read, reads = os.read, []

    def failing(fd: int, size: int) -> bytes:
        reads.append(size)
        if len(reads) > 1:
            raise OSError(errno.EIO, "Input/output error")
        return read(fd, size)

    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(Unkept, match=r"source' can't be read: Input/output error"):
        copy_file(str(source), str(tmp_path / "copy"))
    assert os.listdir(tmp_path) == ["source"]


def test_a_process_without_descriptors_blames_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_text("content")

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:  # pytest itself opens folders when it removes old ones
        patch.setattr(os, "open", none_left)
        with pytest.raises(OSError, match="Too many open files"):
            copy_file(str(source), str(tmp_path / "copy"))


def test_a_file_that_grows_while_it_is_copied_is_kept_as_it_was_at_first(
    tmp_path: Path, means: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "log", tmp_path / "copy"
    source.write_text("line\n")
    name = "copy_file_range" if means == "copy_file_range" else "read"
    call = getattr(os, name)
    calls = []

    def growing(*arguments: object) -> object:
        calls.append(arguments)
        with open(source, "a") as file:
            file.write("line\n")
        return call(*arguments)

    monkeypatch.setattr(os, name, growing)
    assert not copy_whole(str(source), str(target))
    assert target.read_text() == "line\n"
    assert len(calls) == 1


def test_a_file_that_shrinks_while_it_is_copied_is_kept_as_it_was_read(
    tmp_path: Path, means: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "log", tmp_path / "copy"
    source.write_bytes(b"x" * 3_000_000)
    fstat, looks = os.fstat, []

    def shrinking(fd: int) -> os.stat_result:
        about = fstat(fd)
        looks.append(about)
        if len(looks) == 2:  # when it was opened, and when the copy began
            os.truncate(source, 1_000_000)
        return about

    monkeypatch.setattr(os, "fstat", shrinking)
    assert not copy_whole(str(source), str(target))
    assert target.read_bytes() == b"x" * 1_000_000


def test_a_file_that_says_it_is_empty_is_read_until_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"x" * 3_000_000)
    fstat = os.fstat

    def empty(fd: int) -> os.stat_result:
        about = list(fstat(fd))
        about[stat.ST_SIZE] = 0
        return os.stat_result(about)

    monkeypatch.setattr(os, "fstat", empty)
    assert copy_whole(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()
    target.unlink()
    monkeypatch.setattr(files, "MOST_READS", 2)
    with pytest.raises(Unkept, match=r"says that it is empty, and has no end"):
        copy_whole(str(source), str(target))
    assert os.listdir(tmp_path) == ["source"]


# --- keeping ---


def kept(file: LoggedFile, root: Path) -> tuple[list[str], list[str]]:
    pattern = re.compile(r"[^\x00]", re.DOTALL)
    return keep(file, str(root), lambda inner: f"artifacts/{inner_path(inner, pattern)}")


def test_each_file_is_kept_on_its_own(tree: Path, tmp_path: Path) -> None:
    (tree / "\udcff").write_text("odd")
    (tree / "gone").symlink_to("nowhere")
    (tmp_path / "run" / "artifacts" / "a.txt").mkdir(parents=True)  # in the way
    places, left_out = kept(folder(tree), tmp_path / "run")
    names = ["_xDCFF_", *TREE[1:]]
    assert places == [f"artifacts/{name}" for name in names]
    assert left_out == [
        "'gone' is a link that leads nowhere",
        "'artifacts/a.txt' is already something else",
    ]
    contents = [(tmp_path / "run" / place).read_text() for place in places]
    assert contents == ["odd", *TREE[1:]]


def test_a_file_that_vanishes_before_it_is_copied_costs_only_itself(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()

    def place_of(inner: str) -> str:
        (tree / "b" / "1.txt").unlink(missing_ok=True)
        return inner

    places, left_out = keep(folder(tree), str(tmp_path / "run"), place_of)
    assert places == ["a.txt", "b/2.txt", "b/inner/3.txt"]
    assert left_out == [f"{str(tree / 'b' / '1.txt')!r} is gone"]


def test_a_file_that_changes_while_it_is_kept_is_named(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "copy_file", lambda *_: False)
    (tmp_path / "run").mkdir()
    _, left_out = kept(LoggedFile(str(tree / "a.txt")), tmp_path / "run")
    assert left_out == ["'a.txt' changed while it was copied, and is as it was read"]


def test_what_does_not_fit_is_not_begun(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    size = sum((tree / name).stat().st_size for name in TREE)
    usage = shutil.disk_usage(tmp_path)
    free, total = size - 1, usage.total
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free, total=total))
    with pytest.raises(OSError, match=f"{size} bytes of .*tree' do not fit: {free} bytes are free"):
        kept(folder(tree), tmp_path / "run")
    assert os.listdir(tmp_path / "run") == []
    total, free = size - 1, size - 1
    places, left_out = kept(folder(tree), tmp_path / "run")
    assert places == [f"artifacts/{name}" for name in TREE[:-1]]
    (reason,) = left_out
    assert reason.startswith(
        f"'b/inner/3.txt' has {len(TREE[-1])} bytes, and with the rest is more"
    )
    total = 4
    with pytest.raises(Unkept, match=r"'a.txt' has 5 bytes, .* more than the 4 bytes of the whole"):
        kept(LoggedFile(str(tree / "a.txt")), tmp_path / "run2")
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    free, total = size, usage.total
    kept(folder(tree), tmp_path / "run")
    free = 0
    places, _ = kept(folder(tree), tmp_path / "run")
    assert len(places) == len(TREE), "a record that comes again is there already"
    with pytest.raises(OSError, match="do not fit: 0 bytes are free"):
        files_of(folder(tree), room_in=str(tmp_path / "not" / "made yet"))
    assert len(files_of(folder(tree))[0]) == len(TREE)


def test_bytes_that_are_no_text_are_escaped_in_every_place() -> None:
    anything = re.compile(".", re.DOTALL)
    assert inner_path("a/\udcff\udc80/b", anything) == "a/_xDCFF__xDC80_/b"
    inner_path("\udcff" * 200, anything).encode()
