"""A task on a server, through the server's API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tracking_clearml.connection import Connection
from tracking_clearml.errors import (
    NOT_RUNNING,
    ClearMLRunGoneError,
    ClearMLServerError,
    ClearMLSettingError,
)
from tracking_core.records import Plain
from tracking_core.tracker import ONLINE_PACE

__all__ = ["OnlineTask"]

LOCKED = ("published", "publishing")
LINES_AT_ONCE = 500
# ClearML's own numbers for it.
NOT_FOUND, PUBLISHED = 101, 113
ENDINGS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}


class OnlineTask:
    """The task `task_id` on the server of `connection`; artifacts go below `artifacts`.

    Attributes:
        native: a ``clearml.Task`` of this task that is used beside it. But for tags it asks the
            server before it changes what is there.
        stays_ended: whether a task that has ended is left so, whatever is stored with it later.
        pace: as of a tracker.
    """

    pace = ONLINE_PACE

    def __init__(self, connection: Connection, task_id: str, artifacts: str | None = None) -> None:
        self.native: Any = None
        self.stays_ended = False
        self._printed: set[tuple[Any, Any]] = set()
        self.connection = connection
        self.id = task_id
        self.files = connection.files_host
        self.artifacts = (artifacts or self.files).rstrip("/")

    @classmethod
    def found(
        cls,
        connection: Connection,
        task_id: str,
        output_uri: str | None = None,
        *,
        known: bool = False,
    ) -> OnlineTask:
        """The one of that id.

        Args:
            known: whether it was logged to before, so that it can only have been deleted.

        Raises:
            ClearMLSettingError, ClearMLRunGoneError: there is none.
        """
        try:
            fields = connection.call("tasks.get_by_id", task=task_id)["task"]
        except ClearMLServerError as error:
            if error.foreign or error.status_code not in (400, 404):
                raise
            if known:
                raise ClearMLRunGoneError(_gone(task_id, connection.host)) from error
            raise ClearMLSettingError(
                f"tracker 'clearml': there is no task {task_id!r} at {connection.host}: check the "
                "id and CLEARML_API_HOST, or leave the id out to begin a new task"
            ) from error
        kept = (fields.get("output") or {}).get("destination")
        return cls(connection, task_id, output_uri or kept)

    @classmethod
    def created(
        cls, connection: Connection, fields: dict[str, Any], output_uri: str | None
    ) -> OnlineTask:
        """A new one, in the project ``fields["project_name"]``, which is made if it is new."""
        wanted = {name: field for name, field in fields.items() if name != "project_name"}
        if output_uri:
            wanted["output_dest"] = output_uri
        project = _project(connection, fields["project_name"])
        made = connection.call("tasks.create", project=project, input={"view": {}}, **wanted)
        return cls(connection, str(made["id"]), output_uri)

    @property
    def identity(self) -> dict[str, Plain]:
        """What names it."""
        return {"task_id": self.id, "api_server": self.connection.host}

    def fields(self) -> dict[str, Any]:
        """The task, as ``tasks.get_by_id`` gives it, with the name of its project."""
        fields = dict(self.connection.call("tasks.get_by_id", task=self.id)["task"])
        if fields.get("project") and "project_name" not in fields:
            found = self.connection.call("projects.get_by_id", project=fields["project"])
            fields["project_name"] = found["project"]["name"]
        return fields

    def go_on(self) -> None:
        """The task runs (again).

        Raises:
            ClearMLServerError: it is published: it must not change any more. A run's fault.
        """
        self._see_that_it_is_not_locked()
        self.connection.call("tasks.started", task=self.id, force=True)

    def end(self, status: str) -> None:
        """The task has ended: ``"completed"``, ``"failed"`` or ``"stopped"``."""
        self._see_that_it_is_not_locked()
        self.connection.call(ENDINGS[status], task=self.id, force=True)

    def _see_that_it_is_not_locked(self) -> str:
        """The task's status. ClearML's server lets itself be forced to change any."""
        try:
            found = self.connection.call("tasks.get_by_id", task=self.id)
        except ClearMLServerError as error:
            if error.foreign or error.status_code not in (400, 404):
                raise
            raise ClearMLServerError(
                f"{_gone(self.id, self.connection.host)} ({error})", 400, subcode=NOT_FOUND
            ) from error
        status = str(found["task"].get("status"))
        if status in LOCKED:
            raise ClearMLServerError(
                f"tracker 'clearml': the task {self.id!r} was published at {self.connection.host}, "
                "which takes no more for it: what is logged waits. To log on, begin another task",
                400,
                subcode=PUBLISHED,
            )
        return status

    def _edit(self, endpoint: str, **changed: Any) -> None:
        try:
            self.connection.call(endpoint, task=self.id, force=True, **changed)
        except ClearMLServerError as error:
            if error.foreign or error.subcode not in NOT_RUNNING:
                raise
            # It was ended from elsewhere: by the server, which was told nothing for two hours, on
            # its page, or by the program itself.
            status = self._see_that_it_is_not_locked()
            self.go_on()
            try:
                self.connection.call(endpoint, task=self.id, force=True, **changed)
            finally:
                if self.stays_ended and status in ENDINGS:
                    self.end(status)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def set_tags(self, tags: Sequence[str]) -> None:
        """Replace the task's tags."""
        self._edit("tasks.edit", tags=list(tags))
        known = getattr(self.native, "_data", None)
        if known is not None:
            known.tags = list(tags)  # it would leave them out, the next time that it adds one

    def set_parameters(self, parameters: Sequence[dict[str, str]]) -> None:
        """Add hyperparameters, or replace those of the same names."""
        self._edit(
            "tasks.edit_hyper_params", hyperparams=list(parameters), replace_hyperparams="none"
        )

    def set_configuration(self, item: dict[str, str]) -> None:
        """Add a configuration object, or replace the one of the same name."""
        self._edit("tasks.edit_configuration", configuration=[item], replace_configuration=False)

    def add_artifact(self, artifact: dict[str, Any]) -> None:
        """Add an artifact, or replace the one of the same name."""
        self._edit("tasks.add_or_update_artifacts", artifacts=[artifact])

    def add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store `events`; those that the server will never take are returned.

        Raises:
            ClearMLServerError: the task was deleted or published, or the server says no for now.
        """
        ours = [{**event, "task": self.id} for event in events]
        refused = self._sent([event for event in ours if event["type"] != "log"])
        # The server stores each line that it is sent, also one that it has: those go last, and
        # those that it took before something failed are not sent again.
        lines = {_line(event): event for event in ours if event["type"] == "log"}
        left = [event for line, event in lines.items() if line not in self._printed]
        for start in range(0, len(left), LINES_AT_ONCE):
            chunk = left[start : start + LINES_AT_ONCE]
            refused += self._sent(chunk, once=True)
            self._printed.update(map(_line, chunk))
        self._printed.difference_update(lines)
        return refused

    def _sent(
        self, events: Sequence[dict[str, Any]], *, once: bool = False
    ) -> list[dict[str, Any]]:
        return self.connection.add_events(events, self._see_that_it_is_not_locked, once=once)

    def upload(self, path: str, address: str) -> None:
        """Store the local file `path` at `address`, on the file server or another storage."""
        self.connection.upload(path, address)


def _line(event: dict[str, Any]) -> tuple[Any, Any]:
    return event["timestamp"], event["msg"]


def _gone(task_id: str, host: str) -> str:
    return f"tracker 'clearml': there is no task {task_id!r} at {host} any more: was it deleted?"


def _project(connection: Connection, name: str) -> str:
    found = connection.call(
        "projects.get_all", name=f"^{re.escape(name)}$", only_fields=["id"], search_hidden=True
    ).get("projects")
    if found:
        return str(found[0]["id"])
    try:
        return str(connection.call("projects.create", name=name, description="")["id"])
    except ClearMLServerError:
        # Somebody else was faster.
        found = connection.call(
            "projects.get_all", name=f"^{re.escape(name)}$", only_fields=["id"], search_hidden=True
        ).get("projects")
        if not found:
            raise
        return str(found[0]["id"])
