"""What a run was asked to be: from arguments, else Comet's variables, else its configuration files."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tracking_core.errors import TrackingError
from tracking_core.records import Plain

__all__ = ["CometSettingError", "Settings", "imported", "is_named"]

START_TAKES = {
    "api_key", "experiment_config", "experiment_key", "mode", "online", "project", "project_name",
    "source", "workspace",
}  # fmt: skip
MODES = ("get_or_create", "get", "create")

# What Comet records by itself, unless it is told not to: code, environment, command line, ...
# In an `ExperimentConfig`, these are None where nobody chose.
AUTOMATIC = (
    "log_code", "log_graph", "parse_args", "log_git_metadata", "log_git_patch", "log_env_details",
    "log_env_gpu", "log_env_host", "log_env_cpu", "log_env_network", "log_env_disk",
)  # fmt: skip

# These are on where nobody chose, and an `ExperimentConfig` does not show whether somebody did.
OFF: Mapping[str, Any] = {
    "auto_output_logging": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "auto_log_co2": False,
    "display_summary_level": 0,
}

# Set only while comet_ml is imported: importing it patches the interpreter and reports errors.
QUIET = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_LOGGING_CONSOLE": "ERROR",
}

_importing = threading.Lock()


class CometSettingError(TrackingError, ValueError):
    """An argument or a setting that no experiment can be logged with (`CometMLTracker.start`).

    The message names it and says what to do instead.
    """


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

    @classmethod
    def of(
        cls, run_name: str | None, arguments: Mapping[str, Any], identity: Mapping[str, Plain]
    ) -> Settings:
        """What the constructor's arguments and a run to go on with amount to.

        Raises:
            TypeError: an argument that ``comet_ml.start`` does not have.
            CometSettingError: an argument or a setting is of no use.
        """
        _check_names(arguments)
        comet_ml = imported()
        config = _config(comet_ml, arguments.get("experiment_config"))
        project = arguments.get("project_name", arguments.get("project"))
        named = {"project_name": run_name if project is None else project}
        for name in ("api_key", "workspace", "experiment_key", "mode", "online", "source"):
            named[name] = arguments.get(name)
        asked = comet_ml.InitParameters(**named)
        online = bool(identity.get("online", asked.online))
        key = _key(identity.get("experiment_key", asked.experiment_key), asked.mode)
        if online and not asked.api_key:
            raise CometSettingError(
                "tracker 'comet_ml' has no API key: set COMET_API_KEY (or call comet_ml.login() "
                "once), or log offline with online=False or COMET_START_ONLINE=0"
            )
        chosen = {name: getattr(config, name, None) for name in AUTOMATIC}
        for name, choice in chosen.items():
            setattr(config, name, bool(choice))
        directory = identity.get("offline_directory") or config.offline_directory
        # Comet's own experiment saves what it can't send there too.
        config.offline_directory = os.path.abspath(str(directory or ".cometml-runs"))
        return cls(
            online=online,
            key=key,
            mode="get_or_create" if identity else asked.mode,
            project=asked.project,
            workspace=asked.workspace,
            api_key=asked.api_key,
            offline_directory=config.offline_directory,
            # A project of its own leaves the run's name for the experiment.
            name=config.name or (run_name if project is not None else None),
            tags=list(config.tags or ()),
            source=asked.source,
            config=config,
            automatic=any(chosen.values()),
        )


def is_named(arguments: Mapping[str, Any]) -> bool:
    """Whether the constructor's arguments or Comet's settings say which experiment it is."""
    named = {name: arguments.get(name) for name in ("experiment_key", "mode")}
    asked = imported().InitParameters(**named)
    return asked.experiment_key is not None or asked.mode == "get"


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


def _check_names(arguments: Mapping[str, Any]) -> None:
    unknown = sorted(arguments.keys() - START_TAKES)
    if unknown:
        raise TypeError(
            f"tracker 'comet_ml' has no argument {', '.join(map(repr, unknown))}: beside run_name "
            f"it takes those of comet_ml.start, {', '.join(sorted(START_TAKES))}; all others, such "
            "as offline_directory and tags, go into experiment_config"
        )


def _config(comet_ml: Any, given: Any) -> Any:
    if given is None or isinstance(given, Mapping):
        # A mapping travels to another process, an object of Comet's does not.
        try:
            config = comet_ml.ExperimentConfig(**{**OFF, **(given or {})})
        except TypeError as error:
            raise CometSettingError(
                f"tracker 'comet_ml': experiment_config does not fit comet_ml.ExperimentConfig: {error}"
            ) from error
    else:
        config = comet_ml.ExperimentConfig()
        config.__dict__.update(given.__dict__)
        if config.auto_output_logging == comet_ml.config.AUTO_OUTPUT_LOGGING_DEFAULT_VALUE:
            config.auto_output_logging = False
    if config.disabled:
        raise CometSettingError(
            "tracker 'comet_ml': Comet is switched off (disabled=True or COMET_AUTO_LOG_DISABLE): "
            "leave 'comet_ml' out of log_with, or switch it on"
        )
    return config


def _key(given: object, mode: str) -> str:
    if mode not in MODES:
        raise CometSettingError(
            f"tracker 'comet_ml': mode is one of {', '.join(map(repr, MODES))}, not {mode!r}"
        )
    if given is None:
        if mode == "get":
            raise CometSettingError(
                "tracker 'comet_ml': mode='get' goes on with an experiment: name it by "
                "experiment_key or COMET_EXPERIMENT_KEY, or leave mode out"
            )
        return uuid.uuid4().hex
    if not (isinstance(given, str) and given.isalnum() and 32 <= len(given) <= 50):
        raise CometSettingError(
            f"tracker 'comet_ml': experiment_key {given!r} is no key of Comet's: it needs 32 to 50 "
            "letters and digits, as uuid.uuid4().hex has"
        )
    return given
