"""What lies beside the run file in ``files/``: artifacts, SwanLab's config.yaml, and the exact truth.

SwanLab's ``config.yaml`` has no NaN, and tags are labels there; both lie whole in ``tracking.json``.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracking_core.files import keep, whole_file
from tracking_core.records import LoggedFile
from tracking_swanlab.names import inner_path

__all__ = ["CONFIG", "TRUTH", "Files", "truth_of"]

CONFIG = "config.yaml"
TRUTH = "tracking.json"
MOST_TAGS = 30
LONGEST_TAG = 512


class Files:
    """The files of a run, in `folder`. Places are named from there, with slashes.

    Attributes:
        config: all configuration, later values over earlier ones.
        tags: all tags likewise.
        keys: keys that SwanLab has only cut, by what they were cut to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        truth = truth_of(folder)
        self.config: dict[str, Any] = truth["config"]
        self.tags: dict[str, str | None] = truth["tags"]
        self.keys: dict[str, str] = truth["keys"]
        self.config_time: float = truth["config_time"]
        self.tags_time: float = truth["tags_time"]

    @property
    def changed_at(self) -> float:
        """When the newest of it was said, in seconds since the epoch."""
        return max(self.config_time, self.tags_time)

    def write(self, others: Mapping[str, Any]) -> None:
        """Write ``tracking.json`` and ``config.yaml``, each as a whole or not at all.

        `others` is what ``config.yaml`` has to hold beside `config`.
        """
        from swanlab.sdk.internal.run.components.config.writer import dump_config, format_config

        truth = {
            "config": self.config,
            "config_time": self.config_time,
            "tags": self.tags,
            "tags_time": self.tags_time,
            "keys": self.keys,
        }
        self._write(TRUTH, json.dumps(truth).encode())
        if self.config:
            shown = {key: _shown(value) for key, value in {**others, **self.config}.items()}
            order = {key: number for number, key in enumerate(shown)}
            self._write(CONFIG, dump_config(format_config(shown, order)).encode())

    def labels(self) -> list[str]:
        """The tags as SwanLab has them: at most 30 labels."""
        labels = [key if value is None else f"{key}: {value}" for key, value in self.tags.items()]
        return [label[:LONGEST_TAG] for label in labels if label][:MOST_TAGS]

    def keep(self, file: LoggedFile) -> tuple[list[str], list[str]]:
        """Copy a file or all files of a directory; their places, and what could not be kept.

        Raises:
            Unkept: nothing of it could be kept.
            OSError: the disk is full or broken.
        """

        def place_of(inner: str) -> str:
            return inner_path(f"{file.artifact_path}/{inner}")

        return keep(file, str(self.folder), place_of, [str(self.folder)])

    def add(self, path: str, data: bytes) -> str:
        """Keep `data` as a file of its own; its place."""
        stem, dot, suffix = inner_path(path).rpartition(".")
        for number in itertools.count(1):
            place = f"{stem}{f'-{number}' if number > 1 else ''}{dot}{suffix}"
            target = self.folder / place
            if target.is_file() and target.read_bytes() == data:
                return place  # the same row, delivered again
            if not target.exists():
                self._write(place, data)
                return place
        raise AssertionError("the numbers have ended")

    def _write(self, place: str, data: bytes) -> None:
        with whole_file(str(self.folder / place)) as unfinished:
            Path(unfinished).write_bytes(data)


def truth_of(folder: Path) -> dict[str, Any]:
    """What ``tracking.json`` in a run's files says; of a run of someone else, nothing."""
    empty: Mapping[str, Any] = {
        "config": {}, "config_time": 0.0, "tags": {}, "tags_time": 0.0, "keys": {},
    }  # fmt: skip
    try:
        return {**empty, **json.loads((folder / TRUTH).read_bytes())}
    except FileNotFoundError:
        return dict(empty)


def _shown(value: Any) -> Any:
    """`value` with the texts that SwanLab's own config has for numbers that JSON does not have."""
    match value:
        case dict():
            return {key: _shown(inner) for key, inner in value.items()}
        case list():
            return [_shown(inner) for inner in value]
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"
        case _:
            return value
