"""As much of ClearML's API server and file server as a client needs, on one port.

It keeps what it is sent as the real one does: events by task, iteration, metric and variant, the
newest of which stays; and it refuses what the real one refuses (NaN, and edits of what has ended).
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Refusal(Exception):
    def __init__(self, code: int, message: str, subcode: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode


PAGE = b"<!DOCTYPE html><html><body>Please log in to the network</body></html>"


class Server:
    """A server that can be stopped, and started again on its port.

    Attributes:
        answer: called with each endpoint; an HTTP status instead of an answer, or None.
        page: likewise, but what answers is not ClearML: a page for people.
        hanging: while it is set, requests are read and never answered.
        secret: of the only credentials that are let in; any, if it is empty.
        calls: endpoints in the order in which they came.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, str] = {}
        self.stored: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.answer: Callable[[str], int | None] = lambda endpoint: None
        self.page: Callable[[str], int | None] = lambda endpoint: None
        self.hanging = False
        self.secret = ""
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._port = 0
        self._encrypted = False
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"http{'s' if self._encrypted else ''}://127.0.0.1:{self._port}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        assert self._http is not None
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._encrypted = True

    def start(self) -> None:
        self._released.clear()
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._http.daemon_threads = True
        self._port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._released.set()
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http = None
        for connection in list(self._open):  # a client keeps its own, and its handler would answer
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def events(self, task: str, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.stored[task].values() if event["type"] == kind]

    # --- the API ---

    def auth_login(self, said: dict[str, Any]) -> dict[str, Any]:
        claims = {
            "exp": int(time.time()) + 3600,
            "api_version": "2.30",
            "server_version": "2.0.0",
            "feature_set": "basic",
        }
        parts = [{"alg": "HS256", "typ": "JWT"}, claims]
        encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in parts]
        return {"token": ".".join([*(one.rstrip("=") for one in encoded), "c2ln"])}

    def projects_get_all(self, said: dict[str, Any]) -> dict[str, Any]:
        found = [
            {"id": project, "name": name}
            for name, project in self.projects.items()
            if re.search(said["name"], name)
        ]
        return {"projects": found}

    def projects_create(self, said: dict[str, Any]) -> dict[str, Any]:
        _of_three_characters(said["name"])
        self.projects[said["name"]] = f"project{len(self.projects)}"
        return {"id": self.projects[said["name"]]}

    def projects_get_by_id(self, said: dict[str, Any]) -> dict[str, Any]:
        names = {project: name for name, project in self.projects.items()}
        return {"project": {"id": said["project"], "name": names[said["project"]]}}

    def tasks_create(self, said: dict[str, Any]) -> dict[str, Any]:
        _of_three_characters(said["name"])
        task = f"{len(self.tasks):032x}"
        fields = {name: field for name, field in said.items() if name != "output_dest"}
        output = {"destination": said["output_dest"]} if "output_dest" in said else {}
        self.tasks[task] = {**fields, "id": task, "status": "created", "output": output}
        self.stored[task] = {}
        return {"id": task}

    def tasks_get_by_id(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"task": self._task(said)}

    def tasks_get_all(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"tasks": [self.tasks[task] for task in said["id"] if task in self.tasks]}

    def tasks_started(self, said: dict[str, Any]) -> dict[str, Any]:
        return self._set_status(said, "in_progress")

    def tasks_completed(self, said: dict[str, Any]) -> dict[str, Any]:
        return self._set_status(said, "completed")

    def tasks_failed(self, said: dict[str, Any]) -> dict[str, Any]:
        return self._set_status(said, "failed")

    def tasks_stopped(self, said: dict[str, Any]) -> dict[str, Any]:
        return self._set_status(said, "stopped")

    def tasks_edit(self, said: dict[str, Any]) -> dict[str, Any]:
        task = self._task(said)
        task.update({name: field for name, field in said.items() if name not in ("task", "force")})
        return {"updated": 1, "fields": {}}

    def tasks_set_requirements(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"updated": 1}

    def tasks_edit_hyper_params(self, said: dict[str, Any]) -> dict[str, Any]:
        sections = self._editable(said).setdefault("hyperparams", {})
        for one in said["hyperparams"]:
            if not one["name"] or not isinstance(one["value"], str):
                raise Refusal(400, "Validation error (error in field hyperparams)")
            sections.setdefault(one["section"], {})[one["name"]] = one
        return {"updated": 1}

    def tasks_edit_configuration(self, said: dict[str, Any]) -> dict[str, Any]:
        found = self._editable(said).setdefault("configuration", {})
        found.update({one["name"]: one for one in said["configuration"]})
        return {"updated": 1}

    def tasks_add_or_update_artifacts(self, said: dict[str, Any]) -> dict[str, Any]:
        execution = self._editable(said).setdefault("execution", {})
        found = {one["key"]: one for one in execution.get("artifacts", [])}
        found.update({one["key"]: one for one in said["artifacts"]})
        execution["artifacts"] = list(found.values())
        return {"updated": 1}

    def events_add_batch(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        errors = 0
        for event in lines:
            task = self.tasks.get(event["task"])
            if task is None or task["status"] in ("published", "publishing"):
                raise Refusal(400, "Events not added: Invalid task id=1", 131)
            if not -(2**63) <= event.get("iter", 0) < 2**63:
                raise Refusal(400, "iter does not fit")
            if event.get("metric") == "refused":
                errors += 1
                continue
            stored = self.stored[event["task"]]
            names = ("task", "iter", "metric", "variant", "key")  # joined as the real one does
            joined = "-".join(str(event[name]) for name in names if name in event)
            stored[event["type"], str(len(stored)) if event["type"] == "log" else joined] = event
        return {"added": len(lines) - errors, "errors": errors, "errors_info": {}}

    def events_get_task_events(self, said: dict[str, Any]) -> dict[str, Any]:
        found = self.events(said["task"], said["event_type"])
        found.sort(key=lambda event: event["timestamp"])
        start = int(said.get("scroll_id", 0))
        page = found[start : start + 100]  # fewer than asked for, as a server may
        return {"events": page, "total": len(found), "scroll_id": str(start + len(page))}

    def _task(self, said: dict[str, Any]) -> dict[str, Any]:
        if said["task"] not in self.tasks:
            raise Refusal(400, f"Invalid task id: id={said['task']}", 101)
        return self.tasks[said["task"]]

    def _editable(self, said: dict[str, Any]) -> dict[str, Any]:
        task = self._task(said)
        if task["status"] not in ("created", "in_progress"):
            said_so = f"Invalid task status: expected=created, status={task['status']}"
            raise Refusal(400, said_so, 110)
        return task

    def _set_status(self, said: dict[str, Any], status: str) -> dict[str, Any]:
        self._task(said)["status"] = status
        return {"updated": 1}

    # --- HTTP ---

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = (
                -1
            )  # head and body in one packet, or each answer waits for an acknowledgement

            def setup(self) -> None:
                server._open.add(self.request)
                super().setup()

            def finish(self) -> None:
                server._open.discard(self.request)
                super().finish()

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0].lstrip("/")
                api = re.fullmatch(r"(?:v[\d.]+/)?(\w+\.\w+)", path)
                endpoint = api[1] if api else "files"
                server.calls.append(endpoint)
                if server.hanging:
                    server._released.wait()
                    self.close_connection = True
                    return
                page, status = server.page(endpoint), server.answer(endpoint)
                if endpoint == "auth.login" and not self._is_let_in():
                    status = 401
                if page is not None:
                    self._send(page, PAGE, "text/html")
                elif status is not None:
                    self._send(status, server._said(status, {}, "as the test says"))
                elif api is None:
                    self._files(path, body)
                else:
                    self._send(*server._called(endpoint, body))

            def _is_let_in(self) -> bool:
                said = self.headers.get("Authorization", "").removeprefix("Basic ")
                return not server.secret or base64.b64decode(said).endswith(server.secret.encode())

            def _files(self, path: str, body: bytes) -> None:
                if self.command == "GET":
                    content = server.files.get(path)
                    self._send(404 if content is None else 200, content or b"")
                    return
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                for part in message_from_bytes(head + body).walk():
                    name = part.get_param("name", header="content-disposition")
                    if name is not None:
                        server.files[str(name).lstrip("/")] = bytes(part.get_payload(decode=True))
                self._send(200, b"[]")

            def _send(self, status: int, content: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _called(self, endpoint: str, body: bytes) -> tuple[int, bytes]:
        handle = getattr(self, endpoint.replace(".", "_"), None)
        try:
            if handle is None:
                raise Refusal(400, f"Unable to find endpoint {endpoint}")
            lines = [json.loads(line, parse_constant=_no_number) for line in body.splitlines()]
            said = lines if endpoint == "events.add_batch" else (lines or [{}])[0]
            with self._lock:
                return 200, self._said(200, handle(said), "OK")
        except Refusal as refusal:
            said = self._said(refusal.code, {}, str(refusal), refusal.subcode)
            return refusal.code, said

    def _said(self, code: int, data: dict[str, Any], message: str, subcode: int = 0) -> bytes:
        meta = {
            "id": "1",
            "trx": "1",
            "endpoint": {"name": "", "requested_version": "2.13", "actual_version": "2.13"},
            "result_code": code,
            "result_subcode": subcode,
            "result_msg": message,
            "error_stack": "",
        }
        return json.dumps({"meta": meta, "data": data}).encode()


def _of_three_characters(name: str) -> None:
    if len(name.strip()) < 3:
        raise Refusal(400, "String value is too short")


def _no_number(constant: str) -> None:
    raise Refusal(400, f"Invalid json content: {constant}")
