"""A run's configuration, whatever it comes in, as nested plain data.

Researchers hand in ``vars(args)``, dataclasses, Hydra configs and dicts with a ``torch.dtype`` in
them. Nothing of that may stop a training, and nothing may be left out: what has no plain form is
kept as its text, and of what can't be read the reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import operator
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any, TypeAlias, TypeVar

from tracking_core.errors import UnfitValueError, let_through
from tracking_core.foreign import array_of
from tracking_core.plain import (
    LARGEST_INTEGER,
    NOT_PLAIN,
    SMALLEST_INTEGER,
    plain_value,
    text,
    text_of,
    type_name,
)
from tracking_core.records import Plain

__all__ = ["PlainConfig", "entries_of", "plain_config", "plain_data", "read_part"]

# Any stands for a nested `PlainConfig`: a type alias can't name itself without a forward reference.
PlainConfig: TypeAlias = Plain | list[Any] | dict[str, Any]
Entries: TypeAlias = Iterable[tuple[object, Callable[[], object]]]
"""The names of what is inside, each with what reads it, which may raise."""

Answer = TypeVar("Answer")

DEEPEST = 32
LONGEST_ARRAY = 1000
MOST_VALUES = 1_000_000  # a few small lists in one another may be more than any memory holds
COST_OF_OTHERS = 9  # how many more of them a value counts that is no number or text
REST = "<the rest>"
LEFT_OUT = f"<left out: a configuration has at most {MOST_VALUES} values>"


def plain_config(config: object) -> dict[str, PlainConfig]:
    """`config` as a dict of plain values, lists and dicts. Never raises, and consumes nothing.

    Takes mappings (OmegaConf and others included), ``argparse.Namespace``, dataclasses, attrs and
    msgspec classes, objects with ``to_dict()`` or ``model_dump()`` (transformers, pydantic), and
    any other object or class with attributes; anything else becomes ``{"config": ...}``. Inside

    * numbers, texts, dates, durations and what is missing follow the rules of `plain_value`
    * arrays of up to 1000 elements become lists; larger ones a text with their shape
    * sets become sorted lists; an enum member its value, or its name if that is not plain
    * classes and functions become their names, any other object its text
    * what can't be read becomes ``<reading it raised ...>``, and all the rest is kept
    """
    reader = _Reader()
    entries = _asked_for(entries_of, config)
    if entries is None and _asked_for(_has_only_attributes, config) is not False:
        entries = _asked_for(_attributes, config)
    found = reader.plain(config) if entries is None else reader.named(entries, config)
    return found if isinstance(found, dict) else {"config": found}


def plain_data(value: object) -> PlainConfig:
    """`value` as it is kept inside a configuration. Never raises."""
    return _Reader().plain(value)


def read_part(read: Callable[[], object]) -> object:
    """What `read` gives; as a text why, if it raises."""
    try:
        return read()
    except BaseException as error:  # a field not set, an interpolation that can't be resolved
        let_through(error)
        return _reason(error)


class _Reader:
    """Reads one configuration."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._inside: set[int] = set()  # ids of what is being read

    def plain(self, value: object) -> PlainConfig:
        self._left -= 1
        if value is None or type(value) in (float, bool):
            return value  # type: ignore[return-value]  # so it is
        if type(value) is int and SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
        if type(value) is str:
            return text(value)
        self._left -= COST_OF_OTHERS
        if id(value) in self._inside:
            return f"<the {type_name(value)} that this is in>"
        if len(self._inside) == DEEPEST:
            return f"<{type_name(value)} nested deeper than {DEEPEST} levels>"
        self._inside.add(id(value))
        try:
            return self._read(value)
        except BaseException as error:  # a stranger's object may raise whatever is asked of it
            let_through(error)
            return _unreadable(value, error)
        finally:
            self._inside.discard(id(value))

    def named(self, entries: Entries, owner: object) -> PlainConfig:
        """A dict of what is inside `owner`; why, if nothing of it could be read."""
        self._inside.add(id(owner))
        plain: dict[str, PlainConfig] = {}
        try:
            for key, read in entries:
                name = text_of(key)
                while name in plain:
                    name += "'"
                if self._left <= 0:
                    plain[name] = LEFT_OUT
                    break
                plain[name] = self.plain(read_part(read))
        except BaseException as error:
            let_through(error)
            if not plain:
                return _reason(error)
            plain[REST] = _reason(error)
        return plain

    def _read(self, value: Any) -> PlainConfig:
        if type(value) in (list, tuple):  # at one glance, as most are
            return self._list(value)
        if not isinstance(value, Mapping):
            plain = plain_value(value)
            if plain is not NOT_PLAIN:
                return plain  # type: ignore[return-value]  # only plain values are not NOT_PLAIN
            shape = getattr(value, "shape", None)
            if isinstance(shape, tuple) and math.prod(shape) > LONGEST_ARRAY:
                return _shape_of(value)
        entries = entries_of(value)
        if entries is not None:
            return self.named(entries, value)
        array = array_of(value)
        if array is not None:
            return self._array(array)
        if isinstance(value, (set, frozenset)):
            return _in_order(self._list(value))
        # OmegaConf's lists are sequences that are no `list`. A range may be longer than any memory.
        if isinstance(value, Sequence) and not isinstance(value, _KEPT_AS_TEXT):
            return self._list(value)
        return text_of(value)

    def _list(self, items: Collection[object]) -> list[PlainConfig]:
        plain: list[PlainConfig] = []
        try:
            for item in itertools.islice(items, len(items)):
                if self._left <= 0:
                    return [*plain, LEFT_OUT]
                plain.append(self.plain(item))
        except BaseException as error:
            let_through(error)
            if not isinstance(items, Sequence):
                return [*plain, _reason(error)]
            # One element that can't be read, as in a list of OmegaConf's: the others can.
            for index in range(len(plain), min(len(items), self._left)):
                plain.append(self.plain(read_part(partial(operator.getitem, items, index))))
        return plain

    def _array(self, array: Any) -> PlainConfig:
        if array.dtype.kind in "buif":
            whole = array.astype("float64") if array.dtype.itemsize > 8 else array
            listed: list[Any] = whole.tolist()
            return listed
        if array.ndim:
            return self._list(array)
        item = array.item()
        names = array.dtype.names  # of a structure, whose item is a tuple
        return self.plain(dict(zip(names, item, strict=True)) if names else item)


_KEPT_AS_TEXT = (bytes, bytearray, memoryview, range)


def _asked_for(question: Callable[[object], Answer], value: object) -> Answer | None:
    """The answer; None if `value`, a stranger's object, raises when it is asked."""
    try:
        return question(value)
    except BaseException as error:
        let_through(error)
        return None


def entries_of(value: Any) -> Entries | None:
    """The names of what is inside `value`, each with what reads it; None if it has no named parts.

    Asking raises whatever a stranger's object does; so does going through them, and reading one.
    """
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if isinstance(value, type) or _is_secret(value):
        return None
    if isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        return _of_mapping(vars(value))
    if dataclasses.is_dataclass(value):
        return _of_attributes(value, [field.name for field in dataclasses.fields(value)])
    for names in ("__attrs_attrs__", "__struct_fields__"):  # of attrs, of msgspec
        fields = getattr(type(value), names, None)
        if isinstance(fields, tuple):
            return _of_attributes(value, [str(getattr(field, "name", field)) for field in fields])
    for name in ("_asdict", "model_dump", "to_dict"):
        convert = getattr(value, name, None)
        if callable(convert):
            try:
                converted = convert()
            except BaseException as error:  # to_dict of another kind: it has other forms left
                let_through(error)
                continue
            if isinstance(converted, Mapping):
                return _of_mapping(converted)
    fields = getattr(type(value), "model_fields", None)  # of pydantic, when model_dump raised
    return _of_attributes(value, [*fields]) if isinstance(fields, Mapping) else None


def _of_mapping(mapping: Mapping[Any, Any]) -> Iterator[tuple[object, Callable[[], object]]]:
    if type(mapping) is dict:
        mapping = mapping.copy()  # another thread may change it meanwhile
    seen = set()
    keys: Iterator[Any] | None = None
    failure: BaseException | None = None
    while failure is None:
        try:  # not around the yield, where closing this raises
            keys = iter(mapping) if keys is None else keys
            key = next(keys)
        except StopIteration:
            return
        except BaseException as error:
            let_through(error)
            failure = error
        else:
            seen.add(id(key))
            yield key, partial(operator.getitem, mapping, key)
    if isinstance(mapping, dict):
        for key, value in dict.items(mapping):
            if id(key) not in seen:
                yield key, partial(_same, value)
    raise failure


def _of_attributes(
    value: object, names: Iterable[str]
) -> Iterator[tuple[object, Callable[[], object]]]:
    for name in names:
        yield name, partial(getattr, value, name)


def _has_only_attributes(value: object) -> bool:
    """Whether it is nothing but an object with attributes, as far as anybody here knows."""
    others = (Sequence, Set, types.FunctionType, types.BuiltinFunctionType, *_KEPT_AS_TEXT)
    return (
        not isinstance(value, others)
        and not _is_secret(value)
        and plain_value(value) is NOT_PLAIN
        and array_of(value) is None
    )


def _is_secret(value: object) -> bool:
    """Whether it is one of pydantic's secrets, which hide themselves in their text."""
    return hasattr(type(value), "get_secret_value")


def _attributes(value: Any) -> Entries | None:
    """What was set on an object or a class, or on the classes above it; no property is read."""
    own = value if isinstance(value, type) else type(value)
    found = _of_class(own)
    entries = {name: partial(_same, one) for name, one in found.items()}
    if own is not value:
        for kind in own.__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                entries[name] = partial(getattr, value, name)
        set_here = getattr(value, "__dict__", {})
        entries |= {
            name: partial(_same, one)
            for name, one in set_here.items()
            if not isinstance(one, types.ModuleType)
        }
    shown = [(name, read) for name, read in entries.items() if not name.startswith("__")]
    return shown or None


def _of_class(own: type) -> dict[str, object]:
    """What a class says besides its methods; a class that is defined in it is a dict of its own."""
    found: dict[str, object] = {}
    for kind in reversed(own.__mro__):
        if kind.__module__ == "builtins":
            continue
        for name, one in vars(kind).items():
            inside = getattr(one, "__qualname__", "") == f"{kind.__qualname__}.{name}"
            if name.startswith("_") or (inside and not isinstance(one, type)):
                continue
            if inside:
                found[name] = _of_class(one)
            elif isinstance(one, (type, types.FunctionType)) or not hasattr(type(one), "__get__"):
                found[name] = one
    return found


def _in_order(items: list[PlainConfig]) -> list[PlainConfig]:
    try:
        return sorted(items)  # type: ignore[type-var]  # what can't be compared raises
    except TypeError:
        return sorted(items, key=str)


def _shape_of(value: Any) -> str:
    kind = type_name(value)
    if hasattr(value, "dtype"):
        return f"array of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    return f"{kind} of shape {tuple(value.shape)}"


def _same(value: object) -> object:
    return value


def _unreadable(value: object, error: BaseException) -> str:
    """What stands for an object of which something raised: its text, if it has one of its own."""
    kind = type(value)
    if isinstance(error, UnfitValueError) or not (
        kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    ):
        return text_of(value)
    return _reason(error)


def _reason(error: BaseException) -> str:
    return f"<reading it raised {type_name(error)}>"
