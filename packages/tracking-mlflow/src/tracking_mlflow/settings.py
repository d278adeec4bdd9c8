"""MLflow's own settings, chosen for our calls alone.

MLflow takes them from environment variables, each time it needs one. Changing `os.environ` around a
call would reach every thread and every child process (and ``setenv`` beside ``getenv`` of a C
library is a crash that happens), so the variables' readers are taught to look at a `ContextVar`
first: only what runs in our calls sees our choice, and a variable that the user has set wins.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from tracking_core.errors import Fault, TrackingError
from tracking_mlflow.library import check_uploads

__all__ = [
    "BOUNDED",
    "ONCE",
    "QUIET",
    "MLflowLoginError",
    "MLflowSettingError",
    "chosen",
    "imported",
]

QUIET: Mapping[str, object] = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": False,
    "MLFLOW_DISABLE_TELEMETRY": True,
}
# Retrying is the delivery lane's business: left alone, MLflow blocks a call for four minutes when
# its server is gone, and for twenty when it hangs. Its retries also print a line each.
ONCE: Mapping[str, object] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0,
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": False,
}
# Not for files: a server may answer only when its own store has a large one.
BOUNDED: Mapping[str, object] = {**ONCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": 20}

_chosen: ContextVar[Mapping[str, object] | None] = ContextVar("tracking_mlflow", default=None)
_teaching = threading.Lock()


class MLflowSettingError(TrackingError, ValueError):
    """An argument, a variable or a store that no run can be logged with (`MLflowTracker.start`).

    The message names it and says what to do instead.
    """

    fault: Fault = "setup"


def imported() -> ModuleType:
    """The module ``mlflow``, its variables taught to look at what `chosen` says."""
    with _teaching:
        if "mlflow" not in sys.modules:
            _import_without_telemetry()
        import mlflow
        from mlflow import environment_variables

        for name in (*QUIET, *BOUNDED):
            variable = getattr(environment_variables, name, None)
            if variable is not None and "get" not in vars(variable):
                variable.get = _reader(name, variable.get)
        check_uploads(lambda: _chosen.get() is not None)
        return mlflow


class MLflowLoginError(TrackingError, PermissionError):
    """The server, or the place where it keeps artifacts, does not let the user in.

    The message says which settings tell it who logs.
    """

    fault: Fault = "login"


@contextmanager
def chosen(*settings: Mapping[str, object]) -> Iterator[None]:
    """Within it, this thread's calls of MLflow keep to `settings` and log nothing to stderr."""
    from mlflow.utils import logging_utils

    silenced = getattr(logging_utils, "suppress_logs_in_thread", nullcontext)
    merged = {**(_chosen.get() or {})}
    for setting in settings:
        merged.update(setting)
    token = _chosen.set(merged)
    try:
        with silenced():
            yield
    finally:
        _chosen.reset(token)


def _reader(name: str, read: Any) -> Any:
    def get() -> Any:
        ours = _chosen.get() or {}
        return ours[name] if name in ours and name not in os.environ else read()

    return get


def _import_without_telemetry() -> None:
    # The first import starts MLflow's telemetry, writes a file to the home directory and puts an
    # id into os.environ, unless this is set: there is no argument for it.
    name = "MLFLOW_DISABLE_TELEMETRY"
    ours = name not in os.environ
    if ours:
        os.environ[name] = "true"
    try:
        import mlflow  # noqa: F401  # for what importing it does
    finally:
        if ours:
            os.environ.pop(name, None)
