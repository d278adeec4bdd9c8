"""One foreign scalar, text or name as plain data."""

from __future__ import annotations

import enum
import math
import os
from typing import Final

from tracking_core.errors import UnfitValueError

__all__ = ["NOT_PLAIN", "plain_value", "text", "type_name"]

LARGEST_INTEGER = 2**64 - 1
SMALLEST_INTEGER = -(2**63)

NOT_PLAIN: Final = object()


def plain_value(value: object) -> object:
    """`value` as bool, int, float, str or None, or `NOT_PLAIN` if it is none of these.

    Takes numpy, torch and JAX scalars (0-d or of one element, bfloat16 and those that require a
    gradient included), `decimal.Decimal`, fractions, enum members, dates and paths.

    Raises:
        UnfitValueError: an integer that not even a float can hold, or a complex number.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        value = int(value)
        if SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
        try:
            return float(value)
        except OverflowError:
            raise UnfitValueError(
                "the integer is larger than any float: log it as text with str()"
            ) from None
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return text(str.__str__(value))
    if isinstance(value, complex):
        raise UnfitValueError("a complex number is no value: log its real and imaginary part")
    if hasattr(value, "item") and hasattr(value, "shape"):
        if math.prod(value.shape) != 1:
            return NOT_PLAIN
        item = value.item()
        # numpy's longdouble gives itself back.
        return float(item) if hasattr(item, "shape") else plain_value(item)
    if isinstance(value, os.PathLike):
        return text(os.fsdecode(value))
    if hasattr(value, "isoformat"):
        return text(str(value.isoformat()))
    if isinstance(value, enum.Enum):
        return plain_value(value.value)
    if hasattr(value, "__float__") and not hasattr(value, "__len__"):
        return float(value)
    return NOT_PLAIN


def text(characters: str) -> str:
    """`characters` with lone surrogates escaped, so that it can be written as UTF-8."""
    if characters.isascii():
        return characters
    return characters.encode("utf-8", "backslashreplace").decode("utf-8")


def type_name(value: object) -> str:
    """The name of its class as a user would write it."""
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
