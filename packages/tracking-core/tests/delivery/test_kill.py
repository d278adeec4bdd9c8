"""Training and delivery are killed at random instants, and no acknowledged record is ever lost.

``TRACKING_KILLS`` says how many lives a test takes, some tests a quarter of it: by default more
than 200 in all, with ``TRACKING_LONG=1`` more than 5,000.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest
from ledger_judge import KILLS, Ledger, Victim, duplicates, first_seen, is_gone, wait_for

from tracking_core import Tracking
from tracking_core.errors import JournalError

FEWER = max(3, KILLS // 4)
BATCH = 1000
DEATHS = 4  # after each the next delivery process waits longer
AT_ONCE = 2 * (os.cpu_count() or 1)


def check(book: Ledger, acknowledged: list[int], most_doubled: int = 0) -> None:
    """Everything acknowledged is there, in order, and nothing was made up.

    `most_doubled` is the length of the batch that may come twice where a worker dies with the
    training; the configuration may be part of it.
    """
    numbers = first_seen(book.numbers)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(acknowledged)
    # The last call may have been under way, and the pipe may have missed its last answer.
    assert len(numbers) <= len(acknowledged) + 1
    assert duplicates(book.numbers) <= most_doubled
    config = [{"lr": 0.1}]
    assert book.all("config") == config or (most_doubled and book.all("config") == config * 2)


def delivered_by_itself(book: Ledger, status: str = "killed") -> None:
    wait_for(lambda: book.ends, "the native run's end")
    assert book.ends == [status]
    wait_for(lambda: all(map(is_gone, book.processes)), "the end of the delivery process")


def take_lives(count: int, one_life: Callable[[Ledger, random.Random], Victim], root: Path) -> None:
    """Call `one_life` `count` times, some at once: most of a life is waiting for its processes."""

    def take(life: int) -> None:
        book = Ledger(root / f"ledger{life}")
        victim = one_life(book, random.Random(life))
        # Thousands of them would fill the disk.
        shutil.rmtree(victim.run_dir, ignore_errors=True)
        book.path.unlink()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = [pool.submit(take, life) for life in range(count)]
        for life in as_completed(lives):
            if life.exception():
                pool.shutdown(cancel_futures=True)
            life.result()


def test_killed_training_is_delivered_by_the_delivery_process_alone(tmp_path: Path) -> None:
    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim("process", ledger=book)
        victim.hear_until(lambda: book.natives)
        victim.hear_numbers(len(victim.acknowledged) + rng.randrange(3000))
        acknowledged = victim.signal()
        delivered_by_itself(book)
        check(book, acknowledged)
        assert len(book.natives) == 1
        return victim

    take_lives(KILLS, one_life, tmp_path)


def test_killed_training_with_threads_is_delivered_by_recover(tmp_path: Path) -> None:
    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim("thread", ledger=book)
        victim.hear_numbers(rng.randrange(1, 3000))
        acknowledged = victim.signal()
        status = Tracking.recover(victim.run_dir)
        assert (status["ledger"].state, status["ledger"].pending) == ("ended", 0)
        check(book, acknowledged, most_doubled=BATCH)
        assert book.ends == ["killed"]
        return victim

    take_lives(KILLS, one_life, tmp_path)


def test_training_killed_before_the_delivery_process_began_is_delivered_all_the_same(
    tmp_path: Path,
) -> None:
    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim("process", ledger=book)
        victim.hear_numbers(rng.randrange(1, 20))
        acknowledged = victim.signal()
        # It had its order before init_trackers returned, so nobody has to help.
        delivered_by_itself(book)
        check(book, acknowledged)
        return victim

    take_lives(FEWER, one_life, tmp_path)


def recover_when_possible(run_dir: Path) -> None:
    def possible() -> bool:
        try:
            Tracking.recover(run_dir)
        except JournalError as error:
            assert "another process is delivering" in str(error)
            return False
        return True

    wait_for(possible, "the delivery process to let go")


@pytest.mark.parametrize("lane_", ["thread", "process"])
def test_killed_while_the_run_is_being_ended(tmp_path: Path, lane_: str) -> None:
    body = (
        "\nfor number in range(1, 3001): log(number)\nos.write(1, b'0\\n')\ntracking.end_training()"
    )

    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim(lane_, body, ledger={"ledger": str(book), "pause": 0.02})
        victim.hear_until(lambda: 0 in victim.acknowledged)
        wanted = rng.randrange(3000)
        wait_for(lambda: len(book.numbers) > wanted, "a part")
        acknowledged = victim.signal()[:3000]
        recover_when_possible(victim.run_dir)
        check(book, acknowledged, most_doubled=BATCH)
        # It is finished if the end had been said, and that comes after the last record; twice, if
        # the life ended between that and the note of it.
        assert book.ends in (["finished"], ["finished"] * 2, ["killed"])
        return victim

    take_lives(FEWER, one_life, tmp_path)


def test_the_delivery_process_is_killed_again_and_again(tmp_path: Path) -> None:
    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim("process", ledger=book)
        # Not all that are known by now: a successor may be there before this thread looks again.
        killed: set[int] = set()
        for _ in range(DEATHS):
            victim.hear_until(lambda: book.processes - killed)
            (process,) = book.processes - killed
            victim.hear_numbers(len(victim.acknowledged) + rng.randrange(500))
            os.kill(process, signal.SIGKILL)
            killed.add(process)
        victim.hear_until(lambda: book.processes - killed)
        acknowledged = victim.signal()
        delivered_by_itself(book)
        check(book, acknowledged, most_doubled=DEATHS * BATCH)
        assert len(book.natives) == 1, "each successor goes on with the same native run"
        assert not list(victim.run_dir.glob("*/dead/*")), (
            "no record is blamed for what came from outside"
        )
        return victim

    take_lives(max(1, FEWER // DEATHS), one_life, tmp_path)


def test_training_and_delivery_are_killed_together(tmp_path: Path) -> None:
    def one_life(book: Ledger, rng: random.Random) -> Victim:
        victim = Victim("process", ledger=book)
        victim.hear_until(lambda: book.natives)
        victim.hear_numbers(len(victim.acknowledged) + rng.randrange(1000))
        both = [victim.process.pid, *book.processes]
        for process in both if rng.random() < 0.5 else both[::-1]:
            os.kill(process, signal.SIGKILL)
        acknowledged = victim.end()
        # A successor may have been started in between.
        recover_when_possible(victim.run_dir)
        check(book, acknowledged, most_doubled=BATCH)
        assert book.ends == ["killed"]
        return victim

    take_lives(FEWER, one_life, tmp_path)


RECOVERER = """
import sys
sys.path.insert(0, {here!r})
from tracking_core import Tracking
Tracking.recover({run_dir!r})
"""


def recover_a_part(program: str, book: Ledger, spins: int) -> None:
    before = len(book.lines)
    recoverer = subprocess.Popen([sys.executable, "-c", program])
    wait_for(lambda: len(book.lines) > before or recoverer.poll() is not None, "some progress")
    for _ in range(spins):
        pass
    recoverer.kill()
    recoverer.wait()


def test_the_recovery_is_killed_and_done_again(tmp_path: Path) -> None:
    rng = random.Random(7)
    book = Ledger(tmp_path / "ledger")
    victim = Victim("thread", ledger={"ledger": str(book), "pause": 0.05})
    victim.hear_numbers(12_000)
    acknowledged = victim.signal()
    deaths = 0
    program = RECOVERER.format(here=str(Path(__file__).parent), run_dir=str(victim.run_dir))
    for _ in range(FEWER):
        recover_a_part(program, book, rng.randrange(100_000))
        deaths += 1
    Tracking.recover(victim.run_dir)
    check(book, acknowledged, most_doubled=(deaths + 1) * BATCH)
    assert book.ends == ["killed"] and len(book.natives) == 1
    before = book.lines
    Tracking.recover(victim.run_dir)
    assert book.lines == before, "a second recovery does nothing at all"
