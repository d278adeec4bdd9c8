"""A `swanlab.Run` on a run file of ours, for those who want the library's own methods.

The library has one current run, which takes over the interpreter's exception hook and SIGINT. This
one does not: what making it changed is put back at once.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swanlab.proto.swanlab.grpc.core.v1.core_pb2 import DeliverRunStartRequest
from swanlab.sdk.internal import run as library
from swanlab.sdk.internal.context import RunConfig, RunContext
from swanlab.sdk.internal.context.components.probe import create_probe
from swanlab.sdk.internal.core_python.core import CorePython
from swanlab.sdk.internal.core_python.store import NullDataStoreWriter
from swanlab.sdk.internal.core_python.watcher import FileWatcher
from swanlab.sdk.internal.pkg import console
from swanlab.sdk.internal.run.components import config as configs

from tracking_swanlab.settings import quiet

__all__ = ["NativeRun"]

CALM = {
    "terminal": {"proxy_type": "none"},
    "mode": "offline",  # what it makes is sent with all the rest
}

_making = threading.Lock()


class NativeRun:
    """A ``swanlab.Run`` that hands its records to `append`.

    Args:
        settings: SwanLab's, of this run.
        start: its ``StartRecord``.
        path: of the run on the server; empty offline.
        last_step: after which steps are counted where `run.log` is given none.

    Attributes:
        run: the ``swanlab.Run``.
    """

    def __init__(
        self,
        settings: Any,
        start: Any,
        directory: Path,
        path: str,
        last_step: int,
        append: Callable[[list[Any]], None],
    ) -> None:
        own = settings.model_copy(deep=True)
        own.merge_settings({**CALM, "run": {"id": start.id}})
        own.merge_settings({"project": {"name": start.project}, "experiment": {"name": start.name}})
        context = RunContext(RunConfig(run_dir=directory, settings=own))
        self._core = context.core = _Core(append)
        context.probe = create_probe(core=self._core, disabled=True)
        self._core.deliver_run_start(
            DeliverRunStartRequest(
                start_record=start, core_settings=own.to_core_proto(start.id, directory)
            )
        )
        context.global_system_step = -1
        context.next_step(last_step)
        for folder in (context.media_dir, context.files_dir, context.debug_dir):
            folder.mkdir(parents=True, exist_ok=True)
        with _making, quiet():
            self.run = _made(context, path)

    def finish(self, state: str) -> None:
        """Have it hand over what it still holds. It takes nothing more."""
        if not self.run.alive:
            return
        parts = self.run._components
        parts.asynctask.shutdown(timeout=None)
        parts.consumer.stop()
        parts.consumer.join()
        self.run._state = state
        self._core.stop()


class _Core(CorePython):  # type: ignore[misc]  # the library ships no types
    """The library's core, with the run file of someone else."""

    def __init__(self, append: Callable[[list[Any]], None]) -> None:
        super().__init__(mode="offline")
        self._append = append
        self._watcher: Any = None

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _start_store(self, resp: Any) -> None:
        self._store = NullDataStoreWriter()  # the records go another way

    def _handle_custom_save(self, saves: list[Any]) -> Any:
        if self._watcher is None:  # it has threads, and few need them
            self._watcher = FileWatcher(on_change=self._on_file_changed)
        return super()._handle_custom_save(saves)

    def _store_records(self, records: list[Any]) -> None:
        self._append(records)

    def _store_finish(self, finish_record: Any) -> None:
        self.stop()  # the tracker says how the run ended


def _made(context: Any, path: str) -> Any:
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGINT)
    current, config = library._current_run, configs._active_run_config
    try:
        run = library.Run(context, path or None)
    finally:
        sys.excepthook = hook
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        library._current_run, configs._active_run_config = current, config
        if current is None:
            console.reset()  # its log of errors
    atexit.unregister(run._handle_atexit)
    return run
