"""W&B's library, made to mind its manners: imported late, and leaving the process as it was.

Importing wandb wraps ``sys.stdout.write``; beginning a run replaces ``sys.excepthook`` and
``sys.exit`` and puts ``WANDB_SERVICE`` into the environment; all of that stays after the run.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from tracking_core.errors import TrackingError
from tracking_core.rejections import say

__all__ = ["PROTO", "WandBLoginError", "WandBServiceError", "began", "bury", "imported", "is_named"]

# What the user's `settings` and variables (WANDB_CONSOLE, ...) don't say.
CHOSEN: Mapping[str, object] = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    # Rows are in the file a moment after they were logged; by default W&B keeps them for 15 seconds
    # in its memory, and the death of the process takes them along.
    "x_transaction_log_flush_interval": 0.01,
    # Without these a server that is gone or hangs stops a start for minutes and an end for ever.
    "init_timeout": 60.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}

PROTO = "wandb.proto.wandb_internal_pb2"

_lock = threading.RLock()
_modules: dict[str, Any] = {}


class WandBLoginError(TrackingError, PermissionError):
    """W&B has no key, or does not accept it (`WandBTracker.start`).

    As a `PermissionError` it is tried again: a login can be repaired while a training goes on.
    """


class WandBServiceError(TrackingError, ConnectionError):
    """W&B's server can't be reached, or W&B's service on this machine died or does not answer."""


def imported(name: str = "wandb") -> Any:
    """The module ``wandb`` or one inside it, without what importing it changes and reports."""
    if name not in _modules:
        with _lock, _as_it_was():
            _modules[name] = import_module(name)
    return _modules[name]


def began(arguments: Mapping[str, Any]) -> Any:
    """A new ``wandb.Run``, from arguments of ``wandb.init``, whatever other runs are going on.

    Raises:
        TypeError: ``wandb.init`` has no such argument.
        WandBLoginError: there is no key, or the server refuses it.
        WandBServiceError: the server can't be reached.
    """
    wandb = imported()
    with _lock, _as_it_was():
        _check(arguments, wandb)
        _set_up(wandb)
        settings = _settings(wandb, arguments.get("settings"))
        try:
            _log_in(wandb, settings, arguments)
            return wandb.init(**{**arguments, "settings": settings, "reinit": "create_new"})
        except wandb.errors.AuthenticationError as error:
            raise WandBLoginError(f"tracker 'wandb': {error}") from error
        except wandb.errors.CommError as error:
            if "401" in str(error) or "not logged in" in str(error).lower():
                raise WandBLoginError(
                    f"tracker 'wandb': the server refuses the login; run `wandb login`: {error}"
                ) from error
            raise WandBServiceError(f"tracker 'wandb' could not begin a run: {error}") from error


def is_named(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments of ``wandb.init`` or W&B's variables say which run it is."""
    given = arguments.get("settings") or {}
    settings = given if isinstance(given, Mapping) else given.model_dump(exclude_unset=True)
    named = {*arguments, *settings, *os.environ}
    return not named.isdisjoint(
        {"id", "run_id", "resume", "resume_from", "fork_from", "WANDB_RUN_ID", "WANDB_RESUME"}
    )


def bury(run: Any) -> None:
    """Forget the service of `run`, which has died: the next run starts another."""
    with _lock, _as_it_was(), suppress(Exception):
        # Unless another tracker that lived in it has done so already.
        if imported("wandb.sdk.wandb_setup").singleton() is run._wl:
            imported().teardown()


def _check(arguments: Mapping[str, Any], wandb: Any) -> None:
    known = inspect.signature(wandb.init).parameters.keys()
    unknown = sorted(arguments.keys() - known)
    if unknown:
        raise TypeError(
            f"tracker 'wandb' has no argument {', '.join(map(repr, unknown))}: beside run_name and "
            f"step_axes it takes those of wandb.init, {', '.join(sorted(known))}"
        )


def _set_up(wandb: Any) -> None:
    """Have what W&B would print come to us; unless the user's own code has begun to use it."""
    term, wandb_setup = imported("wandb.errors.term"), imported("wandb.sdk.wandb_setup")
    if getattr(wandb_setup, "_singleton", None) is None and "WANDB_SILENT" not in os.environ:
        silent = wandb.Settings(silent=True)
        wandb.setup(settings=silent)
        term.termsetup(silent, _Said())
        logging.getLogger("wandb").propagate = False  # it writes its own files


class _Said:
    """Takes what W&B would print: what is no error is no concern of a training's output."""

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None:
        say(f"tracker 'wandb': {message}")


def _settings(wandb: Any, given: Any) -> Any:
    """The user's settings, with `CHOSEN` where they and the user's variables say nothing."""
    if given is None:
        theirs: dict[str, Any] = {}
    elif isinstance(given, Mapping):
        theirs = dict(given)
    else:
        theirs = given.model_dump(include=given.model_fields_set)
    known = wandb.Settings.model_fields
    for name, value in CHOSEN.items():
        bare = name.upper().removeprefix("X_")
        variables = {f"WANDB_{name.upper()}", f"WANDB__{bare}"}
        if name in known and name not in theirs and not variables & os.environ.keys():
            theirs[name] = value
    return wandb.Settings(**theirs)


def _log_in(wandb: Any, settings: Any, arguments: Mapping[str, Any]) -> None:
    """See to it that there is a key, where one is needed: left alone, W&B asks on the terminal."""
    merged = imported("wandb.sdk.wandb_setup").singleton().settings.model_copy()
    merged.update_from_settings(settings)
    if (mode := arguments.get("mode")) is not None:
        merged.mode = mode
    if merged._offline or merged._noop or merged.api_key:
        return
    wbauth = imported("wandb.sdk.lib.wbauth")
    if wbauth.authenticate_session(host=merged.base_url, source="wandb.init()", prompt=False):
        return
    raise WandBLoginError(
        "tracker 'wandb' has no key for W&B: run `wandb login`, or set WANDB_API_KEY, or log "
        'offline with WANDB_MODE=offline or init_kwargs={"wandb": {"mode": "offline"}}'
    )


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Puts back what importing wandb and beginning a run change in the process."""
    hooks = sys.excepthook, sys.exit
    streams = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "__dict__")]
    wrapped = [stream for stream in streams if "write" in vars(stream)]
    # Read when W&B's service starts: there is no other way to keep it from reporting errors and
    # measurements of itself, which it does in offline mode too.
    reporting = os.environ.get("WANDB_ERROR_REPORTING")
    service = os.environ.get("WANDB_SERVICE")
    if reporting is None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"
    try:
        yield
    finally:
        sys.excepthook, sys.exit = hooks
        for stream in streams:
            if stream not in wrapped and "write" in vars(stream):
                del stream.write  # gives the class's own back
        if reporting is None:
            os.environ.pop("WANDB_ERROR_REPORTING", None)
        if service is None:
            os.environ.pop("WANDB_SERVICE", None)
