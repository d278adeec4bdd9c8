"""DVC Studio is an HTTP server that may be slow, broken or gone: here it is one of ours."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Image, TrackingWarning
from tracking_core.records import Log
from tracking_core.testing import Seen
from tracking_dvclive import DVCLiveTracker, read_run

WALL_TIME = 1_760_000_000.25


class Server(ThreadingHTTPServer):
    """Answers every post with `status`, or not before `released` is set; keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.posts: list[dict[str, Any]] = []
        self.refused = 0
        self.released = threading.Event()
        self.released.set()
        self.arrived = threading.Condition()

    def wait_for_refusals(self, number: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.refused >= number, timeout=30)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [post for post in self.posts if post["type"] == kind]

    def points(self, name: str) -> list[tuple[int, float]]:
        """What it got of a metric."""
        path = f"dvclive/plots/metrics/{name}.tsv"
        plots = [post.get("plots", {}) for post in self.of("data")]
        found = [one for plot in plots for key, value in plot.items() if key.endswith(path)
                 for one in value["data"]]  # fmt: skip
        return [(one["step"], one[name]) for one in found]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.released.wait(60)
        with self.server.arrived:
            if self.server.status == 200:
                self.server.posts.append(json.loads(body))
            else:
                self.server.refused += 1
            self.server.arrived.notify_all()
        try:
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:  # who asked has gone
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "no real token")
    monkeypatch.setenv("DVC_STUDIO_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DVC_STUDIO_REPO_URL", "git@example.com:owner/name.git")
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def row(step: int, **values: Any) -> Log:
    return Log(values, step, step, WALL_TIME + step)


def test_it_gets_every_number_once(server: Server) -> None:
    tracker = DVCLiveTracker()
    tracker.start()
    tracker.store_init_configuration({"lr": 0.1})
    tracker.log({"i": Image(numpy.zeros((2, 2)))}, step=0)
    for step in range(20):
        tracker.deliver([row(step, m=step / 2, note="no number", none=None)])
    tracker.finish()
    assert [post["type"] for post in server.posts][:1] == ["start"]
    assert len(server.of("done")) == 1
    assert server.points("m") == [(step, step / 2) for step in range(20)]
    assert not server.points("note")
    last = server.of("data")[-2:]
    assert any("dvclive/params.yaml" in str(post.get("params")) for post in last)
    images = [
        name for post in server.of("data") for name in post.get("plots", {}) if "images" in name
    ]
    assert len(images) == 1


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_refusal_loses_and_prints_nothing(
    server: Server, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    tracker = DVCLiveTracker()
    tracker.start()
    server.status = status
    with pytest.warns(TrackingWarning, match="Studio"):
        tracker.deliver([row(step, m=1.0) for step in range(5)])
        tracker.finish("failed")
    seen = Seen(read_run("dvclive"))
    assert (len(seen.values("m")), seen.status) == (5, "failed")
    assert capfd.readouterr() == ("", "")


def test_one_that_hangs_holds_up_no_row_and_the_end_not_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_dvclive.studio.SECONDS_AT_THE_END", 1.0)
    tracker = DVCLiveTracker()
    tracker.start()
    server.released.clear()
    began = time.monotonic()
    for step in range(50):
        tracker.deliver([row(step, m=1.0)])
    assert time.monotonic() - began < 4
    with pytest.warns(TrackingWarning, match="Studio did not take the last rows"):
        tracker.finish()
    assert time.monotonic() - began < 10
    assert len(Seen(read_run("dvclive")).values("m")) == 50


def test_one_that_comes_back_gets_what_it_missed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_dvclive.studio.SECONDS_AFTER_A_FAILURE", 0.0)
    tracker = DVCLiveTracker()
    tracker.start()
    server.status = 500
    tracker.deliver([row(0, m=0.0)])
    server.wait_for_refusals(1)
    server.status = 200
    tracker.deliver([row(1, m=1.0)])
    tracker.finish()
    assert server.points("m") == [(0, 0.0), (1, 1.0)]


def test_one_that_refuses_the_beginning_is_left_alone(server: Server) -> None:
    server.status = 401
    tracker = DVCLiveTracker()
    with pytest.warns(TrackingWarning, match="post_to_studio"):
        tracker.start()
    server.status = 200
    tracker.deliver([row(0, m=0.0)])
    tracker.finish()
    assert not server.posts
    assert Seen(read_run("dvclive")).values("m") == [0.0]
