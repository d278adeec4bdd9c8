"""A small server, and trackers that post to it: a good one, and ones that must not pass.

A module of its own without any import of pytest, because the delivery process imports it too.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tracking_core.encoding import image_file
from tracking_core.errors import Fault, TrackingError
from tracking_core.network import proxy_for, remedy_of
from tracking_core.records import Log, LoggedFile, LoggedImage, Plain, Record, Status
from tracking_core.tracker import RecordTracker


class WrongUrlError(TrackingError, ValueError):
    """The address, or what leads there, has to be mended."""

    fault: Fault = "setup"


class PostingTracker(RecordTracker):
    """Posts rows to ``URL/rows/RUN`` and files to ``URL/files/RUN``, each row once."""

    name = "posting"
    requires_logging_directory = False
    lane = "process"

    def __init__(self, run_name: str, url: str) -> None:
        super().__init__()
        self._url = url
        self._run = uuid.uuid4().hex

    @property
    def tracker(self) -> str:
        return self._run

    def start(self) -> None:
        try:
            self.post("rows", [])
        except OSError as error:
            remedy = remedy_of(error, "url", proxied=proxy_for(self._url) is not None)
            if remedy is None:
                raise
            raise WrongUrlError(f"tracker {self.name!r}: {remedy}") from error

    def finish(self, status: Status = "finished") -> None:
        self.post("rows", [])

    def identity(self) -> dict[str, Plain]:
        return {"run": self._run}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self._run = str(identity["run"])

    def deliver(self, records: Sequence[Record]) -> None:
        logs = [record for record in records if isinstance(record, Log)]
        for value in [value for log in logs for value in log.values.values()]:
            content = _content(value)
            if content:
                try:
                    self.post("files", base64.b64encode(content).decode())
                except urllib.error.HTTPError as error:
                    if error.code != 413:
                        raise
                    self.reject(Path(value.path).name, value, "it is too large")
        self.send([[log.step, log.values["n"]] for log in logs if "n" in log.values])

    def send(self, rows: list[Any]) -> None:
        if rows:
            self.post("rows", rows)

    def post(self, what: str, said: Any) -> None:
        data = json.dumps(said).encode()
        with urllib.request.urlopen(f"{self._url}/{what}/{self._run}", data, timeout=30) as answer:
            if answer.read() != b"taken":
                raise ConnectionError("something else answers in the server's place")


class LosingTracker(PostingTracker):
    """Believes that whatever is refused does not matter."""

    name = "losing"

    def send(self, rows: list[Any]) -> None:
        try:
            super().send(rows)
        except OSError:
            pass


class DoublingTracker(PostingTracker):
    """Says everything twice."""

    name = "doubling"

    def send(self, rows: list[Any]) -> None:
        super().send(rows)
        super().send(rows)


class SilentTracker(PostingTracker):
    """Tries again by itself, and tells nobody."""

    name = "silent"

    def send(self, rows: list[Any]) -> None:
        while True:
            try:
                return super().send(rows)
            except OSError:
                threading.Event().wait(0.1)


class MixingTracker(PostingTracker):
    """Takes all runs for the same."""

    name = "mixing"

    def __init__(self, run_name: str, url: str) -> None:
        super().__init__(run_name, url)
        self._run = "run"


class PostingServer:
    """Keeps what was posted; a context manager.

    Attributes:
        rows, files: by the run.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[int, float]]] = {}
        self.files: dict[str, list[bytes]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                _, what, run = self.path.split("/")
                if what == "rows":
                    server.rows.setdefault(run, []).extend(map(tuple, said))
                else:
                    server.files.setdefault(run, []).append(base64.b64decode(said))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"taken")

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    def __enter__(self) -> PostingServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _content(value: Any) -> bytes:
    if isinstance(value, LoggedImage):
        return image_file(value)[0]
    return Path(value.path).read_bytes() if isinstance(value, LoggedFile) else b""
