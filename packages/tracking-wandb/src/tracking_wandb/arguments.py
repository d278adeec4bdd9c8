"""The arguments of `WandBTracker`, looked at when it is constructed: W&B is imported much later.

What W&B does not know is refused at once, and so is what would work on the wrong process or on none:
the tracker lives in the delivery process unless it is told otherwise, and W&B believes that it is in
the one that trains.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from tracking_core.arguments import (
    choices_of,
    fields_of,
    parameters_of,
    refuse_unfit,
    refuse_unknown,
)
from tracking_core.rejections import say

__all__ = ["axes_of", "check", "is_disabled", "is_named", "settings_of"]

TRUE = frozenset({"1", "on", "true", "yes"})

_CONSOLE = (
    "what the training prints can't be captured: the tracker is begun in another process or thread, "
    "while the training goes on"
)
# Settings that would do nothing, and the values that ask for it.
_WITHOUT_EFFECT: Mapping[str, tuple[str, str]] = {
    "console": ("off", _CONSOLE),
    "capture_loggers": ("", _CONSOLE),
}
_PATCHES = "W&B would have to patch another library before the training uses it"
_NOT_TAKEN: Mapping[str, str] = {
    "sync_tensorboard": f'{_PATCHES}: log_with=["tensorboard", "wandb"] logs to both',
    "tensorboard": f'{_PATCHES}: log_with=["tensorboard", "wandb"] logs to both',
    "monitor_gym": f"{_PATCHES}: log the frames with `Video`",
}


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse what no run can be begun with, and say which variables have no effect.

    Raises:
        TypeError: ``wandb.init`` or ``wandb.Settings`` has no such argument, or it would do nothing.
        ValueError: W&B does not know the value.
    """
    axes_of(arguments.get("step_axes"))
    settings = settings_of(arguments.get("settings"))
    if arguments:
        known = _parameters()
        if known is not None:
            known |= {"step_axes"}
        refuse_unknown("wandb", arguments, known, "wandb.init")
        refuse_unknown("wandb", settings, _fields(), "wandb.Settings")
        for name, given in (("mode", arguments), ("mode", settings)):
            refuse_unfit("wandb", name, given.get(name), _modes())
    mode = arguments.get("mode") or settings.get("mode") or os.environ.get("WANDB_MODE")
    if mode == "shared":
        raise TypeError(
            "tracker 'wandb' does not take mode='shared': W&B tells nobody there which step comes "
            "next. Each process that logs may have a run of its own, with the same `group`"
        )
    for name, reason in _NOT_TAKEN.items():
        if arguments.get(name) or settings.get(name):
            raise TypeError(f"tracker 'wandb' does not take {name!r}: {reason}")
    for name, (off, reason) in _WITHOUT_EFFECT.items():
        if settings.get(name, off) not in (off, None, "", {}):
            raise TypeError(f"tracker 'wandb' does not take settings[{name!r}]: {reason}")
        variable = f"WANDB_{name.upper()}"
        if os.environ.get(variable, off) not in (off, ""):
            say(f"tracker 'wandb': {variable} has no effect: {reason}")


def is_disabled(arguments: Mapping[str, Any]) -> bool:
    """Whether the user has turned W&B off.

    ``WANDB_DISABLED`` is Transformers' word for it, and wins as it does there; of ``mode`` the
    argument comes first, then the settings and ``WANDB_MODE``, as with W&B.
    """
    if os.environ.get("WANDB_DISABLED", "").strip().lower() in TRUE:
        return True
    settings = settings_of(arguments.get("settings"))
    given = arguments.get("mode") or settings.get("mode") or os.environ.get("WANDB_MODE")
    return given == "disabled"


def is_named(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments of ``wandb.init`` or W&B's variables say which run it is."""
    named = {*arguments, *settings_of(arguments.get("settings")), *os.environ}
    return not named.isdisjoint(
        {"id", "run_id", "resume", "resume_from", "fork_from", "WANDB_RUN_ID", "WANDB_RESUME"}
    )


def settings_of(given: Any) -> dict[str, Any]:
    """What the argument `settings` says, a dict or a ``wandb.Settings``."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "model_dump"):
        return dict(given.model_dump(include=given.model_fields_set))
    raise TypeError(
        f"tracker 'wandb': settings is a dict or a wandb.Settings, not a {type(given).__name__}"
    )


def axes_of(given: object) -> Mapping[str, str]:
    """What the argument `step_axes` says.

    Raises:
        TypeError: it is of another shape.
    """
    axes = {} if given is None else given
    if not isinstance(axes, Mapping) or not all(
        isinstance(text, str) and text for pair in axes.items() for text in pair
    ):
        raise TypeError(
            "tracker 'wandb': step_axes is a dict of keys and the names of their axes, such as "
            f'{{"val/*": "epoch"}}, not {given!r}'
        )
    return axes


@functools.cache
def _parameters() -> frozenset[str] | None:
    return parameters_of("wandb.sdk.wandb_init", "init")


@functools.cache
def _fields() -> frozenset[str] | None:
    return fields_of("wandb.sdk.wandb_settings", "Settings")


@functools.cache
def _modes() -> frozenset[str] | None:
    return choices_of("wandb.sdk.wandb_settings", "Settings", "mode")
