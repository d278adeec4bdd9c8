"""Trackers whose libraries patch the same things, in one process, whichever of them comes first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy
import pytest
from nine import HERE, NINE, Place

from tracking_core.testing import pixels_of

PAIRS = [
    ("aim", "tensorboard"),  # protobuf
    ("clearml", "tensorboard"),  # ClearML patches TensorBoard's writers
    ("clearml", "wandb"),  # both hook into the interpreter: its exit, its output, its requests
    ("comet_ml", "mlflow"),  # Comet patches MLflow's client
    ("comet_ml", "tensorboard"),  # and TensorBoard's writers
    ("tensorboard", "wandb"),  # W&B patches them too
]

# What is imported first, and patched by whom, can be seen in a fresh interpreter only.
TRAINING = """
import json, sys
import numpy
from tracking_core import Image, Tracking

trackers, logging_dir, project, options = json.loads(sys.argv[1])
with Tracking(trackers, logging_dir, delivery="inline") as tracking:
    tracking.init_trackers(project, config={"lr": 0.5}, init_kwargs=options)
    for step in range(20):
        tracking.log({"loss": step / 2}, step=step)
        if "tensorboard" in trackers:
            tracking.get_tracker("tensorboard").writer.add_scalar("own", step / 4, step)
    tracking.log({"picture": Image(numpy.zeros((4, 4, 3), "uint8")), "note": "hello"}, step=20)
    tracking.set_tags({"team": "vision"})
for name, status in tracking.status().items():
    assert (status.delivered, status.failed, dict(status.rejected)) == (23, 0, {}), (name, status)
"""


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_each_of_two_has_the_run_and_nothing_of_the_other(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    missing = [name for name in pair if name not in HERE]
    if missing:
        assert os.environ.get("TRACKING_REQUIRE") != "1", missing
        pytest.skip(f"the tracker {missing[0]!r} is not installed here")
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    begun = []
    for order in (pair, pair[::-1]):
        place = Place(tmp_path / order[0], f"p{uuid.uuid4().hex[:8]}")
        place.root.mkdir()
        shutil.copy(migrated_store, place.root / "mlflow.db")
        given = (order, place.logging_dir, place.project, place.init_kwargs)
        training = subprocess.Popen(
            [sys.executable, str(script), json.dumps(given)],
            cwd=place.root,
            env={**os.environ, **place.variables()},
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append((place, training))
    for _, training in begun:
        _, said = training.communicate(timeout=300)
        assert training.returncode == 0, said
    for place, _ in begun:
        for name, value in place.variables().items():
            monkeypatch.setenv(name, value)
        for name in pair:
            seen = place.read(name)
            points = {key: [(p.step, p.value) for p in seen.points(key)] for key in seen.keys}
            assert points.pop("loss") == [(step, step / 2) for step in range(20)], name
            if name == "tensorboard":
                assert points.pop("own") == [(step, step / 4) for step in range(20)]
            assert points.pop("note") == [(20, "hello")]
            (picture,) = seen.media("picture")
            assert numpy.array_equal(pixels_of(picture), numpy.zeros((4, 4, 3), "uint8"))
            assert points.keys() <= {"picture", "picture/0"}, name
            assert (seen.config, seen.tags) == ({"lr": 0.5}, {"team": "vision"}), name
            assert seen.status == "finished", name


def test_every_tracker_of_a_pair_is_one_of_the_nine() -> None:
    assert {name for pair in PAIRS for name in pair} <= set(NINE)
