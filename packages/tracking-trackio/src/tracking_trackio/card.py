"""The one entry that Trackio keeps of a run beside its rows: its configuration.

Tags and the end status have no place of their own in Trackio, so they lie there too::

    lr, optimizer, ...      as they were logged, nested dicts as they are
    tracking/status         "running", "finished", "failed" or "killed"
    tracking/tags           an object; a label has the value null
    _Created, _Group, ...   Trackio's own
    _tracking               wall times, and the configuration as JSON where Trackio changes it
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from tracking_core.records import Config, End, Record, Status, Tags
from tracking_trackio.names import parameter_name, parameter_of

__all__ = ["INTEGERS", "Card", "number_or_text", "storable", "unchanged"]

OURS = "_tracking"
STATUS = "tracking/status"
TAGS = "tracking/tags"
THEIRS = ("_Username", "_Created", "_Group")

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
INTEGERS = range(-(2**63), 2**64)


class Card:
    """The configuration, tags and status of a run; each setter merges with what was there.

    Args:
        stored: what Trackio holds of a run that is gone on with, or is read.
    """

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        stored = dict(stored or {})
        self.theirs = {key: stored[key] for key in THEIRS if key in stored}
        self._times: dict[str, Any] = dict(stored.get(OURS) or {})
        exact = self._times.pop("config", None)
        self.values: dict[str, Any] = json.loads(exact) if exact else _values(stored)
        self.tags: dict[str, str | None] = dict(stored.get(TAGS) or {}) if OURS in stored else {}
        self.status: str | None = stored.get(STATUS) if OURS in stored else None

    def begin(self, group: str | None) -> None:
        """Say that the run goes on, and since when if it is new."""
        now = datetime.now(timezone.utc).isoformat()
        old = self.theirs
        self.theirs = {"_Username": None, "_Created": now, "_Group": group, **old}
        if group is not None:
            self.theirs["_Group"] = group
        self.status = "running"
        self._times.pop("ended", None)

    def configure(self, values: Mapping[str, Any], wall_time: float) -> None:
        """Add to the configuration."""
        self.values.update(values)
        self._times["configured"] = wall_time

    def tag(self, tags: Mapping[str, str | None], wall_time: float) -> None:
        """Add tags."""
        self.tags.update(tags)
        self._times["tagged"] = wall_time

    def end(self, status: Status, wall_time: float) -> None:
        """Say how the run ended."""
        self.status = status
        self._times["ended"] = wall_time

    def stored(self) -> dict[str, Any]:
        """What Trackio is to hold."""
        shown: dict[str, Any] = {parameter_name(key): value for key, value in self.values.items()}
        ours = dict(self._times)
        if not unchanged(shown):
            ours["config"] = json.dumps(self.values)
        shown = storable(shown)
        if self.status is not None:
            shown[STATUS] = self.status
        if self.tags:
            shown[TAGS] = self.tags
        return {**shown, **self.theirs, OURS: ours}

    def records(self, created: float) -> Iterator[Record]:
        """Configuration, tags and end; `created` stands for a time that is not known."""
        if self.values:
            yield Config(self.values, self._times.get("configured", created))
        if self.tags:
            yield Tags(self.tags, self._times.get("tagged", created))
        if self.status in ("finished", "failed", "killed"):
            ended = self._times.get("ended", created)
            yield End(self.status, ended)  # type: ignore[arg-type]  # just compared


def storable(value: Any) -> Any:
    """`value` with what JSON has no word for written as Trackio writes it (``"NaN"``)."""
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and value not in INTEGERS:
        return str(value)
    return value


def number_or_text(value: Any) -> Any:
    """`value` with Trackio's words for NaN and the infinities taken as such, nested ones too."""
    if isinstance(value, dict):
        return {key: number_or_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [number_or_text(item) for item in value]
    return NONFINITE.get(value, value) if isinstance(value, str) else value


def _values(stored: Mapping[str, Any]) -> dict[str, Any]:
    if OURS not in stored:
        return {key: number_or_text(value) for key, value in stored.items() if key not in THEIRS}
    keys = {name: parameter_of(name) for name in stored}
    return {key: number_or_text(stored[name]) for name, key in keys.items() if key is not None}


def unchanged(value: Any) -> bool:
    """Whether `number_or_text` gives back what `storable` made of `value`."""
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(unchanged, value.values()))
    if isinstance(value, (list, tuple)):
        return isinstance(value, list) and all(map(unchanged, value))
    if isinstance(value, str):
        return value not in NONFINITE
    return not isinstance(value, int) or value in INTEGERS
