"""The arguments of `SwanLabTracker`, looked at when it is constructed: SwanLab is imported later."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from tracking_core.arguments import fields_of, refuse_unfit, refuse_unknown
from tracking_core.rejections import say

__all__ = ["PLACES", "check", "is_disabled"]

# What `swanlab.init` takes, and where the library keeps it.
PLACES: Mapping[str, str] = {
    "log_dir": "log_dir",
    "logdir": "log_dir",
    "mode": "mode",
    "workspace": "project.workspace",
    "public": "project.public",
    "name": "experiment.name",
    "experiment_name": "experiment.name",
    "color": "experiment.color",
    "description": "experiment.description",
    "notes": "experiment.description",
    "job_type": "experiment.job_type",
    "group": "experiment.group",
    "tags": "experiment.tags",
    "id": "run.id",
    "resume": "run.resume",
    "parallel": "run.parallel",
}
_ELSEWHERE = {
    "config",  # delivered as the run's first configuration
    "reinit",  # there is no current run that would have to end
    "settings",
}
CONFIG_DIR = "/etc/swanlab"
MODES = ("disabled", "online", "local", "offline", "cloud")

_NOT_TAKEN: Mapping[str, str] = {
    "project": "its run_name is the project",
    "callbacks": "nobody would call them; log what they log",
}
_SECTIONS: Mapping[str, tuple[str, str]] = {
    "project": ("experiment", "ProjectSettings"),
    "experiment": ("experiment", "ExperimentSettings"),
    "run": ("experiment", "RunSettings"),
    "terminal": ("terminal", "TerminalSettings"),
    "integration": ("integration", "IntegrationSettings"),
    "core": ("core", "CoreSettings"),
    "probe": ("probe", "ProbeSettings"),
}
# What SwanLab records of the process that it is in, and what the program prints.
_RECORDED = (
    "probe.hardware", "probe.runtime", "probe.requirements", "probe.conda", "probe.git",
    "probe.swanlab", "probe.monitor", "terminal.proxy_type",
)  # fmt: skip
_NOT_RECORDED = "hardware, packages, git and what the training prints are not recorded"
_OFF = (False, None, "none", "false", "0", "")


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse by name what ``swanlab.init`` does not take, or what would do nothing.

    Raises:
        TypeError: an argument or a setting is unknown, or would do nothing.
        ValueError: there is no such mode.
    """
    for name, reason in _NOT_TAKEN.items():
        if name in arguments:
            raise TypeError(f"tracker 'swanlab' has no argument {name!r}: {reason}")
    refuse_unknown("swanlab", arguments, {*PLACES, *_ELSEWHERE}, "swanlab.init")
    refuse_unfit("swanlab", "mode", arguments.get("mode"), MODES)
    settings = _settings_of(arguments.get("settings"))
    refuse_unknown("swanlab", (path for path, _ in settings if "." not in path), _fields(), _CALL)
    refuse_unfit("swanlab", "mode", dict(settings).get("mode"), MODES)
    for path, value in settings:
        section, _, name = path.partition(".")
        if name:
            refuse_unknown("swanlab", [name], _section(section), f"{_CALL}.{section.title()}")
        if path in _RECORDED and value not in _OFF:
            raise TypeError(
                f"tracker 'swanlab' does not take the setting {path}={value!r}: {_NOT_RECORDED}"
            )
    for path in _RECORDED:
        variable = f"SWANLAB_{path.replace('.', '_').upper()}"
        if os.environ.get(variable, "").lower() not in _OFF:
            say(f"tracker 'swanlab': {variable} has no effect: {_NOT_RECORDED}")


def is_disabled(arguments: Mapping[str, Any]) -> bool:
    """Whether it is plain that the user has turned SwanLab off; its files may say so, too."""
    given = arguments.get("mode") or dict(_settings_of(arguments.get("settings"))).get("mode")
    if given is not None:
        return bool(given == "disabled")
    # The library asks these before it looks at the variable.
    files = (
        "swanlab.yaml",
        "swanlab.yml",
        ".env",
        os.environ.get("SWANLAB_CONFIG_DIR", CONFIG_DIR),
    )
    return os.environ.get("SWANLAB_MODE") == "disabled" and not any(map(os.path.exists, files))


_CALL = "swanlab.Settings"


def _settings_of(given: Any) -> list[tuple[str, Any]]:
    """What a dict of settings or a ``swanlab.Settings`` says, each by its path."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        top: Mapping[str, Any] = given
    elif hasattr(given, "model_dump"):
        top = given.model_dump(include=given.model_fields_set, exclude_unset=True)
    else:
        kind = type(given).__name__
        raise TypeError(
            f"tracker 'swanlab': settings is a dict or a swanlab.Settings, not a {kind}"
        )
    found: list[tuple[str, Any]] = []
    for name, value in top.items():
        found.append((name, value))
        if name in _SECTIONS:
            if hasattr(value, "model_dump"):
                value = value.model_dump(include=value.model_fields_set)
            if isinstance(value, Mapping):
                found += [(f"{name}.{inner}", one) for inner, one in value.items()]
    return found


@functools.cache
def _fields() -> frozenset[str] | None:
    return fields_of("swanlab.sdk.internal.settings", "Settings")


@functools.cache
def _section(name: str) -> frozenset[str] | None:
    module, kind = _SECTIONS[name]
    return fields_of(f"swanlab.sdk.internal.settings.{module}", kind)
