"""What Discord's webhooks take, by the standard library alone."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["LARGEST_FILE", "Webhook"]

LONGEST_TEXT = 2000  # characters of a message, and they are never more than its bytes
MOST_FILES = 10  # of a message
LARGEST_FILE = 10 * 2**20


class Webhook:
    """Posts to the channel of the webhook at `url`, as `author`.

    Attributes:
        about: the webhook as Discord describes it.

    Raises:
        urllib.error.HTTPError: there is no such webhook. `post` raises it for what is refused.
    """

    def __init__(self, url: str, author: str) -> None:
        self.url, self.author = url, author
        self.about = call(url)

    def post(self, text: str, files: Mapping[str, bytes]) -> None:
        """Post lines of JSON, and files by name, in as many messages as that takes."""
        content, attached = f"```json\n{text}\n```", list(files.items())
        if len(content.encode()) > LONGEST_TEXT or "```" in text:
            content, attached = "", [("run.jsonl", text.encode()), *attached]
        for first in range(0, len(attached) or 1, MOST_FILES):
            self._send(content, attached[first : first + MOST_FILES])
            content = ""

    def _send(self, content: str, files: Sequence[tuple[str, bytes]]) -> None:
        message = {"username": self.author, "content": content, "allowed_mentions": {"parse": []}}
        parts = [('name="payload_json"', json.dumps(message).encode())]
        for number, (name, data) in enumerate(files):
            parts.append((f'name="files[{number}]"; filename="{name}"', data))
        edge = secrets.token_hex(16)
        body = b""
        for head, data in parts:
            body += f"--{edge}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
            body += data + b"\r\n"
        form = f"multipart/form-data; boundary={edge}"
        call(f"{self.url}?wait=true", body + f"--{edge}--\r\n".encode(), form)


def call(url: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    """What Discord answers to a GET, or with `body` to a POST."""
    # By the name that urllib gives itself Discord answers nobody.
    headers = {"Content-Type": kind, "User-Agent": "DiscordBot (https://example.org, 0.1)"}
    with urlopen(Request(url, body, headers), timeout=30) as answer:
        return json.load(answer)
