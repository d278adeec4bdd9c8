"""What could not be stored, or not as it was: counted each time, said once.

Nothing here ever raises: a warning that the program has turned into an error goes to the
``tracking`` logger instead.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import NamedTuple

from tracking_core.errors import TrackingWarning, let_through
from tracking_core.redaction import redacted

__all__ = [
    "Place",
    "Rejection",
    "Rejections",
    "first_few",
    "listen",
    "say",
    "speak_for",
    "tell",
    "users_line",
]

logger = logging.getLogger("tracking")

MOST_KEYS_SAID = 100

_PACKAGE = os.path.dirname(__file__) + os.sep

_thread = threading.local()
_listeners: list[Callable[[str], None]] = []


class Rejection(NamedTuple):
    """Values of one key and type that could not be stored, or not as they were, and why.

    Never the value.
    """

    key: str
    type: str
    reason: str


class Place(NamedTuple):
    """A line of a program."""

    file: str
    line: int


class Rejections:
    """The values that one tracker, or the facade, could not store, or changed.

    Args:
        who: named in the warnings, such as ``"tracker 'mlflow'"``.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        # No lock: a signal's handler that rejects something too would wait for its own thread, and
        # one that raises would leave it locked. Each line is one step of the interpreter instead.
        self._counts: Counter[Rejection] = Counter()
        self._changes: Counter[Rejection] = Counter()
        self._said: dict[str, object] = {}
        self._changes_said: dict[str, object] = {}

    def add(self, key: str, type: str, reason: str, warning: str = "") -> None:
        """Count one value, and warn if it is the first of its key, in the words of `warning`."""
        reason = redacted(reason)  # it may quote an error of a library, which quotes an address
        usual = f"{self._who} could not store {key!r} ({type}): {reason}"
        last = self._count(self._counts, self._said, Rejection(key, type, reason))
        if last is not None:
            # The delivery process has its counts said in front.
            _warn(f"{warning or usual}{last}")

    def changed(self, key: str, type: str, what: str) -> None:
        """Count one value that was taken, but not as it was; warn if it is the first of its key."""
        what = redacted(what)
        last = self._count(self._changes, self._changes_said, Rejection(key, type, what))
        if last is not None:
            say(f"{self._who} took {key!r} ({type}), but {what}{last}")

    def _count(
        self, counts: Counter[Rejection], said: dict[str, object], rejection: Rejection
    ) -> str | None:
        """Count it; if it is the first of its key, how what is said of it has to end."""
        counts.update((rejection,))
        if rejection.key in said or len(said) >= MOST_KEYS_SAID:
            return None
        mine = object()
        if said.setdefault(rejection.key, mine) is not mine:
            return None
        last = len(said) >= MOST_KEYS_SAID
        return "; further keys are counted and no longer reported" if last else ""

    @property
    def counts(self) -> Mapping[Rejection, int]:
        """How often each kind of value was rejected."""
        return dict(self._counts)

    @property
    def changes(self) -> Mapping[Rejection, int]:
        """How often each kind of value was taken, but not as it was."""
        return dict(self._changes)


def first_few(words: Iterable[str], most: int = 3) -> str:
    """The first of `words` for a sentence, and how many more there are.

    >>> first_few(["'a'", "'b'", "'c'", "'d'", "'e'"])
    "'a', 'b', 'c' and 2 more"
    """
    given = list(words)
    more = f" and {len(given) - most} more" if len(given) > most else ""
    return ", ".join(given[:most]) + more


def say(message: str) -> None:
    """Warn the user about `message`, at the line of theirs that led here."""
    for listener in _listeners:
        listener(message)
    _warn(message)


def listen(listener: Callable[[str], None]) -> None:
    """Have `listener` hear what is said in this process from now on; it must not raise."""
    _listeners.append(listener)


def _warn(message: str) -> None:
    place: Place | None = getattr(_thread, "speaks_for", None)
    try:
        if place is None:
            warnings.warn(message, TrackingWarning, stacklevel=_frames_of_ours())
        else:
            warnings.warn_explicit(message, TrackingWarning, place.file, place.line)
    except BaseException as error:  # a warning that is an error; stderr is closed; a hook raises
        let_through(error)
        _note(message)


def _note(message: str) -> None:
    try:
        logger.warning(message)
    except BaseException as error:  # it may be on the same stderr
        let_through(error)


def tell(message: str) -> None:
    """Tell the user about `message` on stderr: it is no warning, and nothing needs to be done.

    ``TRACKING_QUIET=1`` keeps it to ourselves.
    """
    if os.environ.get("TRACKING_QUIET", "0") in ("", "0"):
        try:
            sys.stderr.write(f"tracking: {message}\n")
            sys.stderr.flush()
        except Exception:  # there is none, it is closed, or it is an object of somebody's
            pass


def users_line() -> Place:
    """The line of the user's that led here."""
    frame = sys._getframe(0)
    for _ in range(_frames_of_ours() - 1):
        frame = frame.f_back or frame
    return Place(frame.f_code.co_filename, frame.f_lineno)


def speak_for(place: Place) -> None:
    """Attribute what this thread says from now on to `place`: no line of the user's led to it."""
    _thread.speaks_for = place


def _frames_of_ours() -> int:
    """How far up the caller of our outermost frame is: a tracker's code may lie between ours."""
    frame: FrameType | None = sys._getframe(1)
    level, outermost = 1, 1
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            outermost = level
        frame, level = frame.f_back, level + 1
    return outermost + 1
