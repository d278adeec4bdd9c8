"""What is the run's, the server's or a gateway's trouble buries no record, and all of them land."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracking_core import Tracking, TrackingWarning
from tracking_core.delivery import journaled
from tracking_core.delivery.lane import TrackerStatus
from tracking_core.testing import Seen, refusing
from tracking_mlflow import read_run
from tracking_mlflow.settings import imported

from .server import Server, wait_for

INGRESS = "<html><head><title>404 Not Found</title></head><body>nginx</body></html>"
LOGIN = "<html><body><form action='/login'><input name='user'></form></body></html>"
# Enough for the evidence that buries a record, and for every probe.
TRIES = 12


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))
    policy = journaled.THREAD_POLICY._replace(first_wait=0.02, longest_wait=0.1, interval=0.02)
    monkeypatch.setattr(journaled, "THREAD_POLICY", policy)
    monkeypatch.setattr("tracking_mlflow.tracker.ONLINE_PACE", 0.0)


class Training:
    """Logs rows, texts and files all the time, to be compared with what the server has."""

    def __init__(self, tmp_path: Path) -> None:
        self.tracking = Tracking("mlflow", delivery="thread")
        self.tracking.init_trackers("outage", config={"lr": 0.1})
        self.rows = 0
        self._files = tmp_path / "files"
        self._files.mkdir()

    @property
    def status(self) -> TrackerStatus:
        return self.tracking.status()["mlflow"]

    @property
    def run_id(self) -> str:
        return str(self.tracking.get_tracker("mlflow").identity()["run_id"])

    def log(self, rows: int) -> None:
        for _ in range(rows):
            step = self.rows
            self.tracking.log({"a": float(step), "a/b": 2.0 * step, "none": None}, step=step)
            self.tracking.log({"note": f"text {step}"}, step=step)
            file = self._files / f"{step}.bin"
            file.write_bytes(b"%d" % step)
            self.tracking.log_artifact(file, "models")
            self.rows += 1

    def refused(self, tries: int = TRIES) -> None:
        """Go on until the tracker was refused so often."""
        seen = 0
        tracker = self.tracking._lanes[0]._workers["mlflow"]  # type: ignore[attr-defined]  # of this lane
        judge = tracker._refusals.judge

        def counted(*arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            return judge(*arguments)

        tracker._refusals.judge = counted
        until(lambda: seen >= tries)
        tracker._refusals.judge = judge
        assert self.status.last_error is not None

    def check(self, tmp_path: Path) -> None:
        """All of it is there, once, and nothing was put aside."""
        run_id = self.run_id
        # The end does not wait for a login: it takes what it was told last.
        until(lambda: self.status.state == "running")
        self.tracking.end_training(timeout=120)
        status = self.status
        assert (status.state, status.failed, status.pending) == ("ended", 0, 0), status
        assert (status.lost, status.rejected) == (0, {})
        seen = Seen(read_run(run_id, download_to=tmp_path / "downloads"))
        steps = list(range(self.rows))
        assert seen.values("a") == [float(step) for step in steps]
        assert seen.values("a/b") == [2.0 * step for step in steps]
        assert seen.values("none") == [None] * self.rows
        assert seen.values("note") == [f"text {step}" for step in steps]
        assert seen.files() == {f"models/{step}.bin": b"%d" % step for step in steps}
        assert (seen.config, seen.status) == ({"lr": 0.1}, "finished")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        pause.wait(0.02)


@pytest.fixture
def training(address: str, tmp_path: Path) -> Iterator[Training]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackingWarning)
        training = Training(tmp_path)
        training.log(5)
        assert training.tracking.flush(60)
        yield training
        training.tracking.end_training(timeout=0)


@pytest.mark.parametrize(
    ("status", "page"),
    [(404, INGRESS), (404, ""), (200, LOGIN), (403, LOGIN), (401, ""), (503, INGRESS), (500, "")],
)
def test_something_else_answers_for_a_while(
    status: int, page: str, training: Training, server: Server, tmp_path: Path
) -> None:
    server.stop()
    with refusing(server.port, status, page):
        training.log(5)
        training.refused()
        fault = training.status.fault
    server.start()
    wait_for(server)
    assert fault == ("login" if status == 401 else "server")
    training.log(5)
    training.check(tmp_path)


def test_a_run_that_was_deleted_and_is_restored(
    training: Training, address: str, tmp_path: Path
) -> None:
    client = imported().MlflowClient(tracking_uri=address)
    client.delete_run(training.run_id)
    training.log(5)
    training.refused()
    assert training.status.fault == "run"
    client.restore_run(training.run_id)
    training.log(5)
    training.check(tmp_path)


def test_an_experiment_that_was_deleted_and_is_restored(
    training: Training, address: str, tmp_path: Path
) -> None:
    client = imported().MlflowClient(tracking_uri=address)
    experiment = client.get_run(training.run_id).info.experiment_id
    client.delete_experiment(experiment)
    training.log(5)
    training.refused()
    assert training.status.fault == "run"
    client.restore_experiment(experiment)
    training.check(tmp_path)


def test_a_database_that_was_wiped_and_is_brought_back(
    training: Training, server: Server, migrated: Path, tmp_path: Path
) -> None:
    server.stop()
    server.database.rename(tmp_path / "backup.db")
    shutil.copyfile(migrated, server.database)
    server.start()
    wait_for(server)
    try:
        training.log(5)
        training.refused()
        assert training.status.fault == "run"
    finally:
        server.stop()
        shutil.copyfile(tmp_path / "backup.db", server.database)
        server.start()
        wait_for(server)
    training.log(5)
    training.check(tmp_path)


def test_a_login_page_that_answers_uploads_alone(
    training: Training, server: Server, tmp_path: Path
) -> None:
    with gateway(server, LOGIN) as switch:
        words = "takes numbers, and does not take the rest for now: .*answered with a page"
        with pytest.warns(TrackingWarning, match=words) as said:
            training.log(5)
            until(lambda: any("takes numbers" in str(one.message) for one in said))
        assert training.status.state == "running"
        switch.clear()
        training.log(5)
        training.check(tmp_path)


@contextlib.contextmanager
def gateway(server: Server, page: str) -> Iterator[threading.Event]:
    """Something at the server's port that passes all on, but answers uploads with a page.

    While the event is set that it yields.
    """
    import http.client
    import http.server

    port = server.port
    server.stop()
    server.port = 0
    server.start()
    wait_for(server)
    answers = threading.Event()
    answers.set()

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PUT" and answers.is_set():
                return self._answer(200, "text/html", page.encode())
            behind = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            self._answer(answer.status, kind, answer.read())
            return behind.close()

        do_POST = do_PUT = do_PATCH = do_GET

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Gateway) as passing:
        thread = threading.Thread(target=passing.serve_forever)
        thread.start()
        try:
            yield answers
        finally:
            passing.shutdown()
            thread.join()
    server.stop()
    server.port = port
    server.start()
