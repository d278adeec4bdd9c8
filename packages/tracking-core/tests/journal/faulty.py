"""Files that fail where a test wants, and what the tests share to judge the outcome."""

from __future__ import annotations

import mmap
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from tracking_core.journal import Damage, Entry, Files, Reader

LONG = os.environ.get("TRACKING_LONG") == "1"
"""Whether the thorough settings are asked for; the default ones are a sample of the same cases."""

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here: nothing in the code under test may catch this and go on."""


@dataclass
class Fault:
    """Which operation fails, and how.

    `how` is "before" (nothing was done), "after" (all was done, and it still failed), or for
    writes the number of bytes that went through.  With `forever` every later one fails too.
    """

    at: int
    how: Literal["before", "after"] | int
    error: int
    forever: bool = False
    crash: bool = False


class FaultyFiles(Files):
    """Real operations on real files, counted, of which some fail."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.count = 0
        self.fault = fault
        self.fired = False
        self.log: list[str] = []
        self._open: set[int] = set()
        for name in ("ftruncate", "pread", "fchmod"):
            setattr(self, name, self._counted(name))
        # No test pulls the plug of the real disk, so none has to wait for it.
        self.fsync = lambda fd: self._run("fsync", lambda: None)
        self.fdatasync = lambda fd: self._run("fdatasync", lambda: None)
        for name in ("allocate", "mkdir", "chmod", "replace", "unlink"):
            setattr(self, name, self._counted(name))
        self.open = self._do_open
        self.close = self._do_close
        self.write = lambda fd, data: self._do_write("write", data, lambda d: os.write(fd, d))
        self.pwrite = lambda fd, data, at: self._do_write(
            "pwrite", data, lambda d: os.pwrite(fd, d, at)
        )

    def map(self, fd: int, size: int) -> mmap.mmap:
        return self._run("map", lambda: super(FaultyFiles, self).map(fd, size))

    def release(self) -> None:
        """Close what a failed `close` or a crash has left open."""
        for fd in list(self._open):
            self._open.discard(fd)
            os.close(fd)

    def _counted(self, name: str) -> Callable[..., object]:
        real = getattr(Files, name)
        return lambda *arguments: self._run(name, lambda: real(*arguments))

    def _do_open(self, path: str, flags: int, mode: int) -> int:
        def really() -> int:
            fd = os.open(path, flags, mode)
            self._open.add(fd)
            return fd

        return self._run("open", really)

    def _do_close(self, fd: int) -> None:
        def really() -> None:
            os.close(fd)
            self._open.discard(fd)

        self._run("close", really)

    def _do_write(self, name: str, data: bytes, really: Callable[[bytes], int]) -> int:
        fault = self._fault_now(name)
        if fault is None:
            return really(data)
        if fault.how == "before":
            self._raise(fault)
        if fault.how == "after":
            really(data)
            self._raise(fault)
        part = really(data[: int(fault.how)]) if fault.how else 0
        # A short write says how much it took; the refusal comes with the next one.
        self.fault = Fault(self.count + 1, "before", fault.error, fault.forever, fault.crash)
        return part

    def _run(self, name: str, really: Callable[[], T]) -> T:
        fault = self._fault_now(name)
        if fault is None:
            return really()
        if fault.how == "after":
            really()
        self._raise(fault)
        raise AssertionError

    def _fault_now(self, name: str) -> Fault | None:
        self.count += 1
        self.log.append(name)
        fault = self.fault
        if fault is None or self.count < fault.at:
            return None
        if self.count > fault.at and not fault.forever:
            return None
        self.fired = True
        return fault

    def _raise(self, fault: Fault) -> None:
        if fault.crash:
            raise Crash
        raise OSError(fault.error, os.strerror(fault.error))


def in_child(function: Callable[[], bool]) -> None:
    """Fork, and fail unless `function` is true in the child; the child never gets any further."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if function() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def read_all(
    writer: Path, after: int = 0, *, live: bool | None = False, limit: int = 100
) -> tuple[list[Entry], list[Damage]]:
    """Everything that a fresh reader gives out: the records and the damages."""
    entries: list[Entry] = []
    damages: list[Damage] = []
    with Reader(writer, after, live=live) as reader:
        while batch := reader.read(limit):
            for item in batch:
                if isinstance(item, Entry):
                    entries.append(item)
                else:
                    damages.append(item)
    return entries, damages


def missing_of(damages: list[Damage]) -> list[int]:
    """The sequence numbers that damages name."""
    return [seq for damage in damages for seq in damage.missing]
