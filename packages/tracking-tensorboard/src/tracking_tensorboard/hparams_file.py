"""The configuration as a YAML file beside the event file, where Accelerate has it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping

__all__ = ["store", "yaml"]

NAME = "hparams.yml"
LONGEST_SIMPLE_KEY = 1000  # YAML allows 1,024 characters, quotes and all


def store(run_dir: str, values: Mapping[str, object], wall_time: float) -> str:
    """Write ``<run_dir>/<wall_time>/hparams.yml``; its path. A second time replaces it.

    Raises:
        OSError: the disk is full or broken.
    """
    folder = os.path.join(run_dir, str(wall_time))
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, NAME)
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(yaml(values))
    os.replace(path + ".part", path)
    return path


def yaml(values: Mapping[str, object]) -> str:
    """`values` as YAML: a line for each, which every YAML reader understands alike."""
    # PyYAML would be one more thing to install for this one file.
    return "".join(f"{_entry(key, value)}\n" for key, value in values.items()) or "{}\n"


def _entry(key: str, value: object) -> str:
    name = _text(key)
    if len(name) <= LONGEST_SIMPLE_KEY:
        return f"{name}: {_inline(value)}"
    return f"? {name}\n: {_inline(value)}"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        entries = (_entry(key, inner).replace("\n", " ") for key, inner in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    digits = repr(value)
    # Without a point, YAML 1.1 takes 1e-05 for a text.
    return digits if "." in digits else digits.replace("e", ".0e")


def _text(text: str) -> str:
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
