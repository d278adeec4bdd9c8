"""What a dead run left is delivered; what a tracker never saw is sent to it.

Both are the ordinary worker on a journal that nobody writes to any more, so a tracker gets only
what its cursor says that it does not have: doing it twice delivers nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tracking_core.assembly import free_name
from tracking_core.delivery.lane import TrackerStatus
from tracking_core.delivery.notes import (
    MANIFEST,
    StoredTracker,
    made,
    read_acked,
    read_manifest,
    read_note,
)
from tracking_core.delivery.redelivery import Redelivery, has_letters
from tracking_core.delivery.remarks import read_remarks
from tracking_core.delivery.requests import ask
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.errors import (
    DamagedJournal,
    InvalidTrackerError,
    JournalError,
    TrackingError,
    UnknownTrackerError,
)
from tracking_core.filtering import LogWith, filter_trackers
from tracking_core.journal import DrainLock, Reader, owner_alive, read_owner, trim
from tracking_core.journal.layout import OWNER, require_own_directory, segments
from tracking_core.plain import printable
from tracking_core.redaction import is_masked, unmasked
from tracking_core.registry import LOGGER_TYPE_TO_CLASS
from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker

__all__ = ["recover", "replay"]

POLICY = Policy(interval=0.05)
# A delivery process lets a call that is under way end, and its libraries exit.
SECONDS_TO_HAND_OVER = 30.0
SECONDS_TO_STOP = 5.0
SECONDS_BETWEEN_TRIES = 0.05

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
Progress: TypeAlias = Callable[[Mapping[str, TrackerStatus]], None]


class Job(NamedTuple):
    """One tracker that gets what one writer directory holds.

    Attributes:
        writer: the writer directory.
        name: the tracker's name in the run.
        build: makes the tracker; None if that can't be done.
        reason: why it can't, and what to do about it.
    """

    writer: Path
    name: str
    build: Callable[[], GeneralTracker] | None
    reason: str = ""


class _Unmade(Exception):
    """A tracker of a run can't be made again; the text says why, and what to do about it."""


def recover(
    run_dir: str | os.PathLike[str],
    *,
    trackers: Iterable[GeneralTracker] = (),
    init_kwargs: Options | None = None,
    timeout: float | None = None,
    force: bool = False,
    originals: bool = False,
    dead: bool = False,
    progress: Progress | None = None,
) -> dict[str, TrackerStatus]:
    """Deliver what a run left, to the trackers that it had.

    Native runs that the run had begun are resumed, and ended as it was ended; where it died without
    saying, as killed.

    A tracker's class is found by its name, among installed packages and what
    `register_tracker_class` made known. No file says which code is run.

    Args:
        run_dir: `Tracking.run_dir` of the run.
        trackers: instances for those that can't be made by name, or shall not be: each stands for
            the run's tracker of its name, of two alike the second for ``name#2``. It must not have
            been started.
        init_kwargs: constructor arguments by tracker name, over those that the run had. Secrets
            are not kept with a run: hand them in again, or let the library find them.
        timeout: seconds after which a tracker that still refuses is given up; None for never.
        force: deliver although it can't be known from here whether the run's process has ended,
            because it ran on another machine or in another container. You say that it has.
        originals: read files that could not be copied into the run's directory from where they were
            logged. The run is your own, you say: another one's may name any file of this machine.
        dead: deliver, too, what a tracker refused for good before: somebody has mended something.
            What it refuses again stays where it is, with the new reason.
        progress: called about twice a second with the status of each tracker.

    Returns:
        The status of each tracker. `pending` is what could still not be delivered; a tracker that
        can't be made again is ``"stopped"``, and its `last_error` says what to do.

    Raises:
        JournalError: this is no run, it is or may be still going on, or somebody else is delivering
            it.
        UnknownTrackerError: the run had no tracker of the name of one of `trackers`. It is a
            `ValueError`.
    """
    given = init_kwargs or {}
    handed_in: dict[str, GeneralTracker] = {}
    for tracker in trackers:
        handed_in[free_name(tracker.name, handed_in)] = tracker
    jobs: list[Job] = []
    for writer in _writers(Path(run_dir), force, timeout):
        try:
            stored = read_manifest(writer).trackers
        except DamagedJournal as error:
            if not handed_in:
                raise DamagedJournal(
                    f"{error}: hand them in (trackers=[...]), or send the run to others by replay"
                ) from error
            stored = [StoredTracker(name, [], {}, "thread", given=True) for name in handed_in]
        for one in stored:
            instance = handed_in.get(one.name)
            if instance is not None:
                jobs.append(Job(writer, one.name, _same(instance)))
                continue
            arguments = given.get(one.name, given.get(one.registered_name)) or {}
            try:
                jobs.append(Job(writer, one.name, _made_again(one, arguments)))
            except _Unmade as error:
                jobs.append(Job(writer, one.name, None, str(error)))
    _require_known(handed_in, jobs)
    return _deliver(jobs, timeout, originals, progress, dead=dead)


def replay(
    run_dir: str | os.PathLike[str],
    log_with: LogWith,
    logging_dir: str | os.PathLike[str] | None = None,
    *,
    init_kwargs: Options | None = None,
    timeout: float | None = None,
    force: bool = False,
    originals: bool = False,
    progress: Progress | None = None,
) -> dict[str, TrackerStatus]:
    """Send a whole run to trackers that it did not have, with its own steps and times.

    Args:
        run_dir: `Tracking.run_dir` of the run.
        log_with, logging_dir, init_kwargs: as for `Tracking` and `init_trackers`.
        timeout, force, originals, progress: as for `recover`.

    Returns:
        The status of each tracker.

    Raises:
        JournalError: this is no run, it is or may be still going on, or somebody else is delivering
            it.
        ValueError: as `filter_trackers`.
    """
    chosen = filter_trackers(log_with, logging_dir)
    given = init_kwargs or {}
    jobs: list[Job] = []
    for writer in _writers(Path(run_dir), force, timeout):
        project = _project_of(writer)
        for one in chosen:
            if isinstance(one, GeneralTracker):
                jobs.append(Job(writer, one.name, _same(one)))
                continue
            kind = LOGGER_TYPE_TO_CLASS[one]
            places: list[Any] = [project]
            if kind.requires_logging_directory:
                places.append(logging_dir)
            jobs.append(
                Job(writer, kind.name, partial(made, kind, places, dict(given.get(one, {}))))
            )
    return _deliver(jobs, timeout, originals, progress)


def _made_again(stored: StoredTracker, given: Mapping[str, Any]) -> Callable[[], GeneralTracker]:
    """What makes a tracker of the run again, with the arguments `given` over those that it had.

    Raises:
        _Unmade: nobody here knows how.
    """
    hand_in = (
        f"hand the tracker in: Tracking.recover(run_dir, trackers=[...]), named {stored.name!r}"
    )
    if stored.was_handed_in and not given:
        raise _Unmade(
            f"it was handed in as an object, and what that was made of is not kept: {hand_in}; "
            f"or its constructor's arguments: init_kwargs={{{stored.name!r}: {{...}}}}"
        )
    name = stored.registered_name
    try:
        kind = LOGGER_TYPE_TO_CLASS[name]
    except KeyError:
        where = f"{stored.module}.{stored.qualname}".strip(".")
        raise _Unmade(
            f"no installed package brings a tracker {name!r}, and no class of that name is known: "
            f"install its package; or import the class{where and f' ({where})'}, call "
            f"register_tracker_class, and then Tracking.recover; or {hand_in}"
        ) from None
    except InvalidTrackerError as error:
        raise _Unmade(str(error)) from error
    arguments = {**unmasked(stored.arguments), **given}
    places = list(stored.places)
    if len(places) > 1 and "logging_dir" in arguments:
        places[1] = arguments.pop("logging_dir")
    masked = [key for key, value in arguments.items() if is_masked(value)]
    masked += ["logging_dir" for place in places[1:] if is_masked(place)]
    if masked:
        raise _Unmade(
            f"its argument {masked[0]!r} holds a secret, which is not kept: hand it in, "
            f"init_kwargs={{{stored.name!r}: {{{masked[0]!r}: ...}}}}"
        )
    return partial(made, kind, places, arguments, unmasked(stored.launch))


def _require_known(handed_in: Mapping[str, GeneralTracker], jobs: list[Job]) -> None:
    had = {job.name for job in jobs}
    for name in handed_in:
        if name not in had:
            raise UnknownTrackerError(
                f"the run had no tracker {name!r}, it had {', '.join(sorted(had)) or 'none'}: "
                "Tracking.replay sends a run to others"
            )


def _project_of(writer: Path) -> str:
    """The name of the run's project; where that can't be read any more, that of the run."""
    try:
        return read_manifest(writer).project
    except DamagedJournal:
        with contextlib.suppress(DamagedJournal):
            return read_owner(writer).run
        return writer.parent.name


def _same(tracker: GeneralTracker) -> Callable[[], GeneralTracker]:
    return lambda: tracker


def _writers(run_dir: Path, force: bool, timeout: float | None) -> Iterator[Path]:
    """The writer directories of a run whose writers are gone, oldest first."""
    found = _writer_directories(run_dir)
    if not found:
        raise JournalError(f"{run_dir} holds no run: give the run_dir of a Tracking")
    for writer in sorted(found, key=_created):
        require_own_directory(writer)
        try:
            owner = read_owner(writer)
        except DamagedJournal as error:
            if not force:
                raise DamagedJournal(
                    f"{error}: whether the run is still going on can't be known. If it is not, say "
                    "so with --force (force=True)"
                ) from error
            yield writer
            continue
        alive = owner_alive(owner)
        if alive is None and force:
            alive = False
        if alive is not False and not (_Through(writer, timeout).ended and _let_go(writer)):
            who = f"process {owner.pid} of {owner.host}"
            if alive:
                raise JournalError(f"the run in {writer} is still going on in {who}")
            raise JournalError(
                f"whether the run in {writer} is still going on in {who} can't be known from here, "
                "another machine or container: if it is not, say so with --force (force=True)"
            )
        yield writer


def _writer_directories(run_dir: Path) -> list[Path]:
    """The directories in `run_dir`, or this itself, that somebody has written a journal to."""
    try:
        if _holds_journal(run_dir):
            return [run_dir]
        with os.scandir(run_dir) as entries:
            inner = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path for path in inner if _holds_journal(path)]


def _holds_journal(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(os.path.lexists(directory / name) for name in (OWNER, MANIFEST)) or bool(
            segments(directory)
        )
    return False


def _created(writer: Path) -> tuple[int, str]:
    try:
        return read_owner(writer).created_ns, writer.name
    except DamagedJournal:
        return 0, writer.name


def _let_go(writer: Path) -> bool:
    """Whether the threads of the process that wrote are through with what they delivered.

    The end of a run does not wait for one that can't deliver: it notes a moment later that it stops.
    """
    threads = [one.name for one in read_manifest(writer).trackers if one.lane == "thread"]
    until = time.monotonic() + SECONDS_TO_STOP
    while any(read_note(writer, name).state not in ("ended", "stopped") for name in threads):
        if time.monotonic() > until:
            return False
        time.sleep(SECONDS_BETWEEN_TRIES)
    return True


def _deliver(
    jobs: list[Job],
    timeout: float | None,
    originals: bool,
    progress: Progress | None,
    *,
    dead: bool = False,
) -> dict[str, TrackerStatus]:
    writers = list(dict.fromkeys(job.writer for job in jobs))
    with ExitStack() as locks:
        for writer in writers:
            _lock(writer, locks)
            for remark in read_remarks(writer):
                # Whoever trained may have been gone by then.
                say(f"the run's delivery process said: {printable(remark)}")
        last = {writer: _Through(writer, timeout).position for writer in writers}
        until = float("inf") if timeout is None else time.monotonic() + timeout
        workers: dict[str, tuple[Worker, int]] = {}
        found: dict[str, TrackerStatus] = {}
        for job in jobs:
            worker, reason = _worker(job, originals)
            if worker is None:
                found[job.name] = _left(job, last[job.writer], reason)
            else:
                workers[job.name] = worker, last[job.writer]
        found |= _work(workers, found, until, progress)
        if dead:
            again: dict[str, tuple[Worker, int]] = {}
            for job in jobs:
                if found[job.name].state == "ended" and has_letters(job.writer, job.name):
                    if job.build is None:
                        found[job.name] = _left(job, last[job.writer], job.reason, anyway=True)
                    else:
                        again[job.name] = _redelivery(job, job.build, originals)
            # A start that fails leaves the run as it was: ended, with what is in dead/.
            for name, status in _work(again, found, until, progress).items():
                found[name] = msgspec.structs.replace(status, pending=0)
        for writer in writers:
            trim(writer)
        return {job.name: found[job.name] for job in jobs}


def _work(
    workers: Mapping[str, tuple[Worker, int]],
    found: Mapping[str, TrackerStatus],
    until: float,
    progress: Progress | None,
) -> dict[str, TrackerStatus]:
    """Have `workers` work, each up to its last record; how that went."""
    threads = {
        name: threading.Thread(target=one.run, daemon=True) for name, (one, _) in workers.items()
    }
    for name, thread in threads.items():
        workers[name][0].give_up_at(until)
        thread.start()

    def statuses() -> dict[str, TrackerStatus]:
        return {name: worker.status(last) for name, (worker, last) in workers.items()}

    for name, thread in threads.items():
        while thread.is_alive() and time.monotonic() < until + POLICY.deadline:
            thread.join(0.5 if progress else min(1.0, max(0.0, until - time.monotonic()) or 1.0))
            if progress is not None:
                progress({**found, **statuses()})
        workers[name][0].stop()
    return statuses()


def _redelivery(
    job: Job, build: Callable[[], GeneralTracker], originals: bool
) -> tuple[Worker, int]:
    worker = Redelivery(job.writer, job.name, build, policy=POLICY, originals=originals)
    return worker, worker.last


def _lock(writer: Path, locks: ExitStack) -> None:
    """Take the lock of a writer directory, if need be from a delivery process that is asked for it.

    Raises:
        JournalError: somebody else has it and does not let go.
    """
    lock = DrainLock(writer, "recovery")
    if locks.enter_context(lock):
        return
    holder = lock.holder()
    if holder is not None and holder.purpose == "delivery" and holder.pid != os.getpid():
        ask(writer, "hand over")
        until = time.monotonic() + SECONDS_TO_HAND_OVER
        while time.monotonic() < until:
            if lock.acquire():
                return
            time.sleep(SECONDS_BETWEEN_TRIES)
        raise JournalError(
            f"another process is delivering {writer} and does not let go of it: end it, "
            f"kill {holder.pid}"
        )
    who = f" ({holder.pid})" if holder is not None else ""
    raise JournalError(f"another process{who} is delivering {writer}: let it finish")


def _worker(job: Job, originals: bool) -> tuple[Worker | None, str]:
    """The worker of a job; or None, and why there is none."""
    if job.build is None:
        return None, job.reason
    try:
        worker = Worker(
            job.writer,
            job.name,
            job.build,
            live=lambda: False,
            policy=POLICY,
            originals=originals,
        )
    except TrackingError as error:  # what should be its cursor, say, is a link
        return None, str(error)
    return worker, ""


def _left(job: Job, last: int, reason: str, *, anyway: bool = False) -> TrackerStatus:
    """The status of a tracker that nothing can be delivered to.

    Args:
        anyway: whether there is something for it though its run has ended.
    """
    note = read_note(job.writer, job.name)
    if note.state == "ended" and not anyway:
        # There is nothing to make it again for.
        return TrackerStatus("ended", delivered=note.delivered, failed=note.failed, lost=note.lost)
    return TrackerStatus(
        "stopped",
        delivered=note.delivered,
        pending=max(0, last - read_acked(job.writer, job.name)) + note.postponed,
        failed=note.failed,
        lost=note.lost,
        last_error=reason,
        fault="setup",
    )


class _Through:
    """A writer directory read to its end, or as far as one comes in a time.

    Attributes:
        position: the number of the last record.
        ended: whether its writer closed it.

    Raises:
        JournalError: it can't be read.
    """

    def __init__(self, writer: Path, timeout: float | None) -> None:
        self.position = 0
        self.ended = False
        self._error: Exception | None = None
        thread = threading.Thread(target=self._read, args=(writer,), daemon=True)
        thread.start()
        # What somebody else has put there may be of any size.
        thread.join(None if timeout is None else timeout + POLICY.deadline)
        if isinstance(self._error, TrackingError):
            raise self._error
        if self._error is not None:
            raise JournalError(f"cannot read {writer}: {self._error}") from self._error

    def _read(self, writer: Path) -> None:
        try:
            with Reader(writer) as reader:
                while reader.read(10_000):
                    self.position = reader.position
                self.position, self.ended = reader.position, reader.ended
        except Exception as error:
            self._error = error
