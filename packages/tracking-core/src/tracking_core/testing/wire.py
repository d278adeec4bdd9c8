"""HTTP/1.1 as it is on a connection: heads and bodies, byte by byte as they came."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator

__all__ = ["Connection", "Head", "Length", "answer_length", "request_length"]

LONGEST_HEAD = 1024 * 1024
PIECE = 64 * 1024

Length = int | None
"""Of a body, in bytes; `CHUNKED` where it comes in chunks, None where it ends with the connection."""
CHUNKED = -1

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Head:
    """The first line and the headers of a request or an answer.

    Attributes:
        raw: all of it, with the empty line at its end.
        first: the three parts of the first line.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        line, *fields = raw.decode("latin-1").split("\r\n")
        self.first = (*line.split(" ", 2), "", "")[:3]
        self._fields = [field.partition(":") for field in fields if field]

    def get(self, name: str) -> str:
        """The value of a header in small letters; empty if there is none."""
        found = [value for key, _, value in self._fields if key.lower() == name]
        return ", ".join(one.strip() for one in found).lower()

    def without(self, name: str) -> Head:
        """The same, but for one header."""
        return Head(re.sub(rf"(?im)^{name}:.*\r\n".encode(), b"", self.raw))

    @property
    def closes(self) -> bool:
        """Whether nothing comes after it on this connection."""
        said = self.get("connection")
        return "close" in said or ("HTTP/1.0" in self.first and "keep-alive" not in said)


def request_length(head: Head) -> Length:
    """How long the body behind the head of a request is."""
    if "chunked" in head.get("transfer-encoding"):
        return CHUNKED
    return int(head.get("content-length") or 0)


def answer_length(head: Head, method: str) -> Length:
    """How long the body behind the head of the answer to a `method` request is."""
    status = int(head.first[1])
    if method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    if "chunked" in head.get("transfer-encoding"):
        return CHUNKED
    length = head.get("content-length")
    return int(length) if length else None


class Connection:
    """One end of a connection, read piece by piece."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._ahead = b""
        # One packet for each piece: a second one would wait for the first one's receipt.
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self) -> Head | None:
        """The next head; None if the other end has nothing more to say."""
        while b"\r\n\r\n" not in self._ahead:
            piece = self._socket.recv(PIECE)
            if not piece or len(self._ahead) > LONGEST_HEAD:
                return None
            self._ahead += piece
        raw, between, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return Head(raw + between)

    def body(self, length: Length) -> Iterator[bytes]:
        """A body of this length in pieces, chunks with what is between them.

        Raises:
            ConnectionError: it breaks off.
        """
        if length is None:
            yield from self.pieces()
        elif length != CHUNKED:
            yield from self._exactly(length)
        else:
            size = -1
            while size:
                line = self._line()
                size = int(line.partition(b";")[0], 16)
                yield line
                yield from self._exactly(size + 2 if size else 0)
            trailer = b""
            while trailer != b"\r\n":  # it ends with an empty line, as a head does
                trailer = self._line()
                yield trailer

    def pieces(self) -> Iterator[bytes]:
        """All that comes until the other end has nothing more to say."""
        while piece := self._some():
            yield piece

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Say that nothing more is sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def wait_at_most(self, seconds: float) -> None:
        """What is read from now on raises TimeoutError after that."""
        self._socket.settimeout(seconds)

    def interrupt(self) -> None:
        """Have the thread that reads from it see the end, and the other end a reset."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        self._socket.close()

    @property
    def is_over(self) -> bool:
        """Whether the other end has closed it, with nothing left to read."""
        if self._ahead:
            return False
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self._socket.setblocking(True)

    def _some(self) -> bytes:
        found, self._ahead = self._ahead, b""
        return found or self._socket.recv(PIECE)

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._some()
            if not piece:
                raise ConnectionError("it broke off in a body")
            self._ahead = piece[size:]
            size -= len(piece[:size])
            yield piece[: len(piece) - len(self._ahead)]

    def _line(self) -> bytes:
        while b"\n" not in self._ahead:
            piece = self._socket.recv(PIECE)
            if not piece:
                raise ConnectionError("it broke off in a line")
            self._ahead += piece
        line, end, self._ahead = self._ahead.partition(b"\n")
        return line + end
