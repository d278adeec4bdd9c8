"""A run on SwanLab's server: what its run file holds is sent there, and never waited for.

The run file is the queue. What the server does not take now is sent with a later batch, or at the
end, or by ``swanlab sync``; a server that is gone or hangs costs each batch a bounded time. Numbers
go first, and files never hold them up.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
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
from swanlab.sdk.internal.core_python.transport.dispatch import Dispatch
from swanlab.sdk.internal.core_python.transport.sender import HttpRecordSender
from swanlab.sdk.internal.pkg.client import bootstrap, session
from swanlab.sdk.internal.pkg.timer import Timer

from tracking_core.delivery.retry import Backoff, spread
from tracking_core.faults import status_of
from tracking_core.network import retry_after_of
from tracking_core.rejections import first_few
from tracking_swanlab.errors import (
    OFFLINE,
    SwanLabArrivalError,
    SwanLabLoginError,
    explained,
    is_passing,
    is_to_be_mended,
    reason_in_words,
    refuse_pages,
)
from tracking_swanlab.queues import Queue, key_of
from tracking_swanlab.settings import quiet

__all__ = ["Cloud"]

LONGEST_ANSWER = 10  # seconds, of each request
LONGEST_TURN = 15.0  # seconds, for what one batch sends; more is left after an outage
LONGEST_TURN_OF_FILES = 5.0  # seconds: the next numbers wait for it
LONGEST_END = 10.0  # seconds, for sending what is left, before it is tried anew
MOST_RECORDS = 5000  # of one round of requests
MOST_FILES = 100  # likewise
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
        self._context = CoreContext.from_proto(settings.to_core_proto(run_id, run_file.parent))
        self._account: Any = None  # the client, if it is ours
        self._numbers = Queue(
            run_file, files=False, most=MOST_RECORDS, words=self._no_numbers, reject=reject
        )
        self._files = Queue(
            run_file, files=True, most=MOST_FILES, words=self._no_files, reject=reject
        )
        self._trouble: Exception | None = None  # of saying how the run ended
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
        self._sender = self._new_sender()
        _bound(self._sender._ensure_session())
        dispatch = Dispatch(self._context.config.record_batch, self._sender)
        for queue in (self._numbers, self._files):
            metrics, epoch, _, _ = RunMetrics.new(summary, ctx=self._context)
            queue.begin(self._context, metrics, epoch, dispatch)
        self.path = utils.generate_run_online_path(found)
        self._heartbeat.start()
        start.project, start.workspace = found.project, found.username
        start.name, start.color = found.experiment["name"], found.color
        return start

    @property
    def unarrived(self) -> int:
        """How many records of the run file the server is not known to have."""
        return self._numbers.unarrived + self._files.unarrived

    def catch_up(self, appended: Sequence[Any] = ()) -> None:
        """Send what the run file holds beyond what was sent, unless the server failed just now.

        What the server refuses for good is rejected; it stays in the run's directory.

        Args:
            appended: what was put there since the last time.
        """
        with self._lock:
            for queue in (self._numbers, self._files):
                queue.expect(appended)
            self._send(LONGEST_TURN, LONGEST_TURN_OF_FILES, anyway=False)
            for queue in (self._numbers, self._files):
                queue.tell()

    def finish(self, finish: Any, *, patient: bool = True) -> None:
        """Send what is left, in a bounded time, and say how the run ended. May be called again.

        Args:
            patient: whether to try it for a while, because nobody else will.

        Raises:
            SwanLabArrivalError: the server does not take everything now; it names the command that
                sends the rest.
        """
        self._heartbeat.cancel()
        deadline = time.monotonic() + (LONGEST_END if patient else 0.0)
        backoff, pause = Backoff(first=1.0), threading.Event()
        while not self._send(LONGEST_END, LONGEST_END, anyway=True) or not self._ended(finish):
            error = self._error()
            wait = max(backoff.next(), spread(retry_after_of(error)))
            if time.monotonic() + wait >= deadline or not is_passing(error):
                raise SwanLabArrivalError(
                    f"tracker 'swanlab': {self._what_is_left()} arrived at "
                    f"{self._settings.api_host} ({reason_in_words(error)}). It is whole in its run "
                    f"file, and this sends it, too: swanlab sync --id {self._run_id} "
                    f"{self._run_file.parent}"
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

    def _send(self, numbers: float, files: float, *, anyway: bool) -> bool:
        """Whether the server now has all that the run file holds, which is sent for a while.

        Args:
            numbers, files: seconds for each.
            anyway: whether to ask a server, too, that failed just now.
        """
        arrived = True
        for queue, seconds in ((self._numbers, numbers), (self._files, files)):
            may = anyway or time.monotonic() >= queue.not_before
            arrived = may and self._turn(queue, seconds) and arrived
            if self._numbers.trouble is not None:
                return False  # files have to ask the same server first
        return arrived

    def _turn(self, queue: Queue, seconds: float) -> bool:
        began = time.monotonic()
        try:
            with self._calls():
                return queue.send(seconds)
        except Exception as error:  # the rows are in the run file: sending may fail as it likes
            queue.fail(error, began)
            return False
        finally:
            if queue.trouble is not None and status_of(queue.trouble) == 401:
                self._log_out()  # the session may have been ended: log in anew

    def _no_numbers(self, error: Exception, _: str) -> str:
        mend = is_to_be_mended(error)
        return (
            f"tracker 'swanlab': {self._settings.api_host} does not take what is logged"
            f"{', and waiting will not help' if mend else ''} ({reason_in_words(error)}): the run "
            f"goes on in {self._run_file.parent}, and is sent when "
            f"{'that is mended' if mend else 'the server takes it'}"
        )

    def _no_files(self, error: Exception, first: str) -> str:
        return (
            f"tracker 'swanlab': {self._settings.api_host} does not take files for now ({first!r}: "
            f"{reason_in_words(error)}); numbers go on, and what it did not take is kept in "
            f"{self._run_file.parent} and sent again, also when the run ends"
        )

    def _what_is_left(self) -> str:
        if not self._numbers.unarrived and self._files.left:
            named = first_few(map(repr, dict.fromkeys(map(key_of, self._files.left))))
            return f"all numbers, and not {named}, have"
        return "not all of the run has"

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
            return False
        return True

    def _error(self) -> Exception:
        troubles = self._numbers.trouble, self._files.trouble, self._trouble
        return next(filter(None, troubles), ConnectionError("there was no time for all of it"))

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


def _bound(one: Any) -> None:
    for adapter in one.adapters.values():
        adapter.timeout = LONGEST_ANSWER
    if refuse_pages not in one.hooks["response"]:
        one.hooks["response"].append(refuse_pages)
