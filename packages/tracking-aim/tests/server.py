"""Aim's own server, as `aim server` runs it, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
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


class SlowProxy:
    """Stands before the server at `port`, and lets each of its answers wait for `seconds`."""

    def __init__(self, port: int, seconds: float) -> None:
        self._target, self._seconds = port, seconds
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"aim://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing.is_set():
                client.close()
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, wait in ((client, server, 0.0), (server, client, self._seconds)):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, wait), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._closing.wait(seconds)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> SlowProxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
