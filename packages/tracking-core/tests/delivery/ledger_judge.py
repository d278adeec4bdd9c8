"""The judge: reads what trackers took, and knows from a pipe which `log` calls had returned."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tracking_core import Tracking

LONG = os.environ.get("TRACKING_LONG") == "1"
KILLS = int(os.environ.get("TRACKING_KILLS", "1540" if LONG else "64"))
PATIENCE = 30.0

# For programs that run in another directory.
PATH = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)


def wait_for(condition: Callable[[], object], what: str = "it", seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        pause.wait(0.01)


class Ledger:
    """What one tracker took."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def __str__(self) -> str:
        return str(self.path)

    def order(self, method: str, what: str) -> None:
        Path(f"{self.path}.{method}").write_text(what)

    def withdraw(self, method: str) -> None:
        Path(f"{self.path}.{method}").unlink()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All that was written so far; only what is new is read."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")
            self._read += len(whole[0]) + len(whole[1])
            self._lines += _whole_lines(whole[0].split(b"\n"))
        return list(self._lines)

    def all(self, kind: str) -> list[Any]:
        return [line[kind] for line in self.lines if kind in line]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "values" in line]

    @property
    def numbers(self) -> list[int]:
        """The value ``n`` of each row, in the order in which they were delivered."""
        return [row["values"]["n"] for row in self.rows if "n" in row["values"]]

    @property
    def ends(self) -> list[str]:
        return self.all("finish")

    @property
    def natives(self) -> set[str]:
        return set(self.all("start"))

    @property
    def processes(self) -> set[int]:
        return {line["pid"] for line in self.lines}

    def tried(self, method: str) -> int:
        return self.all("trouble").count(method)


def _whole_lines(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """`lines` without those that a killed process left half written: a start follows on each."""
    lines = [line for line in lines if line]
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=b""):
        try:
            yield json.loads(line)
        except ValueError:
            assert following.startswith(b'{"start"'), f"a damaged line: {line!r}"


def duplicates(numbers: list[int]) -> int:
    return len(numbers) - len(set(numbers))


def first_seen(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def is_gone(process: int) -> bool:
    """Whether a process is no more; one that only waits for init to ask for its end is not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state in "ZX" and parent == "1"


def started(lane: str, *ledgers: Ledger, project: str = "p", **more: Any) -> Tracking:
    """A run with a tracker for each ledger; `more` goes to the first."""
    names = ["ledger", "other"][: len(ledgers)]
    tracking = Tracking(names, delivery=lane)  # type: ignore[arg-type]  # it is one of them
    options = {name: {"ledger": str(book)} for name, book in zip(names, ledgers, strict=True)}
    options["ledger"] |= more
    tracking.init_trackers(project, config={"lr": 0.1}, init_kwargs=options)
    return tracking


VICTIM = """
import os, signal, sys, random, json
sys.path.insert(0, {here!r})
from tracking_core import Tracking, register_tracker_class
from ledger_trackers import LedgerTracker, OtherTracker
register_tracker_class(LedgerTracker)
register_tracker_class(OtherTracker)
lane, options = sys.argv[1], json.loads(sys.argv[2])
tracking = Tracking(list(options), delivery=lane)
tracking.init_trackers("victim", config={{"lr": 0.1}}, init_kwargs=options)
os.write(1, str(tracking.run_dir).encode() + b"\\n")

def log(number, **more):
    tracking.log({{"n": number, **more}}, step=number)
    os.write(1, b"%d\\n" % number)

def log_for_ever():
    number = 0
    rng = random.Random(0)
    while True:
        number += 1
        if rng.random() < 0.003:
            log(number, big="x" * rng.randrange(1000, 400_000))
        else:
            log(number)
"""


class Victim:
    """A training process that logs 1, 2, 3, ... and says each number once `log` has returned."""

    def __init__(
        self,
        lane: str,
        body: str = "log_for_ever()",
        wrapper: str = "",
        cwd: Path | None = None,
        **ledgers: Any,
    ) -> None:
        options = {
            name: given if isinstance(given, dict) else {"ledger": str(given)}
            for name, given in ledgers.items()
        }
        program = wrapper + VICTIM.format(here=str(Path(__file__).parent)) + body
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, lane, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": PATH},
        )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout.fileno()
        self._said = b""
        self.errors = ""
        while b"\n" not in self._said:
            self._hear()
        self.run_dir = Path(self._said.split(b"\n")[0].decode())

    def _hear(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "the victim said nothing"
        data = os.read(self._pipe, 65536)
        assert data, f"the victim ended: {self.process.stderr.read().decode()}"  # type: ignore[union-attr]  # it is a pipe
        self._said += data

    @property
    def acknowledged(self) -> list[int]:
        return [int(line) for line in self._said.decode().split("\n")[1:-1]]

    def hear_until(self, condition: Callable[[], object]) -> None:
        """Go on listening, so that it goes on logging, until `condition` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self._hear()
            assert time.monotonic() < deadline, "waited too long"

    def hear_numbers(self, count: int) -> None:
        self.hear_until(lambda: self._said.count(b"\n") > count)

    def signal(self, number: int = signal.SIGKILL) -> list[int]:
        self.process.send_signal(number)
        return self.end()

    def end(self, timeout: float = 0.0) -> list[int]:
        """Wait for its end; what it had acknowledged."""
        out, err = self.process.communicate(timeout=timeout or PATIENCE * 2)
        self._said += out
        self.errors = err.decode()
        return self.acknowledged
