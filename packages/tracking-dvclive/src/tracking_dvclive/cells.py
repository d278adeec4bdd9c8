"""Plain values as cells of TSV and CSV files, and back, exactly.

Every CSV reader takes them. What only this one tells apart: a text is quoted and anything else is
not, so the text "0.5" is no number and the empty text is not None (an empty cell).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracking_core.records import Plain

__all__ = ["cell", "plain", "rows", "whole_length"]

_WORDS: dict[str, Plain] = {"": None, "True": True, "False": False}
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"(?!")')


def cell(value: Plain) -> str:
    """`value` as a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return repr(value)


def plain(found: str) -> Plain:
    """The value that `found`, a cell as it stands in the file, holds.

    Texts that other writers left unquoted are texts too, unless they read as a number.

    >>> plain("0.5"), plain('"0.5"'), plain(""), plain("some text")
    (0.5, '0.5', None, 'some text')
    """
    if found in _WORDS:
        return _WORDS[found]
    if found[0] == '"':
        return found[1:-1].replace('""', '"') if len(found) > 1 and found[-1] == '"' else found
    if _INTEGER.match(found):
        return int(found)
    try:
        # Python's own notation for long numbers is nobody's number in a file.
        return found if "_" in found else float(found)
    except ValueError:
        return found


def rows(text: str, delimiter: str = "\t") -> Iterator[list[str]]:
    """The cells of each row as they stand in `text`; a last row that was cut off is left out."""
    if '"' not in text:
        lines = text.replace("\r\n", "\n").split("\n")
        yield from (line.split(delimiter) for line in lines[:-1])
        return
    row: list[str] = []
    for found, ending, _ in _cells(text, delimiter):
        row.append(found)
        if ending == "\n":
            yield row
            row = []


def whole_length(text: str, delimiter: str = "\t") -> int:
    """How much of `text` are whole rows: without the last one, if it was cut off."""
    if '"' not in text:
        return text.rfind("\n") + 1
    return max((end for _, ending, end in _cells(text, delimiter) if ending == "\n"), default=0)


def _cells(text: str, delimiter: str) -> Iterator[tuple[str, str, int]]:
    """Each cell with what ends it (the delimiter, a newline, or nothing) and where that ends."""
    unquoted = re.compile(rf"[^{delimiter}\r\n]*")
    place = 0
    while place < len(text):
        start = place
        quoted = _QUOTED.match(text, place)
        if quoted:
            place = quoted.end()
        elif text[place] == '"':
            return  # cut off in the middle of a text
        place = unquoted.match(text, place).end()  # type: ignore[union-attr]  # matches nothing too
        found = text[start:place]
        if text.startswith("\r\n", place):
            place += 2
            yield found, "\n", place
        else:
            ending = text[place : place + 1].replace("\r", "\n")
            place += 1
            yield found, ending, place
            if ending == delimiter and place == len(text):
                yield "", "", place
