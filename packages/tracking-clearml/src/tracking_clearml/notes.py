"""What of a run ClearML itself has no place for, as one configuration object of the task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracking_clearml.series import CONTROL_FREE, Places
from tracking_core.names import escape, shortened
from tracking_core.records import Status

__all__ = ["CONFIG", "NOTES", "Notes", "config_item", "config_of", "leaves", "parameters_of"]

NOTES = "tracking"
CONFIG = "General"  # where Accelerate and ClearML's own examples put it
SECTION = "General"
LONGEST_VALUE = 4000
LONGEST_TAG = 100


class Notes:
    """What is stored beside a run, and read back.

    Args:
        fields: the task, as its store gives it.

    Attributes:
        places: where the values of each key lie.
        tags: key-value tags and labels, exactly.
        axes: what the steps of a key count, where they were given a name of their own.
        end: how and when (in seconds since the epoch) the run ended; None while it is running. The
            import of an offline session calls every run completed.
        known: whether a tracker of this kind has logged to the task before.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        text = ((fields.get("configuration") or {}).get(NOTES) or {}).get("value")
        kept = _read(text)
        self.known = text is not None
        self.places = Places(kept.get("places", {}), resumed=self.known)
        self.tags: dict[str, str | None] = kept.get("tags", {})
        self.axes: dict[str, str] = kept.get("axes", {})
        self.end: tuple[Status, float] | None = None
        if kept.get("end"):
            self.end = kept["end"][0], kept["end"][1]
        self._stored = self._version() if self.known else None

    def changed(self) -> bool:
        """Whether they differ from what is stored."""
        return self._version() != self._stored

    def item(self) -> dict[str, str]:
        """Them as a configuration object."""
        values = {
            "places": self.places.listed,
            "tags": self.tags,
            "axes": self.axes,
            "end": self.end,
        }
        return {
            "name": NOTES,
            "value": json.dumps(values, indent=1),
            "type": "json",
            "description": "What tracking-clearml needs to read the run back",
        }

    def stored(self) -> None:
        """`item` is stored as it is now."""
        self._stored = self._version()

    def _version(self) -> tuple[Any, ...]:
        # Places are only ever added, and comparing their number costs nothing.
        return (
            len(self.places.listed),
            tuple(self.tags.items()),
            tuple(self.axes.items()),
            self.end,
        )


def shown_tag(name: str, value: str | None) -> str:
    """A tag as ClearML shows it: it has labels only."""
    return shortened(name if value is None else f"{name}: {value}", LONGEST_TAG)


# --- configuration ---


def config_item(config: Mapping[str, Any]) -> dict[str, str]:
    """The whole configuration as a configuration object. JSON is HOCON too, which ClearML reads."""
    return {"name": CONFIG, "value": json.dumps(config, indent=2), "type": "dictionary"}


def parameters_of(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """The configuration as hyperparameters, nested names as ``parent/child``, long values cut."""
    found = {}
    for key, value in leaves(config):
        name = shortened(escape(key, CONTROL_FREE), LONGEST_VALUE)
        text = value if isinstance(value, str) else json.dumps(value)
        found[name] = {
            "section": SECTION,
            "name": name,
            "value": "" if value is None else shortened(text, LONGEST_VALUE),
            "type": type(value).__name__,
        }
    return list(found.values())


def leaves(values: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """What a configuration holds, as ``parent/child`` keys; an empty dict is a value too."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{parent}{key}/")
        else:
            yield parent + key, value


def config_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a task that a tracker of this kind has logged to."""
    item = (fields.get("configuration") or {}).get(CONFIG) or {}
    return _read(item.get("value"))


def _read(text: str | None) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except ValueError:  # edited by hand, or another's HOCON
        return {}
    return values if isinstance(values, dict) else {}
