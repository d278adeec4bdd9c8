"""The outages that every tracker with a server is judged by.

A subclass in ``tests/test_outages.py`` says where its server is, and how to ask it what it has::

    class TestOutages(OutageMatrix):
        tracker = "my_tool"
        metrics, file_store = r"/api/log$", r"^/files/"     # regular expressions of paths

        @pytest.fixture
        def upstream(self): ...                             # starts the server, yields its address
        def environment(self, url): return {"MY_TOOL_URL": url}
        def read(self, run): ...                            # what is there; or `rows` and `files`

Each case runs a training in a process of its own, in the tracker's own lane, behind a `Gateway` that
plays a fault, and compares what the server has in the end with a ledger of what was logged. A row
may be missing then only if the training has named a command that delivers it, and that command is
run. ``TRACKING_LONG=1`` runs all cases, with faults that last for a minute and more; without it those
in `short` run, with faults of one to three seconds: the first four, or ``TRACKING_OUTAGES`` of them. With ``TRACKING_OUTAGES_TABLE=FILE`` each case
adds a line of JSON there.
"""

from __future__ import annotations

import bisect
import hashlib
import io
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import PIL.Image
import pytest

from tracking_core.delivery.notes import read_note
from tracking_core.encoding import image_file
from tracking_core.records import LoggedImage, Plain, Record
from tracking_core.testing.commands import named_commands
from tracking_core.testing.gateway import (
    Down,
    Fault,
    Gateway,
    Hang,
    LostAnswer,
    Page,
    Playing,
    ResetInBody,
    Slow,
    Status,
    TooLarge,
)
from tracking_core.testing.mistakes import WrongSettings
from tracking_core.testing.seen import Seen
from tracking_core.testing.trial import DELIVERY, PROCESSES, Training

__all__ = ["CASES", "Case", "OutageMatrix", "Run", "Verdict"]

LONG = os.environ.get("TRACKING_LONG") == "1"
MOST = int(os.environ.get("TRACKING_OUTAGES", "4"))
TABLE = "TRACKING_OUTAGES_TABLE"
PATIENCE = 60.0
PATIENCE_WITH_COMMANDS = 240.0
SECONDS_OF_AN_END = 2.0
ROWS_BEFORE, ROWS_AFTER = 20, 20
ROWS_ON_THEIR_WAY = 5
FILES_AFTER = 2  # of which one is small, and one large
# In which a row is sent, or refused, where that can't be seen from here.
SECONDS_OF_A_BATCH = 5.0
SECONDS_OF_FAIR_WEATHER = 20.0 if LONG else 3.0
LARGEST = 100_000

Moment = Literal["start", "middle", "end", "past the end"]


@dataclass(frozen=True)
class Case:
    """What goes wrong, and when.

    Attributes:
        fault: what the gateway plays; None for nothing.
        moment: when it begins: before the run, in its middle, with its end; or shortly before the
            end, and it is over only after that.
        seconds: how long it lasts, from the first request that meets it.
        path: what it is played on: everything, the ``"metrics"`` or the ``"files"``.
        times: how many requests meet it at most.
        killed: what is killed in the middle: the ``"delivery"`` process, the library's ``"service"``.
        runs: how many trainings there are at once.
    """

    fault: Fault | None = None
    moment: Moment = "middle"
    seconds: float = 20.0 if LONG else 2.0
    path: Literal["", "metrics", "files"] = ""
    times: int | None = None
    killed: tuple[Literal["delivery", "service"], ...] = ()
    runs: int = 1


CASES: Mapping[str, Case] = {
    "fair weather": Case(),
    "two at once": Case(runs=2),
    "down at the start": Case(Down(), "start"),
    "down": Case(Down()),
    "down for long": Case(Down(), seconds=90.0 if LONG else 6.0),
    "down at the end": Case(Down(), "end"),
    "down past the end": Case(Down(), "past the end"),
    "500": Case(Status(500)),
    "429": Case(Status(429, retry_after=8.0 if LONG else 1.0)),
    "401 at the start": Case(Status(401), "start"),
    "401": Case(Status(401)),
    "403": Case(Status(403)),
    "hanging": Case(Hang()),
    "hanging past the end": Case(Hang(), "past the end"),
    "reset in an answer": Case(ResetInBody(), path="metrics", times=1),
    "lost answer": Case(LostAnswer(), path="metrics", times=1),
    "page at the start": Case(Page(), "start"),
    "page": Case(Page()),
    "slow": Case(Slow(1.0)),
    "404 for metrics": Case(Status(404), path="metrics"),
    "403 for files": Case(Status(403), path="files"),
    "403 for files past the end": Case(Status(403), "past the end", path="files"),
    "413 for files": Case(TooLarge(LARGEST), "past the end", path="files"),
    "delivery killed": Case(killed=("delivery",)),
    "service killed": Case(killed=("service",)),
    "both killed": Case(killed=("delivery", "service")),
}
"""Every case by its name; one that a tracker has no place for is left out."""


@dataclass(frozen=True)
class Run:
    """A run whose rows are asked for.

    Attributes:
        project: what `init_trackers` was given.
        run_dir: where its journal is.
        identity: what the tracker has said that its native run is; empty if it never began.
    """

    project: str
    run_dir: Path
    identity: Mapping[str, Plain]


@dataclass
class Verdict:
    """What became of what was logged.

    Attributes:
        logged: rows.
        missing, doubled, strange: of the rows at the server; strange ones this run has not logged.
        one_batch: how many rows one batch may have had: that many come again without ids, after a
            failure.
        lacking: names of the files that the server lacks.
        at_the_end: rows that were missing when the training had ended, before any command.
        commands: those that were named, with how each ended.
        unnamed: what of `lacking` nobody has named.
        first_word: seconds from the first failure to the first word about it; None for no word.
        lasted: seconds from the first failure until the fault was over, or the training.
        per_second: requests in a second.
    """

    logged: int = 0
    missing: int = 0
    doubled: int = 0
    strange: int = 0
    one_batch: int = 0
    at_the_end: int = 0
    lacking: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    commands: list[tuple[list[str], int]] = field(default_factory=list)
    first_word: float | None = None
    lasted: float = 0.0
    per_second: float = 0.0


class OutageMatrix(WrongSettings):
    """Subclass it, and pytest runs each of the cases.

    Attributes:
        tracker: its name.
        reference: ``module:Class`` of one that no installed package brings.
        metrics, file_store: regular expressions that find the paths where rows go, and where files
            go; an empty one if the tracker has no such place.
        service: one that finds the command line of a process of the library's own, likewise.
        has_ids: whether the server can tell that it has a row already, so that none is doubled.
        short: the cases that run where not all do, the most telling ones first.
        left_out: those that never run, because the server of the tests can't play them.
        seconds_to_a_word: from the first failure, at most.
        requests_per_second: at most, in fair weather.
    """

    tracker: ClassVar[str]
    reference: ClassVar[str] = ""
    metrics: ClassVar[str]
    file_store: ClassVar[str] = ""
    service: ClassVar[str] = ""
    has_ids: ClassVar[bool] = False
    short: ClassVar[Sequence[str]] = (
        "fair weather",
        "down at the start",
        "down past the end",
        "lost answer",
        "delivery killed",
    )
    left_out: ClassVar[Sequence[str]] = ()
    seconds_to_a_word: ClassVar[float] = 5.0
    requests_per_second: ClassVar[float] = 2.0

    @pytest.fixture
    def upstream(self) -> str:
        """The address of the server, which is up."""
        raise NotImplementedError

    def environment(self, url: str) -> Mapping[str, str]:
        """Variables that lead a training to the server at `url`."""
        return {}

    def init_kwargs(self, url: str) -> Mapping[str, Plain]:
        """Arguments of the tracker that do so."""
        return {}

    def read(self, run: Run) -> Iterable[Record]:
        """What the library's own reader finds at the server, not by way of the gateway.

        Raises:
            LookupError: there is no such run.
        """
        raise NotImplementedError

    def rows(self, run: Run) -> Iterable[tuple[int, object]]:
        """Step and value of each row with the key ``n`` at the server: of `read`, unless said."""
        return [(point.step, point.value) for point in self._seen(run).points("n")]

    def files(self, run: Run) -> Iterable[bytes]:
        """What is in each file at the server, pictures among them: of `read`, unless said.

        What the training has not logged does no harm.
        """
        seen = self._seen(run)
        pictures = [one for one in seen.media("picture") if isinstance(one, LoggedImage)]
        return [*seen.files().values(), *(image_file(one)[0] for one in pictures)]

    def _seen(self, run: Run) -> Seen:
        try:
            return Seen(self.read(run))
        except LookupError:
            return Seen([])

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases())
        if "mistake" in metafunc.fixturenames:
            metafunc.parametrize("mistake", self.mistakes()[: None if LONG else MOST // 2])

    def cases(self) -> list[str]:
        """The names of those that run here."""
        unknown = {*self.short, *self.left_out} - CASES.keys()
        assert not unknown, f"{type(self).__name__} names unknown cases: {sorted(unknown)}"
        return [
            name
            for name, case in CASES.items()
            if (LONG or name in self.short[:MOST])
            and name not in self.left_out
            and not (case.path == "files" and not self.file_store)
            and not ("service" in case.killed and not self.service)
            and not (case.killed and not PROCESSES.is_dir())
        ]

    def test_outage(self, case: str, upstream: str, tmp_path: Path) -> None:
        """What the server lacks in the end is brought by a command that the training has named."""
        verdict = self.judged(CASES[case], upstream, tmp_path)
        wrong = self.faults_of(CASES[case], verdict)
        self._tabulate(case, verdict, wrong)
        assert wrong == []

    def compared(self, training: Training, project: str) -> Verdict:
        """The ledger of a training beside what the server has."""
        assert training.run_dir is not None, f"no run began: {training.words}"
        run = Run(project, training.run_dir, self._identity(training.run_dir))
        there = Counter(self.rows(run))
        logged = set(training.rows.items())
        digests, pictures = set(), set()
        for content in self.files(run):
            digests.add(hashlib.sha256(content).hexdigest())
            pictures |= _number_of(content)
        lacking = [name for name, digest in training.files.items() if digest not in digests]
        lacking += [f"picture {one}" for one in training.pictures if one not in pictures]
        return Verdict(
            logged=len(logged),
            missing=len(logged - there.keys()),
            doubled=sum(there.values()) - len(there),
            strange=len(there.keys() - logged),
            lacking=lacking,
        )

    def _identity(self, run_dir: Path) -> Mapping[str, Plain]:
        writers = [one for one in run_dir.iterdir() if one.is_dir()]
        notes = [read_note(writer, self.tracker).identity for writer in writers]
        return next(filter(None, notes), {})

    def see_all(self, training: Training, said: str) -> None:
        found = self.compared(training, "mistake")
        assert (found.missing, found.doubled, _unnamed(found, said)) == (0, 0, [])

    def judged(self, case: Case, upstream: str, directory: Path) -> Verdict:
        """What becomes of the rows of a training in `case`, whose journals go to `directory`."""
        with Gateway(upstream) as gateway:
            trial = _Trial(self, case, gateway, directory)
            try:
                trial.play()
                return trial.verdict()
            finally:
                trial.clean_up()

    def faults_of(self, case: Case, verdict: Verdict) -> list[str]:
        """What is wrong with the tracker, in words."""
        found = []
        commands = [" ".join(command) for command, _ in verdict.commands]
        if verdict.missing and not commands:
            found.append(
                f"{verdict.missing} of {verdict.logged} rows are missing, and no command named"
            )
        elif verdict.missing:
            ends = [status for _, status in verdict.commands]
            found.append(
                f"{verdict.missing} of {verdict.logged} rows are missing after {commands}, which "
                f"ended with {ends}"
            )
        elif any(status for _, status in verdict.commands):
            found.append(f"all rows are there, and {commands} does not say so")
        if case.path == "files" and verdict.at_the_end:
            found.append(f"{verdict.at_the_end} rows were held up by the file store")
        if verdict.unnamed:
            found.append(f"files are missing, and nobody names them: {verdict.unnamed}")
        if verdict.strange:
            found.append(
                f"{verdict.strange} rows at the server were logged by another run, or never"
            )
        if verdict.doubled > (0 if self.has_ids else verdict.one_batch):
            found.append(
                f"{verdict.doubled} rows are there more than once: a batch had at most {verdict.one_batch}"
            )
        untold = verdict.first_word is None or verdict.first_word > self.seconds_to_a_word
        if verdict.lasted > self.seconds_to_a_word and untold:
            found.append(
                f"it failed for {verdict.lasted:.1f} s, and the first word about it came after "
                f"{verdict.first_word} s"
            )
        if case == Case() and verdict.per_second > self.requests_per_second:
            found.append(f"{verdict.per_second:.1f} requests a second")
        return found

    def _tabulate(self, name: str, verdict: Verdict, wrong: list[str]) -> None:
        path = os.environ.get(TABLE)
        if not path:
            return
        case = CASES[name]
        line = {
            "tracker": self.tracker, "case": name, "moment": case.moment, "seconds": case.seconds,
            **asdict(verdict), "wrong": wrong,
        }  # fmt: skip
        line["commands"] = len(verdict.commands)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _Trial:
    """One case: the training, or trainings, and what is played to them."""

    def __init__(self, matrix: OutageMatrix, case: Case, gateway: Gateway, directory: Path) -> None:
        self._matrix, self._case, self._gateway = matrix, case, gateway
        self._directory = directory
        self._trainings: list[Training] = []
        self._healed_at: float | None = None
        self._began_at = 0.0
        self._told_at = 0.0
        self._played: Playing | None = None

    def play(self) -> None:
        """Have the training run, and the fault come and go."""
        case = self._case
        if case.moment == "start":
            self._begin_fault()
        for number in range(case.runs):
            self._train(number)
        if case.moment == "start":
            self._wait_for_a_failure()
            self._last_and_heal()
        else:
            self._wait_until_it_works()
        if case.killed:
            self._kill()
        elif case.fault is None:
            self._first.goes_on_for(SECONDS_OF_FAIR_WEATHER if case.runs == 1 else 0.0)
        elif case.moment == "middle":
            self._begin_fault()
            self._last_and_heal()
        elif case.moment == "end":
            self._begin_fault()
        if case.moment == "past the end":
            self._begin_fault()
            self._first.wait_for_rows(ROWS_AFTER)
        elif case.moment in ("start", "middle"):
            for training in self._trainings:
                training.wait_for_rows(ROWS_AFTER)
        self._end()

    def clean_up(self) -> None:
        self._gateway.heal()
        for training in self._trainings:
            training.clean_up()

    @property
    def _first(self) -> Training:
        return self._trainings[0]

    def _train(self, number: int) -> None:
        matrix, url = self._matrix, self._gateway.url
        arguments = {
            "tracker": matrix.tracker,
            "reference": matrix.reference,
            "project": f"outage-{number}",
            "first": number * 1_000_000,
            "kwargs": dict(matrix.init_kwargs(url)),
        }
        scratch = self._directory / f"training-{number}"
        self._trainings.append(Training(arguments, scratch, matrix.environment(url)))

    def _wait_until_it_works(self) -> None:
        gateway, metrics = self._gateway, self._matrix.metrics
        self._first.wait_for(lambda: gateway.answered(metrics), "a row at the server")
        self._began_at = time.monotonic()
        for training in self._trainings:
            training.wait_for_rows(ROWS_BEFORE)

    def _begin_fault(self) -> None:
        case = self._case
        assert case.fault is not None, "a case of a fault"
        path = {"": "", "metrics": self._matrix.metrics, "files": self._matrix.file_store}[
            case.path
        ]
        self._fault_at = time.monotonic()
        self._played = self._gateway.play(case.fault, path, case.times)
        if case.path == "files":
            many = len(self._first.files) + FILES_AFTER
            self._first.wait_for(lambda: len(self._first.files) >= many, "more files")

    def _wait_for_a_failure(self) -> None:
        """Until a request has met the fault, or, where none can come through, the tracker says so."""
        self._first.wait_for(self._failed_at, "the first failure")

    def _is_met(self) -> bool:
        return self._played is not None and bool(self._played.met or self._failed_at())

    def _failed_at(self) -> float | None:
        """When the first request met the fault, or when the tracker had failed if that is earlier."""
        if self._played is None:
            return None
        slow = isinstance(
            self._played.fault, Slow
        )  # which is no failure, unless the tracker says so
        met = [one.at for one in self._played.met if one.fault and not slow][:1]
        seen = [at for at, _ in self._first.troubles if at >= self._fault_at][:1]
        unseen = [self._fault_at + SECONDS_OF_A_BATCH] if self._played.is_down else []
        return min(met + seen + (unseen if self._healed_at else []), default=None)

    def _last_and_heal(self) -> None:
        assert self._played is not None, "it was begun"
        if self._case.times is None:
            self._first.hears(self._is_met, SECONDS_OF_A_BATCH)
            self._first.goes_on_for(self._case.seconds)
        else:
            self._wait_for_a_failure()
        self._heal()

    def _heal(self) -> None:
        assert self._played is not None, "it was begun"
        self._healed_at = time.monotonic()
        self._played.heal()

    def _kill(self) -> None:
        patterns = {"delivery": DELIVERY, "service": self._matrix.service}
        for what in self._case.killed:
            killed = self._first.kill(patterns[what])
            assert killed, f"no {what} process is there to be killed"
        self._first.wait_for_rows(ROWS_AFTER)

    def _end(self) -> None:
        case = self._case
        past = case.moment == "past the end"
        self._told_at = time.monotonic()
        patience = SECONDS_OF_AN_END if past else case.seconds + PATIENCE
        for training in self._trainings:
            training.finish(patience)
        if case.moment == "end":
            self._last_and_heal()
        for training in self._trainings:
            training.wait(patience + PATIENCE)
        if past:
            self._heal()

    # --- what became of it ---

    def verdict(self) -> Verdict:
        """What is at the server now, and once the named commands were run."""
        whole = Verdict()
        for number, training in enumerate(self._trainings):
            self._judge(training, f"outage-{number}", whole)
        steady = self._began_at + 1.0, self._told_at
        whole.per_second = self._gateway.per_second(*steady, but=self._matrix.file_store)
        whole.per_second = round(whole.per_second, 1)
        failed = self._failed_at()
        if failed is not None:
            ends = [one for one in (self._healed_at, self._first.ended_at) if one is not None]
            whole.lasted = round(max(0.0, min(ends) - failed), 2)
            quoted = f"'{self._matrix.tracker}'"
            # That nobody listens may be told sooner than it is reckoned here to have been met.
            words = [at for at, line in self._first.said if at >= self._fault_at and quoted in line]
            whole.first_word = round(max(0.0, words[0] - failed), 2) if words else None
        return whole

    def _judge(self, training: Training, project: str, whole: Verdict) -> None:
        at_the_end = self._compared(training, project)
        whole.at_the_end += at_the_end.missing
        said, commands = training.words, named_commands(training.words)
        for command in commands:  # what it says may name another one
            status, words = training.run(command, PATIENCE_WITH_COMMANDS)
            whole.commands.append((command, status))
            said += words
            commands += [one for one in named_commands(words) if one not in commands]
        found = self._compared(training, project) if commands else at_the_end
        whole.logged += found.logged
        whole.missing += found.missing
        whole.doubled += found.doubled
        whole.strange += found.strange
        whole.one_batch = max(whole.one_batch, found.one_batch)
        whole.lacking += found.lacking
        whole.unnamed += _unnamed(found, said)

    def _compared(self, training: Training, project: str) -> Verdict:
        found = self._matrix.compared(training, project)
        found.one_batch = self._one_batch(training)
        return found

    def _one_batch(self, training: Training) -> int:
        """As many rows as were logged between two requests; none where nothing makes one fail."""
        if self._case.fault is None and not self._case.killed:
            return 0
        came = [
            one.at for one in self._gateway.requests if re.search(self._matrix.metrics, one.path)
        ]
        between = Counter(bisect.bisect(came, at) for at in training.times)
        return max(between.values(), default=0) + ROWS_ON_THEIR_WAY


def _unnamed(found: Verdict, said: str) -> list[str]:
    return [name for name in found.lacking if name.partition(" ")[0] not in said]


def _number_of(content: bytes) -> set[int]:
    """What the pixels of a picture of the training say; nothing if it is none."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            high, low, mark = picture.convert("RGB").getpixel((0, 0))  # type: ignore[misc]  # three
    except Exception:  # any other file
        return set()
    return {high * 256 + low} if mark == 77 else set()
