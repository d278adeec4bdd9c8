"""Which task to log to: what the arguments and variables say, and making it or finding it again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tracking_clearml.errors import ClearMLSettingError
from tracking_clearml.library import imported
from tracking_clearml.offline import OfflineSession
from tracking_core.records import Plain

if TYPE_CHECKING:  # importing it imports clearml
    from tracking_clearml.online import OnlineTask

__all__ = [
    "INIT_TAKES",
    "Store",
    "Wanted",
    "found_or_made",
    "main_task",
    "offline",
    "offline_folder",
    "wanted",
]

Store: TypeAlias = "OfflineSession | OnlineTask"

# What ClearML does to the whole process, through the one main task that a process may have.
OF_THE_PROCESS = (
    "auto_connect_arg_parser",
    "auto_connect_frameworks",
    "auto_connect_streams",
    "auto_resource_monitoring",
    "deferred_init",
)
OF_THE_TASK = (
    "project_name",
    "task_name",
    "task_type",
    "tags",
    "output_uri",
    "reuse_last_task_id",
    "continue_last_task",
)
INIT_TAKES = (*OF_THE_TASK, *OF_THE_PROCESS)


class Wanted(NamedTuple):
    """The task that arguments and variables ask for."""

    task_id: str | None
    project: str
    name: str
    type: str
    tags: list[str]
    output_uri: str | None


def wanted(run_name: str | None, arguments: Mapping[str, Any]) -> Wanted:
    """What a tracker was told, by its arguments or by variables.

    Raises:
        TypeError: ``Task.init`` has no such argument.
        ClearMLSettingError: an argument asks for what only a main task can do.
    """
    unknown = sorted(set(arguments) - set(INIT_TAKES))
    if unknown:
        raise TypeError(
            f"tracker 'clearml' has no argument {', '.join(map(repr, unknown))}: "
            f"beside run_name it takes {', '.join(INIT_TAKES)}"
        )
    for name in OF_THE_PROCESS:
        if _asked_for(arguments.get(name)):
            raise ClearMLSettingError(
                f"tracker 'clearml' has no {name}: that is what ClearML does to the whole process "
                f"through its main task, and the tracker makes none. Call clearml.Task.init("
                f"{name}=...) before it starts, and use delivery='thread': it then logs to that task"
            )
    variables = os.environ
    project = arguments.get("project_name") or variables.get("CLEARML_PROJECT") or run_name
    task = arguments.get("task_name") or variables.get("CLEARML_TASK") or run_name
    output_uri = arguments.get("output_uri")
    tags = arguments.get("tags") or []
    kind = arguments.get("task_type") or "training"
    return Wanted(
        task_id=_continued(arguments) or variables.get("CLEARML_TASK_ID") or None,
        project=_long_enough(str(project or "Untitled"), "project"),
        name=_long_enough(str(task or "Untitled"), "task"),
        type=str(getattr(kind, "value", kind)),
        tags=[tags] if isinstance(tags, str) else [str(tag) for tag in tags],
        output_uri=output_uri if isinstance(output_uri, str) else None,
    )


def offline() -> bool:
    """Whether the user's settings say so: ``CLEARML_OFFLINE_MODE``, or ``Task.set_offline``."""
    imported()
    from clearml import Task
    from clearml.backend_api.session.defs import ENV_OFFLINE_MODE

    # The library knows of the variable as it was when it was imported, and of what it was told since.
    return bool(ENV_OFFLINE_MODE.get()) or bool(Task.is_offline())


def main_task() -> Any:
    """The task that the user's own ``Task.init`` has made in this process; None if there is none."""
    clearml = sys.modules.get("clearml")
    return None if clearml is None else clearml.Task.current_task()


def found_or_made(wanted: Wanted, identity: Mapping[str, Plain]) -> Store:
    """The task that `identity` or `wanted` names, else a new one. It may not be running yet.

    Raises:
        ClearMLSettingError: there is no such task, or no credentials.
        LoginError: the server can't be reached.
    """
    task_id = identity.get("task_id") or wanted.task_id
    fields = {
        "project_name": wanted.project,
        "name": wanted.name,
        "type": wanted.type,
        "tags": wanted.tags,
    }
    if offline() or str(task_id).startswith("offline-"):
        if not task_id:
            return OfflineSession.created(offline_folder(), fields)
        folder = identity.get("offline_folder") or offline_folder() / str(task_id)
        return OfflineSession(Path(str(folder)))
    from tracking_clearml.connection import connected
    from tracking_clearml.online import OnlineTask

    connection = connected()
    if not task_id:
        return OnlineTask.created(connection, fields, wanted.output_uri)
    return OnlineTask.found(connection, str(task_id), wanted.output_uri)


def offline_folder() -> Path:
    """Where offline sessions are: below ``CLEARML_CACHE_DIR``, else where clearml.conf says."""
    imported()
    from clearml.config import get_offline_dir

    return Path(str(get_offline_dir())).absolute()


def _continued(arguments: Mapping[str, Any]) -> str | None:
    """The id of the task to go on with. Never the newest of the name: ClearML would wipe it."""
    for name in ("continue_last_task", "reuse_last_task_id"):
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return value
    if arguments.get("continue_last_task") is True:
        raise ClearMLSettingError(
            "tracker 'clearml' can't tell which task continue_last_task=True means: "
            "give its id, continue_last_task='<id>'"
        )
    return None


def _long_enough(name: str, what: str) -> str:
    """A server refuses names of less than three characters."""
    return name if len(name.strip()) >= 3 else f"{name} {what}".strip()


def _asked_for(value: object) -> bool:
    return any(value.values()) if isinstance(value, Mapping) else bool(value)
