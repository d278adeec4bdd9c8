from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx

# The server that `trackio show` starts gets a socket that listens already: whoever connects waits
# in its queue until it is up.
PROGRAM = """
import socket, sys, uvicorn
from trackio.server import build_starlette_app_only
app, _ = build_starlette_app_only()
listening = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
"""
TOKEN = "a token"


class Server:
    """Trackio's own server in another process, on a port that stays the same when it comes back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
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
                env={
                    **os.environ,
                    "TRACKIO_DIR": str(self.directory),
                    "TRACKIO_WRITE_TOKEN": TOKEN,
                },
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
    assert httpx.get(f"{server.url}/version", timeout=120).status_code == 200
