"""W&B's library, made to mind its manners: imported late, and leaving the process as it was.

Importing wandb wraps ``sys.stdout.write``; beginning a run replaces ``sys.excepthook`` and
``sys.exit`` and puts ``WANDB_SERVICE`` into the environment; all of that stays after the run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tracking_core.rejections import say
from tracking_wandb.arguments import settings_of
from tracking_wandb.errors import OFFLINE, WandBLoginError, WandBSettingError, explained
from tracking_wandb.reach import see_to
from tracking_wandb.remote import see_to_answer

__all__ = ["PROTO", "abandon", "began", "bury", "imported", "is_finished"]

# What the user's `settings` and variables (WANDB_SILENT, ...) don't say.
CHOSEN: Mapping[str, object] = {
    "silent": True,
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
    # Without these a server that is gone or hangs stops a start for minutes and an end for ever. A
    # start takes ten seconds more than this, and is tried again: what is wrong is known in time.
    "init_timeout": 20.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}

PROVENANCE = (
    "disable_code", "disable_git", "x_disable_machine_info", "x_disable_meta", "x_disable_stats",
    "x_save_requirements",
)  # fmt: skip

# What has to be on for a switch that was turned on to have an effect.
_NEEDS: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "x_disable_stats": (False, ("x_disable_machine_info",)),
    "x_disable_meta": (False, ("x_disable_machine_info",)),
    "disable_git": (False, ("x_disable_machine_info",)),
    "save_code": (True, ("disable_code", "x_disable_meta", "x_disable_machine_info")),
}

PROTO = "wandb.proto.wandb_internal_pb2"

SECONDS_TO_TAKE_DOWN = 5.0

_lock = threading.RLock()
_modules: dict[str, Any] = {}
_failed = ""


def imported(name: str = "wandb") -> Any:
    """The module ``wandb`` or one inside it, without what importing it changes and reports."""
    if name not in _modules:
        with _lock, _as_it_was():
            _modules[name] = import_module(name)
    return _modules[name]


def began(
    arguments: Mapping[str, Any],
    training_pid: int | None = None,
    before: Callable[[Any], None] = lambda settings: None,
) -> Any:
    """A new ``wandb.Run``, from arguments of ``wandb.init``, whatever other runs are going on.

    One that could not begin leaves nothing behind in W&B's service: it would keep its id from being
    used again.

    Args:
        training_pid: as `GeneralTracker.training_pid`.
        before: called with W&B's settings of a run that will be online, before it begins.

    Raises:
        WandBLoginError: there is no key, or the server refuses it.
        WandBServiceError: the server can't be reached.
        WandBSettingError: an argument, a variable or a directory is of no use.
        WandBRunError: the run was deleted, or is another's.
    """
    wandb = imported()
    with _lock, _as_it_was():
        host = ""
        attempt = _Attempt()
        try:
            _set_up(wandb)
            settings = _settings(wandb, arguments, training_pid)
            merged = _merged(settings, arguments)
            host = merged.base_url
            if not merged._noop:
                _see_to_directory(merged)
            if not (merged._noop or merged._offline):
                _log_in(merged)
                chosen = host != type(merged).model_fields["base_url"].default
                proxies = {"http_proxy": merged.http_proxy, "https_proxy": merged.https_proxy}
                see_to(host, chosen=chosen, **proxies)
                see_to_answer(merged)
                before(merged)
            with attempt.taken_down_if_it_fails(_service(merged)):
                return wandb.init(**{**arguments, "settings": settings, "reinit": "create_new"})
        except Exception as error:
            better = explained(error, wandb, host, attempt.heard)
            if isinstance(better or error, WandBLoginError):
                _forget_login()
            if better is None:
                raise
            raise better from error


def bury(run: Any) -> None:
    """Forget the service of `run`, which has died: the next run starts another."""
    with _lock, _as_it_was(), suppress(Exception):
        # Unless another tracker that lived in it has done so already.
        if imported("wandb.sdk.wandb_setup").singleton() is run._wl:
            imported().teardown()


def is_finished(run: Any) -> bool:
    """Whether the program has ended a run of ours itself."""
    return bool(getattr(run, "_is_finished", False))


def abandon(run: Any) -> None:
    """End a run that is of no use, so that another one may go on under its id."""
    with _lock, _as_it_was(), suppress(Exception):
        run.finish(exit_code=1)


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


def _settings(wandb: Any, arguments: Mapping[str, Any], training_pid: int | None) -> Any:
    """The user's settings, with `CHOSEN` where they and the user's variables say nothing."""
    theirs = settings_of(arguments.get("settings"))
    if arguments.get("save_code") is not None:
        theirs["save_code"] = bool(arguments["save_code"])
    if training_pid == 0:
        # Nothing that W&B sees here has to do with the program whose run it is.
        theirs |= {name: CHOSEN[name] for name in PROVENANCE}
        theirs["program"] = ""
    needed: set[str] = set()
    for switch, (on, others) in _NEEDS.items():
        if _said(switch, theirs) is on:
            needed.update(others)
    for name, value in CHOSEN.items():
        if name in wandb.Settings.model_fields and _said(name, theirs) is None:
            theirs[name] = not value if name in needed else value
    theirs["console"] = "off"  # it can't capture anything, and would stay in the way
    if training_pid and _said("x_stats_pid", theirs) is None:
        theirs["x_stats_pid"] = training_pid
    if _said("program", theirs) is None:
        theirs |= _program(wandb, training_pid)
    return wandb.Settings(**theirs)


def _said(name: str, settings: Mapping[str, Any]) -> Any:
    """What the user's settings or variables say of a setting; None if they don't. A text of a
    variable that is no truth value comes as it is."""
    if name in settings:
        return settings[name]
    bare = name.upper().removeprefix("X_")
    for variable in (f"WANDB_{name.upper()}", f"WANDB__{bare}"):
        if variable in os.environ:
            text = os.environ[variable]
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    return None


def _program(wandb: Any, training_pid: int | None) -> dict[str, Any]:
    """What W&B is to call the program that trains, where it can't see that for itself."""
    main = sys.modules.get("__main__")
    if training_pid in (None, os.getpid()) or hasattr(main, "__file__"):
        return {}  # W&B looks at this very process
    program = sys.argv[0] if sys.argv else ""
    if program in ("", "-", "-c") or not os.path.isfile(program):
        return {}
    program = os.path.abspath(program)
    about = wandb.Settings(program=program)
    with suppress(Exception):  # another version of wandb
        about._setup_code_paths(program)
    paths = {name: getattr(about, name, None) for name in ("program_relpath", "program_abspath")}
    return {"program": program, **{name: path for name, path in paths.items() if path}}


def _merged(settings: Any, arguments: Mapping[str, Any]) -> Any:
    """The settings that the run will have, as far as they matter before it begins."""
    merged = imported("wandb.sdk.wandb_setup").singleton().settings.model_copy()
    merged.update_from_settings(settings)
    if (mode := arguments.get("mode")) is not None:
        merged.mode = mode
    if (directory := arguments.get("dir")) is not None:
        merged.root_dir = os.fspath(directory)
    return merged


def _see_to_directory(merged: Any) -> None:
    """See to it that there is a place for the run: W&B would go to the temporary directory instead.

    Raises:
        WandBSettingError: there is none.
    """
    place = Path(merged.wandb_dir)
    try:
        place.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(place, os.W_OK | os.X_OK) else "it can't be written"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise WandBSettingError(
            f"tracker 'wandb' has no place for its files in {os.fspath(place)!r} ({reason}): name "
            'another directory with WANDB_DIR or init_kwargs={"wandb": {"dir": ...}}'
        )


def _log_in(merged: Any) -> None:
    """See to it that `merged` has a key: left alone, W&B asks on the terminal.

    Raises:
        WandBLoginError: there is none.
    """
    if merged.api_key:
        return
    wbauth = imported("wandb.sdk.lib.wbauth")
    auth = wbauth.authenticate_session(host=merged.base_url, source="wandb.init()", prompt=False)
    if auth is not None:
        merged.api_key = getattr(auth, "api_key", None)  # or it is a token's file
        return
    raise WandBLoginError(
        f"tracker 'wandb' has no key for {merged.base_url}: run `wandb login`, or set "
        f"WANDB_API_KEY, or {OFFLINE}"
    )


def _forget_login() -> None:
    """Have the next try look for the key again: somebody may have logged in meanwhile."""
    with suppress(Exception):  # another version of wandb
        imported("wandb.sdk.lib.wbauth").unauthenticate_session()


def _service(merged: Any) -> Any:
    """W&B's service on this machine, started if need be; None where none is needed."""
    if merged._noop:
        return None
    return imported("wandb.sdk.wandb_setup").singleton().ensure_service()


class _Attempt:
    """A run that is about to begin in W&B's service.

    Attributes:
        heard: what the service heard from the server, if that failed: its errors leave out the half.
    """

    def __init__(self) -> None:
        self.heard = ""
        self._begun: list[tuple[str, Any, str]] = []

    @contextmanager
    def taken_down_if_it_fails(self, service: Any) -> Iterator[None]:
        """Within it a run is begun in `service`, if any; if that raises, the service forgets it."""
        if service is None:
            yield
            return
        inform = service.inform_init
        here = threading.get_ident()

        def inform_init(*args: Any, **kwargs: Any) -> Any:
            interface = inform(*args, **kwargs)
            with suppress(Exception):  # another version of wandb: the run stays in its service
                if threading.get_ident() == here:
                    directory = kwargs["settings"].sync_dir.value
                    self._begun.append((kwargs["run_id"], interface, directory))
            return interface

        service.inform_init = inform_init
        try:
            yield
            _forget_failed()
        except BaseException:
            for begun in self._begun:
                self._take_down(service, *begun)
            raise
        finally:
            with suppress(AttributeError):
                del service.inform_init  # gives the class's own back

    def _take_down(self, service: Any, run_id: str, interface: Any, directory: str) -> None:
        with suppress(Exception):
            interface.deliver_exit(1).wait_or(timeout=SECONDS_TO_TAKE_DOWN)
            service.inform_finish(run_id)
        with suppress(OSError, ValueError):
            log = Path(directory, "logs", "debug-internal.log")
            lines = map(json.loads, log.read_text("utf-8", "replace").splitlines())
            errors = [line.get("error") for line in lines if line.get("level") == "ERROR"]
            self.heard = next((error for error in reversed(errors) if error), "")
        _forget_failed(directory)


def _forget_failed(directory: str = "") -> None:
    """Have no directory of a failed start lie about but the last one, which holds its logs."""
    global _failed
    if _failed:
        shutil.rmtree(_failed, ignore_errors=True)
    _failed = directory


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
