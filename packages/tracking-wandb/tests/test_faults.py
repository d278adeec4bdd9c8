"""Whose fault it is when a run can't begin, what is said of it, and that a later try succeeds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracking_core import Tracking, TrackingWarning
from tracking_core.faults import Fault, fault_of_start
from tracking_core.testing import self_signed
from tracking_wandb import WandBTracker
from tracking_wandb.session import imported

from .conftest import KEY, Make
from .server import Server


def failed(tracker: WandBTracker) -> tuple[Fault, str]:
    """Whose fault it is that `tracker` does not start, and what it says."""
    with pytest.raises(Exception, match="tracker 'wandb'") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


def directories(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "wandb").glob("*run-*") if path.is_dir()]


def begins(tracker: WandBTracker, server: Server) -> None:
    tracker.init_kwargs["settings"] |= {"init_timeout": 20.0, "finish_timeout": 20.0}
    named = tracker.identity().get("run_id", "theirs")
    tracker.start()
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()
    assert [row["m"] for row in server.history.values()] == [1]
    assert (server.exit_code, server.runs[-1]["name"]) == (0, named)


@pytest.mark.parametrize("resumable", [True, False], ids=["ours", "theirs"])
@pytest.mark.parametrize(
    ("trouble", "fault", "said"),
    [
        ("400", "setup", "refuses its arguments"),
        ("401", "login", r"refuses the key: run `wandb login --relogin`.*WANDB_MODE=offline"),
        ("403", "login", r"`entity`.*WANDB_MODE=offline"),
        ("404", "run", "was it deleted"),
        ("404 entity nobody not found", "setup", r"`entity` \(WANDB_ENTITY\)"),
        ("409", "run", "was it deleted"),
        ("410", "run", "was it deleted"),
        ("429", "server", "HTTP 429"),
        ("500", "server", "HTTP 500"),
        ("hang", "server", "does not answer"),
        ("200 page", "server", "a page for people.*login page.*WANDB_BASE_URL"),
        ("403 page", "server", "a page for people"),
        ("502 page", "server", "502"),
    ],
)
def test_a_server_that_refuses_a_run_may_take_it_later(
    make: Make,
    server: Server,
    tmp_path: Path,
    trouble: str,
    fault: Fault,
    said: str,
    resumable: bool,
) -> None:
    status, _, words = trouble.partition(" ")
    server.trouble = int(status) if status.isdigit() else status
    server.page = words == "page"
    server.said = words
    tracker = make() if resumable else make(run_id="theirs")
    if resumable:
        tracker.identity()  # as a lane asks: the run has a name before it begins
    for _ in range(2):  # the second time it says the same, and not that its own run is in the way
        found, message = failed(tracker)
        assert found == fault
        assert re.search(said, message), message
    # Of those that failed the last; none where the server was not well before it was asked for one.
    assert len(directories(tmp_path)) == (trouble in ("400", "409", "410") or "404" in trouble)
    server.trouble = 0
    begins(tracker, server)
    assert len(directories(tmp_path)) == 1


def test_a_start_that_fails_leaves_other_runs_alone(
    make: Make, server: Server, tmp_path: Path
) -> None:
    other = WandBTracker("other", mode="offline", dir=str(tmp_path / "other"))
    other.start()
    server.trouble = 401
    tracker = make()
    assert failed(tracker)[0] == "login"
    other.log({"m": 7.0}, step=0)
    server.trouble = 0
    begins(tracker, server)
    other.finish()


def test_a_run_of_the_same_id_in_this_process_is_named(make: Make, server: Server) -> None:
    tracker, other = make(init_timeout=20.0), make(init_timeout=20.0)
    tracker.start()
    other.resume(tracker.identity())
    fault, message = failed(other)
    assert fault == "run"
    assert "is in use in this process" in message
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()
    assert server.exit_code == 0


# --- who logs ---


def log_in(key: str, server: Server) -> None:
    command = [sys.executable, "-m", "wandb", "login", "--relogin", "--host", server.url, key]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_without_a_key_it_waits_for_wandb_login(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr("sys.stdin", None)
    tracker = make()
    for _ in range(2):
        fault, message = failed(tracker)
        assert fault == "login"
        assert re.search("has no key.*wandb login.*WANDB_API_KEY.*WANDB_MODE=offline", message)
    assert server.requests == []
    log_in(KEY, server)
    begins(tracker, server)


def test_a_key_that_is_refused_can_be_replaced(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    log_in("local-" + "b" * 40, server)
    server.key = KEY
    tracker = make()
    assert failed(tracker)[0] == failed(tracker)[0] == "login"
    log_in(KEY, server)
    begins(tracker, server)


@pytest.mark.parametrize("key", ["short", f"local-{'!' * 40}"])
def test_what_is_no_key_is_said_so(make: Make, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    fault, message = failed(make())
    assert fault == "login"
    assert re.search("WANDB_API_KEY.*wandb login", message)
    assert key not in message


def test_nobody_waits_for_a_key_at_the_end(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: it is said, with the remedy, and the end of the run does not wait for it."""
    monkeypatch.delenv("WANDB_API_KEY")
    tracking = Tracking("wandb", tmp_path / "runs", delivery="thread")
    tracking.init_trackers("p")
    tracking.log({"m": 1.0})
    with pytest.warns(TrackingWarning, match=r"wandb login.*recover") as said:
        tracking.end_training(timeout=60)
    status = tracking.status()["wandb"]
    assert (status.fault, status.pending) == ("login", 2)
    assert not any("waits up to" in str(one.message) for one in said)


# --- where to ---


@pytest.mark.parametrize(
    ("url", "fault", "said"),
    [
        (
            "http://127.0.0.1:9",
            "server",
            "on http://127.0.0.1:9, which WANDB_BASE_URL names: nobody answers",
        ),
        ("ftp://127.0.0.1:9", "setup", "base_url='ftp://127.0.0.1:9' of WANDB_BASE_URL"),
        ("127.0.0.1:9", "setup", "base_url='127.0.0.1:9' of WANDB_BASE_URL"),
        ("https://HERE", "setup", "speaks no TLS: WANDB_BASE_URL has to begin with http://"),
    ],
)
def test_an_address_of_no_use_is_named_at_once(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch, url: str, fault: Fault, said: str
) -> None:
    here = server.url.removeprefix("http://")
    monkeypatch.setenv("WANDB_BASE_URL", url.replace("HERE", here))
    tracker = make(init_timeout=60.0)  # it does not come to that
    for _ in range(2):
        found, message = failed(tracker)
        assert (found, said in message) == (fault, True), message


def test_a_host_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://no-such-host.invalid")
    fault, message = failed(make())
    # Where no name server is at hand, nobody can say that there is no such host.
    assert fault in ("setup", "server")
    assert "no-such-host.invalid" in message
    assert "WANDB_BASE_URL" in message


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.invalid")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fault, message = failed(make())
    assert fault == "setup"
    assert re.search("the proxy does not let it through: see to HTTPS_PROXY.*NO_PROXY", message)


def test_no_proxy_is_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, make: Make, server: Server
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    begins(make(), server)


def test_a_certificate_that_nobody_trusts_is_named_with_the_remedy(
    make: Make, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = self_signed(tmp_path)
    server.encrypt(context)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    fault, message = failed(make(init_timeout=20.0))
    assert fault == "setup"
    assert "is not trusted: let SSL_CERT_FILE name" in message
    # A process sees it when it begins: the remedy is for the next one.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    imported().teardown()
    begins(make(), server)


# --- what with ---


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ({}, {"WANDB_MODE": "offlin"}, r"mode='offlin' of WANDB_MODE: .*'offline'"),
        ({"settings": {"init_timeout": "soon"}}, {}, r"init_timeout='soon': .*number"),
        ({"tags": ["x" * 70]}, {}, r"Tags must be between 1 and 64 characters"),
        ({"project": "a/b"}, {}, r"Invalid project name 'a/b'"),
        ({"id": "a/b"}, {}, r"Run ID cannot contain"),
    ],
)
def test_what_only_wandb_knows_to_be_wrong_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    variables: dict[str, str],
    said: str,
) -> None:
    imported().teardown()  # it reads variables once
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    mode = {} if variables else {"mode": "offline"}
    fault, message = failed(WandBTracker("p", dir=str(tmp_path), **mode, **arguments))
    assert fault == "setup"
    assert re.search(said, message), message
    assert "\n" not in message
    monkeypatch.undo()
    imported().teardown()


def test_a_run_that_has_to_be_there_and_is_not(make: Make, server: Server) -> None:
    tracker = make(resume="must", run_id="gone")
    assert failed(tracker) == failed(tracker)
    assert failed(tracker)[0] == "setup"
    assert server.operations == ["Viewer", "RunResumeStatus"] * 3


@pytest.mark.parametrize("place", ["/proc/nothing", "a file"])
def test_a_directory_that_can_not_be_written_is_named_and_no_other_is_taken(
    tmp_path: Path, place: str
) -> None:
    """W&B would write to the temporary directory, and say so nowhere that a person looks."""
    (tmp_path / "a file").write_text("")
    tracker = WandBTracker("p", mode="offline", dir=str(tmp_path / place))
    fault, message = failed(tracker)
    assert fault == "setup"
    assert re.search(r"no place for its files in '.*wandb'.*WANDB_DIR", message)
    (tmp_path / "a file").unlink()
    if place == "a file":
        tracker.start()
        tracker.finish()
        assert len(list((tmp_path / place / "wandb").glob("offline-run-*"))) == 1


def test_what_fails_after_the_run_has_begun_keeps_its_id_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = WandBTracker("p", mode="offline", dir=str(tmp_path))
    named = tracker.identity()
    monkeypatch.setattr("tracking_wandb.service.LONGEST_WAIT", -1.0)  # for the disk
    with pytest.raises(ConnectionError, match="did not write"):
        tracker.start()
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(tmp_path))
    tracker.start()
    tracker.finish()
    assert tracker.run.id == named["run_id"]
