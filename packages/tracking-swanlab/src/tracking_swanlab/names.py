"""Keys and paths in what SwanLab takes, and back."""

from __future__ import annotations

import re
from functools import lru_cache

from tracking_core import files
from tracking_core.names import escape, shortened, unescape

__all__ = ["companion", "fitted", "inner_path", "parts_of", "split_companion", "whole_path"]

# No control characters; at its ends neither space, dot nor slash; nothing of the library's own.
_KEY = re.compile(
    r"(?![\x00-\x1f\x7f])(?!\A[\s./])(?![\s./]\Z)(?!(?<=/)/)(?!\A__swanlab__\.)[\s\S]"
)
LONGEST_KEY = 480  # SwanLab takes 512, and a companion's ending has to fit

_COMPANION = "/_x_"  # no fitted key holds this: `escape` takes care of what looks like an escape
_PART = re.compile(r'[^\x00-\x1f\x7f<>:"|?*\\#%]')
_OF_THE_LIBRARY = re.compile(
    r"\A(?=(?:config\.yaml|requirements\.txt|conda\.yaml|swanlab-metadata\.json|tracking\.json)\Z)."
)


@lru_cache(maxsize=10_000)  # a run logs the same keys again and again
def fitted(key: str) -> str:
    """`key` as SwanLab takes it; different keys stay different.

    A key of more than 480 characters ends in a digest; `whole` keys are kept beside the run.

    >>> fitted("loss (train)"), fitted("/lead"), fitted("")
    ('loss (train)', '_x2F_lead', '_x_')
    """
    return shortened(escape(key, _KEY), LONGEST_KEY)


def companion(name: str, what: str) -> str:
    """The key beside `name` that says `what` about it."""
    return name + _COMPANION + what


def split_companion(name: str) -> tuple[str, str]:
    """A key of the run as the key that it is about, and what it says; ``""`` if it is itself."""
    about, found, what = name.rpartition(_COMPANION)
    return (about, what) if found else (name, "")


def parts_of(name: str) -> tuple[str, tuple[str, ...]]:
    """A key of the run as the key that it is about, and all that is said, as it was added.

    >>> parts_of("loss/_x_far/_x_step")
    ('loss', ('far', 'step'))
    """
    about, *what = name.split(_COMPANION)
    return about, tuple(what)


def inner_path(path: str) -> str:
    """`path` as one that stays below the run's files, with slashes; what is harmless is kept.

    >>> inner_path("/models//best/"), inner_path("../up"), inner_path("config.yaml")
    ('models/best', '_x2E__x2E_/up', '_x63_onfig.yaml')
    """
    inner = files.inner_path(path, _PART)
    if own := _OF_THE_LIBRARY.match(inner):
        return f"_x{ord(own[0]):X}_{inner[1:]}"
    return inner


def whole_path(path: str) -> str:
    """The path that `inner_path` was given, but for slashes that said nothing."""
    return unescape(path)
