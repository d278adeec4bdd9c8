"""What a key is called as a file, and which key a file is called after.

Nested keys become folders, as in DVCLive. Whatever could lead out of its folder, be another key's
file on a file system that does not tell capitals apart, or not exist there at all, is escaped
(`tracking_core.names`): a run may be in a git repository that others check out elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from tracking_core.names import Names, escape, shortened, unescape

__all__ = ["inner_path", "key_of", "names"]

_RESERVED = r"(?!\A(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z))"  # devices of Windows
_ENDS = r"(?!\A\.)(?![. ]\Z)"  # hidden, the parent folder, or what Windows leaves out
_CHARACTERS = r"""[^\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"|?*\\/]"""
# DVCLive and DVC tell files by their endings, also where a folder has one.
_ENDINGS = r"(?!\.(?i:json))(?!\.(?i:csv|dvc|gif|jpe?g|md|png|svg|tsv|ya?ml)\Z)"
_COLUMNS = r"(?!\A(?:step|timestamp)\Z)"  # the other columns of a metric's file

_IN_A_NAME = re.compile(_RESERVED + _ENDS + _ENDINGS + _COLUMNS + _CHARACTERS)
_WITHOUT_CAPITALS = re.compile(_RESERVED + _ENDS + _ENDINGS + _COLUMNS + r"[a-z0-9_ .,()%=+~@#-]")
_IN_A_PATH = re.compile(_RESERVED + _ENDS + _CHARACTERS)

LONGEST_PART = 200  # bytes; with an ending it fits into every common file system
SHORT_PART = 48  # characters, of at most four bytes
LONGEST_NAME = 1000  # bytes, of a whole name
SHORT_NAME = 120


def names(kept: Mapping[str, str] | None = None, taken: Iterable[str] = ()) -> Names:
    """The names of keys, with slashes; `taken` are there already, and `kept` tell their keys."""
    return Names(_candidates, kept, taken)


def key_of(name: str, kept: Mapping[str, str] | None = None) -> str:
    """The key that has `name`."""
    return (kept or {}).get(name) or unescape(name)


def inner_path(path: str) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept.

    >>> inner_path("/models//best/"), inner_path("../up")
    ('models/best', '_x2E__x2E_/up')
    """
    parts = path.replace(os.sep, "/").split("/")
    return "/".join(_part(part, _IN_A_PATH) for part in parts if part not in ("", "."))


def _candidates(key: str) -> Iterator[str]:
    for allowed in (_IN_A_NAME, _WITHOUT_CAPITALS):
        name = "/".join(_part(part, allowed) for part in key.split("/"))
        yield name if len(name.encode()) <= LONGEST_NAME else shortened(name, SHORT_NAME)
    # As good as never: a key that reads like another's escape.
    yield shortened(name + "/" * SHORT_NAME, SHORT_NAME).replace("/", "_").lower()


def _part(part: str, allowed: re.Pattern[str]) -> str:
    name = escape(part, allowed)
    return shortened(name, SHORT_PART) if len(name.encode()) > LONGEST_PART else name
