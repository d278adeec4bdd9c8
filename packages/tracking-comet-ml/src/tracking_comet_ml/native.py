"""Comet's own experiment object on a run that this tracker writes, and those that it knows nothing of."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tracking_comet_ml.errors import CometServerError
from tracking_comet_ml.settings import Settings, imported

__all__ = ["closed", "of_the_program", "opened"]

_ours: set[str] = set()  # the keys of what was opened here
_lock = threading.Lock()


def opened(settings: Settings) -> Any:
    """A ``comet_ml.CometExperiment`` that adds to the same experiment.

    An experiment that the program has started by itself stays Comet's current one and goes on.

    Raises:
        CometServerError: it could not be begun on the server.
    """
    comet_ml = imported()
    current = comet_ml.config.config_api
    theirs = comet_ml.get_running_experiment()
    if theirs is not None and theirs.ended:
        theirs = None
    with _lock:
        _ours.add(settings.key)
    # Making one ends the current one, unless there is none to be seen.
    current.set_global_experiment(None)
    made = None
    try:
        with _program_for_caller(comet_ml):
            made = comet_ml.start(
                api_key=settings.api_key if settings.online else None,
                workspace=settings.workspace,
                project_name=settings.project,
                experiment_key=settings.key,
                mode="get" if settings.online else "get_or_create",
                online=settings.online,
                experiment_config=settings.config,
            )
    finally:
        current.set_global_experiment(theirs or made)
    if settings.online and not made.alive:
        # It would take everything and send nothing.
        closed(made)
        raise CometServerError(
            "tracker 'comet_ml': Comet's own experiment could not be begun on the server"
        )
    return made


def closed(experiment: Any) -> None:
    """End it, and leave nothing of it behind."""
    current = imported().config.config_api
    experiment.end()
    if current.get_global_experiment() is experiment:
        current.set_global_experiment(None)


def of_the_program() -> str | None:
    """The key of the experiment that the program has started itself, if one is running.

    Nothing is imported for that.
    """
    comet_ml = sys.modules.get("comet_ml")
    with contextlib.suppress(Exception):  # another version of the library, or half imported
        experiment = comet_ml.get_running_experiment()  # type: ignore[union-attr]  # suppressed
        if experiment is not None and not experiment.ended and experiment.alive:
            key = experiment.get_key()
            return None if key in _ours else str(key)
    return None


@contextlib.contextmanager
def _program_for_caller(comet_ml: Any) -> Iterator[None]:
    """Let Comet keep the source of the program, and not of this module, which calls it."""
    module = getattr(comet_ml, "experiment", None)
    asked = getattr(module, "get_caller_file_path", None)
    if asked is None:  # another version of the library
        yield
        return
    program = sys.argv[0] if sys.argv else ""
    found = ("__main__", os.path.abspath(program)) if os.path.isfile(program) else None
    module.get_caller_file_path = lambda: found  # type: ignore[union-attr]  # it is there
    try:
        yield
    finally:
        module.get_caller_file_path = asked  # type: ignore[union-attr]  # as above
