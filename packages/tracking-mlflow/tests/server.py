from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tracking_mlflow.settings import imported

# The server gets a socket that listens already: whoever connects waits in its queue until it is up.
PROGRAM = """
import socket, sys, uvicorn
listening = socket.socket(fileno=int(sys.argv[1]))
config = uvicorn.Config("mlflow.server.fastapi_app:app", log_level="error")
uvicorn.Server(config).run(sockets=[listening])
"""


class Server:
    """MLflow's own server in another process, on a port that stays the same when it comes back."""

    def __init__(self, database: Path, artifacts: Path) -> None:
        self.database, self.artifacts = database, artifacts
        self._environment = {
            **os.environ,
            # What `mlflow server` sets before it starts uvicorn; its command takes twice as long.
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._environment.pop("MLFLOW_TRACKING_URI", None)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def keep_runs_in(self, directory: Path) -> None:
        """Have a directory in place of the database."""
        self._environment["_MLFLOW_SERVER_FILE_STORE"] = directory.as_uri()
        self._environment["MLFLOW_ALLOW_FILE_STORE"] = "true"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            self.port = listening.getsockname()[1]
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", PROGRAM, str(listening.fileno())],
                env=self._environment,
                pass_fds=[listening.fileno()],
                # What it prints is not what the tests of our silence are about.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def wait_for(server: Server) -> None:
    """Its socket listens already: the answer comes as soon as it is up."""
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
        imported().MlflowClient(tracking_uri=server.uri).search_experiments()
