"""The arguments of `CometMLTracker`, looked at when it is constructed: Comet is imported later.

What Comet does not know is refused at once, and so is what would record another process than the
one that trains, or nothing at all.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from tracking_comet_ml.errors import CometSettingError
from tracking_core.arguments import parameters_of, refuse_unfit, refuse_unknown

__all__ = [
    "AUTOMATIC", "HOOKS", "MODES", "OF_THE_PROCESS", "OF_THE_PROGRAM", "check", "check_key", "check_lane",
]  # fmt: skip

START_TAKES = frozenset({
    "api_key", "experiment_config", "experiment_key", "mode", "online", "project", "project_name",
    "source", "workspace",
})  # fmt: skip
MODES = ("get_or_create", "get", "create")

# What Comet records by itself, by what it looks at: the process that it is in, ...
OF_THE_PROCESS = (
    "log_env_details", "log_env_gpu", "log_env_host", "log_env_cpu", "log_env_network", "log_env_disk",
    "auto_output_logging", "auto_log_co2",
)  # fmt: skip
# ... the program and its directory, which the delivery process is told of, ...
OF_THE_PROGRAM = ("log_code", "parse_args", "log_git_metadata", "log_git_patch")
# ... or other libraries of the process, which it has to patch before they are imported.
HOOKS = (
    "log_graph", "auto_param_logging", "auto_metric_logging", "auto_histogram_gradient_logging",
    "auto_histogram_activation_logging", "auto_histogram_tensorboard_logging",
    "auto_histogram_weight_logging",
)  # fmt: skip
AUTOMATIC = (*OF_THE_PROCESS, *OF_THE_PROGRAM, *HOOKS)


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse what no experiment can be begun with.

    Raises:
        TypeError: ``comet_ml.start`` or ``comet_ml.ExperimentConfig`` has no such argument.
        ValueError: Comet does not take the value.
    """
    options = _options()
    for name in arguments.keys() - START_TAKES:
        if options and name in options:
            raise TypeError(
                f"tracker 'comet_ml' has no argument {name!r}: it goes into experiment_config, "
                f"{{{name!r}: ...}}"
            )
    refuse_unknown("comet_ml", arguments, START_TAKES, "comet_ml.start")
    config = arguments.get("experiment_config")
    if isinstance(config, Mapping):
        refuse_unknown("comet_ml", config, options, "comet_ml.ExperimentConfig")
    elif config is not None and not hasattr(config, "log_env_details"):
        raise TypeError(
            "tracker 'comet_ml': experiment_config is a dict or a comet_ml.ExperimentConfig, not a "
            f"{type(config).__name__}"
        )
    refuse_unfit("comet_ml", "mode", arguments.get("mode"), MODES)
    if arguments.get("experiment_key") is not None:
        check_key(arguments["experiment_key"])


def check_key(key: object) -> str:
    """`key`, if it may name an experiment.

    Raises:
        CometSettingError: it is of another shape than Comet's.
    """
    if not (isinstance(key, str) and key.isascii() and key.isalnum() and 32 <= len(key) <= 50):
        raise CometSettingError(
            f"tracker 'comet_ml': experiment_key {key!r} is no key of Comet's: it needs 32 to 50 "
            "letters and digits, as uuid.uuid4().hex has"
        )
    return key


def check_lane(arguments: Mapping[str, Any], lane: str) -> None:
    """Refuse what Comet would record of another process than the one that trains, or not at all.

    Of an ``ExperimentConfig`` nobody can tell what was chosen, and it lives where it was made.

    Raises:
        ValueError: an option can't be right in this lane; it names the remedy.
    """
    config = arguments.get("experiment_config")
    if not isinstance(config, Mapping):
        return
    for option in (*OF_THE_PROCESS, *HOOKS):
        if not config.get(option):
            continue
        named = f"init_kwargs['comet_ml']['experiment_config'][{option!r}]"
        if lane == "process":
            raise ValueError(
                f"{named}: Comet would record it of the delivery process, where it lives, and not of "
                'the training: use Tracking(..., delivery="thread"), or leave it out'
            )
        if option in HOOKS and not _has_hooks():
            raise ValueError(
                f"{named}: Comet has to be imported before the libraries that it patches: begin the "
                "program with `import comet_ml`, or leave it out"
            )


def _has_hooks() -> bool:
    return any(type(finder).__name__ == "CometModuleFinder" for finder in sys.meta_path)


@functools.cache
def _options() -> frozenset[str] | None:
    return parameters_of("comet_ml.comet_start.experiment_config", "ExperimentConfig.__init__")
