"""A Discord with one channel and one webhook, on a free port of this machine.

It answers what a tracker and a bot ask of the real one, and refuses what the real one refuses:
messages of more than 2000 characters, ten files or 10 MiB a file, empty ones, authors with its own
name, urllib's name of itself, and whoever has not the token of the webhook or of the bot.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["LocalDiscord"]

WEBHOOK = "/api/webhooks/1000/webhook-token"
CHANNEL = "/api/channels/2000/messages"

Files = list[tuple[str, bytes]]


class RefusedError(Exception):
    """A request that Discord does not take: status, Discord's own code, and what it says."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class LocalDiscord:
    """Serves while it is entered.

    Attributes:
        webhook: the address that messages are posted to.
        channel: the address that a bot reads them from.
        bot_token: what the bot shows for it.
        messages: what was posted, oldest first.
        busy: how many more messages the rate limit refuses.
    """

    bot_token = "bot-token"

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.busy = 0
        self._files: dict[str, bytes] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"discord": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.webhook, self.channel = self.address + WEBHOOK, self.address + CHANNEL

    def __enter__(self) -> LocalDiscord:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- what can be asked ---

    def get(self, path: str, query: dict[str, str], authorization: str | None) -> bytes:
        if path == WEBHOOK:
            return _json({"id": "1000", "type": 1, "name": "training", "channel_id": "2000"})
        if path in self._files:
            return self._files[path]
        if path != CHANNEL:
            raise RefusedError(404, 10015, "Unknown Webhook")
        if authorization != f"Bot {self.bot_token}":
            raise RefusedError(401, 0, "401: Unauthorized")
        before = int(query.get("before", 10**9))
        found = [message for message in self.messages if int(message["id"]) < before]
        page = found[::-1][: int(query.get("limit", 50))]  # the newest first
        return _json(page)

    def post(self, path: str, message: dict[str, Any], files: Files) -> bytes:
        if path != WEBHOOK:
            raise RefusedError(404, 10015, "Unknown Webhook")
        content, author = message.get("content", "").strip(), message.get("username", "training")
        if not content and not files and not message.get("embeds"):
            raise RefusedError(400, 50006, "Cannot send an empty message")
        if any(len(data) > 10 * 2**20 for _, data in files):
            raise RefusedError(413, 40005, "Request entity too large")
        own_name = re.search("discord|clyde", author, re.IGNORECASE)
        if len(content) > 2000 or len(files) > 10 or not 0 < len(author) <= 80 or own_name:
            raise RefusedError(400, 50035, "Invalid Form Body")
        with self._lock:
            if self.busy:
                self.busy -= 1
                raise RefusedError(429, 0, "You are being rate limited.")
            number = 3000 + len(self.messages)
            kept = {
                "id": str(number),
                "channel_id": "2000",
                "author": {"id": "1000", "username": author, "bot": True},
                "content": content,
                "embeds": message.get("embeds", []),
                "attachments": [self._attach(number, n, *file) for n, file in enumerate(files)],
            }
            self.messages.append(kept)
        return _json(kept)

    def _attach(self, message: int, place: int, name: str, data: bytes) -> dict[str, Any]:
        number = f"{message}{place:02}"
        name = re.sub("[^A-Za-z0-9._-]", "_", name)  # Discord keeps plain characters only
        path = f"/attachments/2000/{number}/{name}"
        self._files[path] = data
        return {"id": number, "filename": name, "size": len(data), "url": self.address + path}


class _Handler(BaseHTTPRequestHandler):
    discord: LocalDiscord

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes | None) -> None:
        try:
            data = self._asked(body)
            status = 204 if data is None else 200
        except RefusedError as error:
            status, data = error.status, _json({"code": error.code, "message": str(error)})
        self.send_response(status)
        self.send_header("Content-Length", str(len(data or b"")))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data or b"")

    def _asked(self, body: bytes | None) -> bytes | None:
        if self.headers["User-Agent"].startswith("Python-urllib"):
            raise RefusedError(403, 1010, "error code: 1010")
        url = urlsplit(self.path)
        if body is None:
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            return self.discord.get(url.path, query, self.headers["Authorization"])
        kind, _, boundary = self.headers["Content-Type"].partition("; boundary=")
        whole = [("payload_json", "", body)]
        parts = whole if kind == "application/json" else _parts(body, boundary)
        (message,) = (json.loads(data) for name, _, data in parts if name == "payload_json")
        files = [(file, data) for name, file, data in parts if name.startswith("files[")]
        kept = self.discord.post(url.path, message, files)
        return kept if parse_qs(url.query).get("wait") == ["true"] else None

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _json(answer: object) -> bytes:
    return json.dumps(answer).encode()


def _parts(body: bytes, boundary: str) -> list[tuple[str, str, bytes]]:
    """Name, file name and content of every part of a multipart form."""
    found = []
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        named = re.search(r'; name="([^"]*)"(?:; filename="([^"]*)")?', head.decode())
        if named is None:
            raise RefusedError(400, 50035, "Invalid Form Body")
        found.append((named[1], named[2] or "", data.removesuffix(b"\r\n")))
    return found
