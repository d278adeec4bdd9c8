"""MLflow's private names, all that are used here but its settings (`tracking_mlflow.settings`).

None of them has a public way, and each is met by a test: a version that renames one is seen there.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from tracking_core.errors import TrackingError

__all__ = [
    "NotMLflowError",
    "check_uploads",
    "connect_once",
    "ended_fluent_runs",
    "engine_of",
    "make_tables",
    "newest_schema",
    "open_fluent_runs",
    "own_tables",
]


class NotMLflowError(TrackingError, ConnectionError):
    """Something else than MLflow's server has answered, such as a page where one has to log in."""


def check_uploads(ours: Callable[[], bool]) -> None:
    """Have uploads to MLflow's server fail that were answered with a page, while `ours` says yes.

    MLflow takes every answer with status 200 for a success, also that of a login page. Its server
    answers with JSON, or with nothing.
    """
    http_artifact_repo = _module("mlflow.store.artifact.http_artifact_repo")
    send = http_artifact_repo.http_request
    if getattr(send, "checks", False):
        return

    def http_request(host_creds: Any, endpoint: str, method: str, **more: Any) -> Any:
        response = send(host_creds, endpoint, method, **more)
        if method == "PUT" and response.status_code == 200 and ours() and _is_a_page(response):
            kind = response.headers.get("Content-Type", "text")
            raise NotMLflowError(
                f"the upload of {endpoint!r} was answered with a page ({kind}), not by MLflow: "
                "a gateway stands before the server, and may want somebody to log in"
            )
        return response

    http_request.checks = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    http_artifact_repo.http_request = http_request


def _is_a_page(response: Any) -> bool:
    said = response.text.strip()
    try:
        return bool(said) and not isinstance(json.loads(said), dict)
    except ValueError:
        return True


def open_fluent_runs() -> dict[str, str]:
    """The runs that ``mlflow.start_run`` and its relatives have open here: ids and names.

    MLflow keeps them by thread; these are of all threads. Nothing is imported: without MLflow there
    are none.
    """
    stacks = _values_of_threads("_active_run_stack")
    return {run.info.run_id: run.info.run_name or "" for stack in stacks for run in list(stack)}


def ended_fluent_runs() -> set[str]:
    """The ids of those that ended, of each thread the last one."""
    return {str(run_id) for run_id in _values_of_threads("_last_active_run_id") if run_id}


def _values_of_threads(name: str) -> list[Any]:
    values = getattr(sys.modules.get("mlflow.tracking.fluent"), name, None)
    return [] if values is None else list(values.get_all_thread_values().values())


# --- databases ---


def engine_of(client: Any) -> Any:
    """The SQLAlchemy engine of a client that writes to a database by itself; else None."""
    return getattr(client._tracking_client.store, "engine", None)


def connect_once(uri: str) -> None:
    """Connect to a database as MLflow would, but once: MLflow tries for a minute and a half.

    Raises what SQLAlchemy and the driver raise.
    """
    engine = _module("mlflow.store.db.utils").create_sqlalchemy_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def make_tables(path: str) -> None:
    """Make all of MLflow's tables in an empty SQLite database."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(sqlalchemy.URL.create("sqlite", database=path))
    try:
        _module("mlflow.store.db.utils")._initialize_tables(engine)
    finally:
        engine.dispose()


def newest_schema() -> str:
    """The name of the schema that this version of MLflow makes."""
    return str(_module("mlflow.store.db.utils")._get_latest_schema_revision())


def own_tables() -> set[str]:
    """The names of the tables that MLflow has, or once had."""
    utils = _module("mlflow.store.db.utils")
    return {*utils.Base.metadata.tables, *utils.InitialBase.metadata.tables}


def _module(name: str) -> Any:
    """A module whose functions have no types."""
    return importlib.import_module(name)
