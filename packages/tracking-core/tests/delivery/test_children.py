"""A child process with a run of its own: when its work is done the run is finished, and complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_judge import PATH, Ledger, is_gone, wait_for

ROWS = list(range(20))

PROGRAM = """
import concurrent.futures, gc, json, multiprocessing, os, sys, threading
sys.path.insert(0, {here!r})
from tracking_core import Tracking, register_tracker_class
from ledger_trackers import LedgerTracker
lane, folder, method = sys.argv[1:4]
context = multiprocessing.get_context(method)
kept = []

def begin(number):
    register_tracker_class(LedgerTracker)
    tracking = Tracking("ledger", delivery=lane)
    options = {{"ledger": {{"ledger": os.path.join(folder, str(number))}}}}
    tracking.init_trackers(f"fold-{{number}}", init_kwargs=options)
    return tracking

def train(number):
    tracking = begin(number)
    for row in range(20):
        tracking.log({{"n": row}}, step=row)
    return number

def train_and_keep(number):
    kept.append(begin(number))
    for row in range(20):
        kept[-1].log({{"n": row}}, step=row)

def train_in_a_cycle(number):
    class Trainer: pass
    trainer = Trainer()
    trainer.itself, trainer.tracking = trainer, begin(number)
    for row in range(20):
        trainer.tracking.log({{"n": row}}, step=row)
    del trainer
    gc.collect()

def train_and_raise(number):
    tracking = begin(number)
    for row in range(20):
        tracking.log({{"n": row}}, step=row)
    raise ValueError("oh no")

def train_and_fail(number):
    train_and_keep(number)
    raise ValueError("oh no")

def train_and_exit(number):
    train_and_keep(number)
    sys.exit(3)

if __name__ == "__main__":
    def run(target, number=0):
        child = context.Process(target=target, args=(number,))
        child.start()
        child.join()
        return child.exitcode
"""


def outcome(
    lane: str, tmp_path: Path, body: str, method: str = "fork", *, count: int = 1
) -> list[tuple[list[int], list[str]]]:
    """The rows and ends of `count` runs, as the program of `body` and its children left them."""
    script = tmp_path / "program.py"
    here = str(Path(__file__).parent)
    script.write_text(
        PROGRAM.format(here=here) + "".join(f"    {line}\n" for line in body.split("\n"))
    )
    folder = tmp_path / "ledgers"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), lane, str(folder), method],
        env=os.environ | {"PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "recover" not in done.stderr, done.stderr
    ledgers = [Ledger(folder / str(number)) for number in range(count)]
    if lane == "process":
        for ledger in ledgers:
            wait_for(lambda ledger=ledger: ledger.ends, "the end of the run")
            wait_for(lambda ledger=ledger: all(map(is_gone, ledger.processes)), "the process's end")
    return [(ledger.numbers, ledger.ends) for ledger in ledgers]


EVERY_LANE = pytest.mark.parametrize("lane", ["inline", "thread", "process"])
FINISHED = (ROWS, ["finished"])


@EVERY_LANE
@pytest.mark.parametrize("how", ["train", "train_and_keep", "train_in_a_cycle"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_that_returns(lane: str, tmp_path: Path, how: str, method: str) -> None:
    assert outcome(lane, tmp_path, f"assert run({how}) == 0", method) == [FINISHED]


@EVERY_LANE
@pytest.mark.parametrize(
    ("how", "code"), [("train_and_fail", 1), ("train_and_exit", 3)], ids=["error", "exit"]
)
def test_a_process_that_fails(lane: str, tmp_path: Path, how: str, code: int) -> None:
    assert outcome(lane, tmp_path, f"assert run({how}) == {code}") == [(ROWS, ["failed"])]


POOLS = {
    "closed": "pool = context.Pool(2); pool.map(train, range(4)); pool.close(); pool.join()",
    "terminated": "with context.Pool(2) as pool: pool.map(train, range(4))",
    "kept": "pool = context.Pool(4, maxtasksperchild=1)\n"
    "pool.map(train_and_keep, range(4), 1); pool.close(); pool.join()",
    "executor": "with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:\n"
    "    list(pool.map(train, range(4)))",
}


@EVERY_LANE
@pytest.mark.parametrize("pool", POOLS)
def test_the_tasks_of_a_pool(lane: str, tmp_path: Path, pool: str) -> None:
    assert outcome(lane, tmp_path, POOLS[pool], count=4) == [FINISHED] * 4


POOLS_WHOSE_TASKS_FAIL = {
    "pool": "with context.Pool(2) as pool:\n"
    "    results = [pool.apply_async(train_and_raise, (number,)) for number in range(4)]\n"
    "    errors = [None] * 4\n"
    "    for number, result in enumerate(results):\n"
    "        try: result.get()\n"
    "        except ValueError as error: errors[number] = error",
    "executor": "with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:\n"
    "    results = [pool.submit(train_and_raise, number) for number in range(4)]\n"
    "errors = [result.exception() for result in results]",
}


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 lets go of the task when its error was sent"
)
@EVERY_LANE
@pytest.mark.parametrize("pool", POOLS_WHOSE_TASKS_FAIL)
def test_the_tasks_of_a_pool_that_raise(lane: str, tmp_path: Path, pool: str) -> None:
    said = "\nassert all('train_and_raise' in str(error.__cause__) for error in errors), errors"
    body = POOLS_WHOSE_TASKS_FAIL[pool] + said
    assert outcome(lane, tmp_path, body, count=4) == [(ROWS, ["failed"])] * 4


@EVERY_LANE
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_child_that_is_forked_by_hand(lane: str, tmp_path: Path, leave: str) -> None:
    body = f"child = os.fork()\nif not child:\n    train(0)\n    {leave}\nos.waitpid(child, 0)"
    assert outcome(lane, tmp_path, body) == [FINISHED]


@EVERY_LANE
def test_the_tasks_of_joblib(lane: str, tmp_path: Path) -> None:
    pytest.importorskip("joblib", reason="joblib is not installed here")
    body = "import joblib\njoblib.Parallel(2)(joblib.delayed(train)(number) for number in range(4))"
    assert outcome(lane, tmp_path, body, count=4) == [FINISHED] * 4


FORKED_AT_AN_IMPORT = """
import os, pathlib, sys, threading
sys.path[:0] = [{here!r}, {folder!r}]
from tracking_core import Tracking, register_tracker_class
from ledger_trackers import LedgerTracker

class Importing(LedgerTracker):
    name = "importing"
    def start(self):
        import a_library
        super().start()

register_tracker_class(Importing)
tracking = Tracking("importing", delivery="thread")
tracking.init_trackers("p", init_kwargs={{"importing": {{"ledger": {ledger!r}}}}})
pause = threading.Event()
while "a_library" not in sys.modules:
    pause.wait(0.01)
threading.Timer(0.3, pathlib.Path({folder!r}, "go").touch).start()
child = os.fork()
if not child:
    import a_library
    os._exit(0)
print(os.waitpid(child, 0)[1], flush=True)
tracking.log({{"n": 1}})
tracking.end_training()
"""

A_LIBRARY = """
import pathlib, threading
while not pathlib.Path(__file__).with_name("go").exists():
    threading.Event().wait(0.01)
"""


def test_one_forked_while_a_thread_imports_a_library_can_import_it_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "a_library.py").write_text(A_LIBRARY)
    here = str(Path(__file__).parent)
    program = FORKED_AT_AN_IMPORT.format(here=here, folder=str(tmp_path), ledger=str(ledger))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": PATH},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("0\n", 0)
    assert ledger.numbers == [1] and ledger.ends == ["finished"]
