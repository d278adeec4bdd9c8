"""One call logs every kind of value to all trackers, and each is read back equal."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import numpy
import PIL.Image
import pytest
from matplotlib.figure import Figure
from nine import HERE, Place

from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, Video
from tracking_core.capture import capture
from tracking_core.errors import TrackingWarning
from tracking_core.records import LoggedFile
from tracking_core.testing import Seen, frames_of, pixels_of, samples_of

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "longdouble",
]  # fmt: skip
STORED = {"tensorboard": numpy.float32}  # the others keep 64 bits
CLOCK = {"clearml": 0.001, "comet_ml": 0.001, "mlflow": 0.001, "trackio": 1e-6}

CONFIG = {
    "lr": 1e-3,
    "optimizer": {"name": "adam", "betas": (0.9, 0.999)},
    "layers": [{"width": 64}, {"width": 32}],
    "dtype": numpy.dtype("float32"),
    "amp": True,
    "note": "naïve " * 2000,
    "nothing": None,
}


def numbers() -> dict[str, Any]:
    """Scalars by key; each is 1, 1.5, or what its key says."""
    return {
        "int": 1,
        "float": 1.5,
        "bool": True,
        "nan": math.nan,
        "inf": math.inf,
        "-inf": -math.inf,
        "numpy": {dtype: numpy.dtype(dtype).type(1) for dtype in DTYPES},
        "numpy 0-d": numpy.array(1.5),
        "nested": {"a": {"b": 1.5}},
    }


def media(folder: Path) -> dict[str, Any]:
    noise = numpy.random.default_rng(0)
    colour = noise.integers(0, 256, (6, 8, 3), dtype="uint8")
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2, 4])
    (folder / "model.bin").write_bytes(bytes(range(256)))
    (folder / "tree" / "inner").mkdir(parents=True)
    (folder / "tree" / "inner" / "leaf.txt").write_text("leaf")
    return {
        "image/HW": Image(colour[..., 0], caption="grey"),
        "image/HWC": Image(colour),
        "image/CHW": Image(colour.transpose(2, 0, 1)),
        "image/float": Image(noise.random((6, 8, 3), dtype="float32")),
        "image/pil": PIL.Image.fromarray(colour),
        "images": [Image(colour, caption="one"), Image(255 - colour, caption="two")],
        "table": Table(["word", "n"], [["a|b, c", 1], ["損失", 2.5]]),
        "histogram": Histogram(noise.normal(size=500)),
        "audio": Audio(noise.normal(size=(400, 2)) / 5, sample_rate=8000),
        "video": Video(noise.integers(0, 256, (3, 6, 8, 3), dtype="uint8")),
        "figure": figure,
        "model": Artifact(folder / "model.bin"),
        "tree": Artifact(folder / "tree", "deep/tree"),
        "text": "several\nlines of naïve 損失",
    }


def assert_equal_media(seen: Seen, logged: dict[str, Any]) -> None:
    expected, rejected = capture(logged)
    assert rejected == []
    for key in ("image/HW", "image/HWC", "image/CHW", "image/float", "image/pil", "figure"):
        (found,) = seen.media(key)
        assert numpy.array_equal(pixels_of(found), pixels_of(expected[key])), key  # type: ignore[arg-type]  # an image
    assert seen.media("image/HW")[0].caption == "grey"
    for found, one in zip(seen.media("images"), expected["images"], strict=True):  # type: ignore[arg-type]  # a list
        assert numpy.array_equal(pixels_of(found), pixels_of(one))
        assert found.caption == one.caption
    (table,) = seen.media("table")
    assert table.columns == ["word", "n"]
    assert [[str(cell) for cell in row] for row in table.rows] == [["a|b, c", "1"], ["損失", "2.5"]]
    (histogram,) = seen.media("histogram")
    assert histogram.counts == pytest.approx(expected["histogram"].counts)  # type: ignore[union-attr]  # a histogram
    assert histogram.edges == pytest.approx(expected["histogram"].edges)  # type: ignore[union-attr]  # likewise
    (audio,) = seen.media("audio")
    wanted, rate = samples_of(expected["audio"])  # type: ignore[arg-type]  # a sound
    assert samples_of(audio)[1] == rate
    assert numpy.array_equal(samples_of(audio)[0], wanted)
    (video,) = seen.media("video")
    assert numpy.array_equal(frames_of(video), frames_of(expected["video"]))  # type: ignore[arg-type]  # a video
    assert seen.files()["model/model.bin"] == bytes(range(256))
    assert seen.files()["deep/tree/inner/leaf.txt"] == b"leaf"
    assert seen.values("text") == [logged["text"]]


def test_one_call_lands_equal_in_every_tracker(tmp_path: Path, place: Place) -> None:
    logged = numbers() | media(tmp_path)
    tracking = Tracking(HERE, place.logging_dir, delivery="inline")
    tracking.init_trackers(place.project, config=CONFIG, init_kwargs=place.init_kwargs)
    before = time.time()
    tracking.log(logged, step=7)
    after = time.time()
    tracking.set_tags({"team": "vision", "good": None})
    tracking.end_training()

    status = tracking.status()
    for tracker in HERE:
        stored, clock = STORED.get(tracker, numpy.float64), CLOCK.get(tracker, 0.0)
        assert (status[tracker].failed, dict(status[tracker].rejected)) == (0, {}), tracker
        seen = place.read(tracker)
        for key in ("int", "bool", *(f"numpy/{dtype}" for dtype in DTYPES)):
            ((step, wall_time, value),) = seen.points(key)
            assert (step, value) == (7, stored(1)), key
            assert before - clock <= wall_time <= after + clock, tracker
        for key in ("float", "numpy 0-d", "nested/a/b"):
            assert seen.values(key) == [stored(1.5)], key
        assert seen.values("inf") == [math.inf]
        assert seen.values("-inf") == [-math.inf]
        (nan,) = seen.values("nan")
        assert isinstance(nan, float) and math.isnan(nan)
        assert_equal_media(seen, logged)
        points = [point for key in seen.keys for point in seen.points(key)]
        # A file among the artifacts is the run's, not a step's.
        assert {one.step for one in points if not isinstance(one.value, LoggedFile)} == {7}
        assert seen.config["optimizer"] == {"name": "adam", "betas": [0.9, 0.999]}
        assert seen.config["layers"] == [{"width": 64}, {"width": 32}]
        assert (seen.config["dtype"], seen.config["nothing"]) == ("float32", None)
        assert seen.config["note"] == "naïve " * 2000
        assert seen.tags == {"team": "vision", "good": None}
        assert seen.status == "finished"


def test_torch_values_land_equal_in_every_tracker(torch: Any, place: Place) -> None:
    picture = torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8)
    with Tracking(HERE, place.logging_dir, delivery="inline") as tracking:
        tracking.init_trackers(place.project, init_kwargs=place.init_kwargs)
        tracking.log(
            {
                "0-d": torch.tensor(1.5),
                "bf16": torch.tensor(70000.0, dtype=torch.bfloat16),
                "grad": torch.tensor([1.5], requires_grad=True),
                "int": torch.tensor(3),
                "image": Image(picture),
                "weights": Histogram(torch.arange(8, dtype=torch.bfloat16), bins=4),
            },
            step=torch.tensor(2),
        )
    for tracker in HERE:
        seen = place.read(tracker)
        for key, value in {"0-d": 1.5, "bf16": 70144.0, "grad": 1.5, "int": 3.0}.items():
            assert [(p.step, p.value) for p in seen.points(key)] == [(2, value)], key
        (image,) = seen.media("image")
        assert numpy.array_equal(pixels_of(image), picture.permute(1, 2, 0).numpy())
        (histogram,) = seen.media("weights")
        assert histogram.counts == [2, 2, 2, 2]


def test_what_can_not_be_taken_costs_nothing_else(place: Place) -> None:
    with Tracking(HERE, place.logging_dir, delivery="inline") as tracking:
        tracking.init_trackers(place.project, init_kwargs=place.init_kwargs)
        with pytest.warns(UserWarning, match="could not store 'bad'"):
            tracking.log({"a": 1.0, "bad": object(), "b": 2.0}, step=0)
    for tracker in HERE:
        assert place.read(tracker).keys == {"a", "b"}


@pytest.mark.parametrize("delivery", ["inline", "thread", "process"])
def test_a_folder_of_anything_is_in_every_tracker_also_when_it_is_gone_after_the_call(
    place: Place, tmp_path: Path, delivery: Literal["inline", "thread", "process"]
) -> None:
    folder = tmp_path / "ckpt"
    (folder / "step 1").mkdir(parents=True)
    (folder / "step 1" / "model.bin").write_bytes(b"weights")
    (folder / "latest").symlink_to("step 1")
    (folder / "best").symlink_to("/no/such/target")
    (folder / "step 1" / "self").symlink_to(".")
    os.mkfifo(folder / "pipe")
    tracking = Tracking(HERE, place.logging_dir, delivery=delivery)
    tracking.init_trackers(place.project, init_kwargs=place.init_kwargs)
    with pytest.warns(TrackingWarning, match="but for .*'best' is a link that leads nowhere"):
        tracking.log_artifact(folder, "models")
    shutil.rmtree(folder)
    tracking.log({"loss": 0.5}, step=0)
    tracking.end_training(timeout=120)
    status = tracking.status()
    for tracker in HERE:
        assert (status[tracker].state, status[tracker].failed) == ("ended", 0), tracker
        files = place.read(tracker).files()
        assert {path: files[path] for path in sorted(files) if path.startswith("models")} == {
            "models/latest/model.bin": b"weights",
            "models/step 1/model.bin": b"weights",
        }, tracker
        named = tracking.rejected if delivery != "inline" else status[tracker].rejected
        (reason,) = {rejection.reason for rejection in named}
        for name in ("'best'", "'pipe'", "'latest/self'", "'step 1/self'"):
            assert name in reason, tracker
