"""What DVCLive has no word for: tags, how the run ended, and when."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tracking_dvclive.batch import json_bytes, replace_file
from tracking_dvclive.layout import NOTES, SHOWN_NOTES, path_in

__all__ = ["Notes", "read_notes"]

_SHOWN = ("status", "tags", "step_axes")


@dataclass(slots=True)
class Notes:
    """Two files: what DVC shows among the parameters, and the rest. Times are in seconds.

    Attributes:
        status: "running", "finished", "failed" or "killed".
        tags: a label has the value None.
        step_axes: what the steps of a metric count, by key, where it was said.
        ended_at, tags_at, config_at: wall times of the newest of each.
        run_name: what the tracker was constructed with.
        experiment: the DVC experiment that the run is saved as when it ends.
        names: keys by the names of their files, where the name does not tell.
    """

    status: str = "running"
    tags: dict[str, str | None] = field(default_factory=dict)
    step_axes: dict[str, str] = field(default_factory=dict)
    ended_at: float | None = None
    tags_at: float | None = None
    config_at: float | None = None
    run_name: str | None = None
    experiment: str | None = None
    names: dict[str, str] = field(default_factory=dict)

    def store(self, directory: str) -> None:
        """Write the files anew.

        Raises:
            OSError: the disk is full or broken.
        """
        rest = asdict(self)
        shown = {name: rest.pop(name) for name in _SHOWN}
        replace_file(path_in(directory, NOTES), json_bytes(rest, indent=2))
        replace_file(path_in(directory, SHOWN_NOTES), json_bytes(shown, indent=2))


def read_notes(directory: str) -> Notes | None:
    """The notes of the run in `directory`; None if it has none, or only broken files."""
    found: dict[str, Any] = {}
    try:
        for place in (NOTES, SHOWN_NOTES):
            with open(path_in(directory, place), encoding="utf-8") as file:
                found.update(json.load(file))
    except (OSError, TypeError, ValueError):
        return None
    known = {one.name for one in fields(Notes)}
    return Notes(**{name: value for name, value in found.items() if name in known})
