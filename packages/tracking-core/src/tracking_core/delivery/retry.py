"""Whether trying again may help, and when."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Backoff", "may_pass"]

# Who is not let in (401, 402, 403, 407) says nothing about the record: a key can be renewed.
RETRIED_HTTP = frozenset({401, 402, 403, 407, 408, 425, 429})

# An error of a foreign library is recognised by its name: the core imports none of them.
PASSING_NAMES = (
    "timeout",
    "connection",
    "unavailable",
    "temporar",
    "toomanyrequests",
    "incompleteread",
    "locked",
)
# A database says by its text alone whether it is busy or was asked for nonsense.
PASSING_DATABASE = ("locked", "busy", "full", "connect", "closed", "timeout", "timed out")

# The same call would meet the same file again.
LASTING_FILE_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,  # a certificate or an address that is wrong is an OSError too
)


def may_pass(error: BaseException) -> bool:
    """Whether `error` may be gone at the next try, with the same record.

    So it is with the network, timeouts, HTTP 408, 425, 429 and 5xx, and with a login that was
    refused (401, 402, 403, 407): that is the tracker's trouble, not the record's.

    Looks at the status code that HTTP libraries and their users put on their errors, at the type
    and its bases, and at what the error was raised from.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, Exception):
            status = _http_status(cause)
            if status is not None:
                return status in RETRIED_HTTP or status >= 500
            if isinstance(cause, OSError) and not isinstance(cause, LASTING_FILE_ERRORS):
                return True
            names = [kind.__name__.lower() for kind in type(cause).__mro__]
            if any(part in name for name in names for part in PASSING_NAMES):
                return True
            if "operationalerror" in names and _mentions(cause, PASSING_DATABASE):
                return True
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


def _http_status(error: Exception) -> int | None:
    """The HTTP status that an error carries, wherever its library puts it."""
    try:
        response = getattr(error, "response", None)
        ask = getattr(error, "get_http_status_code", None)
        candidates = [
            getattr(response, "status_code", None),  # requests, httpx
            getattr(response, "status", None),  # urllib3, http.client
            getattr(error, "status_code", None),
            getattr(error, "status", None),  # aiohttp
            getattr(error, "code", None),  # urllib
            ask() if callable(ask) else None,  # MLflow
        ]
    except Exception:  # a stranger's error: its attributes may raise anything
        return None
    return next((code for code in candidates if type(code) is int and 100 <= code < 600), None)


def _mentions(error: Exception, words: tuple[str, ...]) -> bool:
    try:
        said = str(error).lower()
    except Exception:
        return False
    return any(word in said for word in words)


class Backoff:
    """Seconds to wait before each next try: doubling, with jitter, up to a minute.

    Args:
        first: the shortest wait.
        longest: the longest, which makes an outage cost one try a minute.
        random: from 0 to 1; injected by tests.
    """

    def __init__(
        self,
        first: float = 0.5,
        longest: float = 60.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._longest = longest
        self._random = random
        self._tries = 0

    def next(self) -> float:
        """The wait before the next try: between half and all of the doubled time."""
        full = min(self._first * 2.0 ** min(self._tries, 30), self._longest)
        self._tries += 1
        return full * (0.5 + self._random() / 2)

    def reset(self) -> None:
        """Begin anew, because something succeeded."""
        self._tries = 0
