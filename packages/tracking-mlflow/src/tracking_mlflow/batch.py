"""What one `deliver` sends to MLflow, and how: in chunks, around what is refused or in the way."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tracking_core.errors import TrackingError
from tracking_core.faults import errors_behind
from tracking_core.names import unescape
from tracking_mlflow import layout
from tracking_mlflow.faults import fault_of_mlflow
from tracking_mlflow.naming import Kind, has_parents, parents
from tracking_mlflow.sent import Point, Sent, point_of
from tracking_mlflow.settings import BOUNDED, ONCE, chosen

if TYPE_CHECKING:
    from mlflow.entities import RunData

    from tracking_mlflow.stores import Store

__all__ = ["Batch", "NamesClash"]

T = TypeVar("T")

METRICS_AT_ONCE = 1000  # MLflow's limits for one request
OTHERS_AT_ONCE = 100
IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR})


class NamesClash(TrackingError):
    """The store is a directory, and a name is to be a file where it has a folder, or vice versa.

    Attributes:
        data: what the run has by now.
    """

    def __init__(self, data: RunData) -> None:
        super().__init__("a metric, param or tag is named like the folder of another")
        self.data = data


class Batch:
    """Metrics, params, tags and files of one run on their way.

    Args:
        run_id, store: the run.
        folder: a temporary one.
        reject: told of what is refused for good, by its name.
        sent: what the store has of earlier tries.

    Attributes:
        params, tags: texts by name.
        files: contents, or paths of files on this machine, by their path among the artifacts.
        has_sent_metrics: whether the store has all metrics of this batch.
    """

    def __init__(
        self,
        run_id: str,
        store: Store,
        folder: str,
        reject: Callable[[str, object, str], None],
        sent: Sent,
    ) -> None:
        self.run_id = run_id
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.files: dict[str, bytes | str] = {}
        self.has_sent_metrics = False
        self._metrics: dict[Point, Any] = {}
        self._client: Any = store.client
        self._store = store
        self._folder = folder
        self._reject = reject
        self._sent = sent

    def metric(
        self, name: str, value: float, when: int, step: int, model_id: str | None = None
    ) -> None:
        """Add a point. MLflow, too, keeps only one of several that are equal in all of this."""
        from mlflow.entities import Metric

        more = {} if model_id is None else {"model_id": model_id}
        metric = Metric(name, float(value), when, step, **more)
        self._metrics[point_of(metric)] = metric

    def send(self, records: int) -> None:
        """Send everything; what the server refuses for good is rejected by its name.

        Args:
            records: how many it is made of.

        Raises:
            NamesClash: names have to be chosen anew.
            Exception: what MLflow raises. A second try, with the same `Sent`, sends only what is
                missing.
        """
        from mlflow.entities import Param, RunTag

        with chosen(BOUNDED):
            # The newest first: of each metric MLflow's database notes the latest point so far, with
            # one update for each that is newer than those before it.
            metrics = list(reversed(self._sent.missing(self._metrics).values()))
            self._send("metrics", metrics, METRICS_AT_ONCE)
            self.has_sent_metrics = True
            params = [Param(name, value) for name, value in self.params.items()]
            self._send("params", params, OTHERS_AT_ONCE)
            if self.files and not (metrics or params or self.tags) and not self._run_is_alive():
                # MLflow puts files into a run that was deleted, too, without a word.
                raise LookupError(
                    f"the run {self.run_id} was deleted: `mlflow runs restore --run-id "
                    f"{self.run_id}` brings it back"
                )
        with chosen(ONCE):
            for path, content in self.files.items():
                if not self._sent.has((path, content)):
                    self._upload(path, content)
                    self._sent.add([(path, content)])
        with chosen(BOUNDED):
            tags = [RunTag(name, value) for name, value in self.tags.items()]
            self._send("tags", tags, OTHERS_AT_ONCE)
        self._sent.forget([*self._metrics, *self.files.items()], records)

    # --- metrics, params and tags ---

    def _send(self, kind: Kind, items: Sequence[Any], at_once: int) -> None:
        for start in range(0, len(items), at_once):
            self._send_chunk(kind, items[start : start + at_once])

    def _send_chunk(self, kind: Kind, items: Sequence[Any], *, again: bool = False) -> None:
        def log() -> None:
            self._client.log_batch(self.run_id, **{kind: items}, synchronous=True)

        try:
            self._call(log)
        except Exception as error:
            self._send_in_parts(kind, items, error, again=again)
        else:
            if kind == "metrics":
                self._sent.add(map(point_of, items))

    def _send_in_parts(
        self, kind: Kind, items: Sequence[Any], error: Exception, *, again: bool
    ) -> None:
        """Send what can be sent of `items`, which were refused all together."""
        if kind == "metrics":
            self._sent.doubt()
        fault = fault_of_mlflow(error)
        if fault in ("record", "server") and (data := self._data_that_clashes(kind, items, error)):
            raise NamesClash(data) from error
        # A deleted run refuses everything: that is no fault of the items.
        if fault != "record" or not self._run_is_alive():
            raise error
        if kind == "metrics":
            items = list(self._sent.missing({point_of(item): item for item in items}).values())
        if len(items) > 1:
            middle = len(items) // 2
            self._send_chunk(kind, items[:middle])
            self._send_chunk(kind, items[middle:])
        elif items and not again:
            self._send_chunk(kind, items, again=True)
        elif items:
            self._refuse(kind, items[0], error)

    def _refuse(self, kind: Kind, item: Any, error: Exception) -> None:
        """Give `item` up, or what it has that MLflow does not want."""
        from mlflow.entities import Metric

        code = getattr(error, "error_code", type(error).__name__)
        if getattr(item, "model_id", None) is not None:
            reason = f"MLflow does not take it for a model's ({code}): is there such a model?"
            self._reject("log_kwargs['model_id']", item.model_id, reason)
            plain = Metric(item.key, item.value, item.timestamp, item.step)
            self._send_chunk(kind, [plain])
        else:
            # The text of the error may hold the value, and a value may be a secret.
            reason = f"MLflow refuses it among its {kind} ({code})"
            self._reject(unescape(item.key), getattr(item, "value", None), reason)

    def _run_is_alive(self) -> bool:
        run = self._call(partial(self._client.get_run, self.run_id))
        return bool(run.info.lifecycle_stage == "active")

    def _data_that_clashes(
        self, kind: Kind, items: Sequence[Any], error: Exception
    ) -> RunData | None:
        """What the run has, if it is kept in a directory where some of `items` can't be.

        Of a server that has a directory nothing is heard but that it failed.
        """
        names = {item.key for item in items}
        local = self._store.keeps_files and any(map(_is_in_the_way, errors_behind(error)))
        remote = self._store.is_a_server and _failed_by_itself(error)
        if not (local or remote):
            return None
        with suppress(Exception):  # then `error` says enough
            data: RunData = self._call(partial(self._client.get_run, self.run_id)).data
            there = set(getattr(data, kind))
            if has_parents(names | there) and not has_parents(there):
                return data
        return None

    # --- files ---

    def _upload(self, path: str, content: bytes | str) -> None:
        """Put a file among the artifacts, beside what is in its way."""
        places = layout.file_paths(path) if isinstance(content, str) else iter([path])
        reason = "MLflow refuses it"
        for place in places:
            if place in self._sent.folders:
                continue
            try:
                self._put(place, content)
            except Exception as error:
                if isinstance(content, str) and not os.path.exists(content):
                    reason = "the file is gone"
                    break
                if self._is_taken(place, error):
                    reason = "something else has its place among the artifacts"
                    continue
                if fault_of_mlflow(error) != "record":
                    raise
                break
            else:
                self._sent.folders.update(parents(place))
                return
        self._reject(unescape(path), content, reason)

    def _put(self, path: str, content: bytes | str) -> None:
        folder, name = posixpath.split(path)
        local = content if isinstance(content, str) else ""
        if local and not os.path.isfile(local):  # meanwhile; MLflow would open a pipe and wait
            self._reject(unescape(path), content, "the file is gone")
            return
        if os.path.basename(local) != name:
            local = self._local_file(name, content)
        self._call(lambda: self._client.log_artifact(self.run_id, local, folder or None))

    def _is_taken(self, path: str, error: Exception) -> bool:
        """Whether a folder lies at `path` among the artifacts, or a file at one of its folders."""
        if any(map(_is_in_the_way, errors_behind(error))):
            return True
        if not (self._store.is_a_server and _failed_by_itself(error)):
            return False
        with suppress(Exception):  # then `error` says enough
            parts = path.split("/")
            for count in range(1, len(parts) + 1):
                inner, is_whole = "/".join(parts[:count]), count == len(parts)
                folder = posixpath.dirname(inner) or None
                found = self._call(partial(self._client.list_artifacts, self.run_id, folder))
                if any(one.path == inner and one.is_dir == is_whole for one in found):
                    return True
        return False

    def _local_file(self, name: str, content: bytes | str) -> str:
        """MLflow uploads files, under the names they have."""
        local = os.path.join(self._folder, name)
        if os.path.lexists(local):
            os.unlink(local)
        if isinstance(content, bytes):
            with open(local, "wb") as file:
                file.write(content)
        else:
            try:
                os.symlink(content, local)
            except OSError:  # Windows, without the right to make one
                shutil.copy2(content, local)
        return local

    def _call(self, call: Callable[[], T]) -> T:
        """What `call` returns, which is called once more if the connection to a server broke.

        One that the server has closed meanwhile breaks once, and at once.
        """
        try:
            return call()
        except Exception as error:
            if not (self._store.is_a_server and any(map(_is_broken, errors_behind(error)))):
                raise
        return call()


def _is_in_the_way(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in IN_THE_WAY


def _is_broken(error: BaseException) -> bool:
    """Whether it is a connection's, of Python or of requests."""
    return any(kind.__name__ == "ConnectionError" for kind in type(error).__mro__)


def _failed_by_itself(error: Exception) -> bool:
    """Whether a server says that it failed, and nothing more."""
    said = " ".join(map(str, errors_behind(error)))
    return "500" in said or getattr(error, "error_code", "") == "INTERNAL_ERROR"
