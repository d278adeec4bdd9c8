"""The task to log to: making it, or finding it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tracking_clearml.arguments import Wanted
from tracking_clearml.library import imported
from tracking_clearml.offline import OfflineSession
from tracking_core.records import Plain

if TYPE_CHECKING:  # importing it imports clearml
    from tracking_clearml.online import OnlineTask

__all__ = ["Store", "found_or_made", "offline", "offline_folder"]

Store: TypeAlias = "OfflineSession | OnlineTask"


def offline() -> bool:
    """Whether the user's settings say so: ``CLEARML_OFFLINE_MODE``, or ``Task.set_offline``."""
    imported()
    from clearml import Task
    from clearml.backend_api.session.defs import ENV_OFFLINE_MODE

    # The library knows of the variable as it was when it was imported, and of what it was told since.
    return bool(ENV_OFFLINE_MODE.get()) or bool(Task.is_offline())


def found_or_made(wanted: Wanted, identity: Mapping[str, Plain], native: Any = None) -> Store:
    """The task that `identity` or `wanted` names, else a new one. It may not be running yet.

    Args:
        native: the ``clearml.Task`` of it in this process, if there is one.

    Raises:
        ClearMLSettingError: there is no such task, no credentials, or no place for a session.
        ClearMLRunGoneError: the one that `identity` names is gone.
        ClearMLServerError, ClearMLUnreachableError: the server says no, or can't be reached.
    """
    task_id = identity.get("task_id") or wanted.task_id
    fields = {
        "project_name": wanted.project,
        "name": wanted.name,
        "type": wanted.type,
        "tags": wanted.tags,
    }
    if str(task_id).startswith("offline-") or (not identity and offline()):
        if not task_id:
            return OfflineSession.created(offline_folder(), fields)
        folder = identity.get("offline_folder") or offline_folder() / str(task_id)
        return OfflineSession(Path(str(folder)), known=bool(identity), native=native)
    from tracking_clearml.connection import connected
    from tracking_clearml.online import OnlineTask

    connection = connected()
    try:
        if not task_id:
            return OnlineTask.created(connection, fields, wanted.output_uri)
        task = OnlineTask.found(connection, str(task_id), wanted.output_uri, known=bool(identity))
        task.native = native
        return task
    except BaseException:
        connection.close()
        raise


def offline_folder() -> Path:
    """Where offline sessions are: below ``CLEARML_CACHE_DIR``, else where clearml.conf says."""
    imported()
    from clearml.config import get_offline_dir

    return Path(str(get_offline_dir())).absolute()
