"""What the gateway passes on, and what a client sees of each of its faults."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tracking_core.testing.gateway import (
    Down,
    Fault,
    Gateway,
    Hang,
    LostAnswer,
    Page,
    ResetInBody,
    Slow,
    Status,
    TooLarge,
)

TEXT = b"0123456789" * 20_000


class Behind:
    """A server that keeps the bodies that it gets."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.goes_on = threading.Event()
        behind = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                body += self.rfile.read(int(self.headers.get("Content-Length", 0)))
                behind.bodies.append((self.path, body))
                self.answer()

            def do_GET(self) -> None:
                self.answer()

            do_HEAD = do_GET

            def answer(self) -> None:
                match self.path:
                    case "/moved":
                        self.send_response(307)
                        self.send_header("Location", f"http://{self.headers['Host']}/new")
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                    case "/nothing":
                        self.send_response(204)
                        self.end_headers()
                    case "/packed":
                        self.whole(gzip.compress(TEXT), "gzip")
                    case "/stream":
                        self.send_response(200)
                        self.send_header("Transfer-Encoding", "chunked")
                        self.end_headers()
                        self.wfile.write(b"5\r\nfirst\r\n")
                        behind.goes_on.wait(30)
                        self.wfile.write(b"6;a=b\r\nsecond\r\n0\r\n\r\n")
                    case "/until-closed":
                        self.send_response(200)
                        self.end_headers()
                        self.wfile.write(TEXT)
                        self.close_connection = True
                    case "/upgrade":
                        self.send_response(101)
                        self.send_header("Upgrade", "echo")
                        self.end_headers()
                        while said := self.rfile.read1():
                            self.wfile.write(said.upper())
                        self.close_connection = True
                    case _:
                        self.whole(TEXT)

            def whole(self, body: bytes, encoding: str = "identity") -> None:
                self.send_response(200)
                self.send_header("Content-Encoding", encoding)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """The gateway breaks connections off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.goes_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def behind() -> Iterator[Behind]:
    with Behind() as behind:
        yield behind


@pytest.fixture
def gateway(behind: Behind) -> Iterator[Gateway]:
    before = threading.active_count()
    with Gateway(behind.url) as gateway:
        yield gateway
    assert not [one for one in threading.enumerate() if one.name.startswith("gateway")]
    assert threading.active_count() <= before + 5  # the server's own


@pytest.fixture
def client(gateway: Gateway) -> Iterator[http.client.HTTPConnection]:
    client = connected(gateway)
    yield client
    client.close()


def connected(gateway: Gateway) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=10)


def streaming(client: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """An answer of which the first half has come."""
    client.request("GET", "/stream")
    answer = client.getresponse()
    assert answer.read(5) == b"first"
    return answer


def got(client: http.client.HTTPConnection, path: str = "/") -> tuple[int, bytes]:
    client.request("GET", path)
    answer = client.getresponse()
    return answer.status, answer.read()


class TestPassesOn:
    def test_on_one_connection_what_the_server_answers(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        assert got(client) == (200, TEXT)
        kept = client.sock
        client.request("POST", "/in?q=1", TEXT, {"Content-Encoding": "gzip"})
        assert client.getresponse().read() == TEXT
        client.request("POST", "/chunks", iter([b"one", b"two"]), encode_chunked=True)
        assert client.getresponse().read() == TEXT
        client.request("HEAD", "/")
        assert client.getresponse().read() == b""
        assert got(client, "/nothing") == (204, b"")
        assert client.sock is kept
        assert behind.bodies == [("/in?q=1", TEXT), ("/chunks", b"onetwo")]
        assert [one.gzip for one in gateway.requests] == [False, True, False, False, False]
        assert gateway.by_path() == {"/": 2, "/in": 1, "/chunks": 1, "/nothing": 1}

    def test_bodies_as_they_are(self, gateway: Gateway, client: http.client.HTTPConnection) -> None:
        assert gzip.decompress(got(client, "/packed")[1]) == TEXT
        assert got(client, "/until-closed") == (200, TEXT)

    def test_a_stream_while_it_comes(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        answer = streaming(client)
        behind.goes_on.set()
        assert answer.read() == b"second"

    def test_addresses_that_the_server_makes_name_the_gateway(
        self, gateway: Gateway, client: http.client.HTTPConnection
    ) -> None:
        client.request("GET", "/moved")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (307, b"")
        assert answer.headers["Location"] == f"{gateway.url}/new"

    def test_what_was_upgraded(self, gateway: Gateway) -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port or 0)) as end:
            end.settimeout(10)
            end.sendall(b"GET /upgrade HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            said = b""
            while b"\r\n\r\n" not in said:
                said += end.recv(1000)
            end.sendall(b"hello")
            assert end.recv(1000) == b"HELLO"
            with gateway.playing(Slow(0.01)):
                end.sendall(b"slow")
                assert end.recv(1000) == b"SLOW"
            with gateway.playing(Status(500)):
                end.sendall(b"lost")
                with pytest.raises(ConnectionError):
                    assert end.recv(1000) == b"reset", "and not closed"

    def test_who_waits_to_be_let_go_on(self, gateway: Gateway, behind: Behind) -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port or 0)) as end:
            end.settimeout(10)
            end.sendall(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert end.recv(1000).startswith(b"HTTP/1.1 100 ")
            end.sendall(b"body")
            assert end.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert behind.bodies == [("/", b"body")]

    def test_nobody_behind_it_is_a_bad_gateway(self) -> None:
        with Gateway("http://127.0.0.1:1") as gateway:
            assert got(connected(gateway))[0] == 502


class TestFaults:
    @pytest.mark.parametrize("status", [401, 403, 404, 500])
    def test_a_status(
        self, gateway: Gateway, client: http.client.HTTPConnection, status: int
    ) -> None:
        with gateway.playing(Status(status)) as played:
            assert got(client)[0] == status
        assert got(client) == (200, TEXT)
        assert [one.status for one in played.met] == [status]
        assert [one.fault for one in gateway.requests] == ["Status", ""]

    def test_retry_after(self, gateway: Gateway, client: http.client.HTTPConnection) -> None:
        gateway.play(Status(429, retry_after=8))
        client.request("GET", "/")
        assert client.getresponse().headers["Retry-After"] == "8"

    def test_a_page(self, gateway: Gateway, client: http.client.HTTPConnection) -> None:
        with gateway.playing(Page()):
            status, body = got(client)
        assert (status, body[:15]) == (200, b"<!doctype html>")

    def test_down_and_back_at_the_same_address(
        self, gateway: Gateway, client: http.client.HTTPConnection
    ) -> None:
        assert got(client) == (200, TEXT)
        url = gateway.url
        with gateway.playing(Down()) as played:
            assert played.is_down
            with pytest.raises(ConnectionError):
                got(client)
            for _ in range(20):
                with pytest.raises(ConnectionRefusedError):
                    got(connected(gateway))
        assert gateway.url == url
        assert got(connected(gateway)) == (200, TEXT)

    def test_down_in_the_middle_of_an_answer(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        answer = streaming(client)
        gateway.play(Down())
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            answer.read()

    def test_hanging(self, gateway: Gateway, client: http.client.HTTPConnection) -> None:
        played = gateway.play(Hang())
        client.request("POST", "/", TEXT)
        assert gateway.wait_for(lambda: played.met)
        assert client.sock is not None
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.getresponse()
        again = connected(gateway)
        again.request("GET", "/")
        assert gateway.wait_for(lambda: len(played.met) == 2)
        gateway.heal()
        with pytest.raises(http.client.RemoteDisconnected):
            again.getresponse()

    def test_an_answer_that_breaks_off(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        with gateway.playing(ResetInBody()):
            client.request("POST", "/", b"taken")
            with pytest.raises((ConnectionError, http.client.IncompleteRead)):
                client.getresponse().read()
        assert behind.bodies == [("/", b"taken")]

    def test_a_lost_answer(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        with gateway.playing(LostAnswer(), times=1):
            client.request("POST", "/", b"taken")
            with pytest.raises(http.client.RemoteDisconnected):
                client.getresponse()
            assert got(client) == (200, TEXT)
        assert behind.bodies == [("/", b"taken")]

    def test_slow(self, gateway: Gateway, client: http.client.HTTPConnection) -> None:
        played = gateway.play(Slow(600))
        client.request("GET", "/")
        assert gateway.wait_for(lambda: played.met)
        assert gateway.answered() == []
        gateway.heal()  # and what has waited goes on
        assert client.getresponse().read() == TEXT

    def test_what_is_too_large(
        self, gateway: Gateway, client: http.client.HTTPConnection, behind: Behind
    ) -> None:
        gateway.play(TooLarge(1000))
        for body in (b"x" * 1000, iter([b"a", b"b"])):
            client.request("POST", "/", body, encode_chunked=not isinstance(body, bytes))
            assert client.getresponse().read() == TEXT
        endless = iter(lambda: b"x" * 10_000, b"")
        client.request("POST", "/", TEXT)
        assert client.getresponse().status == 413
        with socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port or 0)) as end:
            end.settimeout(10)
            end.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece, _ in zip(endless, range(3), strict=False):
                end.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert end.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert [body for _, body in behind.bodies] == [b"x" * 1000, b"ab"]
        assert [one.fault for one in gateway.requests] == ["", "", "TooLarge", "TooLarge"]

    @pytest.mark.parametrize("fault", [Status(403), Down(), TooLarge(0)])
    def test_only_some_paths(self, gateway: Gateway, fault: Fault) -> None:
        client = connected(gateway)
        gateway.play(fault, path="^/files/")
        assert got(client) == (200, TEXT)
        if fault == Down():
            with pytest.raises(ConnectionError):
                got(client, "/files/a")
        else:
            client.request("POST", "/files/a", b"x")
            assert client.getresponse().status in (403, 413)
        assert gateway.wait_for(lambda: len(gateway.answered()) == 1)

    def test_two_at_once_and_each_heals_for_itself(
        self, gateway: Gateway, client: http.client.HTTPConnection
    ) -> None:
        first = gateway.play(Status(500), path="a")
        with gateway.playing(Status(503), path="b"):
            assert [got(client, path)[0] for path in ("/a", "/b", "/c")] == [500, 503, 200]
        assert [got(client, path)[0] for path in ("/a", "/b")] == [500, 200]
        first.heal()
        first.heal()
        assert got(client, "/a")[0] == 200


def test_how_many_requests_come(gateway: Gateway, client: http.client.HTTPConnection) -> None:
    for _ in range(4):
        got(client)
    first, *_, last = (one.at for one in gateway.requests)
    assert gateway.per_second(first, first + 2.0) == 2.0
    assert gateway.per_second(last + 1.0, last + 2.0) == 0.0
    assert gateway.wait_for(lambda: len(gateway.answered(since=last)) == 1)
