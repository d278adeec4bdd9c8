"""Names that a library can't take, written in characters that it can, and back."""

from __future__ import annotations

import hashlib
import re

__all__ = ["escape", "shortened", "unescape"]

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
