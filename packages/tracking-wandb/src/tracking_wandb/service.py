"""Messages to W&B's service, and the certainty that they are on disk.

``run.log`` hands over one row after the other and waits for another thread each time, and when it
returns the row is in the memory of W&B's service (``wandb-core``), which dies with the process.
Here a whole batch is handed over at once, and `Service.send` returns when the last of it lies in
the run's transaction log.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tracking_core.records import Log
from tracking_wandb.config import INT64
from tracking_wandb.errors import WandBServiceError
from tracking_wandb.names import STEP
from tracking_wandb.rows import files_message
from tracking_wandb.session import PROTO, imported
from tracking_wandb.transaction_log import TransactionLog

__all__ = ["Service", "rows_in_common", "stamp_of"]

LONGEST_WAIT = 30.0  # seconds for a batch to reach the disk
LONGEST_WAIT_FOR_END = 5.0  # seconds; where it is not there by then, nothing else is missing
ASKED_EVERY = 1.0  # seconds: whether the service still lives
FIRST_LOOK, LAST_LOOK = 0.0005, 0.01  # seconds between two looks at the file


_marks = itertools.count()


class Service:
    """W&B's service, on behalf of one run.

    Attributes:
        dead: whether it was found to have died.
    """

    def __init__(self, run: Any) -> None:
        self.dead = False
        self._run = run
        keeps_a_log = not getattr(run.settings, "x_skip_transaction_log", False)
        self._log = TransactionLog(run.settings.sync_file) if keeps_a_log else None

    def next_step(self) -> int:
        """The first step that W&B would take.

        Raises:
            WandBServiceError: the service died.
        """
        try:
            # A run that was just resumed may say 0 for a moment. A row below the step where it goes
            # on W&B's service throws away, with a word in its log alone.
            return max(int(self._run.step), int(getattr(self._run, "starting_step", 0)))
        except TimeoutError as error:
            raise WandBServiceError(f"tracker 'wandb': W&B's service is stuck: {error}") from error
        except Exception as error:  # of W&B's mailbox, by version
            raise self._died(error) from error

    def send(self, messages: Sequence[Any]) -> None:
        """Hand `messages` over, and wait until they are on disk.

        Raises:
            WandBServiceError: the service died, or does not get them onto the disk.
        """
        mark = f"tracking-{os.getpid()}-{next(_marks)}"
        said = mark.encode()
        self._publish([*messages, files_message([], mark)])
        if not self._wait(lambda record: said in record, LONGEST_WAIT, ask=True):
            raise WandBServiceError(
                f"tracker 'wandb': W&B's service did not write to {self._run.settings.sync_file} "
                f"for {LONGEST_WAIT:.0f} seconds; is the disk full?"
            )

    def wait_for_end(self) -> None:
        """Wait until the file holds how the run ended: ``run.finish`` returns a moment earlier."""

        def is_end(record: bytes) -> bool:
            return bool(imported(PROTO).Record.FromString(record).HasField("exit"))

        self._wait(is_end, LONGEST_WAIT_FOR_END, ask=False)

    def close(self) -> None:
        """Give back what it holds."""
        if self._log is not None:
            self._log.close()

    def _publish(self, messages: Sequence[Any]) -> None:
        interface = self._run._interface
        try:
            asyncer, client = interface._asyncer, interface._client
            requests = [_request(interface, message) for message in messages]
        except AttributeError:  # another version of wandb: one after the other
            for message in messages:
                interface._publish(message)
            return

        async def publish() -> None:
            for request in requests:
                await client.publish(request)

        try:
            asyncer.run(publish)
        except OSError as error:
            raise self._died(error) from error

    def _died(self, error: BaseException) -> WandBServiceError:
        self.dead = True
        return WandBServiceError(
            f"tracker 'wandb': W&B's service (wandb-core) on this machine has died: {error}"
        )

    def _wait(self, is_last: Callable[[bytes], bool], longest: float, *, ask: bool) -> bool:
        """Whether such a record came to the file in time."""
        if self._log is None:
            return True
        began = asked = time.monotonic()
        pause = FIRST_LOOK
        while True:
            while records := self._log.records():
                if any(map(is_last, records)):
                    return True
            now = time.monotonic()
            if now - began > longest:
                return False
            if ask and now - asked > ASKED_EVERY:
                asked = now
                self._publish([files_message([])])  # raises if the service has died
            time.sleep(pause)
            pause = min(2 * pause, LAST_LOOK)


def _request(interface: Any, message: Any) -> Any:
    message._info.stream_id = interface._stream_id
    request = imported("wandb.proto.wandb_server_pb2").ServerRequest()
    request.record_publish.CopyFrom(message)
    return request


Stamp: TypeAlias = tuple[float, int | str]


def stamp_of(row: Log) -> Stamp:
    """What a row is known by in the transaction log: its time, and its step as it was given."""
    step = row.position if row.step is None else row.step
    return row.wall_time, step if step in INT64 else str(step)


def rows_in_common(path: str, rows: Sequence[Stamp]) -> int:
    """How many of `rows` the transaction log at `path` ends with."""
    log = TransactionLog(path)
    found: list[Stamp] = []
    try:
        while records := log.records():
            found += [stamp for data in records if (stamp := _stamp(data)) is not None]
    finally:
        log.close()
    found = found[-len(rows) :] if rows else []
    return next(
        (count for count in range(len(found), 0, -1) if found[-count:] == list(rows[:count])), 0
    )


def _stamp(data: bytes) -> Stamp | None:
    record = imported(PROTO).Record.FromString(data)
    if not record.HasField("history"):
        return None
    items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
    return float(items.get("_timestamp", "nan")), json.loads(items.get(STEP, "null"))
