"""A training in a process of its own, with the ledger of what it has logged and when it said what."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Training"]

PROGRAM = Path(__file__).with_name("training.py")
DELIVERY = "tracking: delivers"
PATIENCE = 60.0
PROCESSES = Path("/proc")  # on Linux; elsewhere nothing is found


class Training:
    """Begins at once, in the empty directory `scratch`, and logs until `finish`.

    Attributes:
        rows: the value of each row, by its step.
        times: when the call that logged each had returned.
        files: the SHA-256 of what is in each file, by its name.
        pictures: the numbers of the pictures.
        troubles: when `Tracking.status` began to show an error, and which.
        said: the lines on its stderr, each with its time.
        run_dir: where its journal is, once the run has begun.
        ended_at: when the process had ended; None while it runs.
    """

    def __init__(
        self, arguments: Mapping[str, Any], scratch: Path, environment: Mapping[str, str]
    ) -> None:
        self.rows: dict[int, float] = {}
        self.times: list[float] = []
        self.files: dict[str, str] = {}
        self.pictures: list[int] = []
        self.troubles: list[tuple[float, str]] = []
        self.said: list[tuple[float, str]] = []
        self.run_dir: Path | None = None
        self.ended_at: float | None = None
        self.scratch = scratch
        scratch.mkdir()
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        self._mark = {"TRACKING_DIR": str(scratch / "journals")}
        self.environment = {**os.environ, **environment, "PYTHONPATH": path, **self._mark}
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            # Not as a module: its lines are those of a user, and not ours.
            [sys.executable, "-c", PROGRAM.read_text("utf-8"), json.dumps(dict(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=scratch,
            env=self.environment,
        )
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read, self._hear, self._await)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def words(self) -> str:
        """All that it has said on stderr."""
        return "\n".join(line for _, line in self.said)

    def wait_for(
        self, condition: Callable[[], object], what: str, seconds: float = PATIENCE
    ) -> None:
        """Wait until `condition` holds, which is looked at with every line of the ledger.

        Raises:
            AssertionError: it does not, or the training has ended before.
        """
        self.hears(condition, seconds)
        assert condition(), f"waited for {what}, in vain: {self.words}"

    def hears(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait likewise, and go on if it does not hold."""
        with self._news:
            self._news.wait_for(lambda: condition() or self.ended_at is not None, seconds)

    def wait_for_rows(self, count: int) -> None:
        """Wait until so many more rows are logged."""
        until = len(self.rows) + count
        self.wait_for(lambda: len(self.rows) >= until, f"{count} rows")

    def goes_on_for(self, seconds: float) -> None:
        """Let so much time pass, or less if it ends."""
        self.hears(lambda: False, seconds)

    def finish(self, timeout: float) -> None:
        """Have it end, which may take so many seconds; whoever wants to know waits for that."""
        assert self._process.stdin is not None, "it is a pipe"
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps({"timeout": timeout}).encode() + b"\n")

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, and of what it says.

        Raises:
            AssertionError: it failed.
        """
        status = self._process.wait(seconds)
        for thread in self._threads:
            thread.join(PATIENCE)
        assert status == 0, f"the training ended with status {status}: {self.words}"

    def run(
        self, command: list[str], seconds: float, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The exit status of a command that it has named, and what that says.

        One that does not end in so many seconds is ended, by a signal.

        Args:
            environment: variables that are mended, where the training had others.
        """
        with subprocess.Popen(
            command, cwd=self.scratch, env={**self.environment, **(environment or {})}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
        return process.returncode, said

    def kill(self, pattern: str) -> int:
        """Kill what it has started and has such a command line; how many processes that were."""
        found = [process for process, line in self._others() if re.search(pattern, line)]
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return len(found)

    def clean_up(self) -> None:
        """Leave no process behind."""
        self._process.kill()
        self._process.wait()
        while self.kill(""):
            pass
        for thread in self._threads:
            thread.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _others(self) -> Iterator[tuple[int, str]]:
        """The processes that belong to it, by the variables that they have got."""
        mark = "=".join(next(iter(self._mark.items()))).encode()
        for entry in PROCESSES.glob("[0-9]*"):
            if int(entry.name) not in (os.getpid(), self._process.pid):
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        yield int(entry.name), line.decode("utf-8", "replace")

    def _read(self) -> None:
        assert self._process.stdout is not None, "it is a pipe"
        for line in self._process.stdout:
            with self._news:
                self._note(json.loads(line))
                self._news.notify_all()

    def _await(self) -> None:
        self._process.wait()
        with self._news:
            self.ended_at = time.monotonic()
            self._news.notify_all()

    def _note(self, line: Mapping[str, Any]) -> None:
        match line:
            case {"row": [step, value], "at": at}:
                self.rows[step] = value
                self.times.append(at)
            case {"file": name, "digest": digest}:
                self.files[name] = digest
            case {"picture": number}:
                self.pictures.append(number)
            case {"trouble": error, "at": at}:
                self.troubles.append((at, error))
            case {"run_dir": place}:
                self.run_dir = Path(place)

    def _hear(self) -> None:
        assert self._process.stderr is not None, "it is a pipe"
        for line in self._process.stderr:
            self.said.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))
