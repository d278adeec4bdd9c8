"""The arguments of `ClearMLTracker`, looked at when it is constructed: ClearML is imported later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tracking_clearml.errors import ClearMLSettingError
from tracking_core.arguments import refuse_unfit, refuse_unknown

__all__ = ["INIT_TAKES", "OF_THE_TASK", "VARIABLES", "Wanted", "check", "continued", "wanted"]

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
TYPES = (
    "training", "testing", "inference", "data_processing", "application", "monitor", "controller",
    "optimizer", "service", "qc", "custom",
)  # fmt: skip
STORAGES = ("s3", "gs", "azure", "http", "https", "file")
# They say which task it is, in the process that begins the run.
VARIABLES = ("CLEARML_PROJECT", "CLEARML_TASK", "CLEARML_TASK_ID")


class Wanted(NamedTuple):
    """The task that arguments and variables ask for."""

    task_id: str | None
    project: str
    name: str
    type: str
    tags: list[str]
    output_uri: str | None


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse what no task can be begun with.

    Raises:
        TypeError: ``Task.init`` has no such argument.
        ClearMLSettingError: an argument asks for what only a main task can do, or has a value that
            ClearML does not know. It is a `ValueError`.
    """
    refuse_unknown("clearml", arguments, INIT_TAKES, "Task.init")
    for name in OF_THE_PROCESS:
        if _asked_for(arguments.get(name)):
            raise ClearMLSettingError(
                f"tracker 'clearml' has no {name}: that is what ClearML does to the whole process "
                f"through its main task, and the tracker makes none. Call clearml.Task.init("
                f"{name}=...) before init_trackers(...): it then logs to that task"
            )
    for name in ("continue_last_task", "reuse_last_task_id"):
        value = arguments.get(name)
        if value is not None and value is not False and not isinstance(value, str):
            raise ClearMLSettingError(
                f"tracker 'clearml' can't tell which task {name}={value!r} means, and never wipes "
                f"the last one of the name: give the id of the task to go on with, {name}='<id>'"
            )
    scheme, there, _ = str(arguments.get("output_uri") or "").partition("://")
    if there and scheme not in STORAGES:
        raise ClearMLSettingError(
            f"tracker 'clearml' can't take output_uri={arguments['output_uri']!r}: ClearML would "
            f"make a folder of that name. It has {', '.join(f'{one}://' for one in STORAGES)} and "
            "directories"
        )
    refuse_unfit("clearml", "task_type", _text_of(arguments.get("task_type")), TYPES)


def continued(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> str | None:
    """The id of the task to go on with. Never the newest of the name: ClearML would wipe it."""
    for name in ("continue_last_task", "reuse_last_task_id"):
        if value := arguments.get(name):
            return str(value)
    return variables.get("CLEARML_TASK_ID") or None


def wanted(
    run_name: str | None, arguments: Mapping[str, Any], variables: Mapping[str, Any]
) -> Wanted:
    """What a tracker was told, by its arguments or by `variables`, those of `VARIABLES`."""
    project = arguments.get("project_name") or variables.get("CLEARML_PROJECT") or run_name
    task = arguments.get("task_name") or variables.get("CLEARML_TASK") or run_name
    output_uri = arguments.get("output_uri")
    tags = arguments.get("tags") or []
    return Wanted(
        task_id=continued(arguments, variables),
        project=_long_enough(str(project or "Untitled"), "project"),
        name=_long_enough(str(task or "Untitled"), "task"),
        type=str(_text_of(arguments.get("task_type")) or "training"),
        tags=[tags] if isinstance(tags, str) else [str(tag) for tag in tags],
        output_uri=os.fspath(output_uri) if isinstance(output_uri, (str, os.PathLike)) else None,
    )


def _text_of(kind: object) -> object:
    """A type of task as text: ClearML's own are members of an enumeration."""
    return getattr(kind, "value", kind)


def _long_enough(name: str, what: str) -> str:
    """A server refuses names of less than three characters."""
    return name if len(name.strip()) >= 3 else f"{name} {what}".strip()


def _asked_for(value: object) -> bool:
    return any(value.values()) if isinstance(value, Mapping) else bool(value)
