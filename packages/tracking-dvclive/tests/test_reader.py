from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from tracking_core import Audio
from tracking_core.records import (
    LoggedImage,
)
from tracking_core.testing import Seen
from tracking_dvclive import read_run

from .runs import WALL_TIME, Live, row, started


def test_a_directory_without_a_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no metrics\.json, params\.yaml or plots"):
        read_run(tmp_path)


def test_a_run_of_plain_dvclive() -> None:
    live = Live("plain", save_dvc_exp=False)
    live.log_params({"lr": 0.1, "layers": [1, 2]})
    for number in range(3):
        live.log_metric("train/loss", number / 2)
        live.log_metric("timed", numpy.float32(0.1), timestamp=True)
        live.log_metric("word_x41_", "some text")
        live.log_metric("best", 1, plot=False)
        live.log_image(f"sample/{number}.png", numpy.zeros((2, 2, 3), "uint8"))
        live.next_step()
    live.log_image("last.png", numpy.zeros((2, 2, 3), "uint8"))
    live.end()
    seen = Seen(read_run("plain"))
    assert seen.config == {"lr": 0.1, "layers": [1, 2]}
    assert [(p.step, p.value) for p in seen.points("train/loss")] == [
        (0, 0.0),
        (1, 0.5),
        (2, 1.0),
    ]
    assert seen.values("timed") == [0.1] * 3
    assert seen.values("word_x41_") == ["some text"] * 3
    assert seen.values("best") == [1]
    assert [point.step for point in seen.points("sample")] == [0, 1, 2]
    assert len(seen.media("last")) == 1
    assert seen.status is None
    assert all(point.wall_time > WALL_TIME for point in seen.points("timed"))


def test_a_run_may_be_moved(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    tracker = started()
    tracker.log_artifact(tmp_path / "model.bin")
    tracker.log({"beep": Audio(numpy.zeros(10), 8000)})
    tracker.finish()
    Path("dvclive").rename("moved")
    seen = Seen(read_run("moved"))
    assert seen.files() == {"model.bin": b"weights"}
    assert len(seen.media("beep")) == 1


def test_what_is_gone_costs_nothing_else() -> None:
    tracker = started()
    tracker.log({"beep": Audio(numpy.zeros(10), 8000), "m": 1.0}, step=3)
    tracker.finish()
    Path("dvclive/media/beep/3.wav").unlink()
    seen = Seen(read_run("dvclive"))
    assert (seen.values("m"), seen.values("beep")) == ([1.0], ["media/beep/3.wav"])


def test_no_place_leads_out_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    started().finish()
    for place in ("../../secret", str(tmp_path / "secret")):
        about = {"file": place, "artifact_path": "", "directory": False}
        entry = {"kind": "file", "key": "f", "n": None, "step": 0, "time": 0.0, **about}
        with open("dvclive/tracking/media.jsonl", "a") as index:
            index.write(json.dumps(entry) + "\n")
    assert Seen(read_run("dvclive")).files() == {}


def test_of_a_damaged_index_the_rest_is_read() -> None:
    tracker = started()
    tracker.deliver([row(step, h=LoggedImage(b"x", 0, 0, 0, "png")) for step in range(3)])
    index = Path("dvclive/tracking/media.jsonl")
    index.write_bytes(index.read_bytes()[:-10])
    assert [point.step for point in Seen(read_run("dvclive")).points("h")][:2] == [0, 1]
    tracker.finish()
