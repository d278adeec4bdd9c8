"""The names under which a run's values lie, for what writes them and for what reads them.

A value lies under its own key, nested ones under ``parent/child``: W&B makes a section of charts of
each parent. Names that W&B would lose or take for something else are escaped
(`tracking_core.names`): the empty one, its own ``_step`` and the like, the star that
``define_metric`` takes for a pattern, control characters, and those below.
"""

from __future__ import annotations

import functools
import os
import re

from tracking_core.files import inner_path
from tracking_core.names import escape, shortened, unescape

__all__ = [
    "AXES", "CONFIG", "END", "HIDDEN", "STEP", "TAGS", "config_name", "file_name", "folder_names",
    "key_of", "name_of", "project_name",
]  # fmt: skip

HIDDEN = "tracking/*"
"""What W&B is told to make no chart of."""
STEP = "tracking/step"
"""In every row: its step as it was given. W&B's own ``_step`` can only grow."""
AXES = "tracking/axes"
"""In a row: a list of the names in it that are axes, put there by the tracker."""

CONFIG = "tracking/config"
"""In the configuration: JSON of the entries that W&B can't hold as they are."""
TAGS = "tracking/tags"
"""In the configuration: JSON of all tags; W&B has labels only."""
END = "tracking/end"
"""In the configuration: how and when the run ended."""

_OURS = r"(?!(?<=\Atracking)/(?:step|axes|config|tags|end)\Z)"
_ALLOWED = re.compile(
    rf"{_OURS}(?!\A_(?:step|runtime|timestamp|wandb)\Z)[^\x00-\x1f\x7f-\x9f*]", re.DOTALL
)
# W&B strips the dashes at both ends of a configuration's names, and hides what begins with "_".
_ALLOWED_IN_CONFIG = re.compile(rf"{_OURS}(?!\A-|-\Z|\A_wandb\Z)[^\x00-\x1f\x7f-\x9f]", re.DOTALL)
_ALLOWED_IN_FILES = re.compile(r"[\w .()=@,+-]", re.ASCII)
_ALLOWED_IN_PATHS = re.compile(
    r'[^\x00-\x1f\x7f<>:"|?*\\]' if os.name == "nt" else r"[^\x00-\x1f\x7f\\]"
)
_ALLOWED_IN_PROJECTS = re.compile(r"[^/\\#?%:\x00-\x1f\x7f-\x9f]")
LONGEST_PROJECT = 128
LONGEST_FILE_NAME = 100


@functools.lru_cache(maxsize=10_000)
def name_of(key: str) -> str:
    """The name that the values of `key` have in a row; another for each key."""
    return escape(key, _ALLOWED)


def config_name(key: str) -> str:
    """The name of a configuration's entry."""
    return escape(key, _ALLOWED_IN_CONFIG)


def key_of(name: str) -> str:
    """The key that `name_of` or `config_name` was given."""
    return unescape(name)


def project_name(name: str) -> str:
    """`name` as W&B takes it for a project; different names stay different.

    >>> project_name("vision/digits"), project_name("my run")
    ('vision_x2F_digits', 'my run')
    """
    return shortened(escape(name, _ALLOWED_IN_PROJECTS), LONGEST_PROJECT)


def file_name(key: str) -> str:
    """Part of a file's name that says which key it belongs to; only for people."""
    return shortened(escape(key, _ALLOWED_IN_FILES), LONGEST_FILE_NAME)


def folder_names(path: str) -> str:
    """`path` as one that stays below where it is put, with slashes; what is harmless is kept.

    >>> folder_names("/models//best/"), folder_names("../up")
    ('models/best', '_x2E__x2E_/up')
    """
    return inner_path(path, _ALLOWED_IN_PATHS)
