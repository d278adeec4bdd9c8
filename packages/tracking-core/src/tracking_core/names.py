"""Names that a library can't take, written in characters that it can, and back."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Names", "escape", "marked", "shortened", "unescape"]

_ESCAPED = re.compile(r"_x([0-9A-F]*)_")
_LIKE_ESCAPED = re.compile(r"x[0-9A-F]*")
LAST_CODE = 0x10FFFF


def escape(name: str, allowed: re.Pattern[str]) -> str:
    """`name` with every character that `allowed` does not match written as ``_x40_`` (its code).

    Different names stay different, and `unescape` gives the name back. `allowed` is matched at each
    place of the whole name, so it may look around; it has to match letters, digits and the
    underscore. The empty name becomes ``_x_``.

    >>> escape("loss (train)", re.compile(r"[a-z0-9_ ]"))
    'loss _x28_train_x29_'
    """
    if not name:
        return "_x_"

    def stays(place: int) -> bool:
        if not allowed.match(name, place):
            return False
        if name[place] != "_":
            return True
        # An underscore that would read as the beginning of an escape must be one itself.
        like = _LIKE_ESCAPED.match(name, place + 1)
        after = like.end() if like else len(name)
        return after == len(name) or (name[after] != "_" and bool(allowed.match(name, after)))

    return "".join(
        character if stays(place) else f"_x{ord(character):X}_"
        for place, character in enumerate(name)
    )


def marked(name: str, allowed: re.Pattern[str]) -> str:
    """Another name than `escape` gives, which `unescape` reads as the same: it ends with ``_x_``.

    `allowed` must not match a slash at the end of a name.

    >>> marked("loss", re.compile(r"[a-z0-9_]"))
    'loss_x_'
    """
    # Escaped with what follows, or an underscore of the name could read as the beginning of that.
    return (escape(name + "/", allowed).removesuffix("_x2F_") or "_x_") + "_x_"


def unescape(name: str) -> str:
    """The name that `escape` was given."""
    return _ESCAPED.sub(_character, name)


def _character(escaped: re.Match[str]) -> str:
    code = int(escaped[1] or "0", 16)
    if not escaped[1] or code > LAST_CODE:
        return "" if escaped[0] == "_x_" else escaped[0]
    return chr(code)


def shortened(name: str, longest: int) -> str:
    """`name`, cut to `longest` characters if it has more; its end is then a digest of the whole."""
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: longest - len(digest) - 1]}.{digest}"


class Names:
    """The names that a store has for keys, given once and kept: another for each key.

    Many file systems and databases take names that differ in capitals only for one, so here, too,
    they count as one.

    Args:
        candidates: the names that would do for a key, the best first; the last one does in any case.
        kept: keys by their names, where `unescape` does not tell a name's key.
        taken: names that the store has already.
        files: whether a name is a file, and what stands before its slashes a folder: then no name
            is also what stands before another's slash.

    Attributes:
        kept: the same with what was added, for whoever stores it.
    """

    def __init__(
        self,
        candidates: Callable[[str], Iterable[str]],
        kept: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
        *,
        files: bool = False,
    ) -> None:
        self.kept: dict[str, str] = dict(kept or {})
        self._candidates = candidates
        self._files = files
        # As they are spelled, by what a store without capitals makes of them.
        self._whole: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        for name in taken:
            self.take(name)
        self._names = {key: name for name, key in self.kept.items()}

    def name_of(self, key: str) -> str:
        """The name of `key`."""
        name = self._names.get(key)
        if name is None:
            name = ""
            for name in self._candidates(key):
                if self.is_free(name):
                    break
            self.take(name)
            self._names[key] = name
            if unescape(name) != key:
                self.kept[name] = key
        return name

    def take(self, name: str) -> None:
        """Note that the store has `name`."""
        for folder in _folders(name):
            self._folders.setdefault(_folded(folder), folder)
        self._whole.setdefault(_folded(name), name)

    def is_free(self, name: str) -> bool:
        """Whether `name` can be given to a key: the store has no other that would get in its way."""
        folded = _folded(name)
        folder = self._folders.get(folded)
        return (
            self._whole.get(folded, name) == name
            and (folder is None or (folder == name and not self._files))
            and all(map(self._is_clear, _folders(name)))
        )

    def _is_clear(self, folder: str) -> bool:
        folded = _folded(folder)
        is_file = self._whole.get(folded)
        if is_file is not None and (self._files or is_file != folder):
            return False
        return self._folders.get(folded, folder) == folder


def _folders(name: str) -> Iterator[str]:
    """What stands before each slash of `name`."""
    place = name.find("/")
    while place >= 0:
        yield name[:place]
        place = name.find("/", place + 1)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
