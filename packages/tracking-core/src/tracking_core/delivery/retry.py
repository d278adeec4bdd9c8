"""When to try again."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

__all__ = ["Backoff", "spread"]

LEAST_SPREAD = 5.0

# Not the module's own, which the training may have seeded: it has to draw the same numbers with us.
_random = SystemRandom().random


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
        random: Callable[[], float] = _random,
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


def spread(asked: float, random: Callable[[], float] = _random) -> float:
    """Seconds after which to come back to a server that asked for `asked`: never earlier.

    Up to a quarter later, or five seconds if that is more. Who was sent away in the same second as
    a thousand others would meet them all again.
    """
    return asked + random() * max(LEAST_SPREAD, asked / 4) if asked > 0 else 0.0
