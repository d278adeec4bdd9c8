"""What an experiment on Comet's server holds, asked for through ``comet_ml.API``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from tracking_comet_ml.batch import Parameter, Point
from tracking_comet_ml.contents import Contents, FoundAsset
from tracking_comet_ml.errors import CometLoginError
from tracking_comet_ml.settings import imported

__all__ = ["read_server"]

# What the server calls some of the types under which assets are uploaded.
KINDS = {"image": "visualization", "histogram_combined_3d": "histogram3d", "text": "text-sample"}

NOT_FOUND = (400, 404)  # 400 says an older server


def read_server(experiment_key: str | None) -> Contents:
    """Everything of one experiment.

    Raises:
        ValueError: no experiment is named, or the server has none of that key.
        CometLoginError: there is no API key.
    """
    if not experiment_key:
        raise ValueError("say which experiment to read: by experiment_key, or offline_directory")
    comet_ml = imported()
    try:
        api = comet_ml.API(cache=False)
    except ValueError as error:
        raise CometLoginError(
            "there is no API key to read from Comet's server with; set COMET_API_KEY, or read "
            "offline archives by offline_directory"
        ) from error
    try:
        experiment = comet_ml.APIExperiment(previous_experiment=experiment_key, api=api)
    except comet_ml.exceptions.CometRestApiException as error:
        if error.response.status_code not in NOT_FOUND:
            raise
        raise ValueError(f"Comet's server has no experiment {experiment_key!r}") from error
    about = experiment.get_metadata()
    contents = Contents(began=about.get("startTimeMillis") or 0)
    if not about.get("running"):
        contents.ended = about.get("endTimeMillis")
        contents.status = "failed" if about.get("hasCrashed") else "finished"
    contents.points = [_point(found) for found in experiment.get_metrics()]
    contents.parameters = [
        Parameter(found["name"], found["valueCurrent"], 0, None, found["name"] == "curr_step")
        for found in experiment.get_parameters_summary()
    ]
    contents.others = {
        found["name"]: found["valueCurrent"] for found in experiment.get_others_summary()
    }
    contents.tags = list(experiment.get_tags() or ())
    contents.assets = [_asset(experiment, found) for found in experiment.get_asset_list() or ()]
    return contents


def _point(found: Mapping[str, Any]) -> Point:
    name, context = found["metricName"], found.get("runContext")
    name = f"{context}_{name}" if context else name  # as Comet's UI has it
    step = found.get("step")
    value, epoch = found["metricValue"], found.get("epoch")
    return Point(name, value, 0 if step is None else int(step), epoch, found["timestamp"])


def _asset(experiment: Any, found: Mapping[str, Any]) -> FoundAsset:
    metadata = found.get("metadata") or {}
    if isinstance(metadata, str):
        metadata = json.loads(metadata)
    load = partial(experiment.get_asset, found["assetId"], return_type="binary")
    kind = KINDS.get(found.get("type", ""), found.get("type", ""))
    when = found.get("createdAt") or 0
    return FoundAsset(kind, found["fileName"], found.get("step"), when, metadata, load)
