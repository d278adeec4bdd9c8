"""The journal: the only code that knows bytes on disk.

A `Writer` appends opaque records, a `Reader` gives them back in order and says what is missing, a
`Cursor` remembers how far a consumer has come.  `Blobs` hold large values, `DeadLetters` what a
tracker refused for good, and the `DrainLock` decides who may move the cursors.  Other files of a
writer directory are opened by `open_regular`, `read_regular`, `append_regular` and
`replace_regular`.  The bytes are
specified in ``docs/journal-format.md``.
"""

from tracking_core.journal.blobs import Blobs
from tracking_core.journal.cursor import Cursor
from tracking_core.journal.dead import DeadLetter, DeadLetters
from tracking_core.journal.files import Files
from tracking_core.journal.frame import MAX_PAYLOAD
from tracking_core.journal.layout import Owner, escape, owner_alive, read_owner, runs, unescape
from tracking_core.journal.lock import DrainLock
from tracking_core.journal.reader import Damage, Entry, Reader
from tracking_core.journal.regular import (
    append_regular,
    open_regular,
    read_regular,
    replace_regular,
)
from tracking_core.journal.trim import trim
from tracking_core.journal.writer import Durability, Writer, WriterStatus

__all__ = [
    "MAX_PAYLOAD",
    "Blobs",
    "Cursor",
    "Damage",
    "DeadLetter",
    "DeadLetters",
    "DrainLock",
    "Durability",
    "Entry",
    "Files",
    "Owner",
    "Reader",
    "Writer",
    "WriterStatus",
    "append_regular",
    "escape",
    "open_regular",
    "owner_alive",
    "read_owner",
    "read_regular",
    "replace_regular",
    "runs",
    "trim",
    "unescape",
]
