"""Keeps a delivery process at work for as long as there is work for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tracking_core.delivery.notes import TrackerSpec, read_acked, read_note
from tracking_core.delivery.retry import Backoff
from tracking_core.delivery.worker import Policy
from tracking_core.journal import open_regular
from tracking_core.plain import text

__all__ = ["Order", "Supervisor"]

LOG = "delivery.log"
HEARTBEAT = "heartbeat"

SOMEBODY_ELSE = 75
LENGTH_BYTES = 8
SECONDS_TO_SPAWN = 5.0

# Ended from outside, or never begun: that says nothing about what was being delivered.
_BLAMELESS = frozenset({-9, -15, -2, -1, SOMEBODY_ELSE})
# But the kernel, too, ends by SIGKILL what takes all memory. Nobody else comes so often while the
# same record is being delivered.
KILLED = -9
KILLS_BEFORE_BLAME = 6
SECONDS_OF_A_GOOD_LIFE = 60.0

SECONDS_BETWEEN_LOOKS = 1.0
LOOKS_BEFORE_HUNG = 15
# Beyond what the process itself waits for, if it can still do that (`child.SECONDS_STUCK`).
LOOKS_BEFORE_KILLED = 120

# Not `-m`, which looks for modules in the working directory first, whatever lies there; and nothing
# is imported before the path is the training's. What comes first is what `ps` shows.
_PROGRAM = (
    "{title!r}; import sys; pipe = sys.stdin.buffer; "
    "sys.path[:] = pipe.read(int(pipe.readline())).decode('utf-8', 'surrogateescape').split(chr(0)); "
    "from tracking_core.delivery.child import run; run()"
)


class Order(msgspec.Struct, frozen=True):
    """What a delivery process is told, by pipe, since constructor arguments may hold keys."""

    directory: str
    trackers: list[TrackerSpec]
    parent: int
    blamed: bool
    policy: list[Any]
    linger: float
    argv: list[str]


class Supervisor:
    """Starts the delivery process of one writer directory, and starts it again when it dies.

    It is spawned, never forked, so it shares no lock, thread or GPU context with the training.

    Args:
        directory: the writer directory.
        trackers: how to make the trackers.
        policy: of the workers in there.
        linger: seconds that it goes on trying after the training has ended.
    """

    def __init__(
        self, directory: Path, trackers: list[TrackerSpec], *, policy: Policy, linger: float
    ) -> None:
        self._directory = directory
        self._trackers = trackers
        self._policy = policy
        self._linger = linger
        # As it is now: the training may change its working directory.
        self._path = list(_absolute(sys.path))
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="tracking-supervisor", daemon=True)
        self.deaths = 0
        self.last_error: str | None = None
        # How often in a row the process was killed while a tracker had a certain record.
        self._kills: dict[tuple[str, int], int] = {}
        self._eats_memory = False
        # The last sign of life, and how many looks ago there was a new one. Looks and not seconds:
        # who was stopped or asleep together with the process has not looked either.
        self._heartbeat = 0
        self._silent = 0

    def start(self) -> None:
        """Spawn the process and hand it its order, which takes milliseconds; don't wait for it."""
        # Here and not in the thread: a training that dies in its first moment is delivered too.
        with contextlib.suppress(Exception):  # no memory or descriptors: the thread tries again
            self._process = self._spawned(blamed=False)
        self._thread.start()

    @property
    def hung(self) -> bool:
        """Whether the delivery process runs and has shown no sign of life for long.

        It may have been stopped (SIGSTOP), or a library holds the interpreter's lock.
        """
        return self._silent >= LOOKS_BEFORE_HUNG and self.process_id is not None

    @property
    def process_id(self) -> int | None:
        """The delivery process that runs now."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def join(self, timeout: float) -> bool:
        """Wait until the delivery process has done its work; whether it has."""
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def release(self) -> None:
        """Let the process that runs now finish by itself, and start no other."""
        self._stopping.set()

    def kill(self) -> None:
        """End the process that runs now, or is just being spawned, and start no other."""
        self.release()
        until = time.monotonic() + SECONDS_TO_SPAWN
        while self._thread.is_alive() and time.monotonic() < until:
            process = self._process
            if process is not None:
                with contextlib.suppress(OSError):
                    process.kill()
            self._thread.join(0.05)

    def _run(self) -> None:
        backoff = Backoff(first=0.2, longest=30.0)
        blamed = False
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if self._process is None:
                    self._process = self._spawned(blamed)
                status, stuck = self._wait(self._process)
                self._process = None
            except Exception as error:  # no memory or no descriptors to start it: that may pass
                status = SOMEBODY_ELSE
                self.last_error = f"the delivery process did not start: {type(error).__name__}"
            else:
                if time.monotonic() - began > SECONDS_OF_A_GOOD_LIFE:
                    backoff.reset()
                    self._eats_memory = False
                killed_by_record = status == KILLED and self._killed_by_record()
                blamed = status not in _BLAMELESS or killed_by_record or stuck
                self.last_error = (
                    f"the delivery process ended with status {status}: see {self._directory / LOG}"
                )
            if status == 0:
                self.last_error = None
                return
            self.deaths += 1
            self._stopping.wait(backoff.next())

    def _wait(self, process: subprocess.Popen[bytes]) -> tuple[int, bool]:
        """The exit status of `process`, and whether it had to be killed because it was stuck."""
        stuck = False
        self._silent = 0
        while True:
            try:
                return process.wait(SECONDS_BETWEEN_LOOKS), stuck
            except subprocess.TimeoutExpired:
                heartbeat = self._read_heartbeat()
                self._silent = self._silent + 1 if heartbeat == self._heartbeat else 0
                self._heartbeat = heartbeat
            if self._silent >= LOOKS_BEFORE_KILLED:
                stuck = True
                process.kill()

    def _read_heartbeat(self) -> int:
        """When the process last showed a sign of life; another number each time if nobody knows."""
        try:
            return os.lstat(self._directory / HEARTBEAT).st_mtime_ns
        except OSError:  # the directory was moved away, say
            return self._heartbeat + 1

    def _killed_by_record(self) -> bool:
        """Whether a death by SIGKILL is so much like those before that a record may be the cause."""
        had = set()
        for spec in self._trackers:
            note = read_note(self._directory, spec.name)
            if note.trying and note.attempt[0] > read_acked(self._directory, spec.name):
                had.add((spec.name, note.attempt[0]))
        self._kills = {place: self._kills.get(place, 0) + 1 for place in had}
        if max(self._kills.values(), default=0) >= KILLS_BEFORE_BLAME:
            # From here on the records are tried one by one, and each is another place.
            self._eats_memory = True
        return self._eats_memory

    def _spawned(self, blamed: bool) -> subprocess.Popen[bytes]:
        """A delivery process that has its order."""
        order = Order(
            directory=str(self._directory),
            trackers=self._trackers,
            parent=os.getpid(),
            blamed=blamed,
            policy=list(self._policy),
            linger=self._linger,
            argv=[text(str(argument)) for argument in sys.argv],
        )
        log = open_regular(self._directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            # A session of its own: the Ctrl-C that ends the training must not end the delivery.
            with _spawning:
                title = f"tracking: delivers {self._directory.parent.name}"
                process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM.format(title=title)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
        finally:
            os.close(log)
        path = "\0".join(self._path).encode("utf-8", "surrogateescape")
        data = msgspec.msgpack.encode(order)
        assert process.stdin is not None, "it is a pipe"
        # Its length goes first: a worker forked by the training at this moment holds the pipe open.
        # A broken pipe: it died before it read, and its status says so.
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(b"%d\n" % len(path) + path)
            pipe.write(len(data).to_bytes(LENGTH_BYTES, "little") + data)
        return process


def _absolute(path: Iterable[object]) -> Iterator[str]:
    for entry in map(str, path):
        # Without a working directory, because it was deleted, an entry relative to it leads nowhere.
        with contextlib.suppress(OSError):
            yield os.path.abspath(entry)


# `Popen` waits for the end of a pipe that a worker forked meanwhile would hold open all its life.
_spawning = threading.RLock()


def _end_of_fork() -> None:
    with contextlib.suppress(RuntimeError):  # it took too long, and was not waited for
        _spawning.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _spawning.acquire(timeout=SECONDS_TO_SPAWN),
        after_in_parent=_end_of_fork,
        after_in_child=_end_of_fork,
    )
