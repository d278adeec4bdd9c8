"""Secrets stay out of the journal."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["MASK", "redacted", "unmasked"]

MASK = "***"

# A name that ends like a secret is one; `tokens` and `max_tokens` are counts.
_SECRET = re.compile(
    r"(secret|passw(or)?d|passphrase|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|credentials?"
    r"|authorization|(^|[-_ ./])(token|auth|pwd))$",
    re.IGNORECASE,
)
# What tokenizers call their special texts.
_VOCABULARY = re.compile(
    r"(^|[-_ ./])(pad|eos|bos|unk|sep|cls|mask|stop|start|end|image|audio|video)[-_ ]token$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)(?=@)")


def redacted(value: Any, name: str = "") -> Any:
    """`value` with secrets masked: what keys like ``api_key`` hold, and passwords in URLs.

    >>> redacted({"lr": 0.1, "api_key": "k", "max_tokens": 5, "url": "http://me:pw@host"})
    {'lr': 0.1, 'api_key': '***', 'max_tokens': 5, 'url': 'http://me:***@host'}
    """
    if name and _names_a_secret(name) and not (value is None or value == ""):
        return MASK
    if isinstance(value, dict):
        return {key: redacted(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(inner) for inner in value]
    if isinstance(value, str) and "://" in value:
        return _PASSWORD_IN_URL.sub(rf"\1:{MASK}", value)
    return value


def unmasked(value: Any) -> Any:
    """`value` without what `redacted` has masked, so that a library looks for it elsewhere."""
    if isinstance(value, dict):
        return {key: unmasked(inner) for key, inner in value.items() if inner != MASK}
    return value


def _names_a_secret(name: str) -> bool:
    name = _CAMEL.sub("_", name)
    return _SECRET.search(name) is not None and _VOCABULARY.search(name) is None
