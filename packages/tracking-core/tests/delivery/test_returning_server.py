"""A thousand runs that met the same outage do not fall upon the server that comes back.

In a time of its own, which passes at once; the waits are those of `Worker`, by the default policy.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from tracking_core.delivery.retry import Backoff, spread
from tracking_core.delivery.worker import PATIENT

RUNS = 1000
SECONDS_OF_ALL_FIRST_TRIES = 1.0


class _Seen(NamedTuple):
    """What the server sees; seconds count from the moment that it is back.

    Attributes:
        requests: in each second.
        back: runs that come for the first time since, in each second.
        tries: of the run that tried most often, while the server was down.
        through: when the last run was served.
    """

    requests: Counter[int]
    back: Counter[int]
    tries: int
    through: float

    @property
    def worst(self) -> int:
        """Requests in the worst second, once what the outage began with is over."""
        return max(count for second, count in self.requests.items() if second > 0)


def seen(
    outage: float,
    *,
    served: int = RUNS,
    asked: float = 0.0,
    wait: Callable[[float, Callable[[], float]], float] = spread,
) -> _Seen:
    """A server that is down for `outage` seconds and then serves so many requests a second.

    Args:
        asked: what it says to the others, as ``Retry-After`` of a 429.
        wait: what a run makes of that.
    """
    random = Random(7).random
    backoffs = [
        Backoff(PATIENT.first_wait, PATIENT.longest_wait, random=random) for _ in range(RUNS)
    ]
    tries = [0] * RUNS
    requests, back, taken = Counter[int](), Counter[int](), Counter[int]()
    seen_again: set[int] = set()
    through = 0.0
    coming = [(random() * SECONDS_OF_ALL_FIRST_TRIES - outage, run) for run in range(RUNS)]
    heapq.heapify(coming)
    while coming:
        now, run = heapq.heappop(coming)
        second = int(now // 1)
        requests[second] += 1
        if now < 0:
            tries[run] += 1
            heapq.heappush(coming, (now + backoffs[run].next(), run))
            continue
        if run not in seen_again:
            seen_again.add(run)
            back[second] += 1
        if taken[second] < served:
            taken[second] += 1
            through = now
        else:
            pause = max(backoffs[run].next(), wait(asked, random))
            heapq.heappush(coming, (now + pause, run))
    return _Seen(requests, back, max(tries), through)


@pytest.mark.parametrize(
    ("outage", "most", "most_tries"),
    [(20, 150, 8), (90, 50, 10), (600, 50, 25), (7200, 50, 180)],
)
def test_a_server_that_comes_back_is_not_stormed(outage: int, most: int, most_tries: int) -> None:
    server = seen(outage)
    assert sum(server.back.values()) == RUNS
    # Evenly over the longest wait it would be 17 a second. After 20 s, many are still in step.
    assert max(server.back.values()) <= most
    assert server.tries <= most_tries
    assert server.through <= PATIENT.longest_wait


def test_after_a_minute_a_server_that_is_down_is_left_nearly_alone() -> None:
    requests = seen(7200).requests
    first_minute = -7200 + 60
    assert max(requests[second] for second in range(first_minute, 0)) <= 60
    assert sum(requests[second] for second in range(first_minute, 0)) <= RUNS * 7200 / 40


def as_asked(asked: float, _random: Callable[[], float]) -> float:
    return asked


@pytest.mark.parametrize("asked", [1, 8, 60])
def test_who_was_sent_away_together_does_not_come_back_together(asked: int) -> None:
    to_the_second = seen(0, served=50, asked=asked, wait=as_asked)
    assert to_the_second.worst == RUNS - 50, "what it is for: all others in one second"
    server = seen(0, served=50, asked=asked)
    assert server.worst <= 300
    assert sum(server.requests.values()) <= 0.7 * sum(to_the_second.requests.values())
    assert server.through <= to_the_second.through


@pytest.mark.parametrize("outage", [20, 90])
def test_a_server_that_comes_back_and_can_not_serve_all_is_not_stormed_either(outage: int) -> None:
    server = seen(outage, served=50, asked=8)
    assert max(count for second, count in server.requests.items() if second >= 0) <= 150
    assert server.through <= PATIENT.longest_wait + 30
