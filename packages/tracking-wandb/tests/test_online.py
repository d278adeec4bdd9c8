from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Image, TrackingWarning
from tracking_core.testing import Seen, named_command
from tracking_wandb import WandBTracker, read_run
from tracking_wandb.session import imported

from .conftest import KEY, Make
from .server import Server


def started(make: Make, **settings: Any) -> WandBTracker:
    tracker = make(**{"init_timeout": 20.0, **settings})
    tracker.start()
    return tracker


def wandb(*arguments: str, server: Server) -> None:
    """W&B's own program."""
    environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
    environment["WANDB_ERROR_REPORTING"] = "false"
    command = [sys.executable, "-m", "wandb", *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)


def kept(tracker: WandBTracker) -> Seen:
    return Seen(read_run(tracker.run.settings.sync_dir))


def test_a_whole_run_arrives(
    make: Make, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = started(make, finish_timeout=20.0)
    tracker.store_init_configuration({"lr": 0.5, "nested": {"n": 1}})
    tracker.set_tags(["good"])
    for step in (0, 5, 3):
        tracker.log({"m": float(step), "note": "text"}, step=step)
    tracker.log_images({"i": numpy.zeros((1, 4, 4, 3), "uint8")}, step=6)
    tracker.log_table("t", columns=["a"], data=[[1]], step=7)
    (tmp_path / "model.bin").write_bytes(b"weights")
    tracker.log_artifact(tmp_path / "model.bin", "best")
    tracker.finish("failed")
    rows = [server.history[offset] for offset in sorted(server.history)]
    assert [(row["_step"], row["tracking/step"], row["m"]) for row in rows[:3]] == [
        (0, 0, 0), (5, 5, 5), (6, 3, 3),
    ]  # fmt: skip
    assert rows[3]["i"]["_type"] == "image-file"
    assert server.files[rows[3]["i"]["path"]].startswith(b"\x89PNG")
    assert rows[4]["t"]["path"] in server.files
    assert server.files["artifacts/best/model.bin"] == b"weights"
    assert server.config["lr"]["value"] == 0.5
    assert (server.tags, server.exit_code) == (["good"], 1)
    assert tracker.identity()["entity"] == "me"
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_resumed_run_goes_on_after_what_the_server_has(make: Make, server: Server) -> None:
    first = started(make, finish_timeout=20.0)
    first.log({"m": 0.0}, step=0)
    first.log({"m": 7.0}, step=7)
    first.finish()
    server.resumable = server.resumed_bucket(first.run.id)
    second = make(init_timeout=20.0, finish_timeout=20.0)
    second.resume(first.identity())
    second.start()
    second.log({"m": 8.0}, step=8)
    second.log({"m": 2.0}, step=2)
    second.finish()
    assert second.identity() == first.identity()
    rows = [server.history[offset] for offset in sorted(server.history)]
    assert [row["_step"] for row in rows] == [0, 7, 8, 9]
    assert [row["tracking/step"] for row in rows] == [0, 7, 8, 2]
    assert server.config["lr"]["value"] == 0.5


def test_where_the_server_cannot_be_asked_what_wandb_says_is_said_and_the_remedy_works(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_wandb.tracker.can_tell", lambda settings: False)
    tracker = started(make)
    server.trouble = 401
    for step in range(20):
        tracker.log({"m": float(step)}, step=step)
    tracker.log({"i": Image(numpy.zeros((4, 4, 3), "uint8"))}, step=20)
    with pytest.warns(TrackingWarning, match=r"could not send everything") as said:
        tracker.finish()
    assert kept(tracker).values("m") == [float(step) for step in range(20)]
    assert (len(kept(tracker).media("i")), kept(tracker).status) == (1, "finished")
    server.trouble = 0
    imported().teardown()
    program, *arguments = named_command(said)
    assert (program, arguments[0]) == ("wandb", "sync")
    wandb(*arguments, server=server)
    rows = [server.history[offset] for offset in sorted(server.history)]
    assert [row["m"] for row in rows[:20]] == list(range(20))
    assert rows[20]["i"]["path"] in server.files
    assert server.exit_code == 0


def test_an_outage_in_between_loses_nothing(make: Make, server: Server) -> None:
    tracker = started(make, finish_timeout=20.0, x_file_stream_transmit_interval=0.05)
    server.trouble = 500
    tracker.log({"m": 0.0}, step=0)
    assert server.refused.wait(20)
    server.trouble = 0
    tracker.log({"m": 1.0}, step=1)
    tracker.finish()
    assert [row["m"] for row in server.history.values()] == [0, 1]
    assert server.exit_code == 0


def test_offline_nothing_is_sent_and_online_no_reports_of_wandbs_own(
    make: Make, server: Server, tmp_path: Path
) -> None:
    tracker = WandBTracker("digits", mode="offline", dir=str(tmp_path))
    tracker.start()
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()
    imported().teardown()
    assert server.requests == []
    tracker = started(make, finish_timeout=20.0)
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()
    imported().teardown()
    assert server.requests != []
    assert [path for path in server.requests if "otel" in path] == []


def test_an_offline_run_is_sent_afterwards_with_what_was_resumed(
    server: Server, tmp_path: Path
) -> None:
    tracker = WandBTracker("digits", mode="offline", dir=str(tmp_path))
    tracker.start()
    tracker.store_init_configuration({"lr": 0.5})
    tracker.log({"m": 1.0, "i": Image(numpy.zeros((4, 4, 3), "uint8"))}, step=3)
    tracker.log({"m": 2.0}, step=1)
    tracker.finish()
    again = WandBTracker("digits", mode="offline", dir=str(tmp_path))
    again.resume(tracker.identity())
    again.start()
    again.log({"m": 3.0}, step=4)
    again.finish("failed")
    wandb("sync", *(one.run.settings.sync_dir for one in (tracker, again)), server=server)
    rows = [server.history[offset] for offset in sorted(server.history)]
    assert [(row["_step"], row["tracking/step"], row["m"]) for row in rows] == [
        (3, 3, 1), (4, 1, 2), (5, 4, 3),
    ]  # fmt: skip
    assert rows[0]["i"]["path"] in server.files
    assert (server.config["lr"]["value"], server.exit_code) == (0.5, 1)
