"""Where the values of a key lie: ClearML has a title (a plot) and a series (a line in it).

As with Accelerate's tracker, ``eval_loss`` is the series "eval" of "loss", and what names no split
is the series "train". So ``val/loss`` is the series "val" of the same plot, and ``grad/norm`` the
series "norm" of "grad". Several keys may ask for one place (``loss``, ``train_loss``,
``train/loss``): the first gets it, the others are given one of their own.

Whatever can't be told from the place alone is in `Places.listed`, which is stored with the run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from tracking_core.names import escape, shortened

__all__ = ["ABOUT", "CONTROL_FREE", "NOT_FINITE", "Places"]

NOT_FINITE = " (not finite)"
"""Ends the title that says where a series was NaN, infinite or None, which ClearML can't store."""
ABOUT = " (about)"
"""Ends the series of a plot that says more of the media beside it: captions and the like."""

CONTROL_FREE = re.compile(r"[^\x00-\x1f\x7f-\x9f]")
"""What a name may consist of wherever the UI shows it."""

SPLITS = ("train", "eval", "test", "val", "valid")
DEFAULT = "train"
LONGEST = 200  # the server's index ends at 32 kB, and a plot's title much earlier

# The marks, the slash (which numbers lists) and the numbers of our own are never the user's.
_TITLE = re.compile(rf"(?!{re.escape(NOT_FINITE)}\Z)[^\x00-\x1f\x7f-\x9f]")
_SERIES = re.compile(rf"(?!{re.escape(ABOUT)}\Z)(?! \(\d+\)\Z)[^\x00-\x1f\x7f-\x9f/]")

Place = tuple[str, str]


class Places:
    """The places of a run's keys.

    Args:
        listed: what an earlier session of the run has stored.
        resumed: whether there was one. Places that it took without a word must stay its own.

    Attributes:
        listed: places by key, where `key_at` needs to know.
    """

    def __init__(self, listed: Mapping[str, Place], *, resumed: bool) -> None:
        self.listed = {key: (title, series) for key, (title, series) in listed.items()}
        self._keys = {place: key for key, place in self.listed.items()}
        self._by_key = dict(self.listed)
        self._taken = {name for place in self._keys for name in _names(place)}
        self._resumed = resumed

    def of(self, key: str) -> Place:
        """Title and series of `key`; another place for each key."""
        place = self._by_key.get(key)
        if place is None:
            place = next(
                one for one in self._candidates(key) if self._taken.isdisjoint(_names(one))
            )
            self._by_key[key] = place
            self._taken.update(_names(place))
            if not _goes_without_saying(key, place):
                self.listed[key] = place
                self._keys[place] = key
        return place

    def key_at(self, title: str, series: str) -> str:
        """The key whose place this is."""
        key = self._keys.get((title, series))
        return _guess((title, series)) if key is None else key

    def _candidates(self, key: str) -> Iterator[Place]:
        title, series = _plain(key)
        plain = (_fitted(title, _TITLE), _fitted(series, _SERIES))
        if not self._resumed or _goes_without_saying(key, plain):
            yield plain
        for number in itertools.count(1):
            yield _fitted(key, _TITLE), f"value ({number})"


def _names(place: Place) -> tuple[str, str, str]:
    """What the server tells a place's events by: it joins title and series with a hyphen."""
    title, series = place
    return f"{title}-{series}", f"{title}{NOT_FINITE}-{series}", f"{title}-{series}{ABOUT}"


def _goes_without_saying(key: str, place: Place) -> bool:
    """Whether a later session can tell from the place alone whose it is, and that it is taken."""
    return _guess(place) == key and "-" not in place[1]


def _plain(key: str) -> Place:
    for mark in "_/":
        split, _, title = key.partition(mark)
        if split in SPLITS and title:
            return title, split
    title, _, series = key.rpartition("/")
    return (title, series) if title and series else (key, DEFAULT)


def _guess(place: Place) -> str:
    title, series = place
    if series == DEFAULT:
        return title
    return f"{series}_{title}" if series in SPLITS else f"{title}/{series}"


def _fitted(name: str, allowed: re.Pattern[str]) -> str:
    return shortened(escape(name, allowed), LONGEST)
