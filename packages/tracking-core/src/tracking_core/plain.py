"""One foreign scalar, text or name as plain data."""

from __future__ import annotations

import enum
import math
import os
import re
import sys
import types
from typing import Any, Final

from tracking_core.errors import UnfitValueError, let_through
from tracking_core.foreign import array_of, imported_numpy, is_masked

__all__ = ["NOT_PLAIN", "plain_value", "printable", "reason_of", "text", "text_of", "type_name"]

LARGEST_INTEGER = 2**64 - 1
SMALLEST_INTEGER = -(2**63)
LONGEST_TEXT_OF_OBJECT = 10_000

NOT_PLAIN: Final = object()

_SCALARS = frozenset({"numpy", "torch"})  # where nearly all are from
_PLACE_IN_MEMORY = re.compile(r" at 0x[0-9a-fA-F]+")


def plain_value(value: object) -> object:
    """`value` as bool, int, float, str or None, or `NOT_PLAIN` if it is none of these.

    Takes numpy, torch and JAX scalars (0-d or of one element, bfloat16 and those that require a
    gradient included), `decimal.Decimal`, fractions, enum members and paths. One rule each for

    * dates and times of any library: text of ISO 8601
    * durations of any library: seconds, as a float
    * what is missing (masked by numpy, NaT, ``pandas.NA``): None

    Raises:
        UnfitValueError: an integer that not even a float can hold, a complex number, or a duration
            in months or years, which have no fixed length.
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
    if isinstance(value, enum.Enum):
        return plain_value(value.value)
    if hasattr(value, "item") and hasattr(value, "shape"):
        return _of_array(value)
    if _is_missing(value):
        return None
    if isinstance(value, os.PathLike):
        return text(os.fsdecode(value))
    if hasattr(value, "total_seconds"):
        return float(value.total_seconds())
    if hasattr(value, "isoformat"):
        return text(str(value.isoformat()))
    if hasattr(value, "__float__") and not hasattr(value, "__len__"):
        return float(value)
    return NOT_PLAIN


def text(characters: str) -> str:
    """`characters` with lone surrogates escaped, so that it can be written as UTF-8."""
    if characters.isascii():
        return characters
    return characters.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(characters: str) -> str:
    """`characters` as they can be printed: a terminal obeys what a run's directory may say."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in characters)


def text_of(value: object) -> str:
    """Any object as a text, the same in every run: what `str` says, without places in memory.

    Never raises for what the object does. A text stays as it is.
    """
    if isinstance(value, str):
        return text(str.__str__(value))
    try:
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            module = f"{value.__module__}." if value.__module__ else ""
            return f"{module}{value.__qualname__}"
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = bytes(value[:LONGEST_TEXT_OF_OBJECT])
        return text(_PLACE_IN_MEMORY.sub("", str(value)[:LONGEST_TEXT_OF_OBJECT]))
    except BaseException as error:  # a __str__ that raises must not lose what it is the text of
        let_through(error)
        # Python writes no integer of more than 4300 digits as decimals.
        return hex(value) if type(value) is int else f"<{type_name(value)}>"


def reason_of(error: BaseException) -> str:
    """Why a value can't be taken. The text of a foreign error may hold it, and it may be a secret."""
    if issubclass(type(error), (UnfitValueError, OSError)):
        try:
            return str(error)
        except BaseException as another:  # a stranger's
            let_through(another)
    return f"reading it raised {type_name(error)}"


def type_name(value: object) -> str:
    """The name of its class as a user would write it."""
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _of_array(value: Any) -> object:
    """What `plain_value` makes of something that has a shape."""
    if math.prod(value.shape) != 1:
        return NOT_PLAIN
    if type(value).__module__ not in _SCALARS:
        if hasattr(value, "columns"):
            return NOT_PLAIN  # a dataframe of one cell
        if is_masked(value):
            return None
    item = value.item()
    if type(item) is float:
        return item
    if getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m"):
        # Of these the item may be a mere number of nanoseconds.
        array = array_of(value)
        if array is not None and array.dtype.kind in "Mm":
            moment = array.ravel()[0]
            return _date(moment) if array.dtype.kind == "M" else _seconds(moment)
    # numpy's longdouble gives itself back.
    return float(item) if type(item) is type(value) else plain_value(item)


def _date(moment: Any) -> str | None:
    """numpy's datetime64 as `datetime.isoformat` has it: without a fraction, or with six digits."""
    said = str(moment)
    if said == "NaT":
        return None
    whole, point, fraction = said.partition(".")
    if "T" in whole:
        whole += ":00" * (2 - whole.count(":"))
    digits = fraction.rstrip("0")
    if not digits:
        return whole
    return whole + point + (digits.ljust(6, "0") if len(digits) <= 6 else fraction)


def _seconds(duration: Any) -> float | None:
    numpy = imported_numpy()
    if numpy.isnat(duration):
        return None
    try:
        return float(duration / numpy.timedelta64(1, "s"))
    except TypeError:
        raise UnfitValueError(
            "a duration in months or years has no fixed length: log it as text with str()"
        ) from None


def _is_missing(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and (
        value is getattr(pandas, "NaT", pandas) or value is getattr(pandas, "NA", pandas)
    )
