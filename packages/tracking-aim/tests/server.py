"""Aim's own server, as `aim server` runs it, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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


class Proxy:
    """Stands before the server at `port`.

    Args:
        seconds: how long each answer of the server waits here.
        refuse: what it answers itself to a connection that begins with these bytes; None for
            nothing, so that the server answers.
        cut_after: the number of answers after which all connections are cut, and new ones, too.
        context: what it speaks TLS with.

    Attributes:
        answers: how many of the server's have gone through, those to signs of life left out.
        cut_after: as above; it may be changed.
    """

    def __init__(
        self,
        port: int,
        seconds: float = 0.0,
        *,
        refuse: Callable[[bytes], bytes | None] = lambda _: None,
        cut_after: float = float("inf"),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.answers = 0
        self._target, self._seconds, self._refuse = port, seconds, refuse
        self.cut_after, self._context = cut_after, context
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.address = f"aim://{self.place}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing.is_set():
                client.close()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            begun = client.recv(65536)
            answer = self._refuse(begun)
            if answer is not None or not begun:
                client.sendall(answer or b"")
                return
            asked = threading.Event()
            asked.set()
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                server.sendall(begun)
                counted = b"/heartbeat/" not in begun
                back = threading.Thread(
                    target=self._answer, args=(server, client, asked, counted), daemon=True
                )
                back.start()
                with contextlib.suppress(OSError):
                    while data := client.recv(65536):
                        asked.set()
                        server.sendall(data)
                _shut(server)
                back.join()

    def _answer(
        self, server: socket.socket, client: socket.socket, asked: threading.Event, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if asked.is_set():
                    asked.clear()
                    self._closing.wait(self._seconds)
                    with self._lock:
                        self.answers += counted
                if self.answers > self.cut_after:
                    break
                client.sendall(data)
        _shut(client)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
