"""The lanes behind a journal: a record is safe on disk when `put` returns, and delivered later.

Trackers of the ``"thread"`` lane have a worker in a thread of this process, those of the
``"process"`` lane one in the delivery process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tracking_core.codec import Blob, encode, encode_plain, is_plain, travels
from tracking_core.delivery.copies import Copies
from tracking_core.delivery.imports import awaited_by_forks
from tracking_core.delivery.lane import TrackerStatus
from tracking_core.delivery.notes import (
    Manifest,
    StoredTracker,
    TrackerSpec,
    read_acked,
    read_note,
    write_manifest,
)
from tracking_core.delivery.remarks import read_remarks
from tracking_core.delivery.requests import ask
from tracking_core.delivery.supervisor import Supervisor
from tracking_core.delivery.watch import Watch
from tracking_core.delivery.worker import Policy, Worker
from tracking_core.errors import JournalError, NotStartedError, let_through
from tracking_core.faults import is_lasting
from tracking_core.journal import Blobs, Cursor, Durability, Writer
from tracking_core.plain import type_name
from tracking_core.records import Config, End, Log, Plain, Record, Status, Tags
from tracking_core.redaction import redacted
from tracking_core.rejections import Place, Rejection, Rejections, say, speak_for, tell
from tracking_core.tracker import GeneralTracker, NullTracker, RecordTracker

if TYPE_CHECKING:
    from tracking_core.runs import Hold

__all__ = ["Handle", "JournaledLanes", "Member"]

LARGE = 256 * 1024
SECONDS_TO_START = 60.0
SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_FOR_THE_DISK = 1.5
SECONDS_BEFORE_IT_IS_SAID = 2.0
SECONDS_OF_A_START = 30.0
"""A library that is killed while it makes its database, say, may find half of it for ever."""

# In this process each look costs the training a little; in another one it is free.
THREAD_POLICY = Policy(interval=0.5)
PROCESS_POLICY = Policy(interval=0.1, marks=True)
LINGER = 600.0


class Member(NamedTuple):
    """A tracker of the run.

    Attributes:
        spec: how to make it again.
        tracker: as constructed here; not started.
        given: whether the user handed in this very object.
        reference: where its class is, ``"package.module:Class"``, if only this program has
            registered it; empty if another one finds it by its name; None if no other one can.
    """

    spec: TrackerSpec
    tracker: GeneralTracker
    given: bool
    reference: str | None = ""


class Handle(RecordTracker):
    """What users get for a tracker that is fed from the journal.

    Its methods go through the journal like everything else, for this one tracker.

    Attributes:
        hold: keeps the run open; set by whoever gives this to a user.
    """

    hold: Hold | None = None

    def __init__(
        self,
        member: Member,
        directory: Path,
        put: Callable[[Record], None],
        worker: Worker | None,
    ) -> None:
        self.name = member.tracker.name
        self.requires_logging_directory = member.tracker.requires_logging_directory
        self._member = member.spec.name
        self._directory = directory
        self._put = put
        self._worker = worker
        _handles[str(directory), self._member] = self

    def __reduce__(self) -> Any:
        return _handle_here, (str(self._directory), self._member)

    @property
    def tracker(self) -> Any:
        """The library's own object, once the tracker has started; in the thread lane only.

        Raises:
            NotStartedError: it lives in the delivery process, or did not start within a minute.
        """
        return self._native().tracker

    def identity(self) -> dict[str, Plain]:
        return read_note(self._directory, self._member).identity

    def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            if not isinstance(record, End):
                self._put(msgspec.structs.replace(record, only=self._member))

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(self._native(), attribute)

    def _native(self) -> GeneralTracker:
        if self.hold is not None:
            self.hold.keep()  # who has the library's own object may have nothing else of the run
        if self._worker is None:
            raise NotStartedError(
                f"tracker {self.name!r} lives in the delivery process, so its native object is not "
                'here: Tracking(..., delivery="thread") or delivery="inline" brings it'
            )
        self._worker.started.wait(SECONDS_TO_START)
        started = self._worker.tracker
        if started is None:
            last_error = self._worker.status(0).last_error
            raise NotStartedError(f"tracker {self.name!r} has not started: {last_error}")
        return started


_handles: weakref.WeakValueDictionary[tuple[str, str], Handle] = weakref.WeakValueDictionary()


def _handle_here(directory: str, member: str) -> GeneralTracker:
    """What a handle becomes that was pickled: itself here, elsewhere something that does nothing."""
    return _handles.get((directory, member)) or NullTracker()


class JournaledLanes:
    """Appends records to a journal and has workers deliver them.

    Args:
        root: where journals are kept.
        project, run_id: name the run's directory below it.
        members: the trackers.
        rejections: where values that can't be kept are counted.
        durability: as `Tracking` was given it.
        place: the user's line that all this belongs to.
        on_start: called when a tracker that lives in this process has started.

    Raises:
        JournalError: no journal can be made there.
    """

    needs_its_caller = False

    def __init__(
        self,
        root: Path,
        project: str,
        run_id: str,
        members: Sequence[Member],
        rejections: Rejections,
        durability: Durability,
        place: Place,
        on_start: Callable[[], None],
    ) -> None:
        self._members = members
        self._on_start = on_start
        self._rejections = rejections
        self._writer = Writer.create(root, f"{project}-{run_id}", durability=durability)
        self.directory = self._writer.directory
        self._blobs = Blobs(self.directory, durable=durability == "power")
        journals = [str(self.run_dir.parent), str(self.directory)]
        self._copies = Copies(self.directory, journals, rejections)
        self._workers: dict[str, Worker] = {}
        self._threads: list[threading.Thread] = []
        self._supervisor: Supervisor | None = None
        self._place = place
        self._watch = Watch(self.status, self._trouble, self._remarks, self._place)
        self._signed_off = False
        try:
            self._prepare(project, run_id)
        except BaseException:
            self.undo()
            raise

    def _prepare(self, project: str, run_id: str) -> None:
        specs = [member.spec for member in self._members]
        stored = [_for_a_file(member) for member in self._members]
        with contextlib.suppress(OSError):  # then a recovery has to be told the trackers
            write_manifest(self.directory, Manifest(project, run_id, stored))
        for member in self._members:
            if member.spec.lane == "thread":
                self._workers[member.spec.name] = self._worker(member)
        remote = [spec for spec in specs if spec.lane == "process"]
        for spec in remote:
            # Now, before the disk can fill: whoever delivers has to find a place to write to.
            Cursor.open(self.directory, spec.name).close()
        if remote:
            self._supervisor = Supervisor(
                self.directory, remote, policy=PROCESS_POLICY, linger=LINGER
            )

    @property
    def run_dir(self) -> Path:
        """The directory of the run: one writer directory for each process that logged to it."""
        return self.directory.parent

    def trackers(self) -> list[GeneralTracker]:
        return [
            member.tracker
            if member.given
            else Handle(member, self.directory, self.put, self._workers.get(member.spec.name))
            for member in self._members
        ]

    def start(self) -> None:
        if self._workers:
            _import_what_no_exit_can_import()
        for name, worker in self._workers.items():
            self._begin(name, worker)
        if self._supervisor is not None:
            self._supervisor.start()
        self._watch.start()

    def undo(self) -> None:
        self._watch.stop()
        if self._supervisor is not None:
            self._supervisor.kill()
        if self._threads:
            # A tracker may have begun its native run already, and will end it.
            self.sign_off("killed")
            self.catch_up(SECONDS_OF_A_START)
        for worker in self._workers.values():
            worker.stop()
            if not self._threads:
                worker.run()  # which closes what it has opened
        self._writer.close()
        if not self._threads:
            shutil.rmtree(self.directory, ignore_errors=True)
            with contextlib.suppress(OSError):  # the run may have other writers
                self.run_dir.rmdir()

    @property
    def count(self) -> int:
        return self._writer.status().last_seq

    # --- the training thread ---

    def put(self, record: Record) -> None:
        if self._writer.forked:
            return  # in a worker of the training: the run is its parent's
        try:
            self._keep(self._encoded(record))
        except Exception as error:
            let_through(error)
            self._not_taken(record, error)

    def put_row(self, row: Log) -> None:
        try:
            payload = encode_plain(row)
            if len(payload) > LARGE:
                self._keep(payload)
            else:
                self._writer.append(payload)
        except (JournalError, ValueError) as error:  # the run has ended meanwhile, for instance
            let_through(error)
            self._not_taken(row, error)

    def _keep(self, payload: bytes) -> None:
        self._writer.append(self._kept_apart(payload) if len(payload) > LARGE else payload)

    def _not_taken(self, record: Record, error: Exception) -> None:
        """Nothing can hold this one: training goes on."""
        if not self._writer.forked:
            kind = type(record).__name__
            self._rejections.add(kind, kind, f"the journal did not take it: {error}")

    def _encoded(self, record: Record) -> bytes:
        if type(record) is Log and not record.options and is_plain(record.values):
            return encode_plain(record)
        return encode(self._fit_to_keep(record))

    def _fit_to_keep(self, record: Record) -> Record:
        if isinstance(record, (Config, Tags)):
            return msgspec.structs.replace(record, values=redacted(record.values))
        if not isinstance(record, Log):
            return record
        values = self._copies.take(record.values)
        options = redacted(self._plain_options(record.options))
        return msgspec.structs.replace(record, values=values, options=options)

    def _kept_apart(self, payload: bytes) -> bytes:
        try:
            return encode(Blob(self._blobs.put(payload), len(payload)))
        except (OSError, JournalError) as error:
            let_through(error)
            return payload  # a full disk: it waits in memory with the others

    def _plain_options(self, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        plain: dict[str, dict[str, Any]] = {}
        for name, given in options.items():
            for key, value in given.items():
                if _is_data({name: {key: value}}):
                    plain.setdefault(name, {})[key] = value
                else:
                    reason = "only plain data can wait in the journal"
                    self._rejections.add(f"log_kwargs[{name!r}][{key!r}]", type_name(value), reason)
        return plain

    # --- the end, and on the way ---

    def flush(self, timeout: float | None) -> bool:
        target = self._writer.status().last_seq
        self._hurry()
        self._wait(
            lambda: all(
                self._has_all(name, target) or self._is_hopeless(name) for name in self._names()
            ),
            timeout,
        )
        return all(self._has_all(name, target) for name in self._names())

    def catch_up(self, timeout: float) -> None:
        target = self.count
        began = time.monotonic()
        workers = list(self._workers.values())
        for worker in workers:
            worker.hurry()

        def is_awaited(worker: Worker) -> bool:
            patience = timeout if worker.started.is_set() else max(timeout, SECONDS_OF_A_START)
            return _is_behind(worker, target) and time.monotonic() - began < patience

        self._wait(lambda: not any(map(is_awaited, workers)), None)

    def sign_off(self, status: Status) -> None:
        if not self._signed_off:
            self._signed_off = True
            self.put(End(status, time.time()))

    @property
    def done(self) -> bool:
        return self._all_over()

    @property
    def in_trouble(self) -> bool:
        if not self.directory.is_dir():
            return True
        return any(status.last_error or status.state == "hung" for _, status in self.status())

    def end(self, status: Status, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        try:
            self._watch.stop()
            self.sign_off(status)
            self._wait_for_the_end(deadline)
        except BaseException:
            # Ctrl-C, say: whoever is not waited for is named all the same.
            self._close(time.monotonic())
            raise
        self._close(deadline)

    def _wait_for_the_end(self, deadline: float) -> None:
        if self._supervisor is not None and not self._wait(self._all_written, SECONDS_FOR_THE_DISK):
            self._take_over(deadline)
        self._hurry()
        done = self._nothing_to_wait_for
        first = min(SECONDS_BEFORE_IT_IS_SAID, deadline - time.monotonic())
        if not self._wait(done, first) and time.monotonic() < deadline:
            self._tell_what_is_waited_for(deadline - time.monotonic())
            self._wait(done, deadline - time.monotonic())

    def _hurry(self) -> None:
        """Have delivered now what waits for its next try, or for a server to be asked again."""
        for worker in self._workers.values():
            worker.hurry()
        if self._supervisor is not None:
            ask(self.directory, "hurry")

    def _close(self, deadline: float) -> None:
        if self._supervisor is not None:
            self._supervisor.release()
            if self._all_over():
                self._supervisor.join(deadline - time.monotonic())
        unwritten = self._writer.close()
        for worker in self._workers.values():
            worker.stop()  # what is left is for the command that the warning names
        self._say_what_is_left(unwritten)

    def _nothing_to_wait_for(self) -> bool:
        return all(self._is_over(name) or self._is_hopeless(name) for name in self._names())

    def _all_over(self) -> bool:
        return all(map(self._is_over, self._names()))

    def _names(self) -> list[str]:
        return [member.spec.name for member in self._members]

    def _has_all(self, name: str, target: int) -> bool:
        """Whether a tracker has all records up to `target`; its worker looks at the journal now."""
        worker = self._workers.get(name)
        if worker is None:
            acked = read_acked(self.directory, name)
            return acked >= target and not read_note(self.directory, name).postponed
        worker.nudge()
        return worker.acked >= target and not worker.postponed

    def _is_over(self, name: str) -> bool:
        """Whether a tracker's run has ended, or nothing more is tried."""
        worker = self._workers.get(name)
        if worker is None:
            return read_note(self.directory, name).state in ("ended", "stopped")
        worker.nudge()
        return worker.done

    def _is_hopeless(self, name: str) -> bool:
        """Whether a tracker waits for what only a person can mend."""
        worker = self._workers.get(name)
        status = read_note(self.directory, name) if worker is None else worker.status(0)
        # From a journal that was deleted a thread still delivers what it has open.
        gone = (worker is None or status.last_error) and not self.directory.is_dir()
        return bool(gone) or (is_lasting(status.fault) and status.state in ("starting", "retrying"))

    def _begin(self, name: str, worker: Worker) -> None:
        def work() -> None:
            speak_for(self._place)
            with awaited_by_forks():
                worker.run()

        thread = threading.Thread(target=work, name=f"tracking-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _all_written(self) -> bool:
        return not self._writer.status().waiting or self._writer.sync()

    def _take_over(self, deadline: float) -> None:
        """Deliver here what never got to the disk, where the delivery process can't see it."""
        assert self._supervisor is not None, "there is a delivery process to take over from"
        waiting = self._writer.waiting()
        if not waiting:
            return
        remote = [member for member in self._members if member.spec.name not in self._workers]
        written = waiting[0][0] - 1
        self._wait(
            lambda: all(read_acked(self.directory, m.spec.name) >= written for m in remote),
            (deadline - time.monotonic()) / 2,
        )
        self._supervisor.kill()
        for member in remote:
            try:
                worker = self._worker(member)
            except JournalError:
                continue  # what only memory holds is lost, which is said at the end
            self._workers[member.spec.name] = worker
            self._begin(member.spec.name, worker)

    def status(self) -> list[tuple[str, TrackerStatus]]:
        last = self._writer.status().last_seq
        return [(member.spec.name, self._status_of(member.spec, last)) for member in self._members]

    def _status_of(self, spec: TrackerSpec, last: int) -> TrackerStatus:
        worker = self._workers.get(spec.name)
        if worker is not None:
            return worker.status(last)
        note = read_note(self.directory, spec.name)
        state, error = note.state, note.last_error
        supervisor = self._supervisor
        if supervisor is not None and state not in ("ended", "stopped"):
            error = error or supervisor.last_error
            if supervisor.hung:
                state = "hung"
                error = (
                    f"the delivery process {supervisor.process_id} has shown no sign of life for "
                    "long: it was stopped, or a library holds the interpreter's lock"
                )
        return TrackerStatus(
            state,
            delivered=note.delivered,
            pending=max(0, last - read_acked(self.directory, spec.name)) + note.postponed,
            failed=note.failed,
            lost=note.lost,
            rejected={Rejection(*what): count for *what, count in note.rejected},
            last_error=error,
            fault=note.fault,
            unarrived=note.unarrived,
            busy=note.busy,
        )

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        pause = threading.Event()
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            pause.wait(min(SECONDS_BETWEEN_LOOKS, left))
        return True

    def _trouble(self) -> str:
        """What is wrong with the journal itself, in words; empty if nothing is."""
        status = self._writer.status()
        if not self.directory.is_dir():
            return (
                f"the journal {self.directory} was moved or deleted: nothing can be delivered from "
                "there before it is back"
            )
        if status.waiting:
            return (
                "the disk does not take the journal: what is logged waits in memory, up to 64 MiB "
                f"of it, and would be lost with this process: {status.last_error}"
            )
        return ""

    def _remarks(self) -> Iterator[str]:
        """What the trackers have to say of this process, and what the delivery process has said."""
        if self._supervisor is not None:
            yield from read_remarks(self.directory)
        for member in self._members:
            if type(member.tracker).remarks is not GeneralTracker.remarks:
                identity = read_note(self.directory, member.spec.name).identity
                with contextlib.suppress(Exception):  # a stranger's code
                    yield from map(str, member.tracker.remarks(identity))

    def _tell_what_is_waited_for(self, seconds: float) -> None:
        parts = []
        for name, status in self.status():
            if not (self._is_over(name) or self._is_hopeless(name)):
                trouble = f", {status.last_error}" if status.last_error else ""
                arriving = f", {status.unarrived} to arrive" if status.unarrived else ""
                to_go = f"{status.pending} records to go{arriving}"
                parts.append(f"{name!r} ({status.state}, {to_go}{trouble})")
        if parts:
            tell(
                f"the end of the run waits up to {seconds:.0f} s more for {', '.join(parts)}. "
                "Ctrl-C ends the waiting: what is left is kept"
            )

    def _say_what_is_left(self, unwritten: int) -> None:
        self._watch.say_remarks()
        for name, status in self.status():
            for rejection, count in status.rejected.items():
                if name not in self._workers:
                    # In the delivery process nobody saw the warning.
                    say(
                        f"tracker {name!r} could not store {rejection.key!r} ({rejection.type}), "
                        f"{count} times: {rejection.reason}"
                    )
            if status.state != "ended" and not self.directory.is_dir():
                say(
                    f"{status.pending} records for tracker {name!r} are lost: {self.directory} was "
                    "deleted while they waited there"
                )
            elif status.state != "ended":
                trouble = f" ({status.last_error})" if status.last_error else ""
                arriving = (
                    f", and {status.unarrived} that its library has taken are not known to have "
                    "arrived"
                    if status.unarrived
                    else ""
                )
                say(
                    f"{status.pending} records for tracker {name!r} are still to be "
                    f"delivered{arriving}{trouble}; they are kept"
                    f"{self._who_goes_on(name, status)}, and this "
                    f"delivers them: {self._what_delivers(name)}"
                )
            elif status.failed:
                say(
                    f"tracker {name!r} refused {status.failed} records for good: they are in "
                    f"{self.directory / 'dead'}, with the reasons. This tries them again: "
                    f"{self._what_delivers(name, dead=True)}"
                )
            elif status.last_error:
                say(f"tracker {name!r} did not finish its run: {status.last_error}")
            if status.lost:
                say(f"{status.lost} records were lost before tracker {name!r} could have them")
        if unwritten and any(status.pending for _, status in self.status()):
            say(f"{unwritten} records never reached the disk in {self.directory} and are lost")

    def _what_delivers(self, name: str, *, dead: bool = False) -> str:
        """What a person does for the tracker `name`, or for what it refused."""
        member = next(one for one in self._members if one.spec.name == name)
        if member.reference is None:
            given = f"{str(self.run_dir)!r}, trackers=[...]"
            given += ", originals=True" * self._copies.left_some + ", dead=True" * dead
            return f"Tracking.recover({given}), with such a tracker in the list"
        classes = [one.reference for one in self._members if one.reference]
        options = [part for one in classes for part in ("--tracker", one)]
        program = [sys.executable, "-m", "tracking_core", "recover"]
        options += ["--originals"] * self._copies.left_some
        options += ["--dead"] * dead
        return shlex.join([*program, str(self.run_dir), *options])

    def _who_goes_on(self, name: str, status: TrackerStatus) -> str:
        """Who tries on after the end, for how long; nobody does what only a person can mend."""
        process = None if self._supervisor is None else self._supervisor.process_id
        if process is None or name in self._workers or status.fault == "setup":
            return ""
        return (
            f", process {process} tries on for {LINGER / 60:.0f} minutes after this one has ended"
        )

    def _worker(self, member: Member) -> Worker:
        tries = 0

        def build() -> GeneralTracker:
            nonlocal tries
            tries += 1
            return member.tracker if member.given or tries == 1 else member.spec.build()

        return Worker(
            self.directory,
            member.spec.name,
            build,
            live=lambda: True,
            on_start=self._on_start,
            in_memory=self._writer.waiting,
            policy=THREAD_POLICY,
            originals=True,
            training_pid=os.getpid(),
        )


def _is_behind(worker: Worker, target: int) -> bool:
    worker.nudge()
    return not (worker.done or worker.acked >= target or worker.status(target).last_error)


def _import_what_no_exit_can_import() -> None:
    """Import what registers with `threading`, which refuses that once the interpreter exits.

    A library that needs them may still be about to be imported by its worker then.
    """
    # A Python may have no semaphores, and the run may begin when it is too late.
    with contextlib.suppress(ImportError, RuntimeError):
        importlib.import_module("concurrent.futures.thread")
        importlib.import_module("concurrent.futures.process")


def _is_data(value: object) -> bool:
    try:
        return travels(value)
    except BaseException as error:  # a stranger's object
        let_through(error)
        return False


def _for_a_file(member: Member) -> StoredTracker:
    """How to make a tracker again, without secrets, and without the objects of this process."""
    spec = member.spec
    plain = {key: value for key, value in spec.arguments.items() if travels({key: value})}
    return StoredTracker(
        spec.name,
        places=redacted(spec.places),
        arguments=redacted(plain),
        lane=spec.lane,
        tracker=member.tracker.name,
        given=member.given,
        module=spec.module,
        qualname=spec.qualname,
        launch=redacted(spec.launch),
    )
