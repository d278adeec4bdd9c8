"""Which run to log to: what the arguments and variables say, and making it or finding it again."""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tracking_core.records import Plain
from tracking_mlflow.layout import CONFIG_PATH, LONGEST_TAG
from tracking_mlflow.settings import MLflowSettingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from tracking_mlflow.tracker import MLflowTracker

__all__ = [
    "Wanted",
    "artifact",
    "client",
    "config_of",
    "continued",
    "created",
    "wanted",
    "without_password",
]

DEFAULT_EXPERIMENT = "0"  # of every MLflow store, where it is called "Default"
YES, NO = ("1", "true", "yes", "y", "t", "on"), ("", "0", "false", "no", "n", "f", "off")


class Wanted(NamedTuple):
    """The run that arguments and variables ask for."""

    experiment: str | None
    location: str | None
    run_id: str | None
    tags: Mapping[str, str | None]
    nested: bool
    name: str | None
    description: str | None


def wanted(tracker: MLflowTracker, identity: Mapping[str, Plain]) -> Wanted:
    """What `tracker` was told, by its arguments, by variables, or by the run it resumes.

    Raises:
        MLflowSettingError: a variable or an argument is malformed.
    """
    variables = os.environ
    location = tracker.logging_dir
    tags = variables.get("MLFLOW_TAGS", tracker.tags)
    run_id = identity.get("run_id") or variables.get("MLFLOW_RUN_ID", tracker.run_id)
    nested = variables.get("MLFLOW_NESTED_RUN")
    return Wanted(
        experiment=variables.get("MLFLOW_EXPERIMENT_NAME", tracker.experiment_name) or None,
        location=None if location is None else os.fspath(location),
        run_id=str(run_id) if run_id else None,
        tags=_tags(tags, "MLFLOW_TAGS" if "MLFLOW_TAGS" in variables else "tags"),
        nested=bool(tracker.nested_run) if nested is None else _yes(nested),
        name=tracker.run_name,
        description=tracker.description,
    )


def client(mlflow: Any, identity: Mapping[str, Plain]) -> MlflowClient:
    """A client for the store that the run is in, or that the user has chosen.

    Raises:
        MLflowSettingError: MLflow no longer writes to that kind of store.
    """
    uri = mlflow.get_tracking_uri()
    known = identity.get("tracking_uri")
    if known and known != without_password(uri):
        uri = known
    try:
        return mlflow.MlflowClient(tracking_uri=uri)  # type: ignore[no-any-return]  # it is one
    except mlflow.exceptions.MlflowException as error:
        if urlsplit(uri).scheme in ("", "file") and not os.environ.get("MLFLOW_ALLOW_FILE_STORE"):
            raise MLflowSettingError(
                f"tracker 'mlflow' can't log to {uri!r}: MLflow no longer writes to directories. "
                "Set MLFLOW_TRACKING_URI to a database, such as sqlite:///mlflow.db, or to the "
                "address of a server (MLFLOW_ALLOW_FILE_STORE=true brings directories back)"
            ) from error
        raise


def continued(client: MlflowClient, wanted: Wanted) -> Run:
    """The run `wanted.run_id`, running again.

    Raises:
        MLflowSettingError: there is no such run, or it was deleted.
    """
    from mlflow.exceptions import MlflowException

    run_id = str(wanted.run_id)
    where = without_password(client.tracking_uri)
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise MLflowSettingError(
            f"tracker 'mlflow': there is no run {run_id!r} at {where}: check the run_id (or "
            "MLFLOW_RUN_ID) and MLFLOW_TRACKING_URI, or leave it out to begin a new run"
        ) from error
    if run.info.lifecycle_stage != "active":
        raise MLflowSettingError(
            f"tracker 'mlflow': run {run_id!r} at {where} was deleted: restore it with "
            f"`mlflow runs restore --run-id {run_id}`, or leave the run_id out to begin a new run"
        )
    client.update_run(run_id, status="RUNNING", name=wanted.name)
    if wanted.description:
        client.set_tag(run_id, "mlflow.note.content", wanted.description[:LONGEST_TAG])
    return client.get_run(run_id)


def created(
    mlflow: Any, client: MlflowClient, wanted: Wanted, began_at: float | None = None
) -> Run:
    """A new run in the experiment that is wanted, begun now or at `began_at`."""
    from mlflow.tracking.context import registry

    experiment = _experiment(client, wanted)
    try:
        # Who and what made the run: user, source, git commit; the UI has columns for them.
        tags = dict(registry.resolve_tags())
    except Exception:  # whatever it looks at is no reason to have no run
        tags = {}
    parent = mlflow.active_run() if wanted.nested else None
    if parent is not None:
        tags["mlflow.parentRunId"] = parent.info.run_id
    if wanted.description:
        tags["mlflow.note.content"] = wanted.description[:LONGEST_TAG]
    start = round((time.time() if began_at is None else began_at) * 1000)
    return client.create_run(experiment, start_time=start, tags=tags, run_name=wanted.name)


def config_of(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """The configuration that the run has so far."""
    kept = artifact(client, run_id, CONFIG_PATH)
    return dict(json.loads(kept)) if kept else {}


def artifact(client: MlflowClient, run_id: str, path: str) -> bytes | None:
    """What lies at `path` among the artifacts of the run, if anything does."""
    folder = posixpath.dirname(path)
    if path not in (file.path for file in client.list_artifacts(run_id, folder)):
        return None
    with tempfile.TemporaryDirectory() as directory:
        local = client.download_artifacts(run_id, path, directory)
        with open(local, "rb") as file:
            return file.read()


def without_password(uri: str) -> str:
    """`uri` without user and password: it goes into journals and messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _experiment(client: MlflowClient, wanted: Wanted) -> str:
    from mlflow.exceptions import MlflowException

    if wanted.experiment is None:
        experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or DEFAULT_EXPERIMENT
        return _restored(client, client.get_experiment(experiment_id))
    found = client.get_experiment_by_name(wanted.experiment)
    if found is None:
        try:
            return str(client.create_experiment(wanted.experiment, wanted.location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Somebody else was faster.
        found = client.get_experiment_by_name(wanted.experiment)
    return _restored(client, found)


def _restored(client: MlflowClient, experiment: Experiment | None) -> str:
    if experiment is None:
        raise MLflowSettingError(
            "tracker 'mlflow': the experiment was deleted for good while it was looked for: start again"
        )
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _tags(given: Any, where: str) -> dict[str, str | None]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = given or {}
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise MLflowSettingError(
            f"tracker 'mlflow': {where} must be a JSON object or a dict of tags, such as "
            '{"team": "vision"}: set it so, or leave it out'
        )
    return {
        str(key): value if isinstance(value, (str, type(None))) else str(value)
        for key, value in given.items()
    }


def _yes(text: str) -> bool:
    if text.strip().lower() in YES:
        return True
    if text.strip().lower() in NO:
        return False
    raise MLflowSettingError(
        f"tracker 'mlflow': MLFLOW_NESTED_RUN is {text!r}: set it to true or false, or unset it"
    )
