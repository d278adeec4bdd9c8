"""What a run was asked to be: from arguments, else Comet's variables, else its configuration files."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tracking_comet_ml.arguments import (
    AUTOMATIC,
    HOOKS,
    MODES,
    OF_THE_PROCESS,
    OF_THE_PROGRAM,
    check_key,
)
from tracking_comet_ml.errors import OFFLINE, CometLoginError, CometSettingError
from tracking_core.records import Plain

__all__ = ["KEY", "Seen", "Settings", "imported", "is_named", "launched"]

KEY = "COMET_EXPERIMENT_KEY"

# These are on where nobody chose, and an `ExperimentConfig` does not show whether somebody did.
OFF: Mapping[str, Any] = {
    "auto_output_logging": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "auto_log_co2": False,
    "display_summary_level": 0,
}
OUTPUT = "COMET_AUTO_LOG_OUTPUT_LOGGER"

# Set only while comet_ml is imported: importing it patches the interpreter and reports errors.
QUIET = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_LOGGING_CONSOLE": "ERROR",
}

_importing = threading.Lock()
_taken: set[str] = set()
_taking = threading.Lock()


@dataclass(frozen=True)
class Seen:
    """What Comet sees around it, where it lives.

    Attributes:
        process: whether that is the process that trains.
        program: whether it is that program, or its delivery process, which is told of it.
        directory: whether the directory is as the program found it.
    """

    process: bool = True
    program: bool = True
    directory: bool = True


@dataclass(frozen=True)
class Settings:
    """One experiment, and where it is kept.

    Attributes:
        key: names the experiment, wherever it is.
        mode: as in ``comet_ml.start``.
        api_key: None offline.
        offline_directory: where the archives of an offline run are kept.
        name, tags, source: of the experiment; None where nobody said.
        config: the ``comet_ml.ExperimentConfig``, all automatic logging off unless it was asked for.
        automatic: whether it was.
        left_out: what was asked for and would be recorded of something else than the training, and
            why it is not.
    """

    online: bool
    key: str
    mode: str
    project: str | None
    workspace: str | None
    api_key: str | None
    offline_directory: str
    name: str | None
    tags: list[str]
    source: str | None
    config: Any
    automatic: bool
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        run_name: str | None,
        arguments: Mapping[str, Any],
        identity: Mapping[str, Plain],
        launch: Mapping[str, Plain],
        seen: Seen,
    ) -> Settings:
        """What the constructor's arguments and a run to go on with amount to.

        Args:
            launch: what `launched` said in the process that began the run.
            seen: what of the training Comet sees here.

        Raises:
            CometSettingError: an argument or a setting is of no use.
            CometLoginError: online there is no API key.
        """
        comet_ml = imported()
        config = _config(comet_ml, arguments.get("experiment_config"))
        project = arguments.get("project_name", arguments.get("project"))
        named = {"project_name": run_name if project is None else project}
        for name in ("api_key", "workspace", "experiment_key", "mode", "online", "source"):
            named[name] = arguments.get(name)
        asked = comet_ml.InitParameters(**named)
        online = bool(identity.get("online", asked.online))
        if asked.mode not in MODES:
            raise CometSettingError(
                "tracker 'comet_ml': mode (COMET_START_MODE) is one of "
                f"{', '.join(map(repr, MODES))}, not {asked.mode!r}"
            )
        spent = _is_spent(arguments, launch)
        mode = "get_or_create" if identity or spent else asked.mode
        key = _key(identity.get("experiment_key") or _asked_key(arguments, launch, asked), mode)
        if online and not asked.api_key:
            raise CometLoginError(
                "tracker 'comet_ml' has no API key; set COMET_API_KEY (or run `comet login` once), or "
                f"{OFFLINE}"
            )
        left_out = _leave_out(config, seen)
        directory = identity.get("offline_directory") or config.offline_directory
        # Comet's own experiment saves what it can't send there too.
        config.offline_directory = os.path.abspath(str(directory or ".cometml-runs"))
        return cls(
            online=online,
            key=key,
            mode=mode,
            project=asked.project,
            workspace=asked.workspace,
            api_key=asked.api_key,
            offline_directory=config.offline_directory,
            # A project of its own leaves the run's name for the experiment.
            name=config.name or (run_name if project is not None else None),
            tags=list(config.tags or ()),
            source=asked.source,
            config=config,
            automatic=any(
                _chosen(config, name) for name in (*OF_THE_PROCESS, *OF_THE_PROGRAM, "log_graph")
            )
            or _asks_for_hooks(arguments.get("experiment_config")),
            left_out=left_out,
        )


def launched() -> dict[str, Plain]:
    """What the process says in which a run begins: the experiment that a variable names.

    That is for the first run of the process: the next one is another.
    """
    key = os.environ.get(KEY)
    if not key:
        return {}
    theirs = sys.modules.get("comet_ml")
    running = getattr(theirs, "get_running_experiment", lambda: None)()
    with _taking:
        is_theirs = running is not None and running.get_key() == key
        if key in _taken or is_theirs:
            return {"spent": key}
        _taken.add(key)
    return {"experiment_key": key}


def is_named(arguments: Mapping[str, Any], launch: Mapping[str, Plain]) -> bool:
    """Whether arguments or Comet's settings say which experiment it is."""
    asked = imported().InitParameters(mode=arguments.get("mode"))
    if _asked_key(arguments, launch, asked) is not None:
        return True
    return bool(asked.mode == "get") and not _is_spent(arguments, launch)


def imported() -> ModuleType:
    """The module ``comet_ml``, imported without what it does to the interpreter.

    Left alone, the import wraps ``sys.excepthook``, puts a finder before Python's own that patches
    torch, TensorBoard and others, and for one process in two starts to report errors to Comet.
    A program that has imported comet_ml itself gets what it chose.
    """
    with _importing:
        if "comet_ml" not in sys.modules:
            hook = sys.excepthook
            ours = {name: value for name, value in QUIET.items() if name not in os.environ}
            os.environ.update(ours)
            try:
                importlib.import_module("comet_ml")
            finally:
                sys.excepthook = hook
                for name in ours:
                    os.environ.pop(name, None)
        return sys.modules["comet_ml"]


def _is_spent(arguments: Mapping[str, Any], launch: Mapping[str, Plain]) -> bool:
    return arguments.get("experiment_key") is None and "spent" in launch


def _asked_key(arguments: Mapping[str, Any], launch: Mapping[str, Plain], asked: Any) -> object:
    """The experiment that is asked for, by an argument, a variable or a file of Comet's."""
    key = arguments.get("experiment_key") or launch.get("experiment_key")
    if key is not None:
        return key
    found = asked.experiment_key
    # A variable counts as it was when the run began, and for one run.
    return None if found in (launch.get("spent"), os.environ.get(KEY)) else found


def _config(comet_ml: Any, given: Any) -> Any:
    if given is None or isinstance(given, Mapping):
        # A mapping travels to another process, an object of Comet's does not.
        off = dict(OFF)
        if os.environ.get(OUTPUT):
            off.pop("auto_output_logging")
        try:
            config = comet_ml.ExperimentConfig(**{**off, **(given or {})})
        except TypeError as error:
            raise CometSettingError(
                f"tracker 'comet_ml': experiment_config does not fit comet_ml.ExperimentConfig: {error}"
            ) from error
    else:
        config = comet_ml.ExperimentConfig()
        config.__dict__.update(given.__dict__)
        if config.auto_output_logging == comet_ml.config.AUTO_OUTPUT_LOGGING_DEFAULT_VALUE:
            config.auto_output_logging = False
        if not os.environ.get("COMET_AUTO_LOG_CO2"):
            config.auto_log_co2 = False
    if config.disabled:
        raise CometSettingError(
            "tracker 'comet_ml': Comet is switched off (disabled=True or COMET_AUTO_LOG_DISABLE): "
            "leave 'comet_ml' out of log_with, or switch it on"
        )
    return config


def _chosen(config: Any, name: str) -> bool:
    value = getattr(config, name, None)
    return bool(value) and str(value).lower() not in ("false", "0")


def _asks_for_hooks(given: Any) -> bool:
    return isinstance(given, Mapping) and any(given.get(name) for name in HOOKS)


def _leave_out(config: Any, seen: Seen) -> dict[str, str]:
    """Turn off, in `config`, what Comet would record of something else than the training.

    Gives back what of it was asked for, and why it is not recorded.
    """
    left_out: dict[str, str] = {}
    for name in AUTOMATIC:
        reason = _unfit(name, seen)
        if reason and _chosen(config, name) and name not in HOOKS:
            left_out[name] = reason
        if reason or name not in HOOKS or name == "log_graph":
            on = _chosen(config, name) and not reason
            setattr(config, name, (getattr(config, name, None) or False) if on else False)
    return left_out


def _unfit(name: str, seen: Seen) -> str:
    if name in OF_THE_PROGRAM:
        if not seen.program:
            return "it would be recorded of the program that recovers the run"
        if "git" in name and not seen.directory:
            return "the run began a while ago, and git may say something else now"
        return ""
    return "" if seen.process else "it would be recorded of another process than the training's"


def _key(given: object, mode: str) -> str:
    if given is None:
        if mode == "get":
            raise CometSettingError(
                "tracker 'comet_ml': mode='get' goes on with an experiment: name it by "
                f"experiment_key or {KEY}, or leave mode out"
            )
        return uuid.uuid4().hex
    return check_key(given)
