from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest

from tracking_core import Artifact, Image, Table, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.faults import Fault, fault_of, fault_of_start
from tracking_core.records import Config, Log, Record, Tags
from tracking_core.testing import Seen, TrackerConformance, pixels_of, refusing, self_signed
from tracking_core.tracker import GeneralTracker
from tracking_trackio import (
    TrackioServerError,
    TrackioTracker,
    read_run,
)
from tracking_trackio import (
    server as client,
)

from .proxy import Proxy
from .server import TOKEN, Server, wait_for
from .test_conformance import LANDS

NOW = 1_760_000_000.1


@pytest.fixture
def address(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRACKIO_SERVER_URL", server.url)
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", TOKEN)
    url: str = server.url
    return url


@pytest.mark.usefixtures("address")
class TestConformanceOnAServer(TrackerConformance):
    lands = LANDS

    def make(self, directory: Path) -> GeneralTracker:
        return TrackioTracker(f"conformance {directory}")

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        identity = tracker.identity()
        run = str(identity["run_id"])
        return read_run(str(identity["project"]), run, download_to=directory / "downloads")


def records(folder: Path) -> list[Record]:
    model = folder / "model.bin"
    model.write_bytes(b"weights")
    picture = Image(numpy.zeros((2, 3), "uint8"), caption="black")
    values, _ = capture(
        {"loss": 0.5, "nan": math.nan, "note": "text", "i": picture, "m": Artifact(model, "models")}
    )
    return [Config({"lr": 0.1}, NOW), Tags({"a": None}, NOW), Log(values, 1, 1, NOW)]


def failed(tracker: TrackioTracker) -> tuple[Fault, str]:
    """Whose fault it is that `tracker` does not start, and what it says."""
    with pytest.raises(Exception, match="rackio") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


def read(tracker: TrackioTracker, folder: Path) -> Any:
    identity = tracker.identity()
    return Seen(read_run(tracker.run_name, str(identity["run_id"]), download_to=folder / "read"))


def test_an_outage_raises_at_once_and_what_is_sent_again_lands_once(
    address: str, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = TrackioTracker("outage")
    batch = records(tmp_path)
    server.stop()
    with pytest.raises(ConnectionError, match=r"no Trackio server at http://127\.0\.0\.1"):
        tracker.start()
    server.start()
    wait_for(server)
    tracker.start()
    tracker.deliver(batch[:1])
    server.stop()
    began = time.monotonic()
    with pytest.raises(ConnectionError) as raised:
        tracker.deliver(batch)
    with pytest.raises(ConnectionError):
        tracker.finish()
    assert time.monotonic() - began < 15
    assert fault_of(raised.value) in ("server", "login")
    server.start()
    wait_for(server)
    tracker.deliver(batch)
    tracker.deliver(batch)
    tracker.finish("killed")
    seen = read(tracker, tmp_path)
    assert seen.points("loss") == [(1, NOW, 0.5)]
    assert seen.values("note") == ["text"]
    assert len(seen.media("i")) == 1
    assert seen.files() == {"models/model.bin": b"weights"}
    assert (seen.config, seen.tags, seen.status) == ({"lr": 0.1}, {"a": None}, "killed")
    assert capfd.readouterr() == ("", "")


def test_one_picture_at_several_steps(address: str, tmp_path: Path) -> None:
    picture = Image(numpy.zeros((2, 3), "uint8"))
    tracker = TrackioTracker("picture")
    tracker.start()
    rows = [Log(capture({"i": picture})[0], step, step, NOW + step) for step in range(150)]
    tracker.deliver(rows)
    points = read(tracker, tmp_path).points("i")
    assert [point.step for point in points] == list(range(150))
    assert {point.value.data[:4] for point in points} == {b"\x89PNG"}


def test_a_training_goes_on_while_the_server_is_away(
    address: str, server: Server, tmp_path: Path
) -> None:
    server.stop()
    tracking = Tracking("trackio", tmp_path, delivery="thread")
    tracking.init_trackers("away", config={"lr": 0.1}, init_kwargs={"trackio": {"name": "r"}})
    for step in range(20):
        tracking.log({"loss": float(step)}, step=step)
    server.start()
    wait_for(server)
    assert tracking.flush(60)
    server.stop()
    for step in range(20, 40):
        tracking.log({"loss": float(step)}, step=step)
    server.start()
    wait_for(server)
    tracking.end_training(timeout=60)
    seen = Seen(read_run("away", "r", download_to=tmp_path))
    assert seen.values("loss") == [float(step) for step in range(40)]
    assert (seen.config, seen.status) == ({"lr": 0.1}, "finished")


def test_a_server_that_hangs_is_given_up(
    address: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER", 1.0)
    monkeypatch.setattr(client, "TRANSFER", 1.0)
    tracker = TrackioTracker("hang")
    tracker.start()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="does not answer"):
            tracker.deliver(records(tmp_path))
        with pytest.raises(TimeoutError, match="does not answer"):
            TrackioTracker("hang").start()
        assert time.monotonic() - began < 15
    finally:
        os.kill(server.pid, signal.SIGCONT)
    monkeypatch.undo()
    monkeypatch.setenv("TRACKIO_SERVER_URL", address)
    tracker.deliver(records(tmp_path))
    assert read(tracker, tmp_path).values("loss") == [0.5]


def test_a_server_that_says_no_for_now_is_tried_again(
    address: str, server: Server, tmp_path: Path
) -> None:
    tracker = TrackioTracker("refused")
    tracker.start()
    server.stop()
    for status in (401, 429, 500, 503):
        with refusing(server.port, status):
            calls = (
                lambda: tracker.deliver(records(tmp_path)),
                tracker.finish,
                TrackioTracker("refused").start,
            )
            for call in calls:
                with pytest.raises((OSError, TrackioServerError)) as refused:
                    call()
                fault = tracker.fault(refused.value)
                assert fault == ("login" if status == 401 else "server"), (status, refused.value)
    server.start()
    wait_for(server)
    tracker.deliver(records(tmp_path))
    tracker.finish()
    assert tracker.rejections.counts == {}
    seen = read(tracker, tmp_path)
    assert (seen.values("loss"), seen.values("note"), seen.status) == ([0.5], ["text"], "finished")


def test_a_wrong_token_is_said_to_be_one_and_is_no_fault_of_the_rows(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", "another")
    fault, message = failed(TrackioTracker("token"))
    assert fault == "login"
    assert "write_token" in message
    assert "another" not in message
    monkeypatch.delenv("TRACKIO_WRITE_TOKEN")
    fault, message = failed(TrackioTracker("token"))
    assert fault == "login"
    assert "set TRACKIO_WRITE_TOKEN" in message
    tracker = TrackioTracker("token", server_url=f"{address}?write_token=a%20token")
    tracker.start()
    assert "token=" not in str(tracker.identity())


# --- what stands between ---


@pytest.fixture
def proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        monkeypatch.setenv("TRACKIO_SERVER_URL", proxy.url)
        monkeypatch.setenv("TRACKIO_WRITE_TOKEN", TOKEN)
        yield proxy


def noise(size: int) -> Image:
    """A picture whose file is about as large as its pixels."""
    return Image(numpy.random.default_rng(size).integers(0, 256, (size, size, 3), "uint8"))


def test_a_picture_that_is_too_large_costs_itself_and_nothing_else(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.largest = 50_000
    tracker = TrackioTracker("too large")
    tracker.start()
    small, large = noise(16), noise(200)
    with pytest.warns(TrackingWarning, match=r"'i'.*LoggedImage.*HTTP 413.*client_max_body_size"):
        tracker.deliver([Log(capture({"i": large, "m": 1.0})[0], 1, 1, NOW)])
    tracker.deliver([Log(capture({"m": 2.0, "i": small})[0], 2, 2, NOW)])
    assert len(proxy.refused) == 1  # it is not sent again before each row that follows
    with pytest.warns(TrackingWarning, match="'list/1'"):
        tracker.deliver([Log(capture({"list": [small, large, small]})[0], 3, 3, NOW)])
    with pytest.warns(TrackingWarning, match="'table'"):
        cells = [[small, 1], [large, 2]]
        tracker.deliver([Log(capture({"table": Table(["p", "n"], cells)})[0], 4, 4, NOW)])
    tracker.finish()
    seen = read(tracker, tmp_path)
    assert seen.values("m") == [1.0, 2.0]
    assert [point.step for point in seen.points("i")] == [2]
    assert len(seen.values("list")[0]) == 2
    (table,) = seen.media("table")
    assert [row[1] for row in table.rows] == [1, 2]
    assert table.rows[0][0] is not None and table.rows[1][0] is None
    assert sum(tracker.rejections.counts.values()) == 3


def test_many_small_pictures_go_in_requests_that_are_small_enough(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.largest = 50_000
    tracker = TrackioTracker("many")
    tracker.start()
    rows = [Log(capture({"i": noise(40 + step)})[0], step, step, NOW + step) for step in range(40)]
    tracker.deliver(rows)
    assert [point.step for point in read(tracker, tmp_path).points("i")] == list(range(40))
    assert tracker.rejections.counts == {}


def test_a_file_that_is_too_large_costs_itself(proxy: Proxy, tmp_path: Path) -> None:
    proxy.largest = 50_000
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(100_000))
    tracker = TrackioTracker("large file")
    tracker.start()
    with pytest.warns(TrackingWarning, match=r"'model'.*\(100000 bytes\): HTTP 413"):
        tracker.deliver([Log(capture({"model": Artifact(model), "m": 1.0})[0], 1, 1, NOW)])
    assert read(tracker, tmp_path).values("m") == [1.0]


def test_rows_that_are_too_large_together_are_no_row_s_fault(proxy: Proxy, tmp_path: Path) -> None:
    proxy.largest = 20_000
    tracking = Tracking("trackio", tmp_path / "runs", delivery="thread")
    tracking.init_trackers("rows", init_kwargs={"trackio": {"name": "r"}})
    for step in range(200):
        tracking.log({"m": float(step), "text": "x" * (30_000 if step == 7 else 100)}, step=step)
    with pytest.warns(TrackingWarning, match="refused 1 records for good"):
        tracking.end_training(timeout=60)
    seen = Seen(read_run("rows", "r", download_to=tmp_path))
    assert seen.values("m") == [float(step) for step in range(200) if step != 7]
    assert tracking.run_dir is not None
    (letter,) = tracking.run_dir.glob("*/dead/*")
    assert "the largest part is 'text'" in letter.read_text()


@pytest.mark.parametrize("status", [200, 403, 404, 502])
def test_a_page_for_people_is_no_answer(proxy: Proxy, tmp_path: Path, status: int) -> None:
    tracker = TrackioTracker("page")
    proxy.page = status
    fault, message = failed(tracker)
    assert fault == "server"
    assert "a page for people" in message
    proxy.page = 0
    tracker.start()
    proxy.page = status
    for call in (lambda: tracker.deliver(records(tmp_path)), tracker.finish):
        with pytest.raises(ConnectionError, match="a page for people") as refused:
            call()
        assert tracker.fault(refused.value) == "server"
    proxy.page = 0
    tracker.deliver(records(tmp_path))
    tracker.finish()
    assert read(tracker, tmp_path).values("loss") == [0.5]


def test_what_does_not_answer_as_trackio_does_is_another_server(
    proxy: Proxy, tmp_path: Path
) -> None:
    tracker = TrackioTracker("another")
    proxy.page, proxy.kind = 200, "application/json"
    fault, message = failed(tracker)
    assert fault == "setup"
    assert "is no Trackio server: it answers 200 for /version; see to server_url" in message
    proxy.page = 0
    tracker.start()
    proxy.page = 200
    with pytest.raises(ConnectionError, match="does not answer as a Trackio server") as refused:
        tracker.deliver(records(tmp_path))
    assert tracker.fault(refused.value) == "server"
    proxy.page = 0
    tracker.deliver(records(tmp_path))
    assert read(tracker, tmp_path).values("loss") == [0.5]


@pytest.mark.parametrize(
    ("url", "fault", "said"),
    [
        ("http://127.0.0.1:9", "server", "finds no Trackio server at http://127.0.0.1:9"),
        (
            "https://HERE",
            "setup",
            "speaks no TLS: server_url (TRACKIO_SERVER_URL) has to begin with",
        ),
        ("http://a..b", "setup", "server_url (TRACKIO_SERVER_URL)"),
    ],
)
def test_an_address_of_no_use_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch, url: str, fault: Fault, said: str
) -> None:
    monkeypatch.setenv("TRACKIO_SERVER_URL", url.replace("HERE", address.split("/")[-1]))
    found, message = failed(TrackioTracker("address"))
    assert (found, said in message) == (fault, True), message


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://trackio.invalid")
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", TOKEN)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fault, message = failed(TrackioTracker("proxy"))
    assert fault == "setup"
    assert "the proxy does not let it through: see to HTTPS_PROXY" in message


def test_a_certificate_that_nobody_trusts_is_named_with_the_remedy(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = self_signed(tmp_path)
    proxy.encrypt(context)
    monkeypatch.setenv("TRACKIO_SERVER_URL", proxy.url)
    tracker = TrackioTracker("certificate")
    fault, message = failed(tracker)
    assert fault == "setup"
    assert "is not trusted: let SSL_CERT_FILE name" in message
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tracker.start()
    tracker.deliver(records(tmp_path)[:1])
    tracker.finish()


def test_identity_leads_back_to_the_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TrackioTracker("identity", server_url=f"{address}?write_token=a%20token")
    first.start()
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TRACKIO_SPACE_ID", "user/space")
    second = TrackioTracker("identity")
    second.resume(first.identity())
    second.start()
    assert second.identity() == first.identity()
    assert second.identity()["server_url"] == address


def test_another_server_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Trackio's own server has its page at every address that it does not know."""
    fault, message = failed(TrackioTracker("p", server_url=f"{address}/elsewhere"))
    assert fault == "server"
    assert "elsewhere answers with a page for people" in message
    assert "TRACKIO_SERVER_URL" in message


def test_the_dashboard_gets_what_it_draws(address: str, server: Server, tmp_path: Path) -> None:
    tracker = TrackioTracker("dashboard", name="run")
    tracker.start()
    tracker.deliver(records(tmp_path))
    tracker.finish()

    def ask(api_name: str, **arguments: Any) -> Any:
        answer = httpx.post(f"{address}/api/{api_name}", json={"kwargs": arguments})
        return answer.raise_for_status().json()["data"]

    (run,) = ask("get_runs_for_project", project="dashboard")
    assert run["name"] == "run"
    row = ask("get_logs", project="dashboard", run="run")[-1]
    assert row["loss"] == 0.5
    assert row["note"] == {"_type": "trackio.markdown", "_value": "text"}
    assert (row["i"]["_type"], row["i"]["caption"]) == ("trackio.image", "black")
    media = ask("get_settings")["media_dir"]
    picture = httpx.get(f"{address}/file", params={"path": f"{media}/{row['i']['file_path']}"})
    assert picture.content.startswith(b"\x89PNG")
    (artifact,) = ask("get_artifacts", project="dashboard")
    assert (artifact["name"], artifact["latest_version"]) == ("models-model.bin", 0)
    summary = ask("get_run_summary", project="dashboard", run="run")
    assert summary["config"]["lr"] == 0.1
    assert summary["config"]["tracking/status"] == "finished"
    assert numpy.array_equal(
        pixels_of(read(tracker, tmp_path).media("i")[0]), numpy.zeros((2, 3, 1))
    )
