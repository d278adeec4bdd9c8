"""Configuration and tags as W&B can show them, with the truth beside where it can't hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tracking_wandb import names

__all__ = ["INT64", "Entries", "label_of", "told"]

LONGEST_LABEL = 64
INT64 = range(-(2**63), 2**63)


class Entries:
    """The configuration and tags of a run, as far as they are known here.

    Args:
        config: the configuration that W&B has of the run already.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._odd: dict[str, Any] = told(config, names.CONFIG)
        self.tags: dict[str, str | None] = told(config, names.TAGS)

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` for ``run.config.update``: what W&B would change is kept whole beside it."""
        shown, changed = {}, False
        for key, value in values.items():
            name = names.config_name(key)
            shown[name] = _shown(value)
            if not _fits(value):
                self._odd[name] = value
                changed = True
            elif name in self._odd:
                del self._odd[name]
                changed = True
        return {**shown, names.CONFIG: json.dumps(self._odd)} if changed else shown

    def tag(self, values: Mapping[str, str | None]) -> tuple[set[str], set[str], dict[str, Any]]:
        """Labels to take away and to add, and the configuration's entry, for these tags."""
        old = {label_of(key, self.tags[key]) for key in values if key in self.tags}
        self.tags.update(values)
        new = {label_of(key, value) for key, value in values.items()}
        return old - new, new, {names.TAGS: json.dumps(self.tags)}


def label_of(key: str, value: str | None) -> str:
    """A tag as one of W&B's labels, which have 1 to 64 characters."""
    text = key if value is None else f"{key}:{value}"
    return text[:LONGEST_LABEL] or "_x_"


def told(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the configuration's entry `name` says as JSON; nothing if it is somebody else's."""
    try:
        found = json.loads(config.get(name, "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fits(value: object) -> bool:
    """Whether W&B gives `value` back as it was."""
    match value:
        case bool() | None:
            return True
        case int():
            return value in INT64
        case float():
            return math.isfinite(value)
        case str():
            return not value.startswith("wandb-artifact://")
        case list():
            return all(_fits(item) for item in value)
        case dict():
            # "_type" is W&B's own, empty dicts it loses.
            return bool(value) and all(
                key and key != "_type" and _fits(item) for key, item in value.items()
            )
    return False


def _shown(value: Any) -> Any:
    """`value`, or what stands for it where people look."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case int() if value not in INT64:
            return str(value)
        case str() if value.startswith("wandb-artifact://"):
            return f" {value}"  # W&B would look for that artifact
        case list():
            return [_shown(item) for item in value]
        case dict():
            inner = {key or "_x_": _shown(item) for key, item in value.items() if key != "_type"}
            return inner or "{}"
    return value
