"""Which run to log to: what the arguments and variables say, and making it or finding it again."""

from __future__ import annotations

import getpass
import json
import os
import posixpath
import re
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tracking_core.names import escape
from tracking_core.records import Plain
from tracking_core.redaction import MASK
from tracking_mlflow.layout import CONFIG_PATH, LONGEST_TAG
from tracking_mlflow.settings import MLflowSettingError
from tracking_mlflow.stores import Store, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from tracking_mlflow.tracker import MLflowTracker

__all__ = [
    "Wanted",
    "address",
    "artifact",
    "config_of",
    "continued",
    "created",
    "launched",
    "wanted",
]

DEFAULT_EXPERIMENT = "0"  # of every MLflow store, where it is called "Default"
_NO_QUOTES = re.compile(r"[^']", re.DOTALL)
YES, NO = ("1", "true", "yes", "y", "t", "on"), ("", "0", "false", "no", "n", "f", "off")

VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_TAGS",
    "MLFLOW_NESTED_RUN",
)
# Names one run. MLflow takes it out of the environment with the first `start_run` of a process, so
# that the next run is another one.
RUN_ID = "MLFLOW_RUN_ID"
_taken: set[str] = set()
_taking = threading.Lock()


class Wanted(NamedTuple):
    """The run that arguments and variables ask for."""

    experiment: str | None
    experiment_id: str | None
    location: str | None
    run_id: str | None
    tags: Mapping[str, str | None]
    parent: str | None
    name: str | None
    description: str | None


def launched() -> dict[str, Plain]:
    """What the process says in which a run begins: variables, active run, program, user.

    A run id in a variable is for the first run of the process that asks.
    """
    launch: dict[str, Plain] = {
        name: os.environ[name] for name in VARIABLES if os.environ.get(name) is not None
    }
    run_id = os.environ.get(RUN_ID)
    with _taking:
        if run_id and run_id not in _taken:
            _taken.add(run_id)
            launch[RUN_ID] = run_id
    # As MLflow has it.
    launch["program"] = sys.argv[0] if sys.argv and sys.argv[0] else "<console>"
    try:
        launch["user"] = getpass.getuser()
    except Exception:  # nobody has a name here: a container with a number for a user
        pass
    active = getattr(sys.modules.get("mlflow"), "active_run", None)
    if active is not None and (run := active()) is not None:
        launch["active"] = str(run.info.run_id)
    return launch


def wanted(tracker: MLflowTracker, identity: Mapping[str, Plain]) -> Wanted:
    """What `tracker` was told, by its arguments, by variables, or by the run it resumes.

    Raises:
        MLflowSettingError: a variable or an argument is malformed.
    """
    launch = {name: value for name, value in (tracker.launch or {}).items() if value is not None}
    location = tracker.logging_dir
    run_id = identity.get("run_id") or launch.get(RUN_ID, tracker.run_id)
    nested = launch.get("MLFLOW_NESTED_RUN")
    is_nested = bool(tracker.nested_run) if nested is None else _yes(str(nested))
    experiment = launch.get("MLFLOW_EXPERIMENT_NAME", tracker.experiment_name)
    experiment_id = launch.get("MLFLOW_EXPERIMENT_ID")
    return Wanted(
        experiment=str(experiment) if experiment else None,
        experiment_id=str(experiment_id) if experiment_id else None,
        location=None if location is None else os.fspath(location),
        run_id=str(run_id) if run_id else None,
        tags=_tags(
            launch.get("MLFLOW_TAGS", tracker.tags),
            "MLFLOW_TAGS" if "MLFLOW_TAGS" in launch else "tags",
        ),
        parent=str(launch["active"]) if is_nested and "active" in launch else None,
        name=tracker.run_name,
        description=tracker.description,
    )


def address(mlflow: Any, tracker: MLflowTracker, identity: Mapping[str, Plain]) -> str:
    """Where the run is, or where the user wants it: there or where it began."""
    now = str(mlflow.get_tracking_uri())
    known = identity.get("tracking_uri")
    if known and known != without_password(now):
        return str(known)
    began = (tracker.launch or {}).get("MLFLOW_TRACKING_URI")
    if not known and began and "MLFLOW_TRACKING_URI" not in os.environ and MASK not in str(began):
        return str(began)
    return now


def continued(store: Store, wanted: Wanted) -> Run:
    """The run `wanted.run_id`, running again.

    Raises:
        MLflowSettingError: there is no such run, or it was deleted.
    """
    from mlflow.exceptions import MlflowException

    client, where, run_id = store.client, store.uri, str(wanted.run_id)
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


def created(store: Store, wanted: Wanted, tracker: MLflowTracker) -> Run:
    """A new run in the experiment that is wanted, begun now or when `tracker` says."""
    client = store.client
    experiment = _experiment(store, wanted)
    tags = _made_by(tracker)
    if wanted.parent is not None:
        tags["mlflow.parentRunId"] = wanted.parent
    if wanted.description:
        tags["mlflow.note.content"] = wanted.description[:LONGEST_TAG]
    start = round((time.time() if tracker.began_at is None else tracker.began_at) * 1000)
    return client.create_run(experiment, start_time=start, tags=tags, run_name=wanted.name)


# By the time at which a run began: what was seen when it was tried to start it for the first time.
_seen: dict[float, dict[str, str]] = {}


def _made_by(tracker: MLflowTracker) -> dict[str, str]:
    """Who and what made the run: user, source, git commit; the UI has columns for them.

    MLflow looks for them in the process that calls it, which must not be another program than the
    training, and in a repository that may have moved on.
    """
    began, launch = tracker.began_at, tracker.launch or {}
    if tracker.late:
        if began is not None and began in _seen:
            return dict(_seen[began])
        found = {"mlflow.user": launch.get("user"), "mlflow.source.name": launch.get("program")}
        tags = {name: str(value) for name, value in found.items() if value is not None}
        return tags | ({"mlflow.source.type": "LOCAL"} if "program" in launch else {})
    try:
        from mlflow.tracking.context import registry

        tags = dict(registry.resolve_tags())
    except Exception:  # whatever it looks at is no reason to have no run
        tags = {}
    if began is not None:
        _seen[began] = dict(tags)
    return tags


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


def _experiment(store: Store, wanted: Wanted) -> str:
    from mlflow.exceptions import MlflowException

    client = store.client
    if wanted.experiment is None:
        experiment_id = wanted.experiment_id or DEFAULT_EXPERIMENT
        return _restored(client, client.get_experiment(experiment_id))
    name, found = _experiment_called(client, wanted.experiment)
    if found is None:
        with store.alone():
            if store.keeps_files:
                _, found = _experiment_called(client, name)
            if found is None:
                try:
                    return str(client.create_experiment(name, wanted.location))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                # Somebody else was faster.
                _, found = _experiment_called(client, name)
    return _restored(client, found)


def _experiment_called(client: MlflowClient, name: str) -> tuple[str, Experiment | None]:
    """The name that an experiment can have in the store, and the one that has it."""
    from mlflow.exceptions import MlflowException

    try:
        return name, client.get_experiment_by_name(name)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE" or "'" not in name:
            raise
    # A directory is asked by a query that knows no quotes.
    fit = escape(name, _NO_QUOTES)
    return fit, client.get_experiment_by_name(fit)


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
