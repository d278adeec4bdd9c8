"""The names under which a run's values lie in Comet, for what writes them and for what reads them.

A value lies under its own key, nested ones under ``parent/child``. What Comet has no place for lies
in the metadata of its asset, in assets whose names begin with `OURS`, or in others that do so.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tracking_core.names import escape, shortened, unescape

__all__ = [
    "CONFIG", "LONGEST_VALUE", "NAMES", "NONE", "OURS", "STATUS", "STEP_AXIS", "TAGS", "axis_name",
    "name_of", "original", "other_name", "parameters", "whole_name",
]  # fmt: skip

LONGEST_NAME = 100  # of a metric or parameter; Comet's client cuts what is longer
LONGEST_VALUE = 1000  # of a parameter or other, in characters, likewise
DEEPEST = 10  # nested parameters, likewise

OURS = "tracking/"
CONFIG = OURS + "config.json"
"""An asset: what one call gave as configuration, exactly."""
TAGS = OURS + "tags.json"
"""An asset: the tags of one call; a label has the value null."""
NAMES = OURS + "names.json"
"""An asset: whole keys by the shortened names that stand for them."""
STATUS = OURS + "status"
"""An other: "running", "finished", "failed" or "killed"."""
STEP_AXIS = OURS + "step_axis/"
"""Begins an other, with a metric's name behind it: the axis that its steps count on."""
NONE = "/_x_none"
"""Ends the name of a metric that is 1 where the value was None, and the metric itself NaN."""

# A newline in a name makes `comet upload` give up on all metrics that follow.
_METRIC = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OTHER = re.compile(r"(?!(?<=\Atracking)/)" + _METRIC.pattern)
_PARAMETER = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029|]")  # | joins the keys of nested ones


@functools.lru_cache(maxsize=10_000)
def name_of(key: str) -> str:
    """The name that `key` has as a metric; another for each key."""
    return shortened(escape(key, _METRIC), LONGEST_NAME - len(NONE))


def other_name(key: str) -> str:
    """The name that `key` has among others; never one of `OURS`."""
    return shortened(escape(key, _OTHER), LONGEST_NAME)


def axis_name(name: str) -> str:
    """The other that says on which axis the metric `name` counts."""
    return shortened(STEP_AXIS + name, LONGEST_NAME)


def whole_name(key: str) -> str:
    """The name that `key` would have if names could be long; `unescape` gives the key back."""
    return escape(key, _METRIC)


def parameters(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`values` as Comet's parameters: flat, ``a|b``, cut to what it takes.

    >>> dict(parameters({"lr": 0.1, "optimizer": {"name": "adam"}, "betas": [0.9, 0.99]}))
    {'lr': 0.1, 'optimizer|name': 'adam', 'betas': [0.9, 0.99]}
    """
    for path, value in _leaves(values, ()):
        name = shortened("|".join(escape(key, _PARAMETER) for key in path), LONGEST_NAME)
        yield name, _fitting(value)


def _leaves(
    values: Mapping[str, Any], parents: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        path = (*parents, key)
        if isinstance(value, Mapping) and value and len(path) < DEEPEST:
            yield from _leaves(value, path)
        else:
            yield path, value


def _fitting(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        text = json.dumps(value)
        plain = isinstance(value, list) and not any(isinstance(one, (dict, list)) for one in value)
        if plain and value and len(text) <= LONGEST_VALUE:
            return value
        return text[:LONGEST_VALUE]
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


def original(name: str, names: Mapping[str, str]) -> str:
    """The key that lies under `name`; `names` are the whole names of shortened ones."""
    return unescape(names.get(name, name))
