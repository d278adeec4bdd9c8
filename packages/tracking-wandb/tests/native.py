"""What lies in a run's transaction log, as W&B has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tracking_wandb.session import PROTO, imported
from tracking_wandb.transaction_log import TransactionLog


class Native:
    """The records of one log: W&B's names and values, before `read_run` makes sense of them."""

    def __init__(self, path: str | Path) -> None:
        self.rows: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.files: list[str] = []
        self.tags: list[str] = []
        self.run: Any = None
        self.exit_code: int | None = None
        log = TransactionLog(path)
        while records := log.records():
            for data in records:
                self._take(imported(PROTO).Record.FromString(data))
        log.close()

    def _take(self, record: Any) -> None:
        match record.WhichOneof("record_type"):
            case "run":
                self.run, self.tags = record.run, list(record.run.tags)
            case "history":
                row: dict[str, Any] = {}
                for item in record.history.item:
                    path, place = [item.key] if item.key else list(item.nested_key), row
                    for name in path[:-1]:
                        place = place.setdefault(name, {})
                    place[path[-1]] = json.loads(item.value_json)
                self.rows.append(row)
            case "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric
            case "config":
                for item in record.config.update:
                    if item.key:
                        self.config[item.key] = json.loads(item.value_json)
            case "files":
                self.files += [item.path for item in record.files.files]
            case "exit":
                self.exit_code = record.exit.exit_code
