"""A scripted W&B server on 127.0.0.1: it says what W&B's client must hear, and keeps what it gets."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Answers until `stop`; a context manager.

    Attributes:
        trouble: the HTTP status that everything is answered with, 0 for none; ``"hang"`` for never.
        page: whether that answer is a page for people, as of a proxy.
        said: the message in that answer.
        key: the only API key that is let in; any, if it is empty.
        runs: what arrived of each run, with each ``UpsertBucket``.
        events: what arrived of measurements.
        history: rows that arrived, by their offset.
        config, tags, exit_code, files: what arrived of the run; `files` by name.
        operations, requests: the GraphQL operations asked for, and the paths of all requests.
        refused: set once something was answered with `trouble`.
        then: the troubles to be in after the next requests with rows, one after the other.
        front: the address that it says itself, where something stands before it.
        resumable: what a client hears that resumes the run.
    """

    def __init__(self) -> None:
        self.trouble: int | str = 0
        self.page = False
        self.said = ""
        self.key = ""
        self.runs: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.history: dict[int, dict[str, Any]] = {}
        self.config: dict[str, Any] = {}
        self.tags: list[str] = []
        self.exit_code: int | None = None
        self.files: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.requests: list[str] = []
        self.resumable: dict[str, Any] | None = None
        self.refused = threading.Event()
        self.then: list[int | str] = []
        self.front = ""
        self._scheme = "http"
        self._released = threading.Event()
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = _Quiet(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._scheme = "https"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def be_in_trouble(self, trouble: int | str) -> None:
        """Answer everything with this status from now on, 0 for none; with a ``"page"`` and 200, or
        ``"hang"``."""
        self.refused.clear()
        self.page = trouble == "page"
        self.trouble = 200 if self.page else trouble

    # --- what is said ---

    def wait_released(self) -> None:
        self._released.wait(60)

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        operation = query.replace("(", " ").replace("{", " ").split()[1]
        self.operations.append(operation)
        if operation == "UpsertBucket":
            self.runs.append(variables)
            if variables.get("config"):
                self.config.update(json.loads(variables["config"]))
            if variables.get("tags") is not None:
                self.tags = variables["tags"]
            return {"upsertBucket": {"bucket": self._bucket(variables), "inserted": True}}
        if operation == "CreateRunFiles":
            uploads = [
                {"name": name, "uploadUrl": f"{self.front or self.url}/upload/{number}/{name}"}
                for number, name in enumerate(variables["files"])
            ]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": uploads}}
        if operation == "RunResumeStatus":
            return {"model": {"id": "P", "name": "p", "entity": _ENTITY, "bucket": self.resumable}}
        if operation == "RunRows":
            state = "running" if self.exit_code is None else "finished"
            bucket = {"historyLineCount": self.next_offset, "state": state}
            return {"model": {"bucket": bucket if self.runs else None}}
        if operation == "RunSampledHistory":
            spec = json.loads(variables["specs"][0])
            found = self._rows(spec["minStep"], spec["maxStep"], spec["samples"])
            sampled = [{key: row[key] for key in spec["keys"]} for row in found]
            return {"project": {"run": {"sampledHistory": [sampled]}}}
        if operation == "HistoryPage":
            found = self._rows(variables["minStep"], variables["maxStep"], variables["pageSize"])
            return {"project": {"run": {"history": [json.dumps(row) for row in found]}}}
        if operation == "Viewer":
            return {"viewer": {"id": "V", "flags": "{}", "entity": "me", "teams": {"edges": []}}}
        return {}

    @property
    def next_offset(self) -> int:
        """Where the next row goes."""
        return max(self.history, default=-1) + 1

    def _rows(self, first: int, stop: int, most: int) -> list[dict[str, Any]]:
        return [row for row in self.history.values() if first <= row["_step"] < stop][:most]

    def _bucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": "B",
            "name": variables.get("name"),
            "displayName": variables.get("displayName") or "shown",
            "description": None,
            "config": None,
            "sweepName": None,
            "historyLineCount": self.next_offset,
            "project": {"id": "P", "name": variables.get("project") or "p", "entity": _ENTITY},
        }

    def resumed_bucket(self, run_id: str) -> dict[str, Any]:
        """What the server says of a run that has the rows that arrived so far."""
        rows = [json.dumps(self.history[offset]) for offset in sorted(self.history)]
        return {
            "id": "B",
            "name": run_id,
            "historyLineCount": self.next_offset,
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps(rows[-1:]),
            "eventsTail": "[]",
            "summaryMetrics": rows[-1],
            "config": json.dumps({"lr": {"value": 0.5}}),
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }

    def stream(self, body: dict[str, Any]) -> None:
        said = body.get("files", {}).get("wandb-history.jsonl", {})
        for number, line in enumerate(said.get("content", [])):
            self.history[said["offset"] + number] = json.loads(line)
        measured = body.get("files", {}).get("wandb-events.jsonl", {})
        self.events += map(json.loads, measured.get("content", []))
        if "exitcode" in body:
            self.exit_code = body["exitcode"]


def _basic(key: str) -> str:
    return base64.b64encode(f"api:{key}".encode()).decode()


_PAGE = b"<!doctype html><html><body>Please sign in</body></html>"
_ENTITY = {"id": "E", "name": "me"}


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none of our concern."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Server

    def do_POST(self) -> None:
        body = self._body()
        self.script.requests.append(self.path)
        if self._troubled():
            self._next_trouble(body)
            return
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            self._answer(
                {"data": self.script.graphql(asked["query"], asked.get("variables") or {})}
            )
        elif self.path.endswith("/file_stream"):
            self.script.stream(json.loads(body))
            self._answer({})
            self._next_trouble(body)
        else:
            self._answer({})

    def do_PUT(self) -> None:
        body = self._body()
        if not self._troubled():
            self.script.files[self.path.split("/", 3)[3]] = body
            self._answer({})

    def do_GET(self) -> None:
        if not self._troubled():
            self._answer({})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _troubled(self) -> bool:
        trouble = self.script.trouble
        said = self.headers.get("Authorization", "")
        if self.script.key and not said.endswith(_basic(self.script.key)):
            trouble = 401
        if trouble == "hang":
            self.script.wait_released()
            self.close_connection = True
            return True
        if isinstance(trouble, int) and trouble:
            self.script.refused.set()
            said: Any = {"data": None, "errors": [{"message": self.script.said}]}
            self._answer(_PAGE if self.script.page else said, trouble)
            return True
        return False

    def _next_trouble(self, body: bytes) -> None:
        if self.script.then and b"wandb-history" in body:
            self.script.be_in_trouble(self.script.then.pop(0))

    def _answer(self, content: Any, status: int = 200) -> None:
        page = isinstance(content, bytes)
        data = content if page else json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # the client has given up
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
