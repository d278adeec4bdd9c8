from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from aim.sdk.errors import MissingRunError

from tracking_aim import AimTracker, read_run, remote
from tracking_aim.runs import AimRepositoryError, repository
from tracking_core import Artifact, Audio, Histogram, Image, Table, TrackingWarning
from tracking_core.capture import capture
from tracking_core.faults import fault_of
from tracking_core.records import Config, Log, Record, Tags
from tracking_core.testing import Seen, refusing

from .server import AimServer, free_port

WALL_TIME = 1_760_000_000.25


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 0.5)


def row(step: int, /, **values: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, WALL_TIME + step)


def tracker_at(address: str, run_name: str = "run", **kwargs: Any) -> AimTracker:
    return AimTracker(run_name, "unused", repo=address, **kwargs)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_whole_run_through_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    repository(str(tmp_path))
    file = tmp_path / "talk.ogg"
    file.write_bytes(b"ogg")
    media = row(
        500, note="text", none=None, i=Image(numpy.zeros((2, 2, 3), "uint8"), caption="c"),
        w=Histogram([1.0, 2.0]), t=Table(["a"], [[1]]), talk=Audio(file), many=[Table(["b"], [])],
    )  # fmt: skip
    records: list[Record] = [
        Config({"lr": 0.5, "big": 2**64 - 1}, WALL_TIME),
        Tags({"label": None, "team": "vision"}, WALL_TIME),
        *(row(step, m=float(step)) for step in range(100)),
        media,
    ]
    aim_server = AimServer(tmp_path)
    tracker = tracker_at(aim_server.address, "a name")
    tracker.start()
    tracker.deliver(records)
    with pytest.warns(TrackingWarning, match=r"'file'.*takes no files: give artifacts_uri"):
        tracker.deliver([row(501, m=501.0, file=Artifact(file))])

    aim_server.kill()
    more = [row(step, m=float(step)) for step in (-3, 502, 502, 503)]
    for _ in range(2):
        with pytest.raises(ConnectionError, match=aim_server.address) as refused:
            tracker.deliver(more)
        assert fault_of(refused.value) in ("server", "login")
    with pytest.raises(ConnectionError, match=aim_server.address):
        tracker.finish()

    with AimServer(tmp_path, aim_server.port) as again:
        tracker.deliver(more)
        # The server lives, but this connection does not.
        tracker.tracker.repo._client.ws.close()
        with pytest.raises(ConnectionError):
            tracker.deliver([row(504, m=504.0)])
        tracker.deliver([row(504, m=504.0)])
        tracker.finish("failed")
        found = Seen(read_run(str(tracker.identity()["run_hash"]), again.address))
        with pytest.raises(MissingRunError, match="abc"):
            tracker_at(again.address, run_hash="abc").start()
        with pytest.raises(MissingRunError, match="abc"):
            list(read_run("abc", again.address))
    here = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    for seen in (found, here):
        steps = [-3, *range(100), 501, 502, 503, 504]
        assert [(p.step, p.value) for p in seen.points("m")] == [(s, float(s)) for s in steps]
        assert (seen.values("note"), seen.values("none")) == (["text"], [None])
        assert [image.caption for image in seen.media("i")] == ["c"]
        assert seen.media("w") == [capture({"w": Histogram([1.0, 2.0])})[0]["w"]]
        assert [one.rows for one in seen.media("t") + seen.media("many")] == [[[1]], []]
        assert [one.data for one in seen.media("talk")] == [b"ogg"]
        assert seen.config == {"lr": 0.5, "big": 2**64 - 1}
        assert seen.tags == {"label": None, "team": "vision"}
        assert seen.status == "failed"


def test_a_server_that_says_no_for_now_is_tried_again(tmp_path: Path) -> None:
    repository(str(tmp_path))
    aim_server = AimServer(tmp_path)
    tracker = tracker_at(aim_server.address)
    tracker.start()
    tracker.deliver([row(0, m=0.0)])
    aim_server.kill()
    for status in (401, 429, 500, 503):
        with refusing(aim_server.port, status):
            for call in (lambda: tracker.deliver([row(1, m=1.0)]), tracker.finish):
                with pytest.raises(ConnectionError, match=aim_server.address) as refused:
                    call()
                assert fault_of(refused.value) in ("server", "login"), (status, refused.value)
            with pytest.raises(AimRepositoryError, match=r"what answers at .* is no Aim server"):
                tracker_at(aim_server.address).start()
    with AimServer(tmp_path, aim_server.port):
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    assert (found.values("m"), found.status) == ([0.0, 1.0], "finished")


def test_a_server_that_stops_answering_is_left_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(str(tmp_path))
    with AimServer(tmp_path) as aim_server:
        tracker = tracker_at(aim_server.address)
        tracker.start()
        tracker.deliver([row(0, m=0.0)])
        with aim_server.stopped(), monkeypatch.context() as patched:
            patched.setattr(remote, "SECONDS", 0.5)
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s") as late:
                tracker.deliver([row(1, m=1.0)])
            assert fault_of(late.value) in ("server", "login")
            with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s"):
                tracker.finish()
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
    found = Seen(read_run(str(tracker.identity()["run_hash"]), tmp_path))
    assert (found.values("m"), found.status) == ([0.0, 1.0], "finished")


def test_nobody_at_the_address_is_retried() -> None:
    tracker = tracker_at(f"aim://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=r"the Aim server at aim://127.0.0.1:\d+") as refused:
        tracker.start()
    assert fault_of(refused.value) in ("server", "login")


def test_somebody_else_at_the_address_is_named() -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        tracker = tracker_at(f"aim://127.0.0.1:{stranger.server_address[1]}")
        with pytest.raises(AimRepositoryError, match=r"what answers at .* is no Aim server"):
            tracker.start()
        stranger.shutdown()
        thread.join()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


@pytest.mark.usefixtures("quick")
def test_a_server_that_does_not_answer_is_left_in_time(silent_port: int) -> None:
    tracker = tracker_at(f"aim://127.0.0.1:{silent_port}")
    with pytest.raises(TimeoutError, match=r"did not answer in 0.5 s") as late:
        tracker.start()
    assert fault_of(late.value) in ("server", "login")


def test_an_exit_does_not_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    repository(str(tmp_path))
    script = """if True:
        import sys
        from tracking_aim import AimTracker
        tracker = AimTracker("run", repo=sys.argv[1])
        tracker.start()
        tracker.log({"m": 1.0})
        print("ready", flush=True)
        sys.stdin.readline()
    """
    with AimServer(tmp_path) as aim_server:
        run = subprocess.Popen(
            [sys.executable, "-c", script, aim_server.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
    assert run.communicate(b"\n", timeout=60)[0] == b""
    assert run.returncode == 0
