"""What a dead run left is delivered; what a tracker never saw is sent to it.

Both are the ordinary worker on a journal that nobody writes to any more, so a tracker gets only
what its cursor says that it does not have: doing it twice delivers nothing twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tracking_core.delivery.lane import TrackerStatus
from tracking_core.delivery.notes import TrackerSpec, read_manifest, read_note
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.errors import JournalError
from tracking_core.filtering import LogWith, filter_trackers
from tracking_core.journal import DrainLock, Reader, owner_alive, read_owner, trim
from tracking_core.journal.layout import OWNER
from tracking_core.redaction import unmasked
from tracking_core.registry import LOGGER_TYPE_TO_CLASS
from tracking_core.tracker import GeneralTracker

__all__ = ["recover", "replay"]

POLICY = Policy(interval=0.05)

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
Progress: TypeAlias = Callable[[Mapping[str, TrackerStatus]], None]
Job: TypeAlias = tuple[Path, str, Callable[[], GeneralTracker]]


def recover(
    run_dir: str | os.PathLike[str],
    *,
    init_kwargs: Options | None = None,
    timeout: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, TrackerStatus]:
    """Deliver what a run left, to the trackers that it had.

    Native runs that the run had begun are resumed, and ended as it was ended; where it died without
    saying, as killed.

    Args:
        run_dir: `Tracking.run_dir` of the run.
        init_kwargs: constructor arguments by tracker name, over those that the run had. Secrets
            are not kept with a run: hand them in again, or let the library find them.
        timeout: seconds after which a tracker that still refuses is given up; None for never.
        force: deliver although it can't be known from here whether the run's process has ended,
            because it ran on another machine or in another container. You say that it has.
        progress: called about twice a second with the status of each tracker.

    Returns:
        The status of each tracker. `pending` is what could still not be delivered.

    Raises:
        JournalError: this is no run, it is or may be still going on, or somebody else is delivering
            it.
    """
    given = init_kwargs or {}
    jobs: list[Job] = []
    for writer in _writers(Path(run_dir), force):
        for spec in read_manifest(writer).trackers:
            arguments = dict(given.get(spec.name, given.get(spec.name.partition("#")[0], {})))
            kept = unmasked(spec.arguments)
            known = msgspec.structs.replace(spec, arguments={**kept, **arguments})
            jobs.append((writer, spec.name, known.build))
    return _deliver(jobs, timeout, progress)


def replay(
    run_dir: str | os.PathLike[str],
    log_with: LogWith,
    logging_dir: str | os.PathLike[str] | None = None,
    *,
    init_kwargs: Options | None = None,
    timeout: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, TrackerStatus]:
    """Send a whole run to trackers that it did not have, with its own steps and times.

    Args:
        run_dir: `Tracking.run_dir` of the run.
        log_with, logging_dir, init_kwargs: as for `Tracking` and `init_trackers`.
        timeout, force, progress: as for `recover`.

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
    for writer in _writers(Path(run_dir), force):
        project = read_manifest(writer).project
        for one in chosen:
            if isinstance(one, GeneralTracker):
                jobs.append((writer, one.name, _same(one)))
                continue
            kind = LOGGER_TYPE_TO_CLASS[one]
            places: list[Any] = [project]
            if kind.requires_logging_directory:
                places.append(logging_dir)
            arguments = dict(given.get(one, {}))
            spec = TrackerSpec(
                kind.name, kind.__module__, kind.__qualname__, places, arguments, "thread"
            )
            jobs.append((writer, kind.name, spec.build))
    return _deliver(jobs, timeout, progress)


def _same(tracker: GeneralTracker) -> Callable[[], GeneralTracker]:
    return lambda: tracker


def _writers(run_dir: Path, force: bool) -> Iterator[Path]:
    """The writer directories of a run whose writers are gone, oldest first."""
    if (run_dir / OWNER).exists():
        found = [run_dir]
    elif run_dir.is_dir():
        found = [path for path in run_dir.iterdir() if (path / OWNER).exists()]
    else:
        found = []
    if not found:
        raise JournalError(f"{run_dir} holds no run: give the run_dir of a Tracking")
    for writer in sorted(found, key=lambda path: read_owner(path).created_ns):
        owner = read_owner(writer)
        alive = owner_alive(owner)
        if alive is None and force:
            alive = False
        if alive is not False and not (_read_through(writer)[1] and _let_go(writer)):
            who = f"process {owner.pid} of {owner.host}"
            if alive:
                raise JournalError(f"the run in {writer} is still going on in {who}")
            raise JournalError(
                f"whether the run in {writer} is still going on in {who} can't be known from here, "
                "another machine or container: if it is not, say so with --force (force=True)"
            )
        yield writer


def _let_go(writer: Path) -> bool:
    """Whether the threads of the process that wrote are through with what they delivered."""
    return all(
        read_note(writer, spec.name).state in ("ended", "stopped")
        for spec in read_manifest(writer).trackers
        if spec.lane == "thread"
    )


def _deliver(
    jobs: list[Job],
    timeout: float | None,
    progress: Progress | None,
) -> dict[str, TrackerStatus]:
    writers = list(dict.fromkeys(writer for writer, _, _ in jobs))
    with ExitStack() as locks:
        for writer in writers:
            if not locks.enter_context(DrainLock(writer)):
                raise JournalError(f"another process is delivering {writer}: let it finish")
        workers = [
            Worker(writer, name, build, live=lambda: False, policy=POLICY)
            for writer, name, build in jobs
        ]
        last = {writer: _read_through(writer)[0] for writer in writers}
        until = float("inf") if timeout is None else time.monotonic() + timeout
        threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
        for worker, thread in zip(workers, threads, strict=True):
            worker.give_up_at(until)
            thread.start()

        def statuses() -> dict[str, TrackerStatus]:
            return {worker.name: worker.status(last[worker.directory]) for worker in workers}

        for worker, thread in zip(workers, threads, strict=True):
            while thread.is_alive() and time.monotonic() < until + POLICY.deadline:
                thread.join(
                    0.5 if progress else min(1.0, max(0.0, until - time.monotonic()) or 1.0)
                )
                if progress is not None:
                    progress(statuses())
            worker.stop()
        found = statuses()
        for writer in writers:
            trim(writer)
        return found


def _read_through(writer: Path) -> tuple[int, bool]:
    """The number of the last record of a writer directory, and whether its writer closed it."""
    reader = Reader(writer)
    try:
        while reader.read(10_000):
            pass
        return reader.position, reader.ended
    finally:
        reader.close()
