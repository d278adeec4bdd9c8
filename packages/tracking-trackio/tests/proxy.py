"""What stands before a server in many places: it limits what it lets through, and answers itself."""

from __future__ import annotations

import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!doctype html><html><body>Please sign in</body></html>"


class Proxy:
    """Passes everything on to the port `behind`; a context manager.

    Attributes:
        largest: bytes of a request that it lets through.
        page: the HTTP status of the page that it answers with itself; 0 if it passes things on.
        kind: what it says of that page.
        refused: the paths of what it did not let through.
    """

    def __init__(self, behind: int, largest: int = 10**9) -> None:
        self.behind = behind
        self.largest = largest
        self.page = 0
        self.kind = "text/html"
        self.refused: list[str] = []
        self._scheme = "http"
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._scheme = "https"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_OWN = ("Host", "Accept-Encoding")


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        too_large = len(body) > self.proxy.largest
        if too_large:
            self.proxy.refused.append(self.path)
        if too_large or self.proxy.page:
            self._answer(413 if too_large else self.proxy.page, self.proxy.kind, PAGE)
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.proxy.behind, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name not in _OWN}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            kind = answer.headers.get("Content-Type", "")
            self._answer(answer.status, kind, answer.read())
        finally:
            behind.close()

    do_GET = do_POST

    def _answer(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass
