"""``run.watch`` for a run that is not W&B's current one.

W&B's hooks in a model log to ``wandb.run``, whichever run was asked to watch, and raise in the
training's forward or backward pass if there is none. Here they log to the run that was asked, and
whatever goes wrong is said and leaves the training alone.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tracking_core.rejections import say
from tracking_wandb.session import imported

__all__ = ["Current", "make_watchable"]

HOOKS = "wandb.integration.torch.wandb_torch"


class Current(NamedTuple):
    """The run that goes on now, which is another one after W&B's service died.

    Attributes:
        next_step: the step of the row that it gets next: another one, once it got a row.
    """

    run: Any
    next_step: int


def make_watchable(run: Any, current: Callable[[], Current]) -> None:
    """Have ``run.watch(model)`` log to the run that `current` gives."""
    watch = run.watch

    def watch_for_this_run(*args: Any, **kwargs: Any) -> Any:
        if run._torch_history is None:
            run._torch_history = _history(current)
        return watch(*args, **kwargs)

    run.watch = watch_for_this_run


def _history(current: Callable[[], Current]) -> Any:
    """W&B's hooks, of a copy of their module for which `current` is the current run."""
    spec = importlib.util.find_spec(HOOKS)
    assert spec is not None and spec.loader is not None, "wandb has just called it"
    hooks: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    hooks.wandb = _WandB(current)
    history = hooks.TorchHistory()
    hooks.wandb.run._torch = history
    return history


class _WandB:
    """The module ``wandb``, with another current run."""

    def __init__(self, current: Callable[[], Current]) -> None:
        self.run = _Run(current)

    def __getattr__(self, name: str) -> Any:
        return getattr(imported(), name)


class _Run:
    """As much of a run as the hooks use; nothing of it raises."""

    _torch: Any

    def __init__(self, current: Callable[[], Current]) -> None:
        self._current = current
        self._said = False
        self._open: set[str] = set()
        self._open_at = -1
        self._lock = threading.Lock()
        self.summary = self

    def _log(self, values: dict[str, Any], **options: Any) -> None:
        try:
            with self._lock:
                run, next_step = self._current()
                if next_step != self._open_at:
                    self._open.clear()
                # They join the row that comes next, and the same ones again would take their place.
                if not self._open.isdisjoint(values):
                    run._log({}, commit=True)
                    self._open.clear()
                self._open.update(values)
                self._open_at = next_step
                run._log(values, **options)
        except Exception as error:  # the training goes on
            self._complain(error)

    def __setitem__(self, key: str, value: Any) -> None:
        """Of the summary."""
        try:
            self._current().run.summary[key] = value
        except Exception as error:  # as above
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            say(
                "tracker 'wandb': a model that run.watch was given is trained on, and what W&B "
                f"watches can't be logged any more ({type(error).__name__}: {error})"
            )
