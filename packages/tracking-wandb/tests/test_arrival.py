"""What a server of W&B's has in the end, whatever happened on the way there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Image, Tracking, TrackingWarning
from tracking_core.testing import named_command
from tracking_wandb import WandBTracker
from tracking_wandb.errors import WandBLoginError, WandBServiceError, WandBSettingError
from tracking_wandb.remote import Remote
from tracking_wandb.session import imported
from tracking_wandb.transaction_log import TransactionLog, write_log

from .conftest import KEY, Make
from .server import Server


def rows_of(server: Server) -> list[dict[str, Any]]:
    return [server.history[offset] for offset in sorted(server.history)]


def values_of(server: Server, name: str = "m") -> list[float]:
    return [row[name] for row in rows_of(server) if name in row]


def started(make: Make, **settings: Any) -> WandBTracker:
    tracker = make(init_timeout=20.0, **settings)
    tracker.start()
    return tracker


def logged(tracker: WandBTracker, steps: range) -> None:
    for step in steps:
        tracker.log({"m": float(step)}, step=step)


TROUBLES: list[Any] = [401, 403, 404, 429, 500, "hang", "page"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_run_ends_only_when_the_server_has_all_of_it(
    make: Make, server: Server, trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_wandb.remote.SECONDS", 1.0)
    tracker = started(make)
    logged(tracker, range(3))
    server.be_in_trouble(trouble)
    logged(tracker, range(3, 20))
    tracker.log({"i": Image(numpy.zeros((4, 4, 3), "uint8"))}, step=20)
    with pytest.raises(
        (WandBServiceError, WandBLoginError), match=r"arrived|refuses the key|write"
    ):
        tracker.finish()
    server.be_in_trouble(0)
    tracker.finish()
    assert values_of(server) == [float(step) for step in range(20)]
    assert rows_of(server)[20]["i"]["path"] in server.files
    assert server.exit_code == 0
    tracker.finish()
    assert len(server.history) == 21


@pytest.mark.parametrize("then", [[401], [404], ["page", 0]])
def test_what_the_server_has_already_does_not_come_twice(
    make: Make, server: Server, then: list[Any]
) -> None:
    tracker = started(make, finish_timeout=20.0)
    server.then = [*then]
    for step in range(5):  # W&B's service sends one of them at a time
        tracker.log({"m": float(step), "large": "x" * 6_000_000}, step=step)
    with contextlib.suppress(WandBLoginError, WandBServiceError):
        tracker.finish("failed")
    assert server.then == []
    server.be_in_trouble(0)
    tracker.finish("failed")
    assert sorted(values_of(server)) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert server.exit_code == 1


def test_a_service_that_gave_up_is_noticed_and_the_run_goes_on(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_wandb.tracker.SECONDS_BETWEEN_LOOKS", 0.0)
    tracker = started(make)
    logged(tracker, range(2))
    server.be_in_trouble(401)
    assert server.refused.wait(40)
    with pytest.raises(WandBLoginError, match="refuses the key"):
        for step in range(2, 10_000):
            tracker.log({"m": float(step)}, step=step)
    server.be_in_trouble(0)
    tracker.log({"last": 1.0}, step=10_000)
    kept = values_of(server)
    assert kept == [float(step) for step in range(len(kept))]
    assert len(kept) > 2
    tracker.finish()
    assert rows_of(server)[-1]["last"] == 1.0
    assert (len(server.history), server.exit_code) == (len(kept) + 1, 0)


LIFE = """
import os, sys
from tracking_wandb import WandBTracker
tracker = WandBTracker("digits", dir=sys.argv[1])
tracker.resume({"run_id": "abc123"})
tracker.start()
for step in range(20):
    tracker.log({"m": float(step)}, step=step)
print(tracker.identity()["entity"], flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_had_taken_is_sent_before_the_run_goes_on(
    make: Make, server: Server, tmp_path: Path
) -> None:
    life = subprocess.run(
        [sys.executable, "-c", LIFE, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (life.returncode, life.stdout) == (-signal.SIGKILL, "me\n"), life.stderr
    assert server.history == {}
    tracker = make(init_timeout=20.0)
    identity = {"run_id": "abc123", "project": "digits", "entity": "me", "dir": str(tmp_path)}
    tracker.resume(identity)
    tracker.start()
    assert values_of(server) == [float(step) for step in range(20)]
    server.resumable = server.resumed_bucket("abc123")
    logged(tracker, range(20, 25))
    tracker.finish()
    assert values_of(server) == [float(step) for step in range(25)]
    assert server.exit_code == 0


def service_of(tracker: WandBTracker) -> int:
    """The process of W&B's service that `tracker` logs through."""
    return int(tracker.run._wl.ensure_service()._proc._process.pid)


def test_what_a_killed_service_had_taken_is_sent_before_the_run_goes_on(
    make: Make, server: Server
) -> None:
    tracker = started(make)
    logged(tracker, range(20))
    os.kill(service_of(tracker), signal.SIGKILL)
    with pytest.raises(WandBServiceError, match="died"):
        tracker.log({"m": 20.0}, step=20)
    logged(tracker, range(20, 25))
    tracker.finish()
    assert values_of(server) == [float(step) for step in range(25)]


def test_a_row_that_is_too_large_for_wandb_is_named_and_the_others_arrive(
    make: Make, server: Server
) -> None:
    tracker = started(make, finish_timeout=20.0)
    tracker.log({"m": 0.0, "large": "x" * 11_000_000}, step=0)
    tracker.log({"m": 1.0, "a": "x" * 6_000_000, "b": "x" * 6_000_000}, step=1)
    tracker.finish()
    assert [key for key, _, _ in tracker.rejections.counts] == ["large"]
    assert values_of(server) == [0.0, 1.0]
    assert [[len(row.get(key, "")) for key in "ab"] for row in rows_of(server)] == [
        [0, 0], [6_000_000, 0], [0, 6_000_000],
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [[0, 1, 7], [32741, 32742, 32755, 5], [32761] * 3, [200_000, 3]])
def test_a_log_is_written_as_it_is_read(tmp_path: Path, sizes: list[int]) -> None:
    records = [bytes([number]) * size for number, size in enumerate(sizes)]
    write_log(tmp_path / "run-x.wandb", records)
    log = TransactionLog(tmp_path / "run-x.wandb")
    found = []
    while more := log.records():
        found += more
    log.close()
    assert (found, log.damaged) == (records, 0)


@pytest.mark.parametrize("delivery", ["process", "thread"])
@pytest.mark.parametrize("trouble", [401, 500, "page"])
def test_what_had_not_arrived_at_the_end_is_named_and_the_named_command_brings_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivery: Any, trouble: Any
) -> None:
    imported().teardown()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    tracking = Tracking("wandb", tmp_path / "logs", delivery=delivery)
    arguments = {"dir": str(tmp_path), "settings": {"finish_timeout": 1.0}}
    tracking.init_trackers("digits", config={"lr": 0.5}, init_kwargs={"wandb": arguments})
    for step in range(30):
        tracking.log({"m": float(step)}, step=step)
    assert tracking.flush(60)
    server.be_in_trouble(trouble)
    with pytest.warns(TrackingWarning, match="this delivers them") as said:
        tracking.end_training(timeout=4.0)
    assert server.history == {}
    server.be_in_trouble(0)
    done = subprocess.run(named_command(said), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert values_of(server) == [float(step) for step in range(30)]
    assert (server.exit_code, server.config["lr"]["value"]) == (0, 0.5)
    imported().teardown()


def test_what_has_arrived_is_counted_while_the_run_goes_on(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_wandb.tracker.SECONDS_BETWEEN_LOOKS", 0.0)
    tracker = started(make, x_file_stream_transmit_interval=0.1)
    logged(tracker, range(50))
    deadline = time.monotonic() + 20
    step = 50
    while tracker.unarrived > 10:
        assert time.monotonic() < deadline, tracker.unarrived
        logged(tracker, range(step, step + 1))
        step += 1
    assert len(server.history) >= 40
    tracker.finish()
    assert tracker.unarrived == 0


def identity_token(directory: Path) -> Path:
    """A file with a token of somebody's, in place of an API key."""
    parts = [{"alg": "none"}, {"exp": time.time() + 3600}]
    packed = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in parts]
    path = directory / "token"
    path.write_text(".".join([*(one.rstrip("=") for one in packed), "x"]))
    return path


def test_without_a_key_the_server_is_not_asked_and_the_named_command_sends_what_is_left(
    make: Make, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", str(identity_token(tmp_path)))
    monkeypatch.setenv("WANDB_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    tracker = started(make, x_file_stream_transmit_interval=0.1)
    server.be_in_trouble(403)
    logged(tracker, range(5))
    server.refused.wait(20)
    with pytest.warns(TrackingWarning, match="could not send everything") as said:
        tracker.finish()
    assert server.history == {}
    server.be_in_trouble(0)
    program, *arguments = named_command(said)
    assert program == "wandb"
    command = [sys.executable, "-m", "wandb", *arguments]  # the same, wherever it is installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert values_of(server) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_where_only_wandbs_own_service_reaches_the_server_the_run_ends_and_that_is_said(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started(make, finish_timeout=20.0)
    logged(tracker, range(3))
    refused = WandBSettingError("tracker 'wandb' can't tell which rows have arrived: a certificate")

    def lacks(*_: object) -> set[int]:
        raise refused

    monkeypatch.setattr(Remote, "lacks", lacks)
    with pytest.warns(TrackingWarning, match="a certificate; what W&B sent is not known"):
        tracker.finish()
    assert values_of(server) == [0.0, 1.0, 2.0]
