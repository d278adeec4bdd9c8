"""When it is tried again, and what is made of a refusal."""

from __future__ import annotations

import random

from tracking_core.delivery.refusals import Refusals
from tracking_core.delivery.retry import Backoff, spread
from tracking_core.faults import Fault


def test_waits_double_up_to_a_minute_and_never_less_than_half() -> None:
    longest = Backoff(random=lambda: 1.0)
    assert [longest.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    shortest = Backoff(random=lambda: 0.0)
    assert [shortest.next() for _ in range(3)] == [0.25, 0.5, 1]
    for _ in range(2000):
        longest.next()  # days of an outage overflow nothing
    longest.reset()
    assert longest.next() == 0.5


def test_the_training_draws_the_same_random_numbers() -> None:
    random.seed(7)
    first = random.random()
    random.seed(7)
    Backoff().next()
    assert random.random() == first


def test_a_refused_batch_is_split_until_one_record_is_left() -> None:
    refusals = Refusals(0.5, 60.0, 1000)
    sizes = []
    while (size := refusals.size) > 1:
        sizes.append(size)
        assert refusals.judge("run", 1, size, 999) == "split"
    assert sizes == [1000, 500, 250, 125, 62, 31, 15, 7, 3]
    refusals.accept()
    assert refusals.size == 2, "and grows again with what is taken"


def test_a_server_s_trouble_splits_nothing_before_it_has_lasted() -> None:
    refusals = Refusals(0.5, 60.0, 1000)
    faults: list[Fault] = ["server", "login", "setup"]
    for fault in faults:
        refusals.accept()
        assert [refusals.judge(fault, 1, 1000, 999) for _ in range(5)] == ["wait"] * 4 + ["split"]
        assert refusals.size == 1
        assert refusals.judge(fault, 1, 1, 999) == "probe"
        assert [refusals.is_proven(fault) for _ in range(8)] == [False] * 7 + [True]
        assert refusals.judge(fault, 2, 1, 999) == "wait", "another record is tried anew"


def test_a_record_is_put_aside_for_the_library_s_word_or_because_another_one_is_taken() -> None:
    refusals = Refusals(0.5, 60.0, 1)
    assert [refusals.judge("record", 7, 1, 3) for _ in range(5)] == ["wait"] * 4 + ["bury"]
    refusals.accept()
    assert [refusals.judge("run", 8, 1, 3) for _ in range(6)] == ["wait"] * 4 + ["probe"] * 2
    assert refusals.is_proven("run")
    assert [refusals.next_probe(3) for _ in range(4)] == [0, 1, 2, 0]
    assert refusals.has_tried_all("run", 3) and not refusals.has_tried_all("run", 5)
    assert refusals.judge("run", 8, 1, 0) == "wait", "there is no other"
    assert refusals.judge("run", 9, 1, 3) == "wait", "another record is tried anew"


def test_a_server_is_left_alone_for_as_long_as_it_asks_and_somewhat_longer() -> None:
    earliest, latest = (lambda: 0.0), (lambda: 1.0)
    for asked, more in ((1.0, 5.0), (8.0, 5.0), (60.0, 15.0), (600.0, 150.0)):
        assert spread(asked, earliest) == asked
        assert spread(asked, latest) == asked + more
    assert spread(0.0, latest) == 0.0, "it asked for nothing"
