"""What of a run file is still to be sent: numbers in one queue, and in another what goes into files.

The store behind a server that takes pictures, texts and files has troubles of its own, of which the
numbers know nothing. Each queue reads the run file by itself, and neither waits for the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from swanlab.proto.swanlab.metric.column.v1.column_pb2 import ColumnType
from swanlab.proto.swanlab.save.v1.save_pb2 import SaveType
from swanlab.sdk.internal.core_python.sync import CoreSyncPython

from tracking_core.delivery.retry import Backoff, spread
from tracking_core.faults import status_of
from tracking_core.network import retry_after_of
from tracking_core.rejections import say
from tracking_swanlab.errors import is_passing, is_to_be_mended
from tracking_swanlab.overtaken import Overtaken
from tracking_swanlab.run_file import records_of

__all__ = ["Queue", "key_of"]

SECONDS_THAT_PASS_UNSAID = 3.0  # as in the core
OVERTAKEN = "overtaken.json"
NO_WORDS = "unknown error"  # of the library, for an answer that is not SwanLab's

Reject = Callable[[str, object, str], None]
Dispatch = Callable[[list[Any]], Any]


class Queue:
    """Records of the run file at `run_file`, on their way to the server.

    Args:
        files: whether it holds what goes into files, or all else.
        most: how many are sent in one round of requests.
        words: what is said when the server does not take it, by the error and the first of it.
        reject: is told what the server refuses for good; it stays in the run's directory.

    Attributes:
        left: what was read, and is not known to have arrived.
        trouble: what keeps it from there; None while the server takes everything.
        not_before: when the server may be asked again (``time.monotonic``).
    """

    def __init__(
        self,
        run_file: Path,
        *,
        files: bool,
        most: int,
        words: Callable[[Exception, str], str],
        reject: Reject,
    ) -> None:
        self.left: list[Any] = []
        self.trouble: Exception | None = None
        self.not_before = 0.0
        self._run_file = run_file
        self._files = files
        self._most = most
        self._words = words
        self._reject = reject
        self._filter = _Filter()
        self._overtaken = Overtaken(run_file.with_name(OVERTAKEN))
        self._place = 0
        self._unread = 0
        self._backoff = Backoff(first=1.0)
        self._since = 0.0
        self._said = False

    def begin(self, context: Any, metrics: Any, epoch: int, dispatch: Dispatch) -> None:
        """Send by `dispatch`, and leave out what the server has, as `metrics` tells."""
        self._filter.know(context, metrics, epoch)
        self._dispatch = dispatch

    def expect(self, records: Iterable[Any]) -> None:
        """Count those of `records` that it holds: they are in the run file now."""
        self._unread += sum(map(self._holds, records))

    @property
    def unarrived(self) -> int:
        """How many records the server is not known to have."""
        return self._unread + len(self.left)

    def send(self, seconds: float) -> bool:
        """Send for about so many seconds; whether the server now has all that the run file holds.

        Numbers keep their order. Files go past one that is not taken, and come back for it.

        Raises:
            Exception: the library failed before it could say of what.
        """
        began = time.monotonic()
        error: Exception | None = None
        tried = sent = 0
        while batch := self._unsent(tried):
            again, failure = self._sent(batch)
            self.left[tried:] = again
            tried += len(again)
            sent += len(batch) - len(again)
            error = error or failure
            stuck = failure is not None and (len(again) == len(batch) or not self._files)
            if stuck or time.monotonic() - began >= seconds:
                break
        if self._files and sent:
            self._overtaken.keep(one.num for one in self.left if one.HasField("media"))
            self._backoff.reset()
        if error is not None:
            self.fail(error, began)
            return False
        self._backoff.reset()
        self.trouble = None
        return not batch

    def fail(self, error: Exception, began: float) -> None:
        """Ask again later, because of an `error` of what `began` then."""
        if self.trouble is None:
            self._since, self._said = began, False
        self.trouble = error
        pause = max(self._backoff.next(), spread(retry_after_of(error)))
        self.not_before = time.monotonic() + pause
        self.tell()

    def tell(self) -> None:
        """Say what keeps things from arriving: once, and what may pass once it has lasted."""
        error = self.trouble
        if error is None or self._said:
            return
        lasted = time.monotonic() - self._since >= SECONDS_THAT_PASS_UNSAID
        if lasted or is_to_be_mended(error):
            self._said = True
            say(self._words(error, key_of(self.left[0]) if self.left else ""))

    # --- inside ---

    def _holds(self, record: Any) -> bool:
        match record.WhichOneof("record_type"):
            case "media":
                into_files = True
            case "save":
                into_files = record.save.type == SaveType.SAVE_TYPE_CUSTOM
            case "column":
                into_files = record.column.column_type != ColumnType.COLUMN_TYPE_SCALAR
            case _:
                into_files = False
        return into_files == self._files

    def _unsent(self, tried: int) -> list[Any]:
        """What to send next: what is left but for the first `tried`, and what the run file has."""
        if len(self.left) < self._most:
            for record, end in records_of(self._run_file, self._place):
                self._read(record)
                self._place = end
                if len(self.left) >= self._most:
                    break
        return self.left[tried:]

    def _read(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        mine = self._holds(record)
        if kind in ("start", "finish") or not (mine or kind == "column"):
            return
        self._unread = max(0, self._unread - mine)
        if kind == "media" and self._overtaken.take(record.num):
            self.left.append(record)
            return
        try:
            self._filter._handle_record(record)
        except (TypeError, KeyError) as error:  # the native run may log a key as another kind
            self._reject(key_of(record), record, f"SwanLab's server would drop it: {error}")
        # The columns of the other queue it knows, so that it finds such keys.
        self.left += filter(self._holds, self._filter.taken)
        self._filter.taken = []

    def _sent(self, batch: list[Any]) -> tuple[list[Any], Exception | None]:
        """Send `batch`; what of it has to be sent again, and why."""
        error: Exception | None = None
        again: set[int] = set()
        # The library sends nothing more after a kind of record that has to come again.
        for saves in (False, True):
            part = [record for record in batch if record.HasField("save") is saves]
            left, failure = part, error
            if error is None or status_of(error) is not None:
                left, failure = self._dispatched(part)
            again.update(map(id, left))
            error = error or failure
        return [record for record in batch if id(record) in again], error

    def _dispatched(self, batch: list[Any]) -> tuple[list[Any], Exception | None]:
        while batch:
            left, error = self._round(batch)
            if error is not None or len(left) == len(batch):
                return left, error or ConnectionError("SwanLab does not answer")
            batch = left  # it stopped at what was refused
        return [], None

    def _round(self, batch: list[Any]) -> tuple[list[Any], Exception | None]:
        """Send `batch` once. What is refused together is sent in halves, down to what it is about."""
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
                    self._give_up(record, failure)
        middle = len(refused) // 2
        for half in (refused[:middle], refused[middle:]):
            left, other = self._dispatched(half)
            again.update(map(id, left))
            error = error or other
        return [record for record in batch if id(record) in again], error

    def _give_up(self, record: Any, failure: Any) -> None:
        status = None if failure.exception is None else status_of(failure.exception)
        said = failure.message if status is None else getattr(failure.exception, "message", "")
        parts = [
            f"HTTP {status}" if status else "",
            said if said != NO_WORDS else "",
            _size(record),
        ]
        why = ", ".join(filter(None, parts))
        place = f"stays in {self._run_file.parent}" if self._files else "is in the run file"
        self._reject(
            key_of(record), record, f"SwanLab's server does not take it ({why}); it {place}"
        )


class _Filter(CoreSyncPython):  # type: ignore[misc]  # the library ships no types
    """What ``swanlab sync`` leaves out: a second point of a key at one step, and what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []

    def know(self, context: Any, metrics: Any, epoch: int) -> None:
        self._ctx, self._metrics, self._epoch, self._transport = context, metrics, epoch, self

    def put(self, records: list[Any]) -> None:
        self.taken += records


def key_of(record: Any) -> str:
    """What a user knows it by: the key of a value, or the place of a file."""
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


def _size(record: Any) -> str:
    """How large the files of `record` are; empty if it has none."""
    match record.WhichOneof("record_type"):
        case "media":
            return f"{sum(item.size for item in record.media.value.items)} bytes"
        case "save" if os.path.isfile(record.save.source_path):
            return f"{os.path.getsize(record.save.source_path)} bytes"
    return ""
