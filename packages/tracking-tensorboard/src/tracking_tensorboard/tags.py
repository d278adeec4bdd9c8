"""The tags under which a run's values lie, for what writes them and for what reads them.

A value lies under its own key, nested ones under ``parent/child``; of a list, each under ``key/0``,
``key/1``, ... Whatever TensorBoard has no kind of summary for lies beside it, under the tags below.
A key that would read as one of them, and a character that a browser can't show, are escaped
(`tracking_core.names`).
"""

from __future__ import annotations

import functools
import re

from tracking_core.names import escape, unescape

__all__ = [
    "CAPTION", "CONFIG", "FILE", "NONE", "NONFINITE", "STATUS", "TABLE", "TAGS", "TEXT", "VIDEO",
    "key_of", "tag_of",
]  # fmt: skip

TEXT = "/text_summary"
"""Ends the tag of every text, as with ``torch.utils.tensorboard``."""

CAPTION = "/_caption"
"""A text: the caption of the picture or sound at the same step."""
FILE = "/_file"
"""A text: where an artifact lies, from the run's directory; of a directory it ends in a slash."""
NONE = "/_none"
"""The text "None", for a value that was None."""
NONFINITE = "/_nonfinite"
"""A scalar: how many values the histogram at the same step leaves out, being NaN or infinite."""
TABLE = "/_table"
"""Two texts: a table as Markdown, and where its CSV file lies."""
VIDEO = "/_video"
"""A moving picture as an image; or a text, where its file lies."""

CONFIG = "_tracking_/config"
"""A text: the whole configuration so far as JSON (with NaN and Infinity)."""
TAGS = "_tracking_/tags"
"""A text: the tags so far as a JSON object; a label has the value null."""
STATUS = "_tracking_/status"
"""A text: "finished", "failed", "killed", or "running" where a run was taken up again."""

_OURS_AT_THE_END = "|".join(
    re.escape(tag) for tag in (TEXT, CAPTION, FILE, NONE, NONFINITE, TABLE, VIDEO)
)
# The slash before or after our own word is what is escaped: `escape` never refuses a letter.
_ALLOWED = re.compile(
    rf"(?!(?:{_OURS_AT_THE_END})\Z)"
    r"(?!(?<=\A_tracking_)/)(?!(?<=\A_hparams_)/)"
    r"[^\x00-\x1f\x7f-\x9f]"
)


@functools.lru_cache(maxsize=10_000)
def tag_of(key: str) -> str:
    """The tag that `key` lies under; another for each key."""
    return escape(key, _ALLOWED)


def key_of(tag: str) -> str:
    """The key that lies under `tag`."""
    return unescape(tag)
