"""What a key is called as a file, and which key a file is called after.

Nested keys become folders, as in DVCLive. Whatever could lead out of its folder, be another key's
file on a file system that does not tell capitals apart, or not exist there at all, is escaped
(`tracking_core.names`): a run may be in a git repository that others check out elsewhere.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from tracking_core.names import escape, shortened, unescape

__all__ = ["Names", "inner_path", "key_of"]

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


class Names:
    """The names of keys, given once and kept: another for each key.

    Args:
        kept: keys by their names, where a name alone does not tell its key.
        taken: names that are there already.

    Attributes:
        kept: the same with what was added, for whoever stores it.
    """

    def __init__(self, kept: Mapping[str, str] | None = None, taken: Iterable[str] = ()) -> None:
        self.kept: dict[str, str] = dict(kept or {})
        self._spelled: dict[str, str] = {}
        for name in taken:
            self._take(name)
        self._names = {key: name for name, key in self.kept.items()}

    def name_of(self, key: str) -> str:
        """The name of `key`, with slashes."""
        name = self._names.get(key)
        if name is None:
            name = next(name for name in _candidates(key) if self._is_free(name))
            self._take(name)
            self._names[key] = name
            if key_of(name) != key:
                self.kept[name] = key
        return name

    def _is_free(self, name: str) -> bool:
        return all(self._spelled.get(_folded(part), part) == part for part in _prefixes(name))

    def _take(self, name: str) -> None:
        for prefix in _prefixes(name):
            self._spelled.setdefault(_folded(prefix), prefix)


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


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[: place + 1]) for place in range(len(parts)))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
