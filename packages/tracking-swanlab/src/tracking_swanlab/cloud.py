"""A run on SwanLab's server: what its run file holds is sent there, in order, and never waited for.

The run file is the queue. What the server does not take now is sent with the next batch, or at the
end, or by ``swanlab sync``; a server that is gone or hangs costs each batch a bounded time.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from swanlab.deprecated.sender import DeprecatedHttpRecordSender
from swanlab.exceptions import AuthenticationError
from swanlab.sdk.internal.core_python import client, utils
from swanlab.sdk.internal.core_python.api import experiment as api
from swanlab.sdk.internal.core_python.context import CoreContext
from swanlab.sdk.internal.core_python.metrics import RunMetrics
from swanlab.sdk.internal.core_python.sync import CoreSyncPython
from swanlab.sdk.internal.core_python.transport.dispatch import Dispatch
from swanlab.sdk.internal.core_python.transport.sender import HttpRecordSender
from swanlab.sdk.internal.pkg.client import bootstrap, session
from swanlab.sdk.internal.pkg.timer import Timer

from tracking_core.delivery.retry import Backoff, spread
from tracking_core.faults import status_of
from tracking_core.network import retry_after_of
from tracking_core.rejections import say
from tracking_swanlab.errors import (
    OFFLINE,
    SwanLabArrivalError,
    SwanLabLoginError,
    explained,
    is_passing,
    refuse_pages,
)
from tracking_swanlab.run_file import records_of
from tracking_swanlab.settings import quiet

__all__ = ["Cloud"]

LONGEST_ANSWER = 10  # seconds, of each request
LONGEST_TURN = 15.0  # seconds, for what one batch sends; more is left after an outage
LONGEST_END = 10.0  # seconds, for sending what is left, before it is tried anew
MOST_RECORDS = 5000  # of one round of requests
HEARTBEAT = 600  # seconds: the library's own

_logging_in = threading.Lock()  # the library has one login for the whole process

Reject = Callable[[str, object, str], None]


class Cloud:
    """The run whose file is `run_file`, on the server that `settings` name.

    Attributes:
        path: of the run on the server, once it is started.
    """

    def __init__(self, settings: Any, run_id: str, run_file: Path, reject: Reject) -> None:
        self.path = ""
        self._settings = settings
        self._run_id = run_id
        self._run_file = run_file
        self._reject = reject
        self._context = CoreContext.from_proto(settings.to_core_proto(run_id, run_file.parent))
        self._account: Any = None  # the client, if it is ours
        self._filter = _Filter()
        self._place = 0
        self._unsent: list[Any] = []
        self._trouble: Exception | None = None
        self._backoff = Backoff(first=1.0)
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._heartbeat = Timer(self._beat, interval=HEARTBEAT, immediate=True)

    def start(self, start: Any) -> Any:
        """Make the experiment, or go on with the one that the server has; the filled-in `start`.

        Raises:
            SwanLabLoginError: there is no API key, or the server refuses it.
            SwanLabSettingError: the address, a certificate or a proxy is of no use.
            SwanLabServerError: the server can't be reached, or fails.
        """
        try:
            return self._started(start)
        except Exception as error:
            if status_of(error) == 401:
                self._log_out()
            better = explained(error, self._settings.api_host)
            if better is error:
                raise
            raise better from error

    def _started(self, start: Any) -> Any:
        with self._calls():
            found = utils.prepare_experiment_start(start)
            self._context.set_online_params(
                username=found.username,
                project=found.project,
                project_id=found.project_data["cuid"],
                project_version=found.project_data.get("version"),
                experiment_id=found.experiment["cuid"],
            )
            summary = None
            if not found.new_experiment:
                summary = api.get_experiment_summary(
                    self._context.project_id,
                    self._context.experiment_id,
                    created_at=found.experiment["createdAt"],
                )
            metrics, epoch, _, _ = RunMetrics.new(summary, ctx=self._context)
        self._filter.know(self._context, metrics, epoch)
        self._sender = self._new_sender()
        _bound(self._sender._ensure_session())
        self._dispatch = Dispatch(self._context.config.record_batch, self._sender)
        self.path = utils.generate_run_online_path(found)
        self._heartbeat.start()
        start.project, start.workspace = found.project, found.username
        start.name, start.color = found.experiment["name"], found.color
        return start

    def catch_up(self) -> bool:
        """Send what the run file holds beyond what was sent, unless the server failed just now.

        Returns whether the server now has it all.

        What the server refuses for good is rejected; it stays in the run file.
        """
        with self._lock:
            return time.monotonic() >= self._not_before and self._send(LONGEST_TURN)

    def finish(self, finish: Any) -> None:
        """Send what is left, in a bounded time, and say how the run ended. May be called again.

        Raises:
            SwanLabArrivalError: the server does not take everything now; it names the command that
                sends the rest.
        """
        self._heartbeat.cancel()
        deadline = time.monotonic() + LONGEST_END
        pause = threading.Event()
        while not self._send(deadline - time.monotonic()) or not self._ended(finish):
            wait = max(0.0, self._not_before - time.monotonic())
            if time.monotonic() + wait >= deadline or not is_passing(self._said()):
                error = self._said()
                raise SwanLabArrivalError(
                    f"tracker 'swanlab': not all of the run has arrived at {self._settings.api_host} "
                    f"({_named(error)}). It is whole in its run file, and this sends it, too: "
                    f"swanlab sync --id {self._run_id} {self._run_file.parent}"
                ) from error
            pause.wait(wait)
        with suppress(Exception), quiet():
            self._sender.close()
        self._log_out()  # as the library does: the server may end the session with the experiment

    # --- inside ---

    def _new_sender(self) -> Any:
        if self._context._project_version == 1:
            return HttpRecordSender(ctx=self._context)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that nobody here can heed
            return DeprecatedHttpRecordSender(ctx=self._context)

    def _send(self, seconds: float) -> bool:
        """Whether the server now has all that the run file holds, which is sent for a while."""
        until = time.monotonic() + seconds
        try:
            with self._calls():
                while batch := self._unsent or self._next():
                    self._unsent = batch  # kept, if the dispatch itself should fail
                    self._unsent = self._dispatched(batch)
                    if self._unsent or time.monotonic() >= until:
                        return False
            self._backoff.reset()
            self._trouble = None
            return True
        except Exception as error:  # the rows are in the run file: sending may fail as it likes
            self._failed(error)
            return False

    def _next(self) -> list[Any]:
        """The next records of the run file that the server does not have."""
        for count, (record, end) in enumerate(records_of(self._run_file, self._place), 1):
            if not (record.HasField("start") or record.HasField("finish")):
                self._take(record)
            self._place = end
            if count >= MOST_RECORDS and self._filter.taken:
                break
        taken, self._filter.taken = self._filter.taken, []
        return taken

    def _take(self, record: Any) -> None:
        try:
            self._filter._handle_record(record)
        except (TypeError, KeyError) as error:  # the native run may log a key as another kind
            self._reject(_key(record), record, f"SwanLab's server would drop it: {error}")

    def _dispatched(self, batch: list[Any]) -> list[Any]:
        """Send `batch`; what of it has to be sent again.

        What is refused together is sent in halves, down to what the server really refuses.
        """
        result = self._dispatch(batch)
        again = {id(record) for record in result.remaining_records}
        refused: list[Any] = []
        error: Exception | None = None
        for failure in result.failures:
            # The library gives up on 401 and 429 as if the records were at fault, and tries forever
            # what fails for a reason that it does not know.
            if failure.exception is None or is_passing(failure.exception):
                error = failure.exception or error
                again.update(map(id, failure.records if failure.exception is not None else ()))
            else:
                again.difference_update(map(id, failure.records))
            given_up = [record for record in failure.records if id(record) not in again]
            if len(given_up) > 1 and failure.exception is not None:
                refused += given_up
            else:
                for record in given_up:
                    reason = f"SwanLab's server does not take it ({failure.message})"
                    self._reject(_key(record), record, f"{reason}; it is in the run file")
        middle = len(refused) // 2
        for half in (refused[:middle], refused[middle:]):
            again.update(map(id, self._dispatched(half) if half else ()))
        left = [record for record in batch if id(record) in again]
        if left:
            self._failed(error or self._trouble or ConnectionError("SwanLab does not answer"))
        return left

    def _failed(self, error: Exception) -> None:
        first = self._trouble is None
        self._trouble = error
        if status_of(error) == 401:  # the session may have been ended: log in anew
            self._log_out()
        self._wait_for(error)
        if first:
            say(
                f"tracker 'swanlab' can't reach {self._settings.api_host} ({_named(error)}): the "
                f"run goes on in {self._run_file.parent}, and is sent when the server answers"
            )

    def _ended(self, finish: Any) -> bool:
        try:
            with self._calls():
                api.stop_experiment(
                    self._context.username,
                    self._context.project,
                    self._context.experiment_id,
                    state=finish.state,
                    finished_at=finish.finished_at,
                )
        except Exception as error:  # likewise
            self._trouble = error
            self._wait_for(error)
            return False
        return True

    def _wait_for(self, error: Exception) -> None:
        pause = max(self._backoff.next(), spread(retry_after_of(error)))
        self._not_before = time.monotonic() + pause

    def _said(self) -> Exception:
        return self._trouble or ConnectionError("no answer")

    def _beat(self) -> None:
        with suppress(Exception), self._calls():
            api.send_experiment_heartbeat(experiment_id=self._context.experiment_id)

    @contextmanager
    def _calls(self) -> Iterator[None]:
        """Requests that print nothing, are made once, and end in time."""
        token = session.request_retries_ctx.set(0)
        try:
            with quiet():
                with _logging_in:
                    if not client.exists():
                        self._log_in()
                yield
        finally:
            session.request_retries_ctx.reset(token)

    def _log_in(self) -> None:
        key, host = self._settings.api_key, self._settings.api_host
        if not key:
            raise SwanLabLoginError(
                "tracker 'swanlab' has no API key: run `swanlab login` or set SWANLAB_API_KEY, or "
                f"{OFFLINE}"
            )
        try:
            self._account = client.new(key, host, timeout=LONGEST_ANSWER)
        except AuthenticationError:
            # It says that for every failure. The answer to a second try says what it was.
            ask = bootstrap.login_by_api_key.__wrapped__
            ask(f"{host.rstrip('/')}/api", key, timeout=LONGEST_ANSWER)
            raise requests.ConnectionError(f"{host} did not answer the login at once") from None
        _bound(self._account._session)

    def _log_out(self) -> None:
        if self._account is not None and client._default_client is self._account:
            client._default_client = None


class _Filter(CoreSyncPython):  # type: ignore[misc]  # the library ships no types
    """What ``swanlab sync`` leaves out: a second point of a key at one step, and what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []

    def know(self, context: Any, metrics: Any, epoch: int) -> None:
        self._ctx, self._metrics, self._epoch, self._transport = context, metrics, epoch, self

    def put(self, records: list[Any]) -> None:
        self.taken += records


def _bound(one: Any) -> None:
    for adapter in one.adapters.values():
        adapter.timeout = LONGEST_ANSWER
    if refuse_pages not in one.hooks["response"]:
        one.hooks["response"].append(refuse_pages)


def _key(record: Any) -> str:
    match record.WhichOneof("record_type"):
        case "scalar":
            key = record.scalar.key
        case "media":
            key = record.media.key
        case "column":
            key = record.column.column_key
        case "save":
            key = record.save.name
        case other:
            key = str(other)
    return str(key)


def _named(error: Exception) -> str:
    return f"HTTP {status_of(error)}" if status_of(error) else type(error).__name__
