"""ClearML's main task: one of the user's own, which ``Task.init`` has made in this process."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from tracking_core.records import Plain

__all__ = ["identity_of", "main_task"]


def main_task() -> Any:
    """The task that the user's own ``Task.init`` has made in this process; None if there is none."""
    task = getattr(sys.modules.get("clearml"), "Task", None)
    # `Task.current_task()` would make one, where a process above this one has.
    return getattr(task, "_Task__main_task", None)


def identity_of(task: Any) -> dict[str, Plain]:
    """`task` as `ClearMLTracker.identity` names the user's own; empty if it has no id yet."""
    with suppress(Exception):  # it is being made, by another thread, or another version's
        task_id = str(task.id or "")
        folder = task.get_offline_mode_folder() if task_id.startswith("offline-") else None
        place: dict[str, Plain] = {} if folder is None else {"offline_folder": str(folder)}
        return {"task_id": task_id, "of_the_user": True, **place} if task_id else {}
    return {}
