"""What stands before a server and, when a test wants it, in the way: a proxy that plays faults.

It passes on what comes, byte by byte, and plays one of the faults below on all requests, or on those
with a certain path::

    with Gateway(server.url) as gateway:
        monkeypatch.setenv("MY_TOOL_URL", gateway.url)
        with gateway.playing(Status(429, retry_after=2), path="/metrics"):
            ...
"""

from __future__ import annotations

import contextlib
import http
import re
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from tracking_core.testing.wire import (
    CHUNKED,
    Connection,
    Head,
    Length,
    answer_length,
    request_length,
)

__all__ = [
    "Down",
    "Fault",
    "Gateway",
    "Hang",
    "LostAnswer",
    "Page",
    "Playing",
    "Request",
    "ResetInBody",
    "Slow",
    "Status",
    "TooLarge",
]

SECONDS_OF_LINGERING = 5.0
SECONDS_TO_COME_BACK = 10.0
PAGE = "<!doctype html><html><body><form action='/login'>Please sign in</form></body></html>"


@dataclass(eq=False, slots=True)
class Request:
    """One that came to the gateway.

    Attributes:
        at: when, as ``time.monotonic`` says.
        method, path: of its first line; the path without what is asked of it.
        gzip: whether its body is said to be compressed.
        fault: what it met; empty if it was passed on.
        status: of the answer that the client got whole; None if it got none, or not yet.
    """

    at: float
    method: str
    path: str
    gzip: bool
    fault: str = ""
    status: int | None = None


class Fault(Protocol):
    """What becomes of a request while it is played."""

    def meet(self, exchange: Exchange) -> None:
        """Deal with the request of `exchange`."""


class Exchange:
    """One request on its way.

    Attributes:
        healed: set when the fault that it has met is over.
    """

    def __init__(
        self, request: Request, head: Head, client: Connection, upstream: _Upstream
    ) -> None:
        self.request = request
        self.healed = threading.Event()
        self.last = head.closes
        self._client, self._upstream = client, upstream
        self._head = head
        self.length: Length = request_length(head)
        if head.get("expect") == "100-continue":
            self._head = head.without("Expect")
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self) -> Iterator[bytes]:
        """Its body, piece by piece."""
        yield from self._client.body(self.length)

    def answer(
        self, status: int, page: str, *, retry_after: float = 0.0, last: bool = False
    ) -> None:
        """Answer it here, with a page for people."""
        self.last = self.last or last
        body = page.encode()
        lines = [
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(body)}",
            *([f"Retry-After: {retry_after:g}"] if retry_after else []),
            *(["Connection: close"] if self.last else []),
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        self._client.send(head if self.request.method == "HEAD" else head + body)
        self.request.status = status

    def forward(self, body: Iterable[bytes] | None = None) -> tuple[Head, Iterator[bytes]] | None:
        """Hand it to the server, and the head and the body of its answer; None if it gives none."""
        with contextlib.suppress(OSError):
            connection = self._upstream.ready()
            connection.send(self._head.raw)
            for piece in self.body() if body is None else body:
                connection.send(piece)
            while (head := connection.head()) is not None:
                if not head.first[1].startswith("1") or head.first[1] == "101":
                    length = answer_length(head, self.request.method)
                    self.last = self.last or head.closes or length is None
                    return head, connection.body(length)
                self._client.send(head.raw)
        return None

    def pass_on(self, body: Iterable[bytes] | None = None) -> None:
        """Let the server answer it; 502 if there is none."""
        answer = self.forward(body)
        if answer is None:
            self.answer(502, _page(502), last=True)
            return
        head, pieces = answer
        self._client.send(head.raw)
        for piece in pieces:
            self._client.send(piece)
        self.request.status = int(head.first[1])
        if self.request.status == 101:
            self._upstream.tunnel(self._client, self.request.path)
            self.last = True

    def read_through(self) -> None:
        for _ in self.body():
            pass

    def send_half(self, head: Head, pieces: Iterable[bytes]) -> None:
        """The first half of an answer."""
        body = b"".join(pieces)
        answer = head.raw + body
        self._client.send(answer[: len(head.raw) + len(body) // 2 if body else len(answer) // 2])

    def linger(self) -> None:
        """Read what still comes, so that the answer is not lost in a reset."""
        self._client.end()
        self._client.wait_at_most(SECONDS_OF_LINGERING)
        with contextlib.suppress(OSError):
            for _ in self._client.pieces():
                pass

    def reset(self) -> None:
        """Break the connection off."""
        self.last = True
        self._client.interrupt()

    def close(self) -> None:
        """Close the connection without another word."""
        self.last = True


# --- the faults ---


@dataclass(frozen=True)
class Down:
    """Nobody is there: connections are reset, and new ones refused. The port stays the gateway's."""

    def meet(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True)
class Status:
    """Answered with an HTTP status and a page that says so, as a gateway does.

    Args:
        retry_after: seconds that the answer asks to be left alone for.
    """

    status: int
    retry_after: float = 0.0

    def meet(self, exchange: Exchange) -> None:
        exchange.read_through()
        exchange.answer(self.status, _page(self.status), retry_after=self.retry_after)


@dataclass(frozen=True)
class Page:
    """Answered with status 200 and a page where somebody is asked to log in."""

    def meet(self, exchange: Exchange) -> None:
        exchange.read_through()
        exchange.answer(200, PAGE)


@dataclass(frozen=True)
class TooLarge:
    """Answered with 413 if the body has more bytes than `limit`, before it is read through."""

    limit: int

    def meet(self, exchange: Exchange) -> None:
        if exchange.length == CHUNKED:
            kept, size = [], 0
            body = exchange.body()
            for piece in body:
                kept.append(piece)
                size += len(piece)
                if size > self.limit:
                    break
            else:
                return self._let_through(exchange, kept)
        elif exchange.length is not None and exchange.length <= self.limit:
            return self._let_through(exchange)
        exchange.answer(413, _page(413), last=True)
        exchange.linger()

    def _let_through(self, exchange: Exchange, body: Iterable[bytes] | None = None) -> None:
        exchange.request.fault = ""
        exchange.pass_on(body)


@dataclass(frozen=True)
class Hang:
    """Taken, and never answered; the connection closes when the fault is over."""

    def meet(self, exchange: Exchange) -> None:
        exchange.read_through()
        exchange.healed.wait()
        exchange.close()


@dataclass(frozen=True)
class ResetInBody:
    """Handed to the server, of whose answer the first half comes before the connection breaks off."""

    def meet(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        if answer is not None:
            exchange.send_half(*answer)
        exchange.reset()


@dataclass(frozen=True)
class LostAnswer:
    """Handed to the server, whose answer is thrown away with the connection."""

    def meet(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        if answer is not None:
            for _ in answer[1]:
                pass
        exchange.close()


@dataclass(frozen=True)
class Slow:
    """Passed on, once so many seconds have gone by."""

    seconds: float

    def meet(self, exchange: Exchange) -> None:
        exchange.healed.wait(self.seconds)
        exchange.pass_on()


def _page(status: int) -> str:
    said = f"{status} {http.HTTPStatus(status).phrase}"
    return f"<html><head><title>{said}</title></head><body><h1>{said}</h1></body></html>"


class Playing:
    """A fault that is played.

    Attributes:
        met: the requests that have met it, in their order.
    """

    def __init__(
        self, fault: Fault, path: str, times: int | None, heal: Callable[[], None]
    ) -> None:
        self.fault = fault
        self.met: list[Request] = []
        self.over = threading.Event()
        self._path, self._times = re.compile(path), times
        self._heal = heal

    @property
    def is_down(self) -> bool:
        """Whether nobody listens meanwhile."""
        return isinstance(self.fault, Down) and not self._path.pattern

    def plays_on(self, path: str) -> bool:
        left = self._times is None or len(self.met) < self._times
        return left and self._path.search(path) is not None

    def heal(self) -> None:
        """It is over; twice does nothing."""
        if not self.over.is_set():
            self.over.set()
            self._heal()


class Gateway:
    """A proxy on a free port of 127.0.0.1 before the server at `upstream`; a context manager.

    Bodies, headers, redirects and addresses are passed on as they are, also the ``Host`` that the
    client named: a server that makes addresses of it names the gateway. What was upgraded (a web
    socket) is passed on in both directions, and is reset by a fault.

    Args:
        upstream: the server's address, ``http://127.0.0.1:PORT``.

    Attributes:
        requests: all that came, in the order in which they came.
    """

    def __init__(self, upstream: str) -> None:
        split = urlsplit(upstream)
        assert split.hostname is not None, f"{upstream!r} is no address of a server"
        self._target = split.hostname, split.port or 80
        self._port = 0
        self._playing: list[Playing] = []
        self._listener: socket.socket | None = None
        self._place: socket.socket | None = None  # keeps the port while nobody listens
        self._wake, self._waker = socket.socketpair()
        self._accepting: threading.Thread | None = None
        self._serving: dict[threading.Thread, list[Connection]] = {}
        self.requests: list[Request] = []
        self._news = threading.Condition(threading.RLock())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Gateway:
        self._listen()
        return self

    def __exit__(self, *error: object) -> None:
        self.heal()
        self._refuse()
        for end in (self._place, self._wake, self._waker):
            if end is not None:
                end.close()

    # --- faults ---

    def play(self, fault: Fault, path: str = "", times: int | None = None) -> Playing:
        """Play `fault` from now on.

        Args:
            path: a regular expression that is looked for in the paths of requests.
            times: how many requests meet it at most; any number if it is None.
        """
        with self._news:
            played = Playing(fault, path, times, self._look)
            self._playing.append(played)
        self._look()
        return played

    def heal(self) -> None:
        """Pass everything on again."""
        for played in list(self._playing):
            played.heal()

    @contextmanager
    def playing(self, fault: Fault, path: str = "", times: int | None = None) -> Iterator[Playing]:
        """`play` until the block ends."""
        played = self.play(fault, path, times)
        try:
            yield played
        finally:
            played.heal()

    # --- what came ---

    def wait_for(self, condition: Callable[[], object], seconds: float = 30.0) -> bool:
        """Wait until `condition` holds, which is looked at when requests come and are answered."""
        with self._news:
            return bool(self._news.wait_for(condition, seconds))

    def answered(self, path: str = "", since: float = 0.0) -> list[Request]:
        """The requests to a `path` (a regular expression) that the server has answered well."""
        with self._news:
            return [
                one
                for one in self.requests
                if one.at >= since
                and one.status is not None
                and not one.fault
                and one.status < 400
                and re.search(path, one.path)
            ]

    def per_second(self, since: float, until: float, but: str = "") -> float:
        """How many requests came in a second between two times, on average.

        Args:
            but: a regular expression; paths in which it is found don't count.
        """
        with self._news:
            came = [one for one in self.requests if since <= one.at < until]
        counted = [one for one in came if not (but and re.search(but, one.path))]
        return len(counted) / (until - since)

    def by_path(self) -> Counter[str]:
        """How many requests came to each path."""
        with self._news:
            return Counter(one.path for one in self.requests)

    # --- the port ---

    def _look(self) -> None:
        """Listen or refuse, as what is played wants it."""
        with self._news:
            self._playing = [one for one in self._playing if not one.over.is_set()]
            down = any(one.is_down for one in self._playing)
        if down:
            self._refuse()
        else:
            self._listen()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = self._place or self._bound()
            self._place = None
            self._listener.listen(128)
            self._port = self._listener.getsockname()[1]
            self._accepting = threading.Thread(
                target=self._accept, args=(self._listener,), name="gateway", daemon=True
            )
            self._accepting.start()

    def _refuse(self) -> None:
        if self._listener is None or self._accepting is None:
            return
        self._waker.send(b"x")
        self._accepting.join()
        self._listener.close()
        self._listener = None
        with self._news:
            open_ones = [one for ends in self._serving.values() for one in ends]
            threads = list(self._serving)
        for one in open_ones:
            one.interrupt()
        for thread in threads:
            thread.join(SECONDS_TO_COME_BACK)
        # Bound, and not listening: who connects is refused, and nobody else gets the port.
        self._place = self._bound()

    def _bound(self) -> socket.socket:
        deadline = time.monotonic() + SECONDS_TO_COME_BACK
        while True:
            place = socket.socket()
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                place.bind(("127.0.0.1", self._port))
                return place
            except OSError:  # a client's own end may have got it for a moment
                place.close()
                if time.monotonic() > deadline:
                    raise

    def _accept(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as looking:
            looking.register(listener, selectors.EVENT_READ)
            looking.register(self._wake, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in looking.select()]
                if self._wake in ready:
                    self._wake.recv(1)
                    return
                with contextlib.suppress(OSError):  # who came may have gone
                    self._take(Connection(listener.accept()[0]))

    def _take(self, client: Connection) -> None:
        def serve() -> None:
            try:
                self._serve(client, upstream)
            except (OSError, ValueError):
                pass  # who came has gone, or does not speak HTTP
            finally:
                for one in ends:
                    one.close()
                with self._news:
                    self._serving.pop(thread, None)

        ends = [client]
        upstream = _Upstream(self, ends)
        thread = threading.Thread(target=serve, name="gateway-connection", daemon=True)
        with self._news:
            self._serving[thread] = ends
        thread.start()

    def _serve(self, client: Connection, upstream: _Upstream) -> None:
        while (head := client.head()) is not None:
            method, target, _ = head.first
            path = urlsplit(target).path
            gzip = "gzip" in head.get("content-encoding")
            request = Request(time.monotonic(), method, path, gzip)
            with self._news:
                played = self.played_on(path)
                if played is not None:
                    request.fault = type(played.fault).__name__
                    played.met.append(request)
                self.requests.append(request)
                self._news.notify_all()
            exchange = Exchange(request, head, client, upstream)
            if played is None:
                exchange.pass_on()
            else:
                exchange.healed = played.over
                played.fault.meet(exchange)
            with self._news:
                self._news.notify_all()
            if exchange.last:
                return

    def played_on(self, path: str) -> Playing | None:
        """What is played on requests to `path`."""
        with self._news:
            found: Sequence[Playing] = [one for one in self._playing if one.plays_on(path)]
            return found[0] if found else None


class _Upstream:
    """The connection to the server that belongs to one connection of a client."""

    def __init__(self, gateway: Gateway, ends: list[Connection]) -> None:
        self._gateway, self._ends = gateway, ends
        self._connection: Connection | None = None

    def ready(self) -> Connection:
        """It, or a new one if the server has closed the last one."""
        if self._connection is not None and self._connection.is_over:
            self._ends.remove(self._connection)
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = Connection(socket.create_connection(self._gateway._target))
            self._ends.append(self._connection)
        return self._connection

    def tunnel(self, client: Connection, path: str) -> None:
        """Pass on in both directions what comes, until one end has nothing more to say."""
        assert self._connection is not None, "it has answered"
        behind = self._connection
        thread = threading.Thread(target=self._pour, args=(client, behind, path), daemon=True)
        thread.start()
        self._pour(behind, client, path)
        thread.join()

    def _pour(self, source: Connection, sink: Connection, path: str) -> None:
        with contextlib.suppress(OSError):
            for piece in source.pieces():
                played = self._gateway.played_on(path)
                if played is not None and isinstance(played.fault, Slow):
                    played.over.wait(played.fault.seconds / 2)  # there and back
                elif played is not None:
                    if isinstance(played.fault, Hang):
                        played.over.wait()
                    break
                sink.send(piece)
        source.interrupt()
        sink.interrupt()
