"""What W&B is told of the program whose run it is: the one that trains, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracking_wandb import WandBTracker

from .conftest import KEY, Make
from .server import Server

PROGRAM = """
import sys, time
from tracking_core import Tracking

ballast = bytearray(200_000_000)
tracking = Tracking("wandb", "runs", delivery=sys.argv[1])
tracking.init_trackers("p", init_kwargs={"wandb": eval(sys.argv[2])})
tracking.log({"m": 1.0})
assert tracking.flush(60)
until = time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    time.sleep(0.05)  # it is measured, as time goes on
tracking.end_training()
"""


def trained(
    server: Server, folder: Path, delivery: str, arguments: dict[str, Any], seconds: float = 0
) -> Path:
    """Have a program of its own log to `server`; its path."""
    program = folder / "train.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "train.py", delivery, repr(arguments), str(seconds), "--lr", "0.1"],
        env={**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY},
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert server.exit_code == 0
    return program


@pytest.mark.parametrize("delivery", ["process", "thread"])
def test_program_and_measurements_are_those_of_the_process_that_trains(
    server: Server, tmp_path: Path, delivery: str
) -> None:
    settings = {"x_disable_stats": False, "x_stats_sampling_interval": 0.5}
    program = trained(
        server, tmp_path, delivery, {"save_code": True, "settings": settings}, seconds=2.0
    )
    assert server.runs[0]["program"] == str(program)
    about = json.loads(server.files["wandb-metadata.json"])
    assert (about["codePath"], about["args"][-2:]) == ("train.py", ["--lr", "0.1"])
    assert about["executable"] == sys.executable
    assert server.files["code/train.py"] == PROGRAM.encode()
    sizes = [event.get("system.proc.memory.rssMB", 0) for event in server.events]
    assert max(sizes) > 200  # the delivery process has some 80


def switched(make: Make, **settings: Any) -> None:
    tracker = make(init_timeout=20.0, finish_timeout=20.0, **settings)
    tracker.start()
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()


def test_by_default_nothing_is_told_but_the_program(make: Make, server: Server) -> None:
    switched(make)
    assert {(run["host"], run["commit"]) for run in server.runs} == {(None, None)}
    assert not server.files.keys() & {"wandb-metadata.json", "requirements.txt"}
    assert server.events == []


def test_each_switch_works_by_itself(make: Make, server: Server, tmp_path: Path) -> None:
    command = "git init -q . && git -c user.name=n -c user.email=e commit -q --allow-empty -m m"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    switched(make, x_save_requirements=True)
    assert b"wandb==" in server.files["requirements.txt"]
    switched(make, x_disable_meta=False)
    assert json.loads(server.files["wandb-metadata.json"])["executable"] == sys.executable
    switched(make, x_disable_stats=False, x_stats_sampling_interval=0.1)
    assert {run["commit"] for run in server.runs} == {None}
    switched(make, disable_git=False)
    assert {len(run["commit"] or "") for run in server.runs[-2:]} == {0, 40}


def test_nothing_is_told_of_a_program_that_only_delivers_what_another_left(
    make: Make, server: Server
) -> None:
    tracker = make(
        init_timeout=20.0, finish_timeout=20.0, x_disable_stats=False, x_disable_meta=False,
        disable_git=False, x_save_requirements=True, save_code=True,
    )  # fmt: skip
    tracker.training_pid = 0
    tracker.start()
    tracker.log({"m": 1.0}, step=0)
    tracker.finish()
    assert {(run["program"], run["host"], run["commit"]) for run in server.runs} == {
        (None, None, None)
    }
    assert not server.files.keys() & {"wandb-metadata.json", "requirements.txt", "code/train.py"}
    assert server.events == []


def test_the_users_own_word_for_the_program_stands(make: Make, server: Server) -> None:
    tracker: WandBTracker = make(init_timeout=20.0, finish_timeout=20.0, program="mine.py")
    tracker.training_pid = os.getppid()
    tracker.start()
    tracker.finish()
    assert server.runs[0]["program"] == "mine.py"
