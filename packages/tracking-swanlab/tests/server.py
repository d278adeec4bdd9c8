"""A server that speaks enough of SwanLab's protocol to take a run, and fails when it is told to."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Server"]

NOW = "2026-01-01T00:00:00.000Z"
PAGE = b"<!doctype html><html><body>Please sign in</body></html>"
FAR = "2126-01-01T00:00:00.000Z"


class Server:
    """A server on a free port of 127.0.0.1; a context manager.

    Attributes:
        trouble: an HTTP status that everything is answered with, ``"hang"``, or None.
        page: whether that answer is a page for people, as of a proxy.
        said: the message in that answer.
        largest: how many bytes of points it takes at once; 0 for any number.
        but: paths that are answered all the same, by a part of them.
        only: the only paths that meet the trouble, likewise; all others, if there are none.
        requests: the paths that were asked for.
        key: the only API key that is let in; any, if it is empty.
        points: what ``/house/metrics`` took: kind, key, step, value, time.
        by_run: the same of each experiment.
        front: the address that it says itself, where something stands before it.
        columns, config, states, files, labels: what else it took.
        contents: what was in each file, also of one whose name came again.
    """

    def __init__(self, version: int | None = 1) -> None:
        self.version = version
        self.trouble: int | str | None = None
        self.page = False
        self.said = "as told"
        self.largest = 0
        self.but: tuple[str, ...] = ()
        self.only: tuple[str, ...] = ()
        self.requests: list[str] = []
        self.key = ""
        self.points: list[tuple[str, str, int, Any, str]] = []
        self.by_run: dict[str, list[tuple[str, str, int, Any, str]]] = {}
        self.columns: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.states: list[str] = []
        self.files: dict[str, bytes] = {}
        self.contents: list[bytes] = []
        self.labels: list[str] = []
        self.experiments: list[str] = []
        self._projects: set[str] = set()
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.front = ""
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self.url = self.url.replace("http://", "https://")
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def scalars(self, key: str) -> list[tuple[int, Any]]:
        return [(step, value) for kind, name, step, value, _ in self.points if name == key]

    def is_in_trouble(self, path: str) -> bool:
        """Whether requests to `path` meet the trouble, if there is any."""
        met = not self.only or any(part in path for part in self.only)
        return met and not any(part in path for part in self.but)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON; the path begins behind ``/api``."""
        match [method, *path.strip("/").split("/")]:
            case ["POST", "login", "api_key"]:
                return 200, {"sid": "s", "expiredAt": FAR, "userInfo": {"username": "me"}}
            case ["GET", "project", user, project]:
                if project not in self._projects:
                    return 404, {"message": "no such project"}
                return 200, {
                    "cuid": "project-id", "name": project, "path": f"/{user}/{project}",
                    "group": {"username": user}, "_count": {"experiments": 0},
                    "version": self.version,
                }  # fmt: skip
            case ["POST", "projects", _]:
                self._projects.add(body["name"])
                return 201, {}
            case ["POST", "project", _, _, "experiment"]:
                self.labels = [label["name"] for label in body.get("labels") or []]
                new = body["cuid"] not in self.experiments
                if new:
                    self.experiments.append(body["cuid"])
                made = {"cuid": body["cuid"], "slug": body["cuid"], "name": body["name"]}
                return (201 if new else 200), {**made, "createdAt": NOW}
            case ["PUT", "project", _, _, "runs", _, "profile"]:
                self.config = body.get("config", self.config)
                return 200, {}
            case ["PUT", "project", _, _, "runs", _, "state"]:
                self.states.append(body["state"])
                return 200, {}
            case ["POST", "projects", _, _, "series"]:
                self.columns += body["series"]
                return 200, {}
            case ["POST", "experiment", _, "columns"]:
                self.columns += body
                return 200, {}
            case ["POST", "house", "metrics"]:
                for one in body["metrics"]:
                    point = one.get("key", ""), one.get("index", 0), one.get("data")
                    self.points.append((body["type"], *point, one["create_time"]))
                    self.by_run.setdefault(body["experimentId"], []).append(self.points[-1])
                return 200, {}
            case ["GET", "house", "metrics", "summaries", *_]:
                return 200, {
                    "scalar": self._last("scalar"),
                    "media": self._last("media"),
                    "log": [],
                }
            case ["POST", "resources", "presigned", "put"]:
                return 200, {
                    "urls": [f"{self.front or self.url}/put/{place}" for place in body["paths"]]
                }
            case ["POST", "experiment", _, "files", "prepare"]:
                names = [file["path"] for file in body["files"]]
                return 200, {"urls": [f"{self.front or self.url}/put/{name}" for name in names]}
            case _:
                return 200, {}

    def _last(self, kind: str) -> list[dict[str, Any]]:
        last: dict[str, int] = {}
        for found, key, step, _, _ in self.points:
            if found == kind:
                last[key] = max(step, last.get(key, -1))
        return [{"key": key, "step": step} for key, step in last.items()]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                path = self.path.partition("?")[0]
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append(path)
                trouble = server.trouble if server.is_in_trouble(path) else None
                if trouble == "hang":
                    server._closing.wait()
                    self.close_connection = True
                    return
                if server.largest and path.endswith("/metrics") and len(data) > server.largest:
                    trouble = 413
                said = self.headers.get("Authorization")
                if server.key and path == "/api/login/api_key" and said != server.key:
                    trouble = 401
                if isinstance(trouble, int):
                    status, answer = trouble, {"code": trouble, "message": server.said}
                elif path.startswith("/put/"):
                    server.files[path.removeprefix("/put/")] = data
                    server.contents.append(data)
                    status, answer = 200, {}
                else:
                    body = json.loads(data) if data else None
                    status, answer = server.answer(self.command, path.removeprefix("/api"), body)
                page = server.page and isinstance(trouble, int)
                sent = PAGE if page else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if page else "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
