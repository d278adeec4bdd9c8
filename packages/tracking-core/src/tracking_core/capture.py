"""Values on their way in: whatever a training loop holds becomes plain data, copied at the call.

Arrays, tensors, pictures and figures of other libraries are recognised without importing those
libraries (`tracking_core.media`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from tracking_core.errors import UnfitValueError, let_through
from tracking_core.foreign import is_a
from tracking_core.media import medium_of
from tracking_core.plain import (
    LARGEST_INTEGER,
    NOT_PLAIN,
    SMALLEST_INTEGER,
    plain_value,
    reason_of,
    text,
    type_name,
)
from tracking_core.records import LoggedImage, Media, Value
from tracking_core.values import Image, Layout

__all__ = ["Changed", "Rejected", "capture", "capture_images", "capture_tags", "plain_row"]

Changed: TypeAlias = Callable[[str, str, str], object]
"""Told of a value that was taken, but not as it was: its key, its type, and what became of it."""

DEEPEST = 16  # nested dicts beyond this are a mistake
MOST_SEEN_NAMES = 10_000

Read: TypeAlias = Callable[[str, Any, list[str]], Value]
"""Makes a value of what has a key; to the list it adds what is lost on the way."""

_seen_names: set[str] = set()
"""Names that were looked at: a training loop says the same ones again and again."""


class Rejected(NamedTuple):
    """A value that could not be taken: where it was, its type, and why."""

    key: str
    type: str
    reason: str


def plain_row(values: object) -> dict[str, Value] | None:
    """What `capture` would make of `values`, if these are numbers with simple names; else None.

    That is nearly every call of `log`, and seeing it at one glance takes a quarter of the time.
    """
    if type(values) is not dict:
        return None
    # The copy comes first, because another thread may change what it was made of.
    taken = values.copy()
    try:
        if not (_seen_names.issuperset(taken) or _are_names(taken)):
            return None
    except BaseException as error:  # a stranger's name, which raises when it is looked at
        let_through(error)
        return None
    for value in taken.values():
        if (
            type(value) is not float
            and type(value) is not bool
            and (type(value) is not int or not SMALLEST_INTEGER <= value <= LARGEST_INTEGER)
        ):
            return None
    return taken


def capture(
    values: Mapping[Any, Any], changed: Changed | None = None
) -> tuple[dict[str, Value], list[Rejected]]:
    """Plain copies of all `values` that can be taken, and what could not be.

    Never raises for anything that `values` holds.

    Args:
        changed: called for each value of which something is lost, although it is taken.
    """
    return _captured(values, _one_value, changed)


def capture_images(
    values: Mapping[Any, Any], layout: str | None = None, changed: Changed | None = None
) -> tuple[dict[str, Value], list[Rejected]]:
    """Like `capture` for values that are all pictures: one each, a list, or a batch of them.

    A value may be a list of anything that `Image` takes, or an array or tensor with a leading batch
    axis. `layout` may have that axis too (``"NHWC"``).
    """
    # Checked when it is used, so that a wrong one costs these pictures and not the training.
    one_layout = cast(Layout | None, layout and layout.removeprefix("N"))
    return _captured(values, partial(_pictures, layout=one_layout), changed)


def capture_tags(tags: object) -> dict[str, str | None]:
    """Tags as text: a mapping is key-value, a string one label, anything iterable labels."""
    if isinstance(tags, Mapping):
        return {
            text(str(key)): None if value is None else text(str(value))
            for key, value in tags.items()
        }
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        return {text(str(tags)): None}
    return {text(str(tag)): None for tag in tags}


def _are_names(names: dict[str, Any]) -> bool:
    """Whether all `names` are simple text; if so they are remembered."""
    try:
        simple = "".join(names).isascii()
    except TypeError as error:  # a name that is no text
        let_through(error)
        return False
    if simple:
        if len(_seen_names) > MOST_SEEN_NAMES:
            _seen_names.clear()
        _seen_names.update(map(str.__str__, names))
    return simple


def _captured(
    values: Mapping[Any, Any], read: Read, changed: Changed | None
) -> tuple[dict[str, Value], list[Rejected]]:
    taken: dict[str, Value] = {}
    rejected: list[Rejected] = []
    try:
        if not isinstance(values, Mapping):
            raise UnfitValueError("what is logged must be a dict of names and values")
        _capture_into(taken, rejected, values, read, changed, "", (id(values),), set())
    except BaseException as error:
        let_through(error)
        rejected.append(Rejected("", type_name(values), reason_of(error)))
    return taken, rejected


def _capture_into(
    taken: dict[str, Value],
    rejected: list[Rejected],
    values: Mapping[Any, Any],
    read: Read,
    changed: Changed | None,
    parent: str,
    path: tuple[int, ...],
    names: set[str],
) -> None:
    """Sort `values`, which lie below the key `parent` and the dicts whose ids are `path`.

    `names` are the keys taken so far, nested ones as ``parent/child``: every tracker that has no
    groups would store two values of one name in one place.
    """
    notes: list[str] = []
    for given, value in values.items():
        key, kind = given, type(value)
        try:
            if type(given) is not str or not given.isascii():
                key = text(str.__str__(given) if isinstance(given, str) else str(given))
            if key in taken or parent + key in names:
                raise UnfitValueError("another value of the same call has this key")
            if kind is float or kind is bool:
                taken[key] = value
            elif isinstance(value, Mapping):
                if id(value) in path:
                    raise UnfitValueError("this is the dict that it is in")
                if len(path) == DEEPEST:
                    raise UnfitValueError(f"nested deeper than {DEEPEST} levels")
                inner: dict[str, Value] = {}
                deeper = (*path, id(value))
                below = f"{parent}{key}/"
                _capture_into(inner, rejected, value, read, changed, below, deeper, names)
                if inner:
                    taken[key] = inner
                continue
            else:
                taken[key] = read(key, value, notes)
                if notes and changed is not None:
                    for note in dict.fromkeys(notes):
                        changed(parent + key, type_name(value), note)
            names.add(parent + key)
        except BaseException as error:
            # Reading a stranger's object may raise anything; the other values still have to land.
            let_through(error)
            name = key if type(key) is str else type_name(key)
            rejected.append(Rejected(parent + name, type_name(value), reason_of(error)))
        notes.clear()


def _one_value(key: str, value: object, notes: list[str]) -> Value:
    plain = plain_value(value)
    if plain is not NOT_PLAIN:
        return plain  # type: ignore[return-value]  # only plain values are not NOT_PLAIN
    if isinstance(value, (list, tuple)) and not (value and _is_drawn(value[0])):
        return _media_list(value, [medium_of(key, item, notes) for item in value])
    medium = medium_of(key, value, notes)
    if medium is None:
        raise UnfitValueError(_remedy(value))
    return medium


def _is_drawn(value: object) -> bool:
    """Whether it lies on a figure. What ``plot`` gives is a list of such, and one picture."""
    return is_a("matplotlib.artist", "Artist", value) and not is_a(
        "matplotlib.figure", "Figure", value
    )


def _pictures(key: str, value: Any, notes: list[str], layout: Layout | None) -> Value:
    if getattr(value, "ndim", None) == 4:
        value = list(value)
    items = value if isinstance(value, (list, tuple)) else [value]
    wrapped = [
        item if isinstance(item, (Image, LoggedImage)) else Image(item, layout=layout)
        for item in items
    ]
    return _media_list(items, [medium_of(key, item, notes) for item in wrapped])


def _media_list(items: Sequence[object], media: list[Media | None]) -> list[Media]:
    found = [medium for medium in media if medium is not None]
    if found and len(found) == len(media):
        return found
    if not media:
        raise UnfitValueError("an empty list is no value")
    if all(isinstance(plain_value(item), (bool, int, float)) for item in items):
        remedy = "wrap them in Histogram(...), or log each under its own key"
    elif all(isinstance(item, (list, tuple, Mapping)) for item in items):
        remedy = "wrap them as rows in Table(data=...)"
    elif not found and all(hasattr(item, "shape") for item in items):
        remedy = "wrap each in Image(...) or the like, or all in Histogram(...)"
    else:
        remedy = "log each under its own key"
    raise UnfitValueError(f"a list of numbers or other objects is no value: {remedy}")


_WRAPPERS = {
    1: "Histogram(...) or Audio(...)",
    2: "Image(...), Histogram(...) or Table(data=...)",
    3: "Image(...), Video(...) or Histogram(...)",
    4: "Video(...) or Histogram(...), or hand pictures to log_images()",
}


def _remedy(value: object) -> str:
    if hasattr(value, "columns") and hasattr(value, "data"):
        return (
            "a table of another library is no value: log it as "
            "Table(columns=table.columns, data=table.data)"
        )
    shape = getattr(value, "shape", None)
    if shape is not None:
        wrapper = _WRAPPERS.get(len(shape), "Histogram(...)")
        return f"an array of shape {tuple(shape)} is no value: wrap it in {wrapper}"
    return (
        "such an object is no value: log a number, a text, or one of tracking_core's typed values"
    )
