"""Which run it is: found by id or by name, or made."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from tracking_core.records import Plain
from tracking_trackio import names
from tracking_trackio.local import LocalStore
from tracking_trackio.server import ServerStore
from tracking_trackio.settings import RESUME, TrackioSettingError, Where, without_secrets
from tracking_trackio.store import RunId, Store

__all__ = ["card", "found", "last_step", "made", "opened", "store"]


def store(kwargs: Mapping[str, Any], identity: Mapping[str, Plain]) -> tuple[Where, Store]:
    """Where the run is kept: where `identity` says, else the arguments, else the variables."""
    where = _where(kwargs, identity)
    there = opened(where)
    directory, here = identity.get("directory"), there.place.get("directory")
    if directory not in (None, here):
        raise TrackioSettingError(
            f"tracker 'trackio' can't resume a run in {directory!r}: Trackio, once imported, keeps "
            f"to {here!r}; set TRACKIO_DIR={directory} before the program starts"
        )
    return where, there


def _where(kwargs: Mapping[str, Any], identity: Mapping[str, Plain]) -> Where:
    if "directory" in identity:
        return Where()
    space_id, server_url = kwargs.get("space_id"), kwargs.get("server_url")
    if "server_url" in identity or "space_id" in identity:
        # An identity holds no secrets: the same address may come with them from elsewhere.
        known = identity.get("server_url")
        given = [server_url, os.environ.get("TRACKIO_SERVER_URL")]
        same = [url for url in given if url and without_secrets(str(url)) == known]
        space_id, server_url = identity.get("space_id"), (same or [known])[0]
    return Where.of(_text(space_id), _text(server_url))


def opened(where: Where) -> Store:
    """The store there."""
    return ServerStore(where) if where.named else LocalStore()


def found(
    store: Store, project: str, kwargs: Mapping[str, Any], identity: Mapping[str, Plain]
) -> RunId | None:
    """The run to go on with, or None if a new one is wanted.

    Raises:
        TrackioSettingError: a run that has to be there is not.
    """
    known = names.project_name(project)
    if identity:
        return RunId(known, str(identity.get("name", "")), str(identity["run_id"]))
    name, resume = kwargs.get("name"), kwargs.get("resume", "never")
    if resume not in RESUME:
        raise TrackioSettingError(
            f"tracker 'trackio' takes resume={', '.join(map(repr, RESUME))}, not {resume!r}"
        )
    if resume == "never":
        return None
    if name is not None:
        native = names.run_name(str(name))
        if run_id := newest(store, known, native):
            return RunId(known, native, run_id)
    if resume == "must":
        raise TrackioSettingError(
            f"tracker 'trackio' finds no run named {name!r} in the project {project!r}: "
            "with resume='allow' it makes one"
        )
    return None


def made(store: Store, project: str, kwargs: Mapping[str, Any]) -> RunId:
    """A new run, named as Trackio names one that was given no name."""
    from trackio import utils

    known, name = names.project_name(project), kwargs.get("name")
    if name is None:
        sql = "SELECT DISTINCT run_name FROM metrics LIMIT 10000"
        taken = [row["run_name"] for row in _rows(store, known, sql)]
        name = utils.generate_readable_name(taken)
    return RunId(known, names.run_name(str(name)), uuid.uuid4().hex)


def newest(store: Store, project: str, name: str) -> str | None:
    """The id of the newest run of this name."""
    sql = (
        f"SELECT run_id FROM metrics WHERE run_name = {names.quoted(name)} "
        "GROUP BY run_id ORDER BY MIN(timestamp) DESC LIMIT 1"
    )
    return next((row["run_id"] for row in _rows(store, project, sql)), None)


def card(store: Store, run: RunId) -> dict[str, Any] | None:
    """What Trackio holds of the run beside its rows."""
    sql = f"SELECT config FROM configs WHERE run_id = {names.quoted(run.id)}"
    return next((json.loads(row["config"]) for row in _rows(store, run.project, sql)), None)


def last_step(store: Store, run: RunId) -> int:
    """The highest step with a value; -1 if there is none."""
    sql = (
        f"SELECT MAX(step) AS last FROM metrics WHERE run_id = {names.quoted(run.id)} "
        f"AND log_id IS NOT {names.quoted(f'{run.id}-run')}"
    )
    last = next((row["last"] for row in _rows(store, run.project, sql)), None)
    return last if isinstance(last, int) else -1


def _rows(store: Store, project: str, sql: str) -> list[dict[str, Any]]:
    return store.query(project, sql) if store.has(project) else []


def _text(value: object) -> str | None:
    return None if value is None else str(value)
