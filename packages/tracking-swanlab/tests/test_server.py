"""Runs on a server, and what becomes of them when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Artifact, Image, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.faults import Fault, fault_of_start
from tracking_core.records import Config, End, Log, Record, Tags
from tracking_core.testing import Seen, named_command, self_signed
from tracking_swanlab import SwanLabTracker, read_run
from tracking_swanlab.errors import SwanLabArrivalError

from .conftest import forget_login
from .server import Server

NOW = 1_760_000_000.25


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    from tracking_swanlab import cloud, queues

    monkeypatch.setattr(queues, "SECONDS_THAT_PASS_UNSAID", 0.0)
    hangs = "hang" in request.node.name
    monkeypatch.setattr(cloud, "LONGEST_ANSWER", 0.5 if hangs else 10)
    monkeypatch.setattr(cloud, "LONGEST_END", 5.0 if "middle" in request.node.name else 1.0)


def row(values: dict[str, Any], step: int) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step)


def started(tmp_path: Path, **arguments: Any) -> SwanLabTracker:
    tracker = SwanLabTracker("digits", log_dir=str(tmp_path / "log"), **arguments)
    tracker.start()
    return tracker


def run_dir(tracker: SwanLabTracker) -> str:
    return str(tracker.identity()["run_dir"])


def everything(tmp_path: Path) -> list[Record]:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    picture = numpy.zeros((4, 4, 3), dtype="uint8")
    return [
        Config({"lr": 0.1, "nan": float("nan")}, NOW),
        Tags({"baseline": None, "team": "vision"}, NOW),
        row({"loss": 0.5, "val": {"acc": 0.25}, "note": "hello"}, 1),
        row({"loss": 0.25, "image": Image(picture, caption="black")}, 2),
        row({"model": Artifact(model, "models/best")}, 3),
    ]


def check(server: Server) -> None:
    assert server.scalars("loss") == [(1, 0.5), (2, 0.25)]
    assert server.scalars("val/acc") == [(1, 0.25)]
    assert [step for step, _ in server.scalars("note")] == [1]
    assert {"loss", "val/acc", "note", "image"} <= {column["key"] for column in server.columns}
    times = [time for _, key, step, _, time in server.points if (key, step) == ("loss", 1)]
    assert times == ["2025-10-09T08:53:21.250Z"]  # of the call, not of the upload
    assert server.config["lr"]["value"] == 0.1
    assert server.config["nan"]["value"] == "NaN"
    assert server.files["models/best/model.bin"] == b"weights"
    (text,) = [data for name, data in server.files.items() if name.startswith("media/text/001")]
    assert text == b"hello"
    assert any(data.startswith(b"\x89PNG") for data in server.files.values())
    assert server.states == ["FINISHED"]


def test_a_run_arrives_while_it_goes_on(server: Server, tmp_path: Path) -> None:
    tracker = started(tmp_path, tags=["given"], description="why")
    assert server.labels == ["given"]
    assert server.experiments == [tracker.identity()["run_id"]]
    for record in everything(tmp_path):
        tracker.deliver([record])
        if isinstance(record, Log) and "loss" in record.values:
            assert server.scalars("loss")[-1][0] == record.step
    tracker.finish()
    check(server)
    assert tracker.rejections.counts == {}


def test_a_project_of_before_views_takes_a_run_too(server: Server, tmp_path: Path) -> None:
    server.version = None
    tracker = started(tmp_path)
    tracker.deliver(everything(tmp_path))
    tracker.finish()
    check(server)


def test_two_runs_at_once_arrive_apart(server: Server, tmp_path: Path) -> None:
    one, two = started(tmp_path), started(tmp_path)
    one.deliver([row({"one": 1.0}, 0)])
    one.finish()  # ends the session, as the library does
    two.deliver([row({"two": 2.0}, 0)])
    two.finish("failed")
    assert len(server.experiments) == 2
    assert (server.scalars("one"), server.scalars("two")) == ([(0, 1.0)], [(0, 2.0)])
    assert server.states == ["FINISHED", "CRASHED"]


def test_points_that_swanlab_has_no_step_for_are_drawn_over_their_step(
    server: Server, tmp_path: Path
) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row({"m": 1.0}, 0), row({"m": 2.0}, -3), row({"m": 3.0}, 2**60)])
    tracker.finish()
    assert server.scalars("m") == [(0, 1.0)]
    assert server.scalars("m/_x_far") == [(0, 2.0), (1, 3.0)]
    assert server.scalars("m/_x_far/_x_step") == [(0, -3.0), (1, 2.0**60)]
    (column,) = [one for one in server.columns if one["key"] == "m/_x_far"]
    assert column["xAxis"] == "m/_x_far/_x_step"


def test_a_run_is_resumed_online_and_sends_only_what_is_new(server: Server, tmp_path: Path) -> None:
    first = started(tmp_path)
    first.deliver([row({"m": 1.0}, 0)])
    first.finish("killed")
    second = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    second.resume(first.identity())
    second.start()
    second.deliver([row({"m": 2.0}, 1)])
    second.finish()
    assert server.experiments == [first.identity()["run_id"]]
    assert server.scalars("m") == [(0, 1.0), (1, 2.0)]
    assert server.states == ["ABORTED", "FINISHED"]


def test_a_killed_run_sends_what_was_left_when_it_is_resumed(
    server: Server, tmp_path: Path
) -> None:
    first = started(tmp_path)
    server.trouble, server.but = 500, ("login",)
    with pytest.warns(TrackingWarning, match="HTTP 500"):
        first.deliver([row({"m": 1.0}, 0)])
    server.trouble = None
    forget_login()
    second = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    second.resume(first.identity())
    second.start()
    assert server.scalars("m") == [(0, 1.0)]
    second.finish()


def test_a_long_history_is_sent_in_pieces(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking_swanlab import cloud

    monkeypatch.setattr(cloud, "MOST_RECORDS", 10)
    monkeypatch.setattr(cloud, "LONGEST_TURN", 0.0)
    tracker = started(tmp_path)
    tracker.deliver([row({"m": float(step)}, step) for step in range(100)])
    assert 0 < len(server.points) <= 10
    tracker.finish()
    assert server.scalars("m") == [(step, float(step)) for step in range(100)]


def test_what_the_native_run_logs_arrives_too(server: Server, tmp_path: Path) -> None:
    import swanlab

    tracker = started(tmp_path)
    assert tracker.run.url == f"{server.url}/@me/digits/runs/{tracker.identity()['run_id']}"
    tracker.run.define_metric("val/*", x_axis="epoch")
    tracker.run.log({"val/loss": 1.0, "epoch": 3, "note": swanlab.Text("hi")}, step=1)
    tracker.log({"loss": 2.0}, step=2)
    tracker.finish()
    assert (server.scalars("val/loss"), server.scalars("epoch")) == ([(1, 1.0)], [(1, 3.0)])
    assert {"key": "val/loss", "type": "FLOAT", "xAxis": "epoch"} in server.columns
    assert [step for step, _ in server.scalars("note")] == [1]
    assert server.scalars("loss") == [(2, 2.0)]
    assert server.states == ["FINISHED"]


# --- swanlab sync ---


def synced(
    tracker: SwanLabTracker, server: Server, tmp_path: Path, command: Sequence[str] = ()
) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    usual = ["sync", "--id", str(tracker.identity()["run_id"]), run_dir(tracker)]
    done = subprocess.run(
        [sys.executable, "-m", "swanlab", *(command or usual)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_swanlab_sync_sends_an_offline_run_once(server: Server, tmp_path: Path) -> None:
    tracker = started(tmp_path, mode="offline")
    tracker.deliver(everything(tmp_path))
    tracker.finish()
    assert server.requests == []
    synced(tracker, server, tmp_path)
    check(server)
    assert server.labels == ["baseline", "team: vision"]
    before = list(server.points)
    synced(tracker, server, tmp_path)
    assert server.points == before
    assert len(server.experiments) == 1


@pytest.mark.parametrize("how", ["swanlab sync", "finish"])
def test_what_could_not_be_sent_is_sent_by_the_command_that_is_named_or_by_the_next_try(
    server: Server, tmp_path: Path, how: str
) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row({"m": 0.0}, 0)])
    assert tracker.unarrived == 0
    server.trouble = 503
    with pytest.warns(TrackingWarning, match="the run goes on") as said:
        tracker.deliver([row({"m": 1.0}, 1)])
        tracker.deliver([row({"m": 2.0}, 2)])  # not asked again at once
    assert len(said) == 1
    assert tracker.unarrived == 2
    asked = len(server.requests)
    with pytest.raises(SwanLabArrivalError, match="swanlab sync --id") as raised:
        tracker.finish("failed")
    assert len(server.requests) > asked
    assert (tracker.fault(raised.value), tracker.unarrived) == ("server", 2)
    server.trouble = None
    if how == "finish":
        tracker.finish("failed")
        assert tracker.unarrived == 0
    else:
        _, _, command = str(raised.value).partition("this sends it, too: swanlab ")
        synced(tracker, server, tmp_path, command.split())
    assert server.scalars("m") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert server.states == ["CRASHED"]


@pytest.mark.parametrize("trouble", [403, 500, "page"])
def test_what_had_not_arrived_at_the_end_is_named_and_the_named_command_brings_it(
    server: Server, tmp_path: Path, trouble: Any
) -> None:
    tracking = Tracking("swanlab", tmp_path / "logs")
    arguments = {"log_dir": str(tmp_path / "log")}
    tracking.init_trackers("digits", init_kwargs={"swanlab": arguments})
    tracking.log({"m": 0.0}, step=0)
    assert tracking.flush(60)
    server.page = trouble == "page"
    server.trouble = 200 if server.page else trouble
    for step in range(1, 30):
        tracking.log({"m": float(step)}, step=step)
    with pytest.warns(TrackingWarning, match="are not known to have arrived") as said:
        tracking.end_training(timeout=5.0)
    server.trouble = None
    done = subprocess.run(named_command(said), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert server.scalars("m") == [(step, float(step)) for step in range(30)]
    assert server.states == ["FINISHED"]


# --- a server that fails ---


def failed(tracker: SwanLabTracker) -> tuple[Fault, str]:
    """Whose fault it is that `tracker` does not start, and what it says."""
    with pytest.raises(Exception, match="tracker 'swanlab'") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


def begins(tracker: SwanLabTracker, server: Server, tmp_path: Path) -> None:
    tracker.start()
    tracker.deliver([row({"m": 1.0}, 0)])
    tracker.finish()
    assert server.scalars("m") == [(0, 1.0)]
    assert len(list((tmp_path / "log").glob("run-*"))) == 1


def test_without_a_key_it_says_what_to_do_and_waits_for_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWANLAB_API_KEY")
    tracker = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    for _ in range(2):
        fault, message = failed(tracker)
        assert fault == "login"
        assert re.search("swanlab login.*SWANLAB_API_KEY.*SWANLAB_MODE=offline", message)
    assert server.requests == []
    monkeypatch.setenv("SWANLAB_API_KEY", "key")
    begins(tracker, server, tmp_path)


@pytest.mark.parametrize(
    ("trouble", "fault", "said"),
    [
        ("400", "setup", "as told"),
        ("401", "login", "swanlab login --relogin.*SWANLAB_MODE=offline"),
        ("403", "login", "`workspace`.*SWANLAB_MODE=offline"),
        ("404", "setup", "nobody can log in there.*SWANLAB_API_HOST"),
        ("429", "server", "429"),
        ("500", "server", "500"),
        ("hang", "server", "[Tt]imed out"),
        (
            "200 page",
            "server",
            "a page for people: is a login page.*SWANLAB_API_HOST",
        ),
        ("502 page", "server", "502.*login page"),
    ],
)
def test_a_start_that_fails_is_tried_again_and_makes_one_run(
    server: Server, tmp_path: Path, trouble: str, fault: Fault, said: str
) -> None:
    status, _, page = trouble.partition(" ")
    server.trouble = int(status) if status.isdigit() else status
    server.page = bool(page)
    tracker = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    for _ in range(2):
        found, message = failed(tracker)
        assert found == fault
        assert re.search(said, message), message
    server.trouble = None
    begins(tracker, server, tmp_path)


def test_an_experiment_that_the_server_refuses_is_begun_later(
    server: Server, tmp_path: Path
) -> None:
    server.trouble, server.but = 403, ("login",)
    tracker = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    assert failed(tracker)[0] == "login"
    server.trouble = None
    begins(tracker, server, tmp_path)


@pytest.mark.parametrize(
    ("host", "fault", "said"),
    [
        ("http://127.0.0.1:9", "server", "could not begin a run on http://127.0.0.1:9: .*refused"),
        ("ftp://127.0.0.1:9", "setup", "SWANLAB_API_HOST is no address"),
        ("https://HERE", "setup", "speaks no TLS: SWANLAB_API_HOST has to begin with http://"),
        ("http://a..b", "setup", "SWANLAB_API_HOST"),
    ],
)
def test_an_address_of_no_use_is_named(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    fault: Fault,
    said: str,
) -> None:
    monkeypatch.setenv("SWANLAB_API_HOST", host.replace("HERE", server.url.split("/")[-1]))
    found, message = failed(SwanLabTracker("digits", log_dir=str(tmp_path / "log")))
    assert found == fault
    assert re.search(said, message), message


def test_a_proxy_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWANLAB_API_KEY", "key")
    monkeypatch.setenv("SWANLAB_API_HOST", "http://swanlab.invalid")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fault, message = failed(SwanLabTracker("digits", log_dir=str(tmp_path / "log")))
    assert fault == "setup"
    assert re.search("the proxy.*HTTPS_PROXY.*NO_PROXY", message)


def test_a_certificate_that_nobody_trusts_is_named_with_the_remedy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = self_signed(tmp_path)
    server.encrypt(context)
    monkeypatch.setenv("SWANLAB_API_HOST", server.url)
    tracker = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
    fault, message = failed(tracker)
    assert fault == "setup"
    assert "is not trusted: let REQUESTS_CA_BUNDLE name" in message
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    begins(tracker, server, tmp_path)


@pytest.mark.parametrize("trouble", [401, 403, 404, 410, 429, 500, "hang", "page", "page 404"])
def test_an_outage_in_the_middle_costs_nothing(
    server: Server, tmp_path: Path, trouble: Any
) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row({"m": 0.0}, 0)])
    server.trouble = trouble
    if str(trouble).startswith("page"):
        server.page, server.trouble = True, int(trouble[5:] or 200)
    with pytest.warns(TrackingWarning, match="the run goes on"):
        tracker.deliver([row({"m": 1.0, "note": "x"}, 1)])
    server.trouble = None
    tracker.deliver([row({"m": 2.0}, 2)])
    tracker.finish()  # waits for the server's next turn
    assert server.scalars("m") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert [step for step, _ in server.scalars("note")] == [1]
    assert server.states == ["FINISHED"]
    assert tracker.rejections.counts == {}
    logins = server.requests.count("/api/login/api_key")
    assert logins == (2 if trouble == 401 else 1)  # the session may have been ended


@pytest.mark.parametrize("trouble", [401, 429, 500, "hang"])
def test_finishing_without_the_server_ends_in_time(
    server: Server, tmp_path: Path, trouble: Any
) -> None:
    tracker = started(tmp_path)
    server.trouble = trouble
    with pytest.warns(TrackingWarning, match="the run goes on"):
        tracker.deliver([row({"m": 1.0}, 0)])
    with pytest.raises(SwanLabArrivalError, match="swanlab sync --id"):
        tracker.finish("failed")
    seen = Seen(read_run(run_dir(tracker)))
    assert (seen.values("m"), seen.status) == ([1.0], "failed")


def test_an_end_that_the_server_does_not_take_is_not_said_all_the_time(
    server: Server, tmp_path: Path
) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row({"m": 1.0}, 0)])
    server.trouble, server.only = 500, ("/state",)
    with pytest.raises(SwanLabArrivalError, match="HTTP 500"):
        tracker.finish()
    assert 1 <= sum("/state" in path for path in server.requests) <= 3
    server.trouble = None
    tracker.finish()
    assert server.states == ["FINISHED"]


def test_of_many_rows_only_those_are_given_up_that_are_too_large(
    server: Server, tmp_path: Path
) -> None:
    tracker = started(tmp_path)
    server.largest = 450  # bytes: of what is sent together
    with pytest.warns(TrackingWarning, match=f"'{'long' * 100}'.*does not take it.*run file"):
        tracker.deliver([row({"m": float(n), "long" * 100: 1.0}, n) for n in range(8)])
    tracker.finish()
    assert server.scalars("m") == [(n, float(n)) for n in range(8)]
    assert server.scalars("long" * 100) == []
    assert set(tracker.rejections.counts.values()) == {8}


def test_what_the_server_refuses_for_good_is_named_and_kept_in_the_run_file(
    server: Server, tmp_path: Path
) -> None:
    tracker = started(tmp_path)
    server.trouble, server.but = 400, ("state", "login", "put", "series")
    with pytest.warns(TrackingWarning, match="'m'.*does not take it.*run file"):
        tracker.deliver([row({"m": 1.0}, 0)])
    server.trouble = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.deliver([row({"m": 2.0}, 1)])
        tracker.finish()
    assert server.scalars("m") == [(1, 2.0)]
    assert Seen(read_run(run_dir(tracker))).values("m") == [1.0, 2.0]


# --- what is said of it ---


def test_what_may_pass_is_said_once_it_has_lasted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_swanlab.queues.SECONDS_THAT_PASS_UNSAID", 1000.0)
    tracker = started(tmp_path)
    server.trouble = 503
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.deliver([row({"m": 0.0}, 0)])
    monkeypatch.setattr("tracking_swanlab.queues.SECONDS_THAT_PASS_UNSAID", 0.0)
    asked = len(server.requests)
    with pytest.warns(
        TrackingWarning, match=r"\(HTTP 503\): the run goes on in .*is sent when"
    ) as said:
        tracker.deliver([row({"m": 1.0}, 1)])
        tracker.deliver([row({"m": 2.0}, 2)])
    assert (len(said), len(server.requests)) == (1, asked)  # it is not asked for that
    server.trouble = None
    tracker.finish()
    assert server.scalars("m") == [(0, 0.0), (1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("trouble", [401, 403])
def test_what_a_person_has_to_mend_is_said_at_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: int
) -> None:
    monkeypatch.setattr("tracking_swanlab.queues.SECONDS_THAT_PASS_UNSAID", 1000.0)
    tracker = started(tmp_path)
    server.trouble = trouble
    with pytest.warns(
        TrackingWarning, match=f"waiting will not help.*HTTP {trouble}.*the run goes on"
    ):
        tracker.deliver([row({"m": 0.0}, 0)])
    server.trouble = None
    tracker.finish()
    assert server.scalars("m") == [(0, 0.0)]


def test_an_end_that_a_lane_tries_again_says_at_once_what_is_in_its_way(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_swanlab.cloud.LONGEST_END", 1000.0)
    tracker = started(tmp_path)
    server.trouble = 503
    with pytest.warns(TrackingWarning, match="HTTP 503"):
        tracker.deliver([row({"m": 0.0}, 0)])
    tracker.deliver([End("failed", NOW)])
    for _ in range(2):
        with pytest.raises(SwanLabArrivalError, match="HTTP 503"):
            tracker.finish("failed")
    server.trouble = None
    tracker.finish("failed")
    assert server.scalars("m") == [(0, 0.0)]
    assert server.states == ["CRASHED"]


# --- a store of files that fails ---


def picture(number: int) -> Image:
    return Image(numpy.full((4, 4, 3), number, dtype="uint8"))


def with_files(tmp_path: Path, step: int) -> list[Record]:
    """A row of each kind: what goes into files stands before the numbers."""
    model = tmp_path / f"model-{step}.bin"
    model.write_bytes(b"weights %d" % step)
    return [
        row({"model": Artifact(model)}, step),
        row({"image": picture(step), "note": f"at {step}"}, step),
        row({"m": float(step)}, step),
    ]


def steps(server: Server, key: str) -> list[int]:
    return [step for step, _ in server.scalars(key)]


def fails_for_files(server: Server, trouble: Any) -> None:
    """Have only the store of files in `trouble`."""
    server.page = str(trouble).startswith("page")
    server.trouble = int(trouble[5:]) if server.page else trouble
    server.only = ("/put/",)


@pytest.mark.parametrize("trouble", [403, 500, "page 403", "hang"])
def test_a_store_of_files_that_fails_holds_up_no_number(
    server: Server, tmp_path: Path, trouble: Any
) -> None:
    tracker = started(tmp_path)
    fails_for_files(server, trouble)
    with pytest.warns(TrackingWarning, match="does not take files for now.*numbers go on") as said:
        for step in range(3):
            tracker.deliver(with_files(tmp_path, step))
            assert steps(server, "m")[-1] == step
    assert len(said) == 1
    waiting = tracker.unarrived
    assert 0 < waiting < 20  # of files, and nothing of numbers
    tracker.deliver([row({"m": 3.0}, 3)])
    assert tracker.unarrived == waiting
    with pytest.raises(
        SwanLabArrivalError, match=r"all numbers, and not 'model/model-0\.bin', .* have arrived"
    ):
        tracker.finish()
    assert (tracker.unarrived, server.states) == (waiting, [])
    server.trouble = None
    tracker.finish()
    assert tracker.unarrived == 0
    assert steps(server, "m") == [0, 1, 2, 3]
    assert (steps(server, "image"), steps(server, "note")) == ([0, 1, 2], [0, 1, 2])
    assert [server.files[f"model/model-{step}.bin"] for step in range(3)] == [
        b"weights %d" % step for step in range(3)
    ]
    assert server.states == ["FINISHED"]
    assert tracker.rejections.counts == {}


@pytest.mark.parametrize("trouble", [413, "page 413"])
def test_a_file_that_is_refused_for_good_is_named_with_its_size_and_left(
    server: Server, tmp_path: Path, trouble: Any
) -> None:
    tracker = started(tmp_path)
    fails_for_files(server, trouble)
    with pytest.warns(TrackingWarning, match="could not store") as said:
        tracker.deliver(with_files(tmp_path, 1))
    words = [str(one.message) for one in said]
    assert any(
        re.search(r"'model/model-1.bin'.*HTTP 413.*9 bytes\); it stays in", one) for one in words
    )
    assert any(re.search(r"'image'.*HTTP 413.*bytes\); it stays in", one) for one in words)
    assert (tracker.unarrived, steps(server, "m")) == (0, [1])
    server.trouble = None
    tracker.deliver(with_files(tmp_path, 2))
    tracker.finish()
    assert (steps(server, "image"), steps(server, "m")) == ([2], [1, 2])
    assert server.files["model/model-2.bin"] == b"weights 2"
    assert server.states == ["FINISHED"]


def test_files_go_past_one_that_is_not_taken(server: Server, tmp_path: Path) -> None:
    tracker = started(tmp_path)
    server.trouble, server.only = 503, ("/put/model/model-0.bin", "media/image/000-")
    with pytest.warns(TrackingWarning, match="does not take files for now"):
        tracker.deliver([one for step in range(3) for one in with_files(tmp_path, step)])
    assert tracker.unarrived == 2
    assert steps(server, "image") == [1, 2]
    assert {"model/model-1.bin", "model/model-2.bin"} < server.files.keys()
    server.trouble = None
    tracker.finish()
    assert sorted(steps(server, "image")) == [0, 1, 2]
    assert server.files["model/model-0.bin"] == b"weights 0"


def test_a_picture_that_was_overtaken_is_sent_by_whoever_goes_on_with_the_run(
    server: Server, tmp_path: Path
) -> None:
    first = started(tmp_path)
    server.trouble, server.only = 503, ("media/image/000-",)
    with pytest.warns(TrackingWarning, match="does not take files for now"):
        first.deliver([one for step in range(3) for one in with_files(tmp_path, step)])
    assert steps(server, "image") == [1, 2]
    server.trouble = None
    for _ in range(2):
        forget_login()
        second = SwanLabTracker("digits", log_dir=str(tmp_path / "log"))
        second.resume(first.identity())
        second.start()
        second.finish()
    assert sorted(steps(server, "image")) == [0, 1, 2]
    assert (steps(server, "note"), steps(server, "m")) == ([0, 1, 2], [0, 1, 2])


def test_files_that_could_not_be_sent_are_brought_by_the_command_that_is_named(
    server: Server, tmp_path: Path
) -> None:
    tracking = Tracking("swanlab", tmp_path / "logs")
    arguments = {"log_dir": str(tmp_path / "log")}
    tracking.init_trackers("digits", init_kwargs={"swanlab": arguments})
    tracking.log({"m": 0.0}, step=0)
    assert tracking.flush(60)
    fails_for_files(server, 403)
    tracking.log({"image": picture(1)}, step=1)
    tracking.log({"m": 2.0}, step=2)
    with pytest.warns(TrackingWarning, match="all numbers, and not 'image'") as said:
        tracking.end_training(timeout=5.0)
    assert (steps(server, "m"), steps(server, "image"), server.states) == ([0, 2], [], [])
    server.trouble = None
    done = subprocess.run(named_command(said), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (steps(server, "m"), steps(server, "image")) == ([0, 2], [1])
    assert server.states == ["FINISHED"]
