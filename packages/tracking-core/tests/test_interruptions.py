"""What comes out of `log()`: nothing that a value does, and everything that is not a value's."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import ctypes
import gc
import itertools
import os
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Histogram, Image, Table, Tracking
from tracking_core.errors import TrackingWarning, let_through
from tracking_core.journal import Writer
from tracking_core.testing import MemoryTracker

pytestmark = pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")

LONG = os.environ.get("TRACKING_LONG") == "1"


class Stop(Exception):
    """Of the program's own."""


class Base(BaseException):
    """No `Exception`."""


@pytest.fixture(autouse=True)
def _journals_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))
    # What interrupted calls left waiting makes the next one longer by as much as the interruption
    # moves on, until the helper comes, which nothing interrupts.
    often = partial(Writer.create, sync_interval=0.1)
    monkeypatch.setattr("tracking_core.delivery.journaled.Writer.create", often)


# --- what is a value's ---


class Bomb:
    """Raises whenever anything is asked of it that a value may be asked."""

    shape = (2, 2)
    dtype = "float"

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self._error = error

    def _explode(self, *arguments: object) -> Any:
        raise self._error

    item = tolist = isoformat = keys = items = __iter__ = __len__ = __getitem__ = _explode
    __float__ = __int__ = __index__ = __array__ = __str__ = __repr__ = __fspath__ = _explode
    __hash__ = __eq__ = __bool__ = _explode  # type: ignore[assignment]  # the point of it


class Scalar(Bomb):
    shape = ()


class Number:
    def __init__(self, error: Any) -> None:
        self._error = error

    def __float__(self) -> float:
        raise self._error


class Lies(Bomb):
    @property
    def __class__(self) -> Any:
        raise self._error

    @__class__.setter
    def __class__(self, kind: Any) -> None: ...


class BadMapping(Bomb, Mapping[str, Any]):
    pass


class BadName(str):
    __slots__ = ("error",)

    def __hash__(self) -> int:
        raise self.error

    def __str__(self) -> str:
        raise self.error


class BadError(OSError):
    """One that can't even say what it is."""

    def __str__(self) -> str:
        raise SystemExit(5)


ERRORS: list[BaseException | type[BaseException]] = [
    SystemExit(3),
    SystemExit,
    GeneratorExit,
    Base("own"),
    Base,
    StopIteration,
    MemoryError,
    RecursionError("deep"),
    TimeoutError("of its own"),
    BadError(1, "x"),
    Stop,
]


def bad_name(error: Any) -> BadName:
    name = BadName("name")
    name.error = error  # type: ignore[attr-defined]  # it has that slot
    return name


@pytest.mark.parametrize("delivery", ["inline", "thread"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_nothing_that_a_value_raises_comes_out(delivery: Any, error: Any) -> None:
    memory = MemoryTracker()
    tracking = Tracking(memory, delivery=delivery)
    tracking.init_trackers("p", config=Bomb(error))
    bombs = [kind(error) for kind in (Bomb, Scalar, Number, Lies, BadMapping)]
    for bomb in bombs:
        tracking.log({"bad": bomb, "good": 1})
        tracking.log({"in": {"bad": bomb}, "list": [bomb], "good": 1})
        tracking.log({"a": Image(bomb), "b": Histogram(bomb), "c": Table(data=bomb), "good": 1})
        tracking.log({"table": Table(["x"], [[bomb], [2]]), "good": 1})
        tracking.log({"good": 1}, step=bomb, log_kwargs=bomb)
        tracking.log({"good": 1}, log_kwargs={"memory": {"x": bomb}})
        tracking.log(bomb)
        tracking.log_images(bomb)
        tracking.log_images({"pictures": bomb})
        tracking.log_table(bomb, ["x"], [[1]])
        tracking.log_table("t", bomb, bomb)
        tracking.log_table("t", dataframe=bomb)
        tracking.log_artifact(bomb)
        tracking.set_tags(bomb)
        tracking.set_tags({"tag": bomb})
    tracking.set_tags([bad_name(error)])
    with contextlib.suppress(BaseException):
        tracking.log({bad_name(error): 1})  # making that dict raises
    tracking.end_training()
    assert memory.values("good") == [1] * 6 * len(bombs)
    assert memory.status == "finished"
    assert tracking.rejected


def cancelled() -> asyncio.Future[float]:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.cancel()
    loop.close()
    return future


@pytest.mark.parametrize(
    "wordless", [queue.SimpleQueue().get_nowait, sys.exit, builtins.exit, cancelled().result]
)
def test_nor_what_a_module_in_c_raises_without_a_word(
    memory: MemoryTracker, monkeypatch: pytest.MonkeyPatch, wordless: Callable[[], float]
) -> None:
    class Value:
        def __float__(self) -> float:
            return wordless()

    monkeypatch.setattr(sys, "stdin", None)  # which `exit` closes
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p", config={"bad": Value()})
    tracking.log({"bad": Value(), "good": 1}, step=0)
    tracking.end_training()
    assert memory.values("good") == [1]
    assert [rejection.key for rejection in tracking.rejected] == ["bad"]


# --- what is the program's ---

KINDS: dict[str, Callable[[Tracking], None]] = {}


def kind(call: Callable[[Tracking], None]) -> Callable[[Tracking], None]:
    KINDS[call.__name__] = call
    return call


class Slow:
    """A value whose reading takes some lines, which may be interrupted too."""

    def __float__(self) -> float:
        total = 0.0
        for number in range(2):
            total += number
        return total

    def __str__(self) -> str:
        words = []
        for number in range(2):
            words.append(str(number))
        return " ".join(words)


def cell() -> Any:
    class Cell:
        def __str__(self) -> str:
            return str(Slow())

    return Cell()


@kind
def plain_row(tracking: Tracking) -> None:
    tracking.log({"loss": 1.0, "accuracy": 2}, step=3)


@kind
def row_without_step(tracking: Tracking) -> None:
    tracking.log({"loss": 1.0})


@kind
def mixed_row(tracking: Tracking) -> None:
    values = {"a": Slow(), "b": "text", "c": numpy.float32(1), "d": {"e": 1}, "f": object()}
    tracking.log(values, step=numpy.int64(3))  # type: ignore[arg-type]  # a whole number too


@kind
def new_names(tracking: Tracking) -> None:
    tracking.log({f"name {time.perf_counter_ns()}": 1})


@kind
def images(tracking: Tracking) -> None:
    tracking.log_images({"pictures": numpy.zeros((2, 3, 3), "uint8")}, step=1)


@kind
def table(tracking: Tracking) -> None:
    tracking.log_table("table", ["x", "y"], [[1, cell()], [Slow(), "z"]])


@kind
def options(tracking: Tracking) -> None:
    tracking.log({"loss": 1.0}, log_kwargs={"memory": {"x": 1, "y": object()}})


@kind
def large_value(tracking: Tracking) -> None:
    tracking.log({"text": "x" * 300_000 + str(time.perf_counter_ns())})


@kind
def artifact(tracking: Tracking) -> None:
    tracking.log_artifact(__file__)


@kind
def tags(tracking: Tracking) -> None:
    tracking.set_tags({"tag": Slow()})


def alone(call: Callable[[], object]) -> None:
    """Make a call that has handlings of exceptions of its own, as a generator has them.

    What a trace function raises between the lines of an ``except`` stays in Python's mind.
    """

    def calling() -> Iterator[object]:
        yield call()

    next(calling())


class InterruptsAt:
    """A trace function that has `strike` called before the n-th line, or instruction, of a call.

    Those of this project count, and of this file, whose values are read.
    """

    def __init__(self, at: int, strike: Callable[[], object], *, instructions: bool) -> None:
        self.at = at
        self.seen = 0
        self._strike = strike
        self._event = "opcode" if instructions else "line"

    def __call__(self, where: types.FrameType, event: str, argument: object) -> object:
        name = where.f_code.co_filename
        if "tracking_core" not in name and (name != __file__ or where.f_code.co_name == "calling"):
            return None
        where.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            self.seen += 1
            if self.seen == self.at:
                self._strike()
        return self


def handler(error: BaseException, number: int, frame: types.FrameType | None) -> None:
    raise error


def handler_that_looks_around(error: BaseException, number: int, frame: Any) -> None:
    while frame is not None:
        frame = frame.f_back
    raise error


class Watchdog:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def bark(self, *given: object) -> None:
        raise self.error

    def __call__(self, number: int, frame: object) -> None:
        self.bark()


def handled(handle: Any) -> Callable[[], None]:
    """Has a signal arrive."""

    def strike() -> None:
        before = signal.signal(signal.SIGUSR1, handle)
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)

    return strike


def a_debugger_quits(error: BaseException) -> None:
    raise error


@pytest.fixture(params=["inline", "thread"])
def tracking(request: pytest.FixtureRequest) -> Iterator[Tracking]:
    tracking = Tracking(MemoryTracker(), delivery=request.param)
    tracking.init_trackers("p")
    yield tracking
    tracking.end_training()


def is_usable(tracking: Tracking) -> bool:
    """Whether another thread can log after this one: no lock is held any more."""
    tracking.log({"alive": 1})
    other = threading.Thread(target=tracking.log, args=({"alive": 1},), daemon=True)
    other.start()
    other.join(20)
    return not other.is_alive()


@pytest.mark.parametrize("instructions", [False, True], ids=["line", "instruction"])
@pytest.mark.parametrize("call", KINDS)
def test_what_a_handler_raises_comes_out_of_every_line(
    tracking: Tracking, call: str, instructions: bool
) -> None:
    error = TimeoutError("the watchdog")
    strike = handled(partial(handler, error))
    KINDS[call](tracking)
    before = sum(state.delivered + state.pending for state in tracking.status().values())
    at = 1
    while True:
        interrupt = InterruptsAt(at, strike, instructions=instructions)
        raised: BaseException | None = None
        sys.settrace(interrupt)  # type: ignore[arg-type]  # returns itself
        try:
            alone(partial(KINDS[call], tracking))
        except BaseException as caught:
            raised = caught
        finally:
            sys.settrace(None)
        if interrupt.seen < at:
            break
        assert raised is error, (at, raised)
        at += 1 if LONG or not instructions else 7
    assert at > 10
    assert is_usable(tracking)
    after = sum(state.delivered + state.pending for state in tracking.status().values())
    assert before + 3 <= after <= before + at + 3
    assert not any("did not take" in rejection.reason for rejection in tracking.rejected)


@pytest.mark.parametrize(
    "strike",
    [
        partial(handled, partial(handler_that_looks_around, Stop("x"))),
        partial(handled, Watchdog(ValueError("x"))),
        partial(handled, Watchdog(OSError(5, "x")).bark),
        partial(handled, lambda *given: handler(SystemExit(15), *given)),
        lambda: partial(a_debugger_quits, Stop()),
    ],
    ids=["frame used up", "object", "method", "lambda", "debugger"],
)
@pytest.mark.parametrize("call", ["mixed_row", "table", "options"])
def test_whatever_the_handler_is(
    tracking: Tracking, call: str, strike: Callable[[], Callable[[], None]]
) -> None:
    at = 1
    while True:
        interrupt = InterruptsAt(at, strike(), instructions=False)
        sys.settrace(interrupt)  # type: ignore[arg-type]  # returns itself
        try:
            alone(partial(KINDS[call], tracking))
        except (Stop, ValueError, OSError, SystemExit):
            at += 3
        else:
            break
        finally:
            sys.settrace(None)
    assert interrupt.seen < at and at > 30
    assert is_usable(tracking)


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """What a handler raises in the middle of a collection, where others may look on, is lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("call", KINDS)
def test_no_alarm_is_ever_lost(tracking: Tracking, call: str) -> None:
    error = TimeoutError("the watchdog")
    before = signal.signal(signal.SIGALRM, partial(handler, error))
    try:
        for number in range(3000 if LONG else 100):
            KINDS[call](tracking)
            raised = False
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005 * (1 + number % 40))
                for _ in itertools.takewhile(not_too_long(), itertools.count()):
                    KINDS[call](tracking)
            except TimeoutError as caught:
                raised = caught is error
            assert raised, number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert is_usable(tracking)


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("call", KINDS)
def test_nothing_that_another_thread_sets_is_ever_lost(tracking: Tracking, call: str) -> None:
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    mine = ctypes.c_ulong(threading.get_ident())
    wanted, leave = threading.Event(), threading.Event()

    def strike() -> None:
        while wanted.wait(60) and not leave.is_set():
            wanted.clear()
            set_exception(mine, ctypes.py_object(Stop))

    other = threading.Thread(target=strike, daemon=True)
    other.start()
    for number in range(1000 if LONG else 50):
        raised = False
        try:
            wanted.set()
            for _ in itertools.takewhile(not_too_long(), itertools.count()):
                KINDS[call](tracking)
        except Stop:
            raised = True
        assert raised, number
    leave.set()
    wanted.set()
    other.join()
    assert is_usable(tracking)


def not_too_long() -> Callable[[int], bool]:
    until = time.monotonic() + 20
    return lambda _: time.monotonic() < until


# --- how it is told ---


def test_an_error_that_was_never_raised_is_a_value_s() -> None:
    let_through(ValueError("made, and not raised"))


def test_ctrl_c_is_always_the_program_s() -> None:
    with pytest.raises(KeyboardInterrupt):
        let_through(KeyboardInterrupt())


def test_an_error_of_compiled_code_is_a_value_s() -> None:
    for read in (lambda: float("x"), lambda: [][1], lambda: next(iter([])), lambda: {}["x"]):
        try:
            read()
        except Exception as error:
            let_through(error)


def test_it_is_quick(tracking: Tracking, tmp_path: Path) -> None:
    """A value that can't be taken is met in every step of a training."""
    begun = time.perf_counter()
    for _ in range(1000):
        tracking.log({"bad": Number(ValueError("x"))})
    assert time.perf_counter() - begun < 10


def test_a_warning_is_still_a_warning(tracking: Tracking) -> None:
    with pytest.warns(TrackingWarning, match="reading it raised SystemExit"):
        tracking.log({"the end": Number(SystemExit(3))})
