"""Large values beside the journal, each under the digest of its bytes.

A blob is stored before the record that names it, and it is checked whenever it is read, so a record
never stands for other bytes than those that were logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from tracking_core.errors import DamagedJournal, JournalError, let_through
from tracking_core.journal import layout
from tracking_core.journal.files import CREATE, REAL, Files
from tracking_core.journal.regular import open_regular

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART = 1024 * 1024
_LARGE = 16 * _PART
LARGEST = 16 * 1024 * _PART
"""Bytes of a blob at most: what is larger fits into no memory that a record could be made in."""


class Blobs:
    """The blobs of one writer directory.

    With `durable`, `put` waits for the disk: what a writer with ``durability="power"`` needs.
    """

    def __init__(
        self,
        writer: str | os.PathLike[str],
        *,
        durable: bool = False,
        files: Files = REAL,
    ) -> None:
        self.directory = Path(writer) / layout.BLOBS
        self._durable = durable
        self._files = files

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex; the same bytes are stored once.

        Raises `JournalError` when the disk refuses; nothing is left half stored.
        """
        if len(data) > LARGEST:
            raise JournalError(f"a value of {len(data)} bytes: {LARGEST} can be stored at most")
        digest = hashlib.sha256(data).hexdigest()
        with contextlib.suppress(JournalError):
            self.get(digest, len(data))
            return digest
        files = self._files
        path = self.directory / digest
        draft = self.directory / f".{digest[:16]}-{secrets.token_hex(4)}"
        made = False
        try:
            layout.make_directory(self.directory, files=files)
            fd = files.open(str(draft), CREATE, 0o600)
            made = True
            try:
                files.fchmod(fd, 0o600)
                files.write_all(fd, data)
                if self._durable:
                    files.fsync(fd)
            finally:
                files.close(fd)
            files.replace(str(draft), str(path))
            made = False
            if self._durable:
                files.sync_directory(str(self.directory))
        except OSError as error:
            let_through(error)
            reason = error.strerror or error
            raise JournalError(f"cannot store a value in {self.directory}: {reason}") from error
        finally:
            if made:
                with contextlib.suppress(OSError):
                    files.unlink(str(draft))
        return digest

    def get(self, digest: str, size: int | None = None) -> bytes:
        """The bytes with this digest; where their number is known, no other number is looked into.

        Raises `JournalError` when there are none or the name is no digest, and `DamagedJournal`
        when the bytes are not those that were stored.
        """
        path = self.path(digest)
        try:
            fd = open_regular(path, files=self._files)
            try:
                found = os.fstat(fd).st_size
                # What is damaged must not fill the memory before that is known.
                whole = found <= LARGEST and size in (None, found)
                whole = whole and (found <= _LARGE or self._holds(fd, digest))
                data = b"".join(self._parts(fd)) if whole else b""
            finally:
                self._files.close(fd)
        except OSError as error:
            let_through(error)
            raise JournalError(f"no blob {path}: {error.strerror or error}") from error
        except JournalError as error:
            raise JournalError(f"no blob: {error}") from error
        if not whole or hashlib.sha256(data).hexdigest() != digest:
            raise DamagedJournal(f"the blob {path} does not hold the bytes of its name")
        return data

    def _parts(self, fd: int) -> Iterator[bytes]:
        at = 0
        while part := self._files.pread(fd, _PART, at):
            yield part
            at += len(part)

    def _holds(self, fd: int, digest: str) -> bool:
        found = hashlib.sha256()
        for part in self._parts(fd):
            found.update(part)
        return found.hexdigest() == digest

    def path(self, digest: str) -> Path:
        """Where a blob lies, for a library that wants a file; `get` is what checks the bytes.

        Raises `JournalError` when the name is no SHA-256 in hex, so no name leads elsewhere.
        """
        if not _DIGEST.fullmatch(digest):
            raise JournalError(f"{digest!r} is no name of a blob")
        return self.directory / digest
