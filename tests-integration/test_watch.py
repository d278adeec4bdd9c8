"""W&B's hooks in a model log to the run that was asked to watch it, and never end the training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nine import needs

from tracking_core import Tracking, TrackingWarning
from tracking_core.testing import Seen

HERE = ["inline", "thread"]


@pytest.fixture(autouse=True)
def _wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    needs("tracking_wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield


def begun(folder: Path, delivery: Any) -> Tracking:
    tracking = Tracking("wandb", folder, delivery=delivery)
    options = {"wandb": {"mode": "offline", "dir": str(folder)}}
    folder.mkdir(exist_ok=True)
    tracking.init_trackers("watched", init_kwargs=options)
    assert tracking.flush(60)
    return tracking


def seen(folder: Path) -> Seen:
    from tracking_wandb import read_run

    (directory,) = folder.glob("wandb/offline-run-*")
    return Seen(read_run(directory))


def a_model(torch: Any) -> Any:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))


def train(torch: Any, model: Any) -> None:
    model(torch.ones(4, 3)).sum().backward()


@pytest.mark.parametrize("delivery", HERE)
def test_gradients_and_parameters_arrive(torch: Any, tmp_path: Path, delivery: str) -> None:
    tracking, model = begun(tmp_path, delivery), a_model(torch)
    run = tracking.get_tracker("wandb").run
    run.watch(model, log="all", log_freq=1, log_graph=True, idx=0)
    for step in range(3):
        train(torch, model)
        tracking.log({"loss": float(step)}, step=step)
    tracking.end_training()
    found = seen(tmp_path)
    names = [name for name, _ in model.named_parameters()]
    for key in [f"{kind}/{name}" for kind in ("gradients", "parameters") for name in names]:
        assert len(found.media(key)) == 3, key
    assert found.values("loss") == [0, 1, 2]
    (weights,) = found.media("parameters/2.bias")[:1]
    assert sum(weights.counts) == 1


def test_in_step_with_the_training_they_are_part_of_its_rows(torch: Any, tmp_path: Path) -> None:
    tracking, model = begun(tmp_path, "inline"), a_model(torch)
    tracking.get_tracker("wandb").run.watch(model, log_freq=1, idx=0)
    for step in range(3):
        train(torch, model)
        tracking.log({"loss": float(step)}, step=step)
    tracking.end_training()
    assert [point.step for point in seen(tmp_path).points("gradients/0.bias")] == [0, 1, 2]


@pytest.mark.parametrize("delivery", HERE)
def test_two_runs_watch_a_model_each(torch: Any, tmp_path: Path, delivery: str) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    models = [torch.nn.Linear(1, 1), torch.nn.Bilinear(1, 1, 1)]
    runs = [begun(folder, delivery) for folder in folders]
    for tracking, model in zip(runs, models, strict=True):
        tracking.get_tracker("wandb").run.watch(model, log="parameters", log_freq=1, idx=0)
    models[0](torch.ones(1, 1))
    models[1](torch.ones(1, 1), torch.ones(1, 1))
    for tracking in runs:
        tracking.end_training()
    # W&B's own names; a bilinear layer's weight is larger.
    sizes = [seen(folder).media("parameters/weight")[0].num for folder in folders]
    assert sizes == [1, 1]
    assert [len(seen(folder).media("parameters/bias")) for folder in folders] == [1, 1]


@pytest.mark.parametrize("delivery", HERE)
def test_a_training_that_goes_on_after_the_run_is_not_hurt(
    torch: Any, tmp_path: Path, delivery: str
) -> None:
    tracking, model = begun(tmp_path, delivery), a_model(torch)
    run = tracking.get_tracker("wandb").run
    run.watch(model, log="all", log_freq=1, idx=0)
    train(torch, model)
    tracking.end_training()
    train(torch, model)
    run.unwatch(model)
    train(torch, model)
    assert len(seen(tmp_path).media("gradients/0.bias")) == 1


def test_a_service_that_dies_does_not_end_the_training(torch: Any, tmp_path: Path) -> None:
    tracking, model = begun(tmp_path, "inline"), a_model(torch)
    tracker = tracking.get_tracker("wandb")
    tracker.run.watch(model, log_freq=1, idx=0)
    service = tracker.run._wl._connection._proc._process
    service.kill()
    service.wait()
    with pytest.warns(TrackingWarning, match=r"run\.watch.*can't be logged"):
        train(torch, model)
        train(torch, model)
    tracking.end_training()


def test_in_the_delivery_process_the_way_out_is_named(torch: Any, tmp_path: Path) -> None:
    from tracking_core import NotStartedError

    tracking = begun(tmp_path, "process")
    with pytest.raises(NotStartedError, match='delivery="thread"'):
        tracking.get_tracker("wandb").run.watch(a_model(torch))
    tracking.end_training()


def test_wandbs_own_run_is_watched_as_ever(torch: Any, tmp_path: Path) -> None:
    import wandb

    from tracking_wandb import read_run

    theirs = wandb.init(mode="offline", dir=str(tmp_path), settings={"console": "off"})
    with pytest.warns(TrackingWarning, match="a run of its own"):
        tracking = begun(tmp_path / "ours", "inline")
    models = a_model(torch), torch.nn.Linear(1, 1)
    theirs.watch(models[0], log_freq=1, idx=0)
    tracking.get_tracker("wandb").run.watch(models[1], log_freq=1, idx=0)
    train(torch, models[0])
    models[1](torch.ones(1, 1)).sum().backward()
    theirs.log({})
    tracking.end_training()
    directory = theirs.settings.sync_dir
    theirs.finish()
    wandb.teardown()  # else its file may be complete a moment later
    ours = {key for key in seen(tmp_path / "ours").keys if key.startswith("gradients")}
    assert ours == {"gradients/weight", "gradients/bias"}
    assert len({key for key in Seen(read_run(directory)).keys if key.startswith("gradients")}) == 4
