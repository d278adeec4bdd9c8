"""Whose fault it is that Comet does not take something, and what is said of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracking_comet_ml import CometMLTracker
from tracking_core import Artifact, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.faults import Fault, fault_of_start
from tracking_core.records import Config, Log, Record
from tracking_core.testing.servers import refusing

from .server import API_KEY, Server

NOW = 1_760_000_000.25
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def row(values: dict[str, Any], step: int = 0) -> Log:
    return Log(capture(values)[0], step, step, NOW + step)


def tracker_of(server: Server, **arguments: Any) -> CometMLTracker:
    """A tracker that is named as a lane names it: each try goes on with the same experiment."""
    tracker = CometMLTracker("digits", **arguments)
    tracker.identity()
    return tracker


def started(server: Server, **arguments: Any) -> CometMLTracker:
    tracker = tracker_of(server, **arguments)
    tracker.start()
    return tracker


def found(server: Server, tracker: CometMLTracker) -> dict[str, Any]:
    kept: dict[str, Any] = server.experiments[str(tracker.identity()["experiment_key"])]
    return kept


def points(server: Server, tracker: CometMLTracker) -> list[tuple[str, int, object]]:
    return [
        (value["metricName"], value["step"], value["metricValue"])
        for value in found(server, tracker)["metrics"]
    ]


def failed(tracker: CometMLTracker, call: Callable[[], object]) -> tuple[Fault, str]:
    """Whose fault it is that `call` raises, and what it says."""
    with pytest.raises(Exception, match=r".") as raised:
        call()
    return tracker.fault(raised.value), str(raised.value)


def failed_start(tracker: CometMLTracker) -> tuple[Fault, str]:
    with pytest.raises(Exception, match="tracker 'comet_ml'") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


class TestAStart:
    @pytest.mark.parametrize(
        ("refusal", "fault", "said"),
        [
            (400, "setup", "refuses the arguments.*HTTP 400: refused"),
            (401, "login", "COMET_API_KEY.*COMET_WORKSPACE.*online=False"),
            (402, "login", "COMET_API_KEY"),
            (403, "login", "COMET_API_KEY"),
            ((400, {"sdk_error_code": 90212, "msg": "no key"}), "login", "does not know this API key"),
            ((403, {"sdk_error_code": 7000011, "msg": "view only"}), "login", "COMET_WORKSPACE"),
            ((400, {"sdk_error_code": 90219, "msg": "no team"}), "setup", "InvalidWorkspace"),
            ((400, {"sdk_error_code": 1341241, "msg": "too long"}), "setup", "NameIsTooLong: too long"),
            (404, "setup", "nobody takes experiments there.*COMET_URL_OVERRIDE"),
            ((404, PAGE), "server", "a page for people.*404.*COMET_URL_OVERRIDE"),
            ((404, b"404 page not found"), "server", "no answer of Comet's.*404"),
            ((200, PAGE), "server", "a page for people.*login page"),
            ((302, "http://127.0.0.1:9/login"), "server", "sends requests on.*login page"),
            (429, "server", "429"),
            ((502, PAGE), "server", "502"),
            (503, "server", "503"),
        ],
    )  # fmt: skip
    def test_one_that_fails_is_tried_again_and_makes_one_experiment(
        self, server: Server, refusal: Any, fault: Fault, said: str
    ) -> None:
        before = set(server.experiments)
        tracker = tracker_of(server, api_key=API_KEY)
        server.refusals["add/run"] = [refusal, refusal]
        for _ in range(2):
            whose, message = failed_start(tracker)
            assert whose == fault
            assert re.search(said, message), message
            assert API_KEY not in message
        server.lost["add/run"] = 1
        assert failed_start(tracker)[0] == "server"
        tracker.start()
        tracker.deliver([row({"m": 1.0})])
        tracker.finish()
        assert points(server, tracker) == [("m", 0, 1.0)]
        assert len(set(server.experiments) - before) == 1

    @pytest.mark.parametrize(
        ("address", "fault", "said"),
        [
            ("http://127.0.0.1:9/clientlib/", "server", "on http://127.0.0.1:9: .*refused"),
            ("https://HERE/clientlib/", "setup", "no TLS: COMET_URL_OVERRIDE has to begin with http://"),
            ("http://a..b/clientlib/", "setup", "COMET_URL_OVERRIDE"),
        ],
    )  # fmt: skip
    def test_an_address_of_no_use_is_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, address: str, fault: Fault, said: str
    ) -> None:
        here = server.url.split("/")[2]
        monkeypatch.setenv("COMET_URL_OVERRIDE", address.replace("HERE", here))
        whose, message = failed_start(tracker_of(server))
        assert whose == fault
        assert re.search(said, message), message

    def test_a_proxy_that_nobody_answers_at_is_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        whose, message = failed_start(tracker_of(server))
        assert (whose, "HTTPS_PROXY and HTTP_PROXY" in message) == ("setup", True)

    def test_a_server_that_wants_https_is_named(self, server: Server) -> None:
        tracker = tracker_of(server)
        server.refusals["add/run"] = [(301, server.url.replace("http:", "https:"))]
        whose, message = failed_start(tracker)
        assert (whose, "COMET_URL_OVERRIDE has to begin with https://" in message) == (
            "setup",
            True,
        )

    def test_a_key_that_no_header_can_hold_is_not_shown(self, server: Server) -> None:
        whose, message = failed_start(tracker_of(server, api_key="k3y\nwith a line"))
        assert (whose, "k3y" in message) == ("login", False)

    def test_nobody_waits_for_a_key_that_is_missing(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("COMET_API_KEY")
        tracking = Tracking("comet_ml", tmp_path, delivery="thread")
        with pytest.warns(TrackingWarning, match="no API key; set COMET_API_KEY"):
            tracking.init_trackers("digits")
            tracking.log({"m": 1.0})
            tracking.flush(1)
            began = time.monotonic()
            tracking.end_training()
        assert time.monotonic() - began < 10
        assert tracking.status()["comet_ml"].fault == "login"
        monkeypatch.setenv("COMET_API_KEY", API_KEY)
        (recovered,) = Tracking.recover(str(tracking.run_dir)).values()
        assert recovered.state == "ended"

    @pytest.mark.parametrize("place", ["file", "file/runs", "/proc/runs"])
    def test_an_offline_directory_of_no_use_is_named(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("here")
        directory = tmp_path / place
        config = {"offline_directory": str(directory)}
        tracker = CometMLTracker("p", online=False, experiment_config=config)
        whose, message = failed_start(tracker)
        assert (whose, "COMET_OFFLINE_DIRECTORY" in message) == ("setup", True)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_an_offline_directory_that_may_not_be_written_is_named(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        config = {"offline_directory": str(tmp_path / "runs")}
        whose, message = failed_start(CometMLTracker("p", online=False, experiment_config=config))
        tmp_path.chmod(0o700)
        assert (whose, "COMET_OFFLINE_DIRECTORY" in message) == ("setup", True)


class TestADelivery:
    @pytest.mark.parametrize(
        ("refusal", "fault"),
        [
            (401, "login"), (403, "login"), ((407, PAGE), "login"),
            ((200, PAGE), "server"), ((400, PAGE), "server"), ((403, PAGE), "server"),
            ((404, PAGE), "server"), ((404, b"404 page not found"), "server"),
            ((302, "http://127.0.0.1:9/login"), "server"), (429, "server"), (500, "server"),
            ((503, PAGE), "server"), (404, "run"), (410, "run"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "path", ["experiment/metric", "experiment/parameter", "log-other", "add-tags-to-experiment",
                 "asset/upload"],
    )  # fmt: skip
    def test_what_the_server_or_the_experiment_is_to_blame_for_costs_no_value(
        self, server: Server, tmp_path: Path, path: str, refusal: Any, fault: Fault
    ) -> None:
        tracker = started(server)
        (tmp_path / "model.bin").write_bytes(b"weights")
        records: list[Record] = [
            Config({"lr": 0.1}, NOW),
            row({"m": 1.0, "note": "text", "model": Artifact(tmp_path / "model.bin", "")}),
        ]
        server.refusals[path] = [refusal]

        def whole() -> None:
            tracker.set_tags({"a": None})
            tracker.deliver(records)

        assert failed(tracker, whole)[0] == fault
        server.says_yes()
        whole()
        server.refusals["status-report/update"] = [refusal]
        assert failed(tracker, tracker.finish)[0] == fault
        tracker.finish()
        assert tracker.rejections.counts == {}
        kept = found(server, tracker)
        assert [value["metricName"] for value in kept["metrics"]] == ["m"]
        assert kept["others"]["note"] == "text"
        assert b"weights" in [asset["body"] for asset in kept["assets"].values()]
        assert kept["others"]["tracking/status"] == "finished"

    def test_an_experiment_that_is_gone_is_said_to_be(self, server: Server) -> None:
        tracker = started(server)
        deleted = server.experiments.pop(str(tracker.identity()["experiment_key"]))
        for call in (lambda: tracker.deliver([row({"m": 1.0})]), tracker.finish):
            whose, message = failed(tracker, call)
            assert (whose, "was it deleted?" in message) == ("run", True)
        server.experiments[deleted["key"]] = deleted
        # Others say so by a refusal of all that is sent.
        server.refusals["experiment/metric"] = [400]
        server.refusals["status-report/update"] = [400]
        assert failed(tracker, lambda: tracker.deliver([row({"m": 1.0})]))[0] == "run"
        tracker.deliver([row({"m": 1.0})])
        tracker.finish()
        assert (points(server, tracker), tracker.rejections.counts) == ([("m", 0, 1.0)], {})

    def test_a_refusal_that_passes_costs_nothing(self, server: Server, tmp_path: Path) -> None:
        tracker = started(server)
        (tmp_path / "model.bin").write_bytes(b"weights")
        for path in ("experiment/metric", "log-other", "asset/upload"):
            server.refusals[path] = [400]
        tracker.deliver(
            [row({"m": 1.0, "note": "text", "model": Artifact(tmp_path / "model.bin", "")})]
        )
        tracker.finish()
        assert tracker.rejections.counts == {}
        assert points(server, tracker) == [("m", 0, 1.0)]

    @pytest.mark.parametrize(
        "refusal",
        [413, (413, PAGE), 415, 422, (403, {"sdk_error_code": 7000001, "msg": "too many images"})],
    )
    def test_a_file_that_is_refused_for_good_is_named_and_the_rest_lands_once(
        self, server: Server, tmp_path: Path, refusal: Any
    ) -> None:
        tracker = started(server)
        (tmp_path / "large.bin").write_bytes(b"large")
        server.refusals["asset/upload"] = [refusal, refusal]
        with pytest.warns(TrackingWarning, match=r"large\.bin") as said:
            tracker.deliver([row({"file": Artifact(tmp_path / "large.bin", ""), "m": 1.0})])
        assert ("5 bytes are more" in str(said[0].message)) == (refusal in (413, (413, PAGE)))
        server.says_yes()
        tracker.finish()
        assert points(server, tracker) == [("m", 0, 1.0)]

    def test_a_file_store_that_lets_nobody_in_does_not_stop_the_numbers(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started(server)
        (tmp_path / "large.bin").write_bytes(b"large")
        record = row({"file": Artifact(tmp_path / "large.bin", ""), "m": 1.0})
        server.refusals["asset/upload"] = [403] * 3
        assert failed(tracker, lambda: tracker.deliver([record]))[0] == "login"
        tracker.deliver([row({"m": 2.0}, 1)])  # what follows is let through by whoever delivers
        assert failed(tracker, lambda: tracker.deliver([record]))[0] == "login"
        server.says_yes()
        tracker.deliver([row({"file": Artifact(tmp_path / "large.bin", "")})])  # its rest
        tracker.finish()
        assert sorted(points(server, tracker)) == [("m", 0, 1.0), ("m", 1, 2.0)]

    def test_a_file_that_the_server_has_already_is_there(
        self, server: Server, tmp_path: Path
    ) -> None:
        tracker = started(server)
        (tmp_path / "a.bin").write_bytes(b"a")
        server.refusals["asset/upload"] = [(400, {"sdk_error_code": 7000005})]
        tracker.deliver([row({"file": Artifact(tmp_path / "a.bin", "")})])
        tracker.finish()
        assert tracker.rejections.counts == {}


class TestTakenOnce:
    @pytest.mark.parametrize("names", [3, 30])
    def test_points_whose_answer_was_lost_are_not_sent_twice(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, names: int
    ) -> None:
        monkeypatch.setattr("tracking_comet_ml.online.AT_ONCE", 4)
        tracker = started(server)
        values = {f"m{number}": float(number) for number in range(names)}
        batch = [row({**values, "nan": float("nan"), "none": None}, step) for step in range(3)]
        for _ in range(3):
            server.lost["experiment/metric"] = 1
            assert failed(tracker, lambda: tracker.deliver(batch))[0] == "server"
            tracker.deliver([row({"another": 1.0}, 7)])
        tracker.deliver(batch)
        tracker.deliver([row({"m0": 0.0}, 0)])  # the same point, logged anew
        tracker.finish()
        found = points(server, tracker)
        assert len([one for one in found if one[0] not in ("another", "m0")]) == 3 * (names + 2)
        assert sorted(step for name, step, _ in found if name == "m0") == [0, 0, 1, 2]

    def test_a_process_that_died_before_it_noted_what_it_had_sent_sends_it_once(
        self, server: Server
    ) -> None:
        first = started(server)
        first.deliver([row({"m": float(step)}, step) for step in range(5)])
        second = CometMLTracker("digits")
        second.resume(first.identity())
        second.start()
        rows = [row({"m": float(step)}, step) for step in range(10)]
        second.deliver(rows[:1])
        second.deliver(rows[1:7])
        second.deliver(rows[7:])
        second.finish()
        assert [step for _, step, _ in points(server, second)] == list(range(10))

    def test_a_server_that_can_not_be_asked_gets_them_again(self, server: Server) -> None:
        tracker = started(server)
        server.lost["experiment/metric"] = 1
        assert failed(tracker, lambda: tracker.deliver([row({"m": 1.0})]))[0] == "server"
        server.refusals["get-metric"] = [503, 404]
        assert failed(tracker, lambda: tracker.deliver([row({"m": 1.0})]))[0] == "server"
        tracker.deliver([row({"m": 1.0})])
        tracker.finish()
        assert len(points(server, tracker)) == 2


def test_a_page_in_place_of_the_server_loses_and_doubles_no_row(
    server: Server, tmp_path: Path
) -> None:
    """As a captive portal: for a while everything is answered with a page and status 200."""
    port = int(server.url.split(":")[2].split("/")[0])
    with Tracking("comet_ml", tmp_path, delivery="thread") as tracking:
        tracking.init_trackers("digits")
        tracking.log({"m": 0.0}, step=0)
        assert tracking.flush(30)
        server.stop()
        with refusing(port, 200, PAGE.decode()):
            for step in range(1, 50):
                tracking.log({"m": float(step)}, step=step)
            assert not tracking.flush(1.5)
        server.start()
        for step in range(50, 60):
            tracking.log({"m": float(step)}, step=step)
        tracker = tracking.get_tracker("comet_ml")
    assert tracking.status()["comet_ml"].rejected == {}
    assert [step for _, step, _ in points(server, tracker)] == list(range(60))


class TestWhatTheReadmeSays:
    def test_comet_upload_as_it_is_pasted(self, server: Server, tmp_path: Path) -> None:
        readme = (Path(__file__).parent.parent / "README.md").read_text()
        (command,) = re.findall(r"^comet upload .*$", readme, re.MULTILINE)
        tracker = CometMLTracker(
            "p",
            online=False,
            experiment_config={"offline_directory": str(tmp_path / ".cometml-runs")},
        )
        tracker.start()
        tracker.deliver([row({"m": 1.0}, 3)])
        tracker.finish()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert points(server, tracker) == [("m", 3, 1.0)]
