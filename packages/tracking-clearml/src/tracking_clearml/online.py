"""A task on a server, through the server's API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tracking_clearml.connection import Connection
from tracking_clearml.errors import ClearMLServerError, ClearMLSettingError
from tracking_core.records import Plain

__all__ = ["OnlineTask"]

ENDINGS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}


class OnlineTask:
    """The task `task_id` on the server of `connection`; artifacts go below `artifacts`."""

    def __init__(self, connection: Connection, task_id: str, artifacts: str | None = None) -> None:
        self.connection = connection
        self.id = task_id
        self.files = connection.files_host
        self.artifacts = (artifacts or self.files).rstrip("/")

    @classmethod
    def found(
        cls, connection: Connection, task_id: str, output_uri: str | None = None
    ) -> OnlineTask:
        """The one of that id.

        Raises:
            ClearMLSettingError: there is none.
        """
        try:
            fields = connection.call("tasks.get_by_id", task=task_id)["task"]
        except ClearMLServerError as error:
            if error.status_code not in (400, 404):
                raise
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
        """The task runs (again)."""
        self.connection.call("tasks.started", task=self.id, force=True)

    def end(self, status: str) -> None:
        """The task has ended: ``"completed"``, ``"failed"`` or ``"stopped"``."""
        self.connection.call(ENDINGS[status], task=self.id, force=True)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def set_tags(self, tags: Sequence[str]) -> None:
        """Replace the task's tags."""
        self.connection.call("tasks.edit", task=self.id, tags=list(tags), force=True)

    def set_parameters(self, parameters: Sequence[dict[str, str]]) -> None:
        """Add hyperparameters, or replace those of the same names."""
        self.connection.call(
            "tasks.edit_hyper_params",
            task=self.id,
            hyperparams=list(parameters),
            replace_hyperparams="none",
            force=True,
        )

    def set_configuration(self, item: dict[str, str]) -> None:
        """Add a configuration object, or replace the one of the same name."""
        self.connection.call(
            "tasks.edit_configuration",
            task=self.id,
            configuration=[item],
            replace_configuration=False,
            force=True,
        )

    def add_artifact(self, artifact: dict[str, Any]) -> None:
        """Add an artifact, or replace the one of the same name."""
        self.connection.call(
            "tasks.add_or_update_artifacts", task=self.id, artifacts=[artifact], force=True
        )

    def add_events(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store `events`; those that the server will never take are returned."""
        return self.connection.add_events([{**event, "task": self.id} for event in events])

    def upload(self, path: str, address: str) -> None:
        """Store the local file `path` at `address`, on the file server or another storage."""
        self.connection.upload(path, address)


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
