"""Aim's own server, as `aim server` runs it, on a free port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import requests
from urllib3.util import Retry


class AimServer:
    """A server of the repository in the directory `path`, in a process of its own.

    Args:
        port: of an earlier server that this one takes the place of.
    """

    def __init__(self, path: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.address = f"aim://127.0.0.1:{self.port}"
        self._log = open(path / "server.log", "ab")  # noqa: SIM115  # closed with the server
        # What `aim server` starts, without the process that waits for it.
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "--ws-max-size", "1073741824",
                "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error",
                "aim.ext.transport.run:app",
            ],
            env={**os.environ, "__AIM_SERVER_MOUNT_REPO_PATH__": str(path / ".aim")},
            stdout=self._log,
            stderr=self._log,
        )  # fmt: skip
        session = requests.Session()
        retries = Retry(total=400, connect=400, backoff_factor=0.1, backoff_max=0.1)
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        session.get(f"http://127.0.0.1:{self.port}/status/", timeout=5).raise_for_status()

    def kill(self) -> None:
        """As if the machine had gone."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> AimServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
