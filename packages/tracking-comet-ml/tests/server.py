"""A small server on this machine that speaks what Comet's client speaks, and keeps what it gets."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API_KEY = "k3y"
BEAT = {
    "is_alive_beat_duration_millis": 1000,
    "gpu_monitor_interval_millis": 60000,
    "cpu_monitor_interval_millis": 60000,
    "parameter_update_interval_millis": 1000,
    "pending_rpcs": False,
}


class Server:
    """Starts with `start`, and is on the same port again after `stop` and `start`.

    Attributes:
        experiments: what was sent, by experiment key.
        refusals: HTTP statuses that the next requests to a path get, by the path's end; or a status
            with what is answered: JSON, bytes as a page for people, or where to go on.
        lost: how many of the next requests to a path are taken and not answered, likewise.
        hanging: while it is set, requests are taken and never answered.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.refusals: dict[str, list[int | tuple[int, Any]]] = {}
        self.lost: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.api_keys = {API_KEY}
        self.beaten = threading.Event()
        self.hanging = threading.Event()
        self._released = threading.Event()
        self._port = 0
        self._http: _HTTP | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/clientlib/"

    def start(self) -> None:
        self.hanging.clear()
        self._released.clear()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._http = _HTTP(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._http is not None:
            self._released.set()
            self._http.shutdown()
            self._http.close_connections()
            self._http.server_close()
            self._thread.join()
            self._http = None

    def says_yes(self) -> None:
        """Refuse and lose nothing from now on."""
        self.refusals.clear()
        self.lost.clear()

    def hang(self) -> None:
        """Wait until the server stops."""
        self._released.wait()

    # --- what the requests mean ---

    def answer(self, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        key = str(
            body.get("experimentKey") or query.get("experimentKey") or query.get("experimentId")
        )
        found = self.experiments.get(key)
        end = path.removeprefix("/clientlib/").removeprefix("/api/rest/v2/")
        match end:
            case "logger/add/run" | "logger/get/run":
                return self._run(end, body)
            case "isAlive/ver":
                return 200, {"version": "99.0.0"}
            case "health/ping" | "asset/3d-limits":
                return 200, {}
        if found is None:
            return 404, {"msg": "no such experiment"}
        match end:
            case "status-report/update":
                if body.get("is_alive"):
                    self.beaten.set()
                found["alive"] = body["is_alive"]
                return 200, BEAT
            case "tags/add-tags-to-experiment":
                found["tags"] += [tag for tag in body["addedTags"] if tag not in found["tags"]]
            case "batch/logger/experiment/metric":
                found["metrics"] += body["values"]
            case "batch/logger/experiment/parameter":
                for value in body["values"]:
                    found["parameters"][value["parameterName"]] = value["parameterValue"]
            case "write/experiment/log-other":
                found["others"][body["key"]] = body["value"]
            case "write/experiment/update-status":
                found["alive"], found["crashed"] = body["isAlive"], body["hasCrashed"]
                found["error"] = body["error"]
            case "write/experiment/set-start-end-time":
                found["began"], found["ended"] = body["startTimeMillis"], body["endTimeMillis"]
            case "status-report/offline-metadata":
                found["began"] = body["startTimestamp"] or found["began"]
                found["ended"] = body["endTimestamp"]
            case "asset/upload" | "visualizations/upload":
                asset = {**query, "uploaded_to": end, "body": body["file"]}
                asset["metadata"] = body.get("metadata")
                found["assets"][query.get("assetId") or query["imageId"]] = asset
            case _:
                return self._read(end, query, found)
        return 200, {"msg": "ok", "code": 200}

    def _run(self, end: str, body: dict[str, Any]) -> tuple[int, Any]:
        if body["apiKey"] not in self.api_keys:
            return 400, {"msg": "unknown key", "sdk_error_code": 90212}
        key = body.get("experimentKey") or body["previousExperiment"]
        if end == "logger/get/run" and key not in self.experiments:
            return 400, {"msg": "no such experiment", "sdk_error_code": 90210}
        anew = end == "logger/add/run" and not body.get("getOrCreateEnabled")
        if key in self.experiments and anew:
            return 400, {"msg": "it exists", "sdk_error_code": 90999}
        self.experiments.setdefault(
            key,
            {
                "key": key, "project": body.get("projectName"), "workspace": body.get("teamName"),
                "tags": [], "metrics": [], "parameters": {}, "others": {}, "assets": {},
                "alive": True, "crashed": False, "error": None, "began": 1, "ended": None,
            },
        )  # fmt: skip
        return 200, {
            "runId": "run", "project_id": "project", "focusUrl": "http://127.0.0.1/", "name": "n",
            "lastOffset": 0, "featureToggles": [], "s3DirectAccessEnabled": False,
        }  # fmt: skip

    def _read(self, end: str, query: dict[str, str], found: dict[str, Any]) -> tuple[int, Any]:
        match end:
            case "experiment/metadata":
                return 200, {
                    "experimentKey": found["key"], "experimentName": None, "archived": False,
                    "projectName": found["project"], "workspaceName": "w", "projectId": "project",
                    "running": found["alive"], "hasCrashed": found["crashed"],
                    "startTimeMillis": found["began"], "endTimeMillis": found["ended"],
                    "durationMillis": 1, "optimizationId": None,
                }  # fmt: skip
            case "experiment/metrics/get-all" | "experiment/metrics/get-metric":
                wanted = query.get("metricName")
                points = [
                    {
                        "metricName": value["metricName"], "metricValue": str(value["metricValue"]),
                        "timestamp": value["timestamp"], "step": value["step"],
                        "epoch": value["epoch"], "runContext": value["context"],
                    }
                    for value in found["metrics"]
                    if wanted in (None, value["metricName"])
                ]  # fmt: skip
                return 200, {"metrics": points}
            case "experiment/parameters":
                return 200, {"values": _summary(found["parameters"])}
            case "experiment/log-other":
                return 200, {"values": _summary(found["others"])}
            case "experiment/tags":
                return 200, {"tags": found["tags"]}
            case "experiment/asset/list":
                assets = [
                    {
                        "assetId": name, "fileName": asset.get("fileName") or asset["figName"],
                        "type": asset.get("type", "image" if "figName" in asset else "asset"),
                        "step": int(asset["step"]) if "step" in asset else None,
                        "createdAt": 1, "metadata": asset["metadata"],
                    }
                    for name, asset in found["assets"].items()
                ]  # fmt: skip
                return 200, {"assets": assets}
            case "experiment/asset/get-asset":
                return 200, found["assets"][query["assetId"]]["body"]
        return 200, {"msg": "ok", "code": 200}


def _summary(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "valueCurrent": str(value)} for name, value in values.items()]


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, address: Any) -> None:
        self._open.add(request)
        super().process_request(request, address)

    def close_connections(self) -> None:
        """As the system does with those of a process that has died."""
        for request in self._open:
            self.shutdown_request(request)

    def handle_error(self, request: Any, address: Any) -> None:
        pass  # a client that has given up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for each answer: a second one would wait for the first one's receipt
    server_state: Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        if kind.startswith("multipart/"):
            self._serve(_parts(kind, data))
        else:
            self._serve(json.loads(data) if data else {})

    def _serve(self, body: dict[str, Any]) -> None:
        state = self.server_state
        split = urlsplit(self.path)
        path = split.path.replace("//", "/")
        query = {name: values[-1] for name, values in parse_qs(split.query).items()}
        state.requests[path] += 1
        if state.hanging.is_set():
            state.hang()
            return
        status, answer = 200, None
        for end, statuses in state.refusals.items():
            if path.endswith(end) and statuses:
                refusal = statuses.pop(0)
                status, answer = (
                    refusal if isinstance(refusal, tuple) else (refusal, {"msg": "refused"})
                )
        refused = answer is not None
        if answer is None:
            status, answer = state.answer(path, query, body)
        for end in [end for end, count in state.lost.items() if count > 0 and path.endswith(end)]:
            state.lost[end] -= 1
            self.close_connection = True
            return
        if isinstance(answer, str):
            self.send_response(status)
            self.send_header("Location", answer)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        page = "text/html" if data.startswith(b"<") else "text/plain"
        kind = page if refused else "application/octet-stream"
        self.send_header("Content-Type", kind if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _parts(kind: str, data: bytes) -> dict[str, Any]:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data)
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content: Any = part.get_payload(decode=True)
        found[str(name)] = content if name == "file" else content.decode()
    return found
