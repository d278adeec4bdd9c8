"""What others ask of a process that delivers: one word in a file beside the journal.

A file, because whoever asks may be another program, of another day: `recover` in a terminal.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from tracking_core.journal.files import READ

__all__ = ["Request", "ask", "taken_request"]

ASKED = "asked"
LONGEST_WORD = 64

Request: TypeAlias = Literal["hurry", "hand over"]
"""``"hurry"``: try again now what is waited for. ``"hand over"``: leave the rest to who asks."""


def ask(writer: Path, what: Request) -> None:
    """Ask whoever delivers the journal in `writer`. A disk that refuses costs the request alone."""
    draft = writer / f".{ASKED}.{os.getpid()}"
    with contextlib.suppress(OSError):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(what)
        os.replace(draft, writer / ASKED)


def taken_request(writer: Path) -> Request | None:
    """What is asked, which is then asked no longer; None if nothing is."""
    path = writer / ASKED
    try:
        descriptor = os.open(path, READ)
    except OSError:  # there is none, nearly always
        return None
    try:
        with open(descriptor, "rb") as file:
            word = file.read(LONGEST_WORD).decode("ascii", "replace")
    except OSError:
        return None
    with contextlib.suppress(OSError):
        path.unlink()
    return next((known for known in get_args(Request) if known == word), None)


_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
