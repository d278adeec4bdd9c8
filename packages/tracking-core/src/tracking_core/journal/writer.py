"""The appending end of a journal: one writer, one process, one directory.

When `append` returns, the record is the kernel's, and no end of the process loses it.  When the
disk refuses, the record waits in memory and goes to disk, in order, as soon as the disk takes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from tracking_core.errors import JournalError, let_through
from tracking_core.journal import cursor, frame, layout, segment
from tracking_core.journal.files import REAL, Files
from tracking_core.journal.frame import MAX_PAYLOAD, encode
from tracking_core.journal.reentry import is_inside, is_owned

Durability = Literal["process", "power"]

_RETRY_SECONDS = 1.0
_UNSYNCED_SEGMENTS = 4
# What a small payload costs in memory beside its bytes, so that many tiny ones stay bounded too.
_RING_OVERHEAD = 150
_ILL = frozenset({errno.EIO, errno.EROFS, getattr(errno, "ESTALE", errno.EIO)})


class WriterStatus(NamedTuple):
    """How a writer stands: all counts are since it was made.

    `waiting` records (`waiting_bytes` of payload) are in memory only; `dropped` ones are lost
    because the ring was full; `last_error` is the latest refusal in words, or empty.
    """

    last_seq: int
    waiting: int
    waiting_bytes: int
    dropped: int
    write_failures: int
    sync_failures: int
    last_error: str
    mapped: bool


class _Doubtful(NamedTuple):
    """A file whose sync failed, and where in it the records begin that may not be on disk."""

    path: Path
    salt: int
    start: int


class Writer:
    """Appends records to a journal of its own; made by `Writer.create`.

    Attributes:
        directory: where it writes.
        forked: whether this is a forked child's copy, which writes nothing: a child makes a writer
            of its own.
    """

    # So many attributes in a dict would be looked up the slow way, at each append.
    __slots__ = (
        *("directory", "forked", "_pid", "_files", "_clock", "_stop", "_helper", "__weakref__"),
        *("_power", "_segment_bytes", "_ring_limit", "_may_map", "_mapped"),
        *("_lock", "_sync_lock", "_owned", "_busy", "_late", "_closed"),
        *("_segment", "_last", "_number", "_ring", "_ring_bytes", "_gap"),
        *("_unsynced", "_doubtful", "_sealed", "_names_changed", "_retry_at", "_sync_retry_at"),
        *("_dropped", "_write_failures", "_sync_failures", "_last_error"),
    )

    def __init__(
        self,
        directory: Path,
        *,
        durability: Durability,
        segment_bytes: int,
        ring_bytes: int,
        mapped: bool,
        clock: Callable[[], float],
        files: Files,
    ) -> None:
        self.directory = directory
        self._files = files
        self._clock = clock
        self._power = durability == "power"
        self._segment_bytes = segment_bytes
        self._ring_limit = ring_bytes
        self._may_map = mapped
        self._mapped = mapped
        # Reentrant, since a signal handler or a finaliser may log while this thread appends.
        self._lock = threading.RLock()
        self._sync_lock = threading.RLock()
        self._owned = is_owned(self._lock)
        self._busy = False
        self._segment: segment.Segment | None = None
        self._last = 0
        self._number = 0
        self._ring: deque[tuple[int, bytes]] = deque()
        self._ring_bytes = 0
        self._gap: tuple[int, int] | None = None
        self._late: deque[bytes] = deque()
        self._retry_at = float("-inf")
        # Segments that take no more records: still to be synced, and kept until pruned.
        self._unsynced: list[segment.Segment] = []
        self._doubtful: list[_Doubtful] = []
        self._sync_retry_at = float("-inf")
        self._sealed: list[tuple[Path, int]] = []
        self._names_changed = False
        self._dropped = 0
        self._write_failures = 0
        self._sync_failures = 0
        self._last_error = ""
        self._closed = False
        self.forked = False
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._helper: threading.Thread | None = None

    @classmethod
    def create(
        cls,
        root: str | os.PathLike[str],
        run: str,
        *,
        durability: Durability = "process",
        segment_bytes: int = 16 * 1024 * 1024,
        ring_bytes: int = 64 * 1024 * 1024,
        sync_interval: float | None = 5.0,
        mapped: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        files: Files = REAL,
    ) -> Writer:
        """A writer with a new directory of its own below ``root/run``.

        `durability` ``"power"`` makes every append wait for the disk, ``"process"`` leaves that to
        a helper thread that syncs every `sync_interval` seconds when there is something to sync
        (None: no thread, only `sync` and `close`).  Segments take `segment_bytes`; while the disk
        refuses, up to `ring_bytes` wait in memory.  `mapped` says whether to append through a map;
        None lets the file system decide.  `clock` is monotonic, in seconds.

        Raises `JournalError` when the directory can't be made.  A disk that has no room for the
        first segment is no error: the records wait.
        """
        if durability not in ("process", "power"):
            raise ValueError(f"durability is 'process' or 'power', not {durability!r}")
        directory = layout.create_writer_directory(Path(root).absolute(), run, files=files)
        writer = cls(
            directory,
            durability=durability,
            segment_bytes=max(segment_bytes, segment.HEADER_BYTES + 2 * frame.NOTICE_BYTES),
            ring_bytes=ring_bytes,
            mapped=segment.may_map(directory) if mapped is None else mapped,
            clock=clock,
            files=files,
        )
        with writer._lock:
            writer._open_first()
        _live.add(writer)
        if sync_interval is not None:
            writer._helper = threading.Thread(
                target=_keep_synced,
                args=(weakref.ref(writer), writer._stop, sync_interval),
                name="tracking-journal-sync",
                daemon=True,
            )
            writer._helper.start()
        return writer

    def append(self, payload: bytes) -> int:
        """Keep a record, and return its sequence number: the first is 1, each next one more.

        Never raises because of the disk.  Raises `ValueError` for an empty payload or one above
        16 MiB (put that into `Blobs`), and `JournalError` after `close` and in a forked child.

        Returns 0 when called by a signal handler or finaliser that interrupted an append of the
        same thread: the record is taken, and gets the next number as soon as that append is done.
        """
        if not 0 < len(payload) <= MAX_PAYLOAD:
            raise ValueError(
                f"a record has 1 to {MAX_PAYLOAD} bytes, not {len(payload)}:"
                " large values belong in blobs"
            )
        if self._owned() and is_inside(self, self._lock, self._sync_lock) and self._busy:
            self._require_usable()
            self._late.append(payload)
            return 0
        lock = self._lock
        try:
            # Not `with`: of the 2 µs of a call of `log` it would take another 0.1.
            lock.acquire()
            if self._busy or self._ring or self._segment is None:
                seq = self._append_slowly(payload)
            else:
                # From here on a handler's record waits, and the segment stays the same.
                self._busy = True
                current = self._segment
                seq = self._last + 1
                try:
                    put = current.put(encode(seq, payload, current.salt))
                except OSError as error:
                    self._refused(error)
                    put = False
                if put:
                    self._last = seq
                else:
                    self._enqueue(payload)
                self._busy = False
        except BaseException:
            # Ctrl-C, say, and it may have come while this was waiting for the lock.
            if is_owned(lock)():
                lock.release()
            self._append_late()
            raise
        lock.release()
        if self._late:
            self._append_late()
        if self._power and self._clock() >= self._sync_retry_at:
            self.sync()
        return seq

    def waiting(self) -> list[tuple[int, bytes]]:
        """The records that are in memory only, oldest first, as (sequence number, payload)."""
        with self._lock:
            return list(self._ring)

    def status(self) -> WriterStatus:
        """How the writer stands now."""
        with self._lock:
            return WriterStatus(
                last_seq=self._last,
                waiting=len(self._ring),
                waiting_bytes=sum(len(payload) for _, payload in self._ring),
                dropped=self._dropped,
                write_failures=self._write_failures,
                sync_failures=self._sync_failures,
                last_error=self._last_error,
                mapped=self._mapped,
            )

    def sync(self) -> bool:
        """Wait for the disk; True when everything appended before the call is safe on it.

        Never raises because of the disk.  A sync that failed is not believed when repeated: the
        records it was for are written again, into a new segment.
        """
        if is_inside(self, self._lock, self._sync_lock):
            return False
        with self._sync_lock:
            with self._lock:
                if self._closed or self.forked:
                    return self._closed and not self._ring
                self._tidy()
                last = self._last
            done = self._sync_all()
            with self._lock:
                return done and self._gap is None and (not self._ring or self._ring[0][0] > last)

    def prune(self, min_acked: int) -> int:
        """Delete the segments that nobody needs any more, and return how many.

        A segment goes when its last record is at or below `min_acked` and at or below every cursor
        in this directory: a caller who errs, or a cursor that wasn't stored, loses nothing.
        """
        if is_inside(self, self._lock, self._sync_lock):
            return 0
        with self._lock:
            if self.forked:
                return 0
            least = cursor.lowest(self.directory, files=self._files)
            passed = min_acked if least is None else min(min_acked, least)
            deleted = 0
            while self._sealed and self._sealed[0][1] <= passed:
                try:
                    self._files.unlink(str(self._sealed[0][0]))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self._note(error)
                    break
                self._sealed.pop(0)
                deleted += 1
            self._names_changed = self._names_changed or deleted > 0
            return deleted

    def close(self) -> int:
        """Sync, mark the end, give back unused space; return how many records never got to disk.

        Those can still be read by `waiting`.  A second call does nothing.  Called from within an
        interrupted append it does nothing either: what was appended is safe without it.
        """
        if is_inside(self, self._lock, self._sync_lock):
            return 0
        if self.forked:
            return 0
        self._stop.set()
        helper = self._helper
        if helper is not None and helper.ident != threading.get_ident():
            helper.join(timeout=5.0)
        with self._sync_lock:
            with self._lock:
                if self._closed or self.forked:
                    return len(self._ring)
                self._retry_at = float("-inf")
                self._tidy()
                # From here on nobody appends: nothing may come behind the closing notice.
                self._busy = self._closed = True
                self._write_end()
                self._retire()
            self._sync_all()
            with self._lock:
                self._retire()
                for old in self._unsynced:
                    self._close_file(old)
                self._unsynced.clear()
                self._busy = False
                _live.discard(self)
                return len(self._ring)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _require_usable(self) -> None:
        if self.forked:
            raise JournalError(
                f"the journal {self.directory} belongs to process {self._pid}: a forked process"
                " makes a writer of its own"
            )
        if self._closed:
            raise JournalError(f"the journal {self.directory} is closed")

    def _append_slowly(self, payload: bytes) -> int:
        self._require_usable()
        if self._busy:
            self._settle()
        self._busy = True
        seq = self._enqueue(payload)
        self._busy = False
        return seq

    def _append_late(self) -> None:
        """Write what handlers logged while this thread was inside `append`."""
        while self._late and not self._owned():
            with self._lock, contextlib.suppress(IndexError):
                if not (self._closed or self.forked):
                    payload = self._late.popleft()
                    self._append_slowly(payload)
                else:
                    self._late.clear()

    def _enqueue(self, payload: bytes) -> int:
        """Give a record its number by way of the ring, and write what the disk takes."""
        seq = self._last + 1
        self._ring.append((seq, payload))
        self._ring_bytes += len(payload) + _RING_OVERHEAD
        self._last = seq
        if self._clock() >= self._retry_at:
            self._drain()
        self._bound_ring()
        return seq

    def _tidy(self) -> None:
        """Finish what an interrupted append began, and write what waits if it is time to try."""
        if self._busy:
            self._settle()
        self._busy = True
        while self._late:
            self._enqueue(self._late.popleft())
        if (self._ring or self._gap is not None) and self._clock() >= self._retry_at:
            self._drain()
        self._busy = False

    def _settle(self) -> None:
        """After an append that an exception interrupted: let the bytes say what was written.

        The interrupted record may be in the file though its number was never returned. Then it is
        kept, since its number must not be given to another.
        """
        written = 0
        current = self._segment
        if current is not None:
            try:
                written = current.settle()
            except (OSError, ValueError) as error:
                self._refused(error)
        waiting = self._ring[-1][0] if self._ring else 0
        self._last = max(self._last, written, waiting)
        while self._ring and self._ring[0][0] <= written:
            self._ring.popleft()
        self._ring_bytes = sum(len(payload) + _RING_OVERHEAD for _, payload in self._ring)
        if self._gap is not None and self._gap[1] <= written:
            self._gap = None
        self._busy = False

    def _drain(self) -> None:
        try:
            while self._gap is not None or self._ring:
                current = self._segment
                if current is None:
                    self._next_segment()
                    continue
                if self._gap is not None:
                    first, last = self._gap
                    data = frame.encode_notice(frame.GAP, last, first, current.salt)
                else:
                    seq, payload = self._ring[0]
                    data = encode(seq, payload, current.salt)
                if not current.put(data):
                    self._retire()
                elif self._gap is not None:
                    self._gap = None
                else:
                    self._ring.popleft()
                    self._ring_bytes -= len(payload) + _RING_OVERHEAD
        except OSError as error:
            self._refused(error)

    def _bound_ring(self) -> None:
        while self._ring_bytes > self._ring_limit and self._ring:
            seq, payload = self._ring[0]
            self._gap = (self._gap[0] if self._gap else seq, seq)
            self._ring.popleft()
            self._ring_bytes -= len(payload) + _RING_OVERHEAD
            self._dropped += 1

    def _open_first(self) -> None:
        try:
            self._next_segment()
        except OSError as error:
            self._refused(error)

    def _next_segment(self) -> None:
        first = self._last + 1
        need = frame.NOTICE_BYTES
        if self._ring:
            first = self._ring[0][0]
            need = max(need, frame.HEADER_BYTES + len(self._ring[0][1]))
        if self._gap is not None:
            first = self._gap[0]
        self._make_segment(first, need)

    def _make_segment(self, first: int, need: int) -> None:
        self._number += 1
        size = max(self._segment_bytes, segment.HEADER_BYTES + need + frame.NOTICE_BYTES)
        self._names_changed = True
        made = segment.create(
            self.directory,
            self._number,
            first,
            size=size,
            mapped=self._may_map,
            files=self._files,
        )
        self._mapped = isinstance(made, segment.MappedSegment)
        self._segment = made

    def _retire(self) -> None:
        """End the current segment; it stays open until it is synced."""
        old = self._segment
        if old is None:
            return
        self._unsynced.append(old)
        self._segment = None
        try:
            old.seal()
        except OSError as error:
            self._note(error)
        if old.end <= segment.HEADER_BYTES:
            self._unsynced.remove(old)
            self._close_file(old)
            try:
                self._files.unlink(str(old.path))
            except OSError:
                pass  # then it goes when those before it do
            else:
                return
        self._sealed.append((old.path, self._written()))
        if len(self._unsynced) > _UNSYNCED_SEGMENTS and self._sync_lock.acquire(blocking=False):
            # Without a helper, or with one that is behind, open files must not pile up.
            try:
                self._sync_file(self._unsynced[0], self._unsynced[0].end)
                self._close_file(self._unsynced.pop(0))
            finally:
                self._sync_lock.release()

    def _written(self) -> int:
        """The number of the last record that is not in memory only."""
        if self._gap is not None:
            return self._gap[0] - 1
        return self._ring[0][0] - 1 if self._ring else self._last

    def _write_end(self) -> None:
        if self._ring or self._gap is not None:
            return
        try:
            if self._segment is None:
                self._next_segment()
            current = self._segment
            if current is not None:
                notice = frame.encode_notice(frame.END, self._last, self._dropped, current.salt)
                current.put_last(notice)
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError | ValueError) -> None:
        """The disk refused an append: the records wait, and the next try gets a fresh file."""
        self._note(error)
        self._write_failures += 1
        self._retry_at = self._clock() + _RETRY_SECONDS
        self._retire()

    def _note(self, error: OSError | ValueError) -> None:
        let_through(error)  # a watchdog's TimeoutError is an OSError too
        self._last_error = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno in _ILL:
            # A map of an ill disk fails by SIGBUS, which nobody survives; a write fails by errno.
            self._may_map = False

    def _sync_all(self) -> bool:
        """Sync until all is on disk.

        After a failure that takes three rounds: one that fails, one that finds a new file to work
        again, whereupon the doubtful records are written again, and one that syncs those.
        """
        return any(self._sync_once() for _ in range(3))

    def _sync_once(self) -> bool:
        """Sync every file that needs it; the lock isn't held while the disk works."""
        with self._lock:
            if self._doubtful and self._segment is None and not self._unsynced:
                self._open_first()
            current = self._segment
            work = [(old, old.end) for old in self._unsynced]
            if current is not None:
                work.append((current, current.end))
            names_changed, self._names_changed = self._names_changed, False
        results = [self._sync_file(old, end) for old, end in work if old.synced < end]
        done = all(results)
        if names_changed and done:
            try:
                self._files.sync_directory(str(self.directory))
            except OSError as error:
                with self._lock:
                    self._sync_failed(error)
                    self._names_changed = True
                done = False
        with self._lock:
            for old, _ in work:
                if old is not self._segment and old in self._unsynced:
                    self._unsynced.remove(old)
                    self._close_file(old)
            if self._doubtful and done and results:
                self._rewrite()
                done = False
            return done and not self._doubtful

    def _sync_file(self, old: segment.Segment, end: int) -> bool:
        try:
            self._files.fdatasync(old.fd)
        except OSError as error:
            with self._lock:
                self._sync_failed(error)
                # The kernel reports a lost page once. The next sync of this file would succeed
                # and mean nothing, so the file is left and its records are written again.
                start = max(old.synced, segment.HEADER_BYTES)
                if old is self._segment:
                    self._retire()
                self._doubtful.append(_Doubtful(old.path, old.salt, start))
                old.synced = old.end
            return False
        old.synced = max(old.synced, end)
        return True

    def _sync_failed(self, error: OSError) -> None:
        self._note(error)
        self._sync_failures += 1
        self._sync_retry_at = self._clock() + _RETRY_SECONDS

    def _rewrite(self) -> None:
        """Write the records of failed syncs again.

        The copies stand at the beginning of files of their own, whose names give the next new
        number. Readers skip a copy of what they have seen, and look for one of what they miss.
        """
        self._busy = True
        self._retire()
        try:
            while self._doubtful:
                path, salt, start = self._doubtful[0]
                data = path.read_bytes() if path.exists() else b""
                for span in frame.scan(data, salt, start):
                    if span.frame is not None:
                        self._put_again(span.frame)
                self._doubtful.pop(0)
        except OSError as error:
            self._refused(error)
        if self._ring or self._gap is not None:
            self._retire()
        self._busy = self._closed

    def _put_again(self, found: frame.Frame) -> None:
        while True:
            current = self._segment
            if current is None:
                need = frame.HEADER_BYTES + len(found.payload)
                self._make_segment(self._written() + 1, need)
            elif current.put(_again(found, current.salt)):
                return
            else:
                self._retire()

    def _close_file(self, old: segment.Segment) -> None:
        try:
            self._files.close(old.fd)
        except OSError as error:
            self._note(error)

    def _tick(self) -> None:
        """What the helper thread does each time: nothing at all when there is nothing to do."""
        if self._late:
            self._append_late()
        current = self._segment
        dirty = current is not None and current.synced < current.end
        if dirty or self._unsynced or self._doubtful or self._ring or self._gap is not None:
            self.sync()

    def _forget(self) -> None:
        """In a forked child: let go of everything of the parent's, writing and syncing nothing."""
        self.forked = True
        self._busy = False
        self._lock = threading.RLock()
        self._sync_lock = threading.RLock()
        self._owned = is_owned(self._lock)
        self._helper = None
        mine = [*self._unsynced, *([self._segment] if self._segment else [])]
        self._segment = None
        self._unsynced = []
        self._ring.clear()
        self._late.clear()
        self._gap = None
        for old in mine:
            old.abandon()


def _again(found: frame.Frame, salt: int) -> bytes:
    if found.kind == frame.RECORD:
        return encode(found.seq, found.payload, salt)
    return frame.encode_notice(found.kind, found.seq, frame.notice_number(found), salt)


def _keep_synced(writer_ref: weakref.ref[Writer], stop: threading.Event, interval: float) -> None:
    while not stop.wait(interval):
        writer = writer_ref()
        if writer is None:
            return
        writer._tick()
        del writer


_live: weakref.WeakSet[Writer] = weakref.WeakSet()


def _forget_all() -> None:
    for writer in list(_live):
        writer._forget()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
