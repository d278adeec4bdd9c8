"""Posts a run to a Discord channel: lines of JSON, with pictures, sound, tables and files attached."""

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tracking_core import AlreadyStartedError, NotStartedError, on_main_process
from tracking_core.records import Config, Log, Plain, Record, Status, Tags
from tracking_core.tables import pictures_beside
from tracking_core.tracker import RecordTracker
from tracking_discord.media import written
from tracking_discord.webhook import Webhook

__all__ = ["DiscordTracker"]


class DiscordTracker(RecordTracker):
    """A run is what one author says in the channel of the webhook ``DISCORD_WEBHOOK_URL``.

    Discord takes no author with ``discord`` in its name, so no run may be called so.
    """

    name = "discord"
    requires_logging_directory = False

    def __init__(self, run_name: str) -> None:
        super().__init__()
        self._author = f"{run_name[:70]} {secrets.token_hex(3)}"
        self._webhook: Webhook | None = None

    @property
    def tracker(self) -> Webhook:
        if self._webhook is None:
            raise NotStartedError("tracker 'discord' is not running: call start() first")
        return self._webhook

    @on_main_process
    def start(self) -> None:
        if self._webhook is not None:
            raise AlreadyStartedError("tracker 'discord' is running: call finish() first")
        self._webhook = Webhook(os.environ["DISCORD_WEBHOOK_URL"], self._author)

    def deliver(self, records: Sequence[Record]) -> None:
        lines: list[dict[str, Any]] = []
        for record in records:
            match record:
                case Config():
                    lines.append({"time": record.wall_time, "config": record.values})
                case Tags():
                    lines.append({"time": record.wall_time, "tags": record.values})
                case Log():
                    place = {"time": record.wall_time, "step": record.position}
                    options = record.options.get(self.name, {})
                    values = pictures_beside(record.values)
                    lines.append({**options, **place, "values": values})
        if lines:
            self._post(lines)

    @on_main_process
    def finish(self, status: Status = "finished") -> None:
        if self._webhook is not None:
            self._post([{"time": time.time(), "status": status}])
            self._webhook = None

    def identity(self) -> dict[str, Plain]:
        return {"author": self._author}

    def resume(self, identity: Mapping[str, Plain]) -> None:
        self._author = str(identity["author"])

    def _post(self, lines: Sequence[dict[str, Any]]) -> None:
        self.tracker.post(*written(lines, self.reject))
