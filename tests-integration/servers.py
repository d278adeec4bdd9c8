"""Real servers for tests: on free ports, waited for, and stopped by their own handle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 180  # seconds that a server may take to answer on a busy machine
SECONDS_TO_STOP = 10


@contextmanager
def serving(command: list[str], answers: str, **variables: str) -> Iterator[None]:
    """Run a server until the block ends; `answers` is an address that it answers when it is up."""
    server = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    try:
        wait_for(answers, server)
        yield
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=SECONDS_TO_STOP)
        # With what it has started: MLflow's command does not always pass on that it shall end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            get(address)
            return
        except (urllib.error.URLError, OSError):
            # A server that is gone will not answer; one that is starting says so by ending early.
            try:
                status = server.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"no answer from {address}"
            else:
                raise AssertionError(f"the server ended with status {status}") from None


def get(address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
    return (
        json.loads(content)
        if answer.headers["Content-Type"].startswith("application/json")
        else content
    )


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def mlflow_server(store: str, artifacts: Path, port: int) -> Iterator[str]:
    """MLflow's own server on `store`; its address."""
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", store, "--artifacts-destination", str(artifacts),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, f"{address}/health", **quiet):
        yield address
