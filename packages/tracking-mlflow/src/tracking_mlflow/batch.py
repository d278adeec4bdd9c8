"""What one `deliver` sends to MLflow, and how: in chunks, twice if need be, around what is refused."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from tracking_core.names import unescape
from tracking_mlflow.settings import BOUNDED, ONCE, chosen

__all__ = ["Batch"]

METRICS_AT_ONCE = 1000  # MLflow's limits for one request
OTHERS_AT_ONCE = 100
# What a server says of an item that it will never take; anything else may pass.
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
REFUSED_FILE = (400, 413, 414, 415, 422)


class Batch:
    """Metrics, params, tags and files of one run on their way.

    Attributes:
        params, tags: texts by name.
        files: contents, or paths of files on this machine, by their path among the artifacts.
    """

    def __init__(
        self, run_id: str, client: Any, folder: str, reject: Callable[[str, object, str], None]
    ) -> None:
        self.run_id = run_id
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.files: dict[str, bytes | str] = {}
        self._metrics: dict[tuple[str, str, int, int], Any] = {}
        self._client = client
        self._folder = folder
        self._reject = reject

    def metric(
        self, name: str, value: float, when: int, step: int, model_id: str | None = None
    ) -> None:
        """Add a point. MLflow, too, keeps only one of several that are equal in all of this."""
        from mlflow.entities import Metric

        more = {} if model_id is None else {"model_id": model_id}
        point = Metric(name, float(value), when, step, **more)
        self._metrics[name, repr(point.value), when, step] = point

    def send(self) -> None:
        """Send everything; what the server refuses for good is rejected by its name."""
        from mlflow.entities import Param, RunTag

        with chosen(BOUNDED):
            # The newest first: of each metric MLflow's database notes the latest point so far, with
            # one update for each that is newer than those before it.
            self._send("metrics", list(reversed(self._metrics.values())), METRICS_AT_ONCE)
            params = [Param(name, value) for name, value in self.params.items()]
            self._send("params", params, OTHERS_AT_ONCE)
        with chosen(ONCE):
            for path, content in self.files.items():
                self._upload(path, content)
        with chosen(BOUNDED):
            tags = [RunTag(name, value) for name, value in self.tags.items()]
            self._send("tags", tags, OTHERS_AT_ONCE)

    def _send(self, kind: str, items: Sequence[Any], at_once: int) -> None:
        for start in range(0, len(items), at_once):
            self._send_chunk(kind, items[start : start + at_once])

    def _send_chunk(self, kind: str, items: Sequence[Any]) -> None:
        from mlflow.exceptions import MlflowException

        def log() -> None:
            self._client.log_batch(self.run_id, **{kind: items}, synchronous=True)

        try:
            _twice(log)
        except MlflowException as error:
            if error.error_code not in REFUSED or not self._run_is_alive():
                raise
            if len(items) > 1:
                middle = len(items) // 2
                self._send_chunk(kind, items[:middle])
                self._send_chunk(kind, items[middle:])
            else:
                # The text of the error may hold the value, and a value may be a secret.
                reason = f"MLflow refuses it among its {kind} ({error.error_code})"
                self._reject(unescape(items[0].key), getattr(items[0], "value", None), reason)

    def _run_is_alive(self) -> bool:
        """A deleted run refuses everything: that is no fault of the items."""
        return bool(self._client.get_run(self.run_id).info.lifecycle_stage == "active")

    def _upload(self, path: str, content: bytes | str) -> None:
        from mlflow.exceptions import MlflowException

        folder, name = posixpath.split(path)
        local = content if isinstance(content, str) else ""
        if local and not os.path.isfile(local):  # meanwhile; MLflow would open a pipe and wait
            self._reject(unescape(path), content, "the file is gone")
            return
        if os.path.basename(local) != name:
            local = self._local_file(name, content)

        def upload() -> None:
            self._client.log_artifact(self.run_id, local, folder or None)

        try:
            _twice(upload)
        except (MlflowException, OSError) as error:
            # requests' HTTPError is an OSError with a response.
            status = getattr(getattr(error, "response", None), "status_code", None)
            refused = getattr(error, "error_code", None) in REFUSED or status in REFUSED_FILE
            gone = isinstance(content, str) and not os.path.exists(content)
            if not (refused or gone):
                raise
            self._reject(
                unescape(path), content, "the file is gone" if gone else "MLflow refuses it"
            )

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


def _twice(call: Callable[[], None]) -> None:
    """A connection that the server has closed meanwhile fails once, and at once."""
    from mlflow.exceptions import MlflowException

    try:
        call()
    except MlflowException as error:
        if error.error_code in REFUSED:
            raise
        call()
    except OSError:
        call()
