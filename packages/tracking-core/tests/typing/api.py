"""The public API as users write it; mypy --strict reads this, nothing runs it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tracking_core import (
    LOGGER_TYPE_TO_CLASS,
    Artifact,
    Audio,
    GeneralTracker,
    Histogram,
    Image,
    LoggerType,
    PartialState,
    Table,
    Tracking,
    Video,
    filter_trackers,
    get_available_trackers,
    on_main_process,
    register_tracker_class,
)


@register_tracker_class
class Mine(GeneralTracker):
    name = "mine"
    requires_logging_directory = False

    @property
    def tracker(self) -> list[int]:
        return []

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self.last = values


def train(arguments: argparse.Namespace) -> None:
    with Tracking(
        ["tensorboard", LoggerType.MLFLOW, Mine()], logging_dir=Path("runs"), strict=True
    ) as tracking:
        tracking.init_trackers("p", config=vars(arguments), init_kwargs={"mlflow": {"tags": {}}})
        tracking.log({"loss": 1.0, "image": Image(object(), caption="c")}, step=1)
        tracking.log({"h": Histogram([1.0]), "t": Table(["a"], [[1]])}, log_kwargs={"mine": {}})
        tracking.log({"a": Audio("a.wav"), "v": Video("v.mp4"), "m": Artifact(Path("m"))})
        tracking.log_images({"x": object()}, step=2)
        tracking.log_table("t", columns=["a"], data=[[1]], step=3)
        tracking.log_artifact("model.pt", artifact_path="models")
        tracking.set_tags(["a"])
        tracking.set_tags({"team": "nlp"})
        done: bool = tracking.flush(timeout=1.0)
        states: list[str] = [status.state for status in tracking.status().values()]
        tracking.end_training("failed" if done and states else "finished", timeout=10)


names: list[str] = get_available_trackers()
chosen: list[str | GeneralTracker] = filter_trackers("all", "runs")
tracker_class: type[GeneralTracker] = LOGGER_TYPE_TO_CLASS["mine"]
rank: int = PartialState().process_index
