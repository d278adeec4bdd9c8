"""Whatever a run is called, it lands below the root, in a place of its own, privately."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core.errors import DamagedJournal, JournalError
from tracking_core.journal import Writer, escape, owner_alive, read_owner, runs, unescape
from tracking_core.journal.layout import make_private_root

HOSTILE = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "~",
    "~root",
    "a/b\\c",
    "nul\0byte",
    "line\nbreak",
    "\N{SNOWMAN}\N{PILE OF POO}",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "x" * 4096,
    "\N{SNOWMAN}" * 500,
    "CON",
    "con",
    "aux.txt",
    "COM1",
    "ends.",
    "ends ",
    "-rf",
    ".hidden",
    "BERT",
    "Bert",
    "bert",
    "\udcff lone",
    "C:\\windows",
    "%00",
    "a~~b",
    "~7e",
    "caf\u00e9",
    "cafe\u0301",
]


def test_hostile_names_stay_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in HOSTILE:
        writer = Writer.create(root, name, sync_interval=None)
        writer.append(name.encode("utf-8", "surrogatepass") or b"empty")
        writer.close()
        inside = writer.directory.resolve().relative_to(root.resolve())
        assert len(inside.parts) == 2
    assert sorted(os.listdir(tmp_path)) == ["root"]
    assert set(runs(root)) == set(HOSTILE)


def test_names_differ_even_where_case_is_ignored() -> None:
    rng = random.Random(5)
    alphabet = "abAB.~/-_ \u00e9\u00c9con0"
    names = {*HOSTILE}
    while len(names) < 10_000:
        names.add("".join(rng.choices(alphabet, k=rng.randrange(12))))
    escaped = {escape(name).lower() for name in names}
    assert len(escaped) == len(names)


@settings(max_examples=1000)
@given(st.text(st.characters(), max_size=60))
def test_escaping_is_reversible_and_harmless(name: str) -> None:
    text = escape(name)
    assert unescape(text) in (name, None)
    if len(text) <= 110:
        assert unescape(text) == name
    assert len(text) <= 140
    assert text.isascii()
    assert not set(text) & set('/\\\0 \n:*?"<>|')
    assert text not in (".", "..", "")


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0, 0o022, 0o777):
        before = os.umask(umask)
        try:
            writer = Writer.create(tmp_path / f"u{umask}" / "deep", "run", sync_interval=None)
            writer.append(b"payload")
            writer.close()
        finally:
            os.umask(before)
        for parent, directories, files in os.walk(tmp_path / f"u{umask}"):
            for name in directories:
                assert os.stat(os.path.join(parent, name)).st_mode & 0o777 == 0o700
            for name in files:
                assert os.stat(os.path.join(parent, name)).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o002, 0o775), (0o777, 0o700)])
def test_directories_above_the_root_are_as_the_user_makes_them(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        Writer.create(tmp_path / "logs" / ".tracking", "run", sync_interval=None).close()
    finally:
        os.umask(before)
    logs = tmp_path / "logs"
    assert os.stat(logs).st_mode & 0o777 == mode, "others may read what trackers write there"
    assert os.stat(logs / ".tracking").st_mode & 0o777 == 0o700


def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "run").symlink_to(elsewhere)
    with pytest.raises(JournalError, match="symbolic link"):
        Writer.create(root, "run")
    assert list(elsewhere.iterdir()) == []


def test_a_process_number_that_no_process_has_is_dead(tmp_path: Path) -> None:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        owner = read_owner(writer.directory)
    for pid in (2**31, 2**62, 2**63 - 1):
        assert owner_alive(owner._replace(pid=pid)) is False


as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make another user's"
)
STRANGER = 12345


@as_root
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o707])
def test_a_root_of_another_user_that_is_open_to_others_is_refused(
    tmp_path: Path, mode: int
) -> None:
    root = tmp_path / ".tracking"
    root.mkdir()
    os.chmod(root, mode)
    os.chown(root, STRANGER, -1)
    with pytest.raises(JournalError, match=r"another user, number 12345.*TRACKING_DIR"):
        Writer.create(root, "run")
    assert os.listdir(root) == []


@as_root
def test_a_link_of_another_user_in_place_of_a_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / ".tracking").symlink_to("mine")
    Writer.create(tmp_path / ".tracking", "run", sync_interval=None).close()
    assert "run" in os.listdir(tmp_path / "mine"), "a link of my own leads where I want"
    os.chown(tmp_path / ".tracking", STRANGER, -1, follow_symlinks=False)
    with pytest.raises(JournalError, match="is a link of another user"):
        Writer.create(tmp_path / ".tracking", "again")
    assert "again" not in os.listdir(tmp_path / "mine")


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o777, 0o1777])
def test_a_root_of_my_own_is_used_whoever_else_may_write_there(tmp_path: Path, mode: int) -> None:
    root = tmp_path / ".tracking"
    root.mkdir()
    os.chmod(root, mode)
    Writer.create(root, "run", sync_interval=None).close()
    assert os.stat(root / "run").st_mode & 0o777 == 0o700


def test_a_private_root_is_made_and_used_again(tmp_path: Path) -> None:
    root = tmp_path / "tracking-1"
    before = os.umask(0)
    try:
        make_private_root(root)
        make_private_root(root)
    finally:
        os.umask(before)
    assert os.stat(root).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "trap", ["link", "dangling", "file", "pipe", "group", "others", "stranger"]
)
def test_a_private_root_that_is_not_mine_alone_is_refused(tmp_path: Path, trap: str) -> None:
    root = tmp_path / "tracking-1"
    (tmp_path / "mine").mkdir(mode=0o700)
    if trap == "link":
        root.symlink_to("mine")
    elif trap == "dangling":
        root.symlink_to("nowhere")
    elif trap == "file":
        root.write_text("x")
    elif trap == "pipe":
        os.mkfifo(root)
    else:
        root.mkdir()
        os.chmod(root, {"group": 0o770, "others": 0o707, "stranger": 0o700}[trap])
        if trap == "stranger":
            if os.geteuid() != 0:
                pytest.skip("only root can make another user's")
            os.chown(root, STRANGER, -1)
    with pytest.raises(JournalError):
        make_private_root(root)
    assert not (tmp_path / "nowhere").exists() and os.listdir(tmp_path / "mine") == []


def test_git_leaves_out_what_is_kept(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "kept.txt").write_text("x")
    for root in (tmp_path / ".tracking", tmp_path / "logs" / "journals"):
        for _ in range(2):
            with Writer.create(root, "run", sync_interval=None) as writer:
                writer.append(b"private")
    said = subprocess.run(
        ["git", "-C", tmp_path, "status", "--porcelain", "-uall"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout == "?? kept.txt\n"
    ignored = tmp_path / ".tracking" / ".gitignore"
    assert ignored.stat().st_mode & 0o777 == 0o600
    ignored.unlink()
    Writer.create(tmp_path / ".tracking", "run", sync_interval=None).close()
    assert ignored.read_text().endswith("*\n"), "one that an older version made"
    ignored.write_text("of the user")
    Writer.create(tmp_path / ".tracking", "run", sync_interval=None).close()
    assert ignored.read_text() == "of the user"


@pytest.mark.parametrize("name", ["project", ".tracking"])
def test_a_directory_of_the_user_gets_no_such_file(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    (root / ".git").mkdir(parents=True)
    (root / "train.py").write_text("x")
    Writer.create(root, "run", sync_interval=None).close()
    assert ".gitignore" not in os.listdir(root)
    assert "run" in os.listdir(root)


@pytest.mark.parametrize("trap", ["link", "directory", "pipe"])
def test_what_is_in_the_way_of_the_file_for_git_hinders_nothing(tmp_path: Path, trap: str) -> None:
    root = tmp_path / ".tracking"
    root.mkdir()
    if trap == "link":
        (root / ".gitignore").symlink_to(tmp_path / "elsewhere")
    elif trap == "pipe":
        os.mkfifo(root / ".gitignore")
    else:
        (root / ".gitignore").mkdir()
    with Writer.create(root, "run", sync_interval=None) as writer:
        assert writer.append(b"x") == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="cannot make a journal for run 'mine'"):
        Writer.create(tmp_path / "file", "mine")
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(JournalError, match="not a directory"):
        Writer.create(tmp_path, "run")


def test_the_same_run_twice_gets_two_directories(tmp_path: Path) -> None:
    writers = [Writer.create(tmp_path, "run", sync_interval=None) for _ in range(20)]
    assert len({writer.directory for writer in writers}) == 20
    assert runs(tmp_path) == {"run": [writer.directory for writer in writers]}
    for writer in writers:
        writer.close()


def test_a_living_owner_is_alive_and_a_killed_one_is_dead(tmp_path: Path) -> None:
    code = (
        "import sys; from tracking_core.journal import Writer\n"
        "w = Writer.create(sys.argv[1], 'run'); sys.stdout.write(str(w.directory) + '\\n')\n"
        "sys.stdout.flush(); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    owner = read_owner(Path(child.stdout.readline().strip()))
    assert owner.run == "run"
    assert owner_alive(owner) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner_alive(owner) is False, "a zombie writes no more"
    child.communicate()
    assert owner_alive(owner) is False


def test_a_number_given_to_another_process_is_not_the_owner(tmp_path: Path) -> None:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        owner = read_owner(writer.directory)
    assert owner_alive(owner) is True
    assert owner_alive(owner._replace(started=owner.started + 1)) is False
    assert owner_alive(owner._replace(boot="another boot")) is False
    assert owner_alive(owner._replace(host="another host")) is None
    assert owner_alive(owner._replace(namespace="pid:[1]")) is None


SAID = {
    "run": "r",
    "host": "h",
    "pid": 1,
    "boot": "",
    "namespace": "",
    "started": 0,
    "created_ns": 1,
}
DAMAGED = [
    b"", b"{", b"[]", b'{"run": "x"}', b'{"pid": "no"}', b"[" * 50_000, b"\xff\xfe", b" " * 70_000,
    *(json.dumps(SAID | one).encode() for one in (
        {"pid": 10**30}, {"pid": -1}, {"pid": float("inf")}, {"pid": float("nan")}, {"pid": []},
        {"started": 2**64}, {"created_ns": 10**400}, {"created_ns": None},
    )),
]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:40]))
def test_a_damaged_owner_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "owner.json").write_bytes(data)
    with pytest.raises(DamagedJournal, match=r"owner\.json"):
        read_owner(tmp_path)


def test_the_owner_holds_no_more_than_it_says(tmp_path: Path) -> None:
    with Writer.create(tmp_path, "run", sync_interval=None) as writer:
        said = json.loads((writer.directory / "owner.json").read_text())
    assert set(said) == {
        "format",
        "run",
        "host",
        "pid",
        "boot",
        "namespace",
        "started",
        "created_ns",
    }
