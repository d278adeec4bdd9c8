"""What others ask of a process that delivers: one word in a file beside the journal.

A file, because whoever asks may be another program, of another day: `recover` in a terminal.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from tracking_core.errors import JournalError
from tracking_core.journal import read_regular, replace_regular

__all__ = ["Request", "ask", "taken_request"]

ASKED = "asked"
LONGEST_WORD = 64

Request: TypeAlias = Literal["hurry", "hand over"]
"""``"hurry"``: try again now what is waited for. ``"hand over"``: leave the rest to who asks."""


def ask(writer: Path, what: Request) -> None:
    """Ask whoever delivers the journal in `writer`. A disk that refuses costs the request alone."""
    with contextlib.suppress(OSError, JournalError):
        replace_regular(writer / ASKED, what.encode("ascii"))


def taken_request(writer: Path) -> Request | None:
    """What is asked, which is then asked no longer; None if nothing is."""
    path = writer / ASKED
    try:
        word = read_regular(path, LONGEST_WORD).decode("ascii", "replace")
    except OSError:  # there is none, nearly always
        return None
    except JournalError:
        word = ""  # no request, and in the way of the next one
    with contextlib.suppress(OSError):
        path.unlink()
    return next((known for known in get_args(Request) if known == word), None)
