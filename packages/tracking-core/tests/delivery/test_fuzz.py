"""Whatever lies in a run's directory: `recover` comes back, runs no code, and touches nothing else.

A run with something of everything in it is damaged in every way that a random generator comes to,
and recovered. While that goes on, the interpreter reports what it opens, makes, removes, imports and
starts (`sys.addaudithook`): nothing of that may lie outside the run's directory.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_judge import LONG
from strangers import CANARY, Reading, rows, run_of, seen_of, stored
from test_strangers import TRAPS, outside_of, whole_run

from tracking_core import Tracking, get_available_trackers, recovery, register_tracker_class
from tracking_core.codec import MEDIA_CODE, Blob, encode
from tracking_core.delivery.lane import TrackerStatus
from tracking_core.errors import JournalError
from tracking_core.journal.cursor import encode_slot
from tracking_core.records import Log, LoggedFile, LoggedImage, LoggedVideo

CASES = 5_000 if LONG else 250
SEED = int(os.environ.get("TRACKING_SEED", "20"))
SECONDS = 20.0

# --- what the interpreter does meanwhile ---

# Events whose first arguments are paths; of the others named here none may happen.
PATHS = {
    "open": 1, "os.listdir": 1, "os.scandir": 1, "os.rename": 2, "os.remove": 1, "os.mkdir": 1,
    "os.rmdir": 1, "os.chmod": 1, "os.chown": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
    "os.utime": 1, "os.setxattr": 1,
}  # fmt: skip
FORBIDDEN = {
    "import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.forkpty", "subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen",
    "pickle.find_class", "code.__new__", "os.putenv",
}  # fmt: skip


class Watcher:
    """Notes what goes beyond `inside` while it is on. A hook can't be taken away again."""

    def __init__(self) -> None:
        self.inside = ""
        self.on = False
        self.found: list[str] = []
        self._looking = threading.local()
        sys.addaudithook(self._hear)

    @contextmanager
    def watching(self, inside: Path) -> Iterator[list[str]]:
        self.inside, self.found = os.path.realpath(inside), []
        self.on = True
        try:
            yield self.found
        finally:
            self.on = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or getattr(self._looking, "now", False):
            return
        self._looking.now = True
        try:
            if event in FORBIDDEN:
                self.found.append(f"{event} {arguments!r:.200}")
            for path in arguments[: PATHS.get(event, 0)]:
                if isinstance(path, (str, bytes, os.PathLike)) and not (
                    self._is_inside(os.fsdecode(path))
                    or (_only_reads(event, arguments) and self._is_known(os.fsdecode(path)))
                ):
                    self.found.append(f"{event} {path!r:.200}")
        finally:
            self._looking.now = False

    def _is_inside(self, path: str) -> bool:
        # A link in the last place is refused by `open` itself; one before it would be followed.
        parent = os.path.realpath(os.path.dirname(path) or os.curdir)
        return f"{os.path.join(parent, os.path.basename(path))}/".startswith(f"{self.inside}/")

    def _is_known(self, path: str) -> bool:
        """Whether it is one of the system, or of the packages among which a tracker is looked for."""
        return os.path.abspath(path).startswith(
            ("/proc/", *map(os.path.abspath, filter(None, sys.path)))
        )


def _only_reads(event: str, arguments: tuple[Any, ...]) -> bool:
    changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    return event in ("os.listdir", "os.scandir") or (event == "open" and not arguments[2] & changes)


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


# --- what is done to a run's directory ---

Damage = Callable[[random.Random, Path, Path], str]


def files_of(writer: Path) -> list[Path]:
    """The files that can still be damaged: neither links nor such as were made endless."""
    return sorted(
        path
        for path in writer.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**20
    )


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flipped(rng: random.Random, writer: Path, outside: Path) -> str:
    path = rng.choice(files_of(writer))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"bits of {path.name}"


def random_bytes(rng: random.Random, writer: Path, outside: Path) -> str:
    path = rng.choice(files_of(writer))
    data = path.read_bytes()
    at = rng.randrange(len(data) + 1)
    path.write_bytes(
        data[:at] + rng.randbytes(rng.choice([1, 10, 1000])) + data[at + rng.randrange(50) :]
    )
    return f"bytes of {path.name}"


def cut(rng: random.Random, writer: Path, outside: Path) -> str:
    path = rng.choice(files_of(writer))
    os.truncate(path, rng.randrange(path.stat().st_size + 1))
    return f"cut {path.name}"


def enlarged(rng: random.Random, writer: Path, outside: Path) -> str:
    path = rng.choice(files_of(writer))
    os.truncate(path, rng.choice([2**20, 2**28, 2**33, 2**42]))
    return f"enlarged {path.name}"


def replaced(rng: random.Random, writer: Path, outside: Path) -> str:
    path = rng.choice(sorted(writer.rglob("*")))
    remove(path)
    trap = rng.choice(TRAPS)
    trap(path, outside)
    return f"{trap.__name__} for {path.relative_to(writer)}"


def planted(rng: random.Random, writer: Path, outside: Path) -> str:
    folder = rng.choice(
        [writer, *(one for one in writer.rglob("*") if one.is_dir() and not one.is_symlink())]
    )
    (segment,) = [path.name for path in files_of(writer) if path.suffix == ".seg"][:1] or ["x.seg"]
    names = [
        "x", "00000009-00000000000000000009-0badcafe.seg", "also_reading", "reading.tmp", ".owner.json",
        f"reading.{os.getpid()}.tmp", f"run.json.{os.getpid()}.tmp", f"{'9' * 200}-{'9' * 20}-00000000.seg",
        f"00000002-{'9' * 20}-{segment[-12:-4]}.seg",
    ]  # fmt: skip
    path = folder / rng.choice(names)
    if os.path.lexists(path):
        return "nothing"
    trap = rng.choice(TRAPS)
    trap(path, outside)
    return f"{trap.__name__} as {path.relative_to(writer)}"


ODD: list[Any] = [
    None, True, -1, 2**31, 2**63, 2**64 - 1, 10**40, 1e308, "", "\0", "x" * 100_000, "..", "/etc/passwd",
    "reading", "reading#2", "\u202e\x1b[2J", [], {}, [[]] * 3, {"a": {"b": []}}, "os:system", "killed", "ended",
]  # fmt: skip


def said_otherwise(rng: random.Random, writer: Path, outside: Path) -> str:
    """A value somewhere in a JSON file is another one."""
    found = [
        path for path in files_of(writer) if path.name in ("run.json", "owner.json", "reading")
    ]
    path = rng.choice([one for one in found if one.parent.name != "cursors"] or files_of(writer))
    try:
        said = json.loads(path.read_text())
    except ValueError:
        return "nothing"
    place: Any = said
    steps = []
    while isinstance(place, (dict, list)) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        steps.append(key)
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.3:
            place[key] = rng.choice(ODD)
            break
        place = place[key]
    text = json.dumps(said)
    if rng.random() < 0.1:
        text = text.replace(
            "1", rng.choice(["1e999", "NaN", "-Infinity", "9" * 5000, '"\\ud800"']), 1
        )
    path.write_text(text)
    return f"{path.name}: {steps}"


def foreign_class(rng: random.Random, writer: Path, outside: Path) -> str:
    mark = str(outside / "mark")
    calls = [
        ("os", "system", [f"touch {mark}"]),
        ("subprocess", "run", [["touch", mark]]),
        ("builtins", "exec", [f"open({mark!r}, 'w')"]),
        ("pathlib", "Path.touch", [mark]),
        ("antigravity", "x", []),
    ]
    module, qualname, places = rng.choice(calls)
    name = rng.choice(["reading", "evil", module, f"{module}:{qualname}", "reading#2"])
    more = {"places": places, "given": rng.choice([True, False, False])}
    one = stored(name, module=module, qualname=qualname, **more)
    one["tracker"] = rng.choice(["", name, "reading", module])
    said = {"project": "p", "run_id": "r", "trackers": [one, stored()]}
    remove(writer / "run.json")
    (writer / "run.json").write_text(json.dumps(said))
    return f"{one}"


def forged_cursor(rng: random.Random, writer: Path, outside: Path) -> str:
    slots = [
        encode_slot(rng.choice([0, 1, 2**63, 2**64 - 1]), rng.choice([0, 2, 2**64 - 1]))
        for _ in "ab"
    ]
    remove(writer / "cursors")
    (writer / "cursors").mkdir()
    (writer / "cursors" / "reading").write_bytes(b"".join(slots))
    return "a forged cursor"


def forged_record(rng: random.Random, writer: Path, outside: Path) -> str:
    """Records as nobody logs them, in whole frames."""

    def name() -> str:
        return rng.choice([
            str(outside / "secret"), "../../../outside/secret", "files/1/../../../../../outside/secret",
            "/dev/zero", "files/1/a.txt", "files/1", "files", "", "\0", "x" * 5000, "/proc/self/mem",
        ])  # fmt: skip

    def value() -> Any:
        return rng.choice([
            LoggedFile(name(), name(), rng.random() < 0.4),
            LoggedImage(rng.randbytes(4), rng.choice([0, 1, 10**9]), 2, rng.choice([1, 2, 9]), rng.choice(["raw", "png", "../x"])),
            LoggedVideo(b"", 1, 1, 1, rng.choice([0, -1, 10**12]), 1.0),
            {"deep": LoggedFile(name())}, [LoggedFile(name()), LoggedFile("files/1/a.txt")], float("nan"),
        ])  # fmt: skip

    def record() -> Any:
        raw = msgspec.msgpack.encode
        return rng.choice([
            Log({"v": value(), "w": value()}, rng.choice([None, 1, -(2**63)]), rng.choice([0, 2**63]), rng.choice([0.0, 1e308])),
            encode(Blob(rng.choice(["", "../owner.json", "0" * 64, "x" * 1000]))),
            rng.randbytes(rng.randrange(1, 100)),
            raw({"type": "log", "values": {"x": msgspec.msgpack.Ext(rng.choice([0, MEDIA_CODE, 5]), rng.randbytes(9))},
                 "step": 1, "position": 1, "wall_time": 1.0}),
            b"\x81\xa1d" * rng.choice([10, 1000, 100_000]),
            b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\xa1a",
        ])  # fmt: skip

    root = writer.parent.parent
    other = run_of(root / "other", [record() for _ in range(6)] + rows(1))
    for path in writer.glob("*.seg"):
        remove(path)
    for path in other.glob("*.seg"):
        shutil.copyfile(path, writer / path.name)
    shutil.rmtree(root / "other")
    return "forged records"


DAMAGES: list[Damage] = [
    flipped, random_bytes, cut, enlarged, replaced, planted, said_otherwise, said_otherwise,
    foreign_class, forged_cursor, forged_record,
]  # fmt: skip


def recovered(run_dir: Path) -> dict[str, TrackerStatus] | Exception:
    """What `recover` came back with; it fails the test if it does not come back."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(Tracking.recover(run_dir, timeout=0.3, force=True))
        except BaseException as error:
            result.append(error)

    before = set(threading.enumerate())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert result, f"recover did not come back within {SECONDS} s"
    for left in set(threading.enumerate()) - before:
        # On a machine with much to do it does not wait for a worker, which then writes its last note.
        left.join(SECONDS)
        assert not left.is_alive(), f"recover left {left} at work"
    return result[0]  # type: ignore[no-any-return]  # one of the two


def test_a_damaged_run_directory_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watcher: Watcher
) -> None:
    register_tracker_class(Reading)
    monkeypatch.setattr(recovery, "POLICY", recovery.POLICY._replace(first_wait=0.01, deadline=5.0))
    warnings.simplefilter("ignore")
    template = whole_run(tmp_path / "template")
    outside = outside_of(tmp_path)
    before = seen_of(outside)
    place = tmp_path / "runs" / "run" / template.name
    get_available_trackers()  # with all that is imported on the way
    shutil.copytree(template, place)
    whole = recovered(place.parent)
    assert isinstance(whole, dict) and whole["reading"].state == "ended"
    shutil.rmtree(place)
    outcomes = {"delivered": 0, "refused": 0}
    for case in range(CASES):
        rng = random.Random(f"{SEED}-{case}")
        shutil.copytree(template, place)
        Reading.made.clear()
        done = [
            rng.choice(DAMAGES)(rng, place, outside) for _ in range(rng.choice([1, 1, 1, 2, 4]))
        ]
        what = f"case {case} of seed {SEED}: {'; '.join(done)}"
        with watcher.watching(tmp_path / "runs") as found:
            outcome = recovered(place.parent)
        assert not found, f"{what}: {found}"
        if isinstance(outcome, dict):
            outcomes["delivered"] += 1
            assert all(isinstance(status, TrackerStatus) for status in outcome.values()), what
        else:
            outcomes["refused"] += 1
            assert isinstance(outcome, JournalError), f"{what}: {outcome!r}"
        assert seen_of(outside) == before, what
        for one in Reading.made:
            assert CANARY not in repr(one.records), what
            assert not any(CANARY.encode() in held for held in one.read.values()), what
            numbers = [number for number in one.numbers if type(number) is int]
            assert set(numbers) <= set(range(1, 106)), f"{what}: altered"
        shutil.rmtree(place)
    assert min(outcomes.values()) > CASES / 20, f"a lopsided lot: {outcomes}"
