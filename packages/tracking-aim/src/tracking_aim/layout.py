"""Where things lie in an Aim run, for what writes them and for what reads them.

A key is the name of a sequence, and Aim keeps a sequence apart for each *context* of a name. Where
Aim has no room for something in a key's own sequence, it lies in the same name's sequence under a
context that says why. Those words, and the places for what Aim has no word for, are on this page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from tracking_core.names import escape, unescape

__all__ = [
    "ABOUT", "AXIS", "INDEX", "KIND", "LARGEST", "MORE", "NONE", "OURS", "PARAMS", "SMALLEST",
    "STATUS", "TAGS", "Path", "fitted", "key_of", "name_of", "restored", "split_context",
]  # fmt: skip

Path = tuple[Any, ...]
"""The database, ``"meta"`` or ``"seqs"``, and the names and numbers that lead to a value in it."""

SMALLEST, LARGEST = -(2**63), 2**63 - 1
"""The integers, and the steps, that Aim can store."""

AXIS = "step_axis"
"""In a context: the axis that the steps count on, as ``log_kwargs`` named it."""
INDEX = "_index"
"""In a context: the place of a value in the list that was logged."""
KIND = "_kind"
"""In a context: what the sequence holds, since another kind of value has the name already."""
MORE = "_more"
"""In a context: the sequence counts its values, because their steps are taken or negative."""
NONE = "none"
"""A `KIND`: texts that stand for None."""

PARAMS = "hparams"
"""The run's param that holds the configuration, as Accelerate has it."""
TAGS = "tag"
"""The run's param that holds key-value tags: Aim's own tags are labels."""
STATUS = "status"
"""The run's param that says how the run ended."""

OURS = "tracking"
"""Beside the run's params: the exact configuration, as JSON."""
ABOUT = "tracking"
"""In a stored object: what Aim's kind of object has no field for, as JSON."""

# Aim takes any character, but reads an empty name as the number 0.
_ANY = re.compile(r"(?s:.)")


@functools.lru_cache(maxsize=10_000)
def name_of(key: str) -> str:
    """The name that `key` has in Aim; another for each key."""
    return escape(key, _ANY)


def key_of(name: str) -> str:
    """The key that has `name` in Aim."""
    return unescape(name)


def fitted(value: Any) -> Any:
    """A plain `value`, nested or not, as one that Aim can store."""
    if isinstance(value, dict):
        return {name_of(key): fitted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [fitted(inner) for inner in value]
    if type(value) is int and not SMALLEST <= value <= LARGEST:
        return float(value)
    return value


def restored(value: Any) -> Any:
    """What `fitted` was given, but for integers that Aim can't store."""
    if isinstance(value, dict):
        return {key_of(str(name)): restored(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [restored(inner) for inner in value]
    return value


def split_context(context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the user's context and axis are, and what is ours in `context`."""
    ours = {key: value for key, value in context.items() if key in (INDEX, KIND, MORE)}
    return {key: value for key, value in context.items() if key not in ours}, ours
