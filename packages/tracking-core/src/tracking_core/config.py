"""A run's configuration, whatever it comes in, as nested plain data.

Researchers hand in ``vars(args)``, dataclasses, Hydra configs and dicts with a ``torch.dtype`` in
them. Nothing of that may stop a training, and nothing may be left out: what has no plain form is
kept as its text.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tracking_core.media import plain_array
from tracking_core.plain import NOT_PLAIN, plain_value, text, type_name
from tracking_core.records import Plain

__all__ = ["PlainConfig", "plain_config"]

# Any stands for a nested `PlainConfig`: a type alias can't name itself without a forward reference.
PlainConfig: TypeAlias = Plain | list[Any] | dict[str, Any]

DEEPEST = 32
LONGEST_ARRAY = 1000
LONGEST_TEXT_OF_OBJECT = 10_000


def plain_config(config: object) -> dict[str, PlainConfig]:
    """`config` as a dict of plain values, lists and dicts. Never raises.

    Takes mappings (OmegaConf and others included), ``argparse.Namespace``, dataclasses, objects
    with ``to_dict()`` or ``model_dump()`` (transformers, pydantic) or with ``__dict__``; anything
    else becomes ``{"config": ...}``. Inside, arrays of up to 1000 elements become lists; sets
    become sorted lists; classes, functions and unknown objects their names or texts.
    """
    fields = _fields(config)
    if fields is None and not isinstance(config, (list, tuple, set, frozenset, types.FunctionType)):
        fields = getattr(config, "__dict__", None)
    if fields is None:
        return {"config": _plain(config, ())}
    return _plain_dict(fields, (id(config),))


def _plain(value: object, path: tuple[int, ...]) -> PlainConfig:
    """`value` below the objects whose ids are `path`."""
    if id(value) in path:
        return f"<the {type_name(value)} that this is in>"
    if len(path) == DEEPEST:
        return f"<{type_name(value)} nested deeper than {DEEPEST} levels>"
    inside = (*path, id(value))
    try:
        plain = plain_value(value)
        if plain is not NOT_PLAIN:
            return plain  # type: ignore[return-value]  # only plain values are not NOT_PLAIN
        fields = _fields(value)
        if fields is not None:
            return _plain_dict(fields, inside)
        array = plain_array(value, LONGEST_ARRAY)
        if array is not None:
            return array
        if isinstance(value, (set, frozenset)):
            return sorted((_plain(item, inside) for item in value), key=str)
        # OmegaConf's lists are sequences that are no `list`.
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [_plain(item, inside) for item in value]
    except Exception:  # a stranger's object: its text is all that is left to try
        pass
    return _text_of(value)


def _plain_dict(fields: Mapping[Any, Any], path: tuple[int, ...]) -> dict[str, PlainConfig]:
    plain: dict[str, PlainConfig] = {}
    for key in fields:
        name = text(key if type(key) is str else _text_of(key))
        while name in plain:
            name += "'"
        try:
            value = fields[key]
        except Exception as error:  # an unresolvable interpolation, for instance
            plain[name] = f"<reading it raised {type_name(error)}>"
        else:
            plain[name] = _plain(value, path)
    return plain


def _fields(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        return vars(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        value = value._asdict()
        return value if isinstance(value, Mapping) else None
    for name in ("model_dump", "to_dict"):
        convert = getattr(value, name, None)
        if callable(convert):
            try:
                converted = convert()
            except Exception:  # to_dict of another kind: the object has other forms left
                continue
            if isinstance(converted, Mapping):
                return converted
    return None


def _text_of(value: object) -> str:
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return text(str(value))[:LONGEST_TEXT_OF_OBJECT]
    except Exception:  # a __str__ that raises must not lose the key
        return f"<{type_name(value)}>"
