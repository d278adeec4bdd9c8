"""Comet's own experiment object on a run that this tracker writes."""

from __future__ import annotations

from typing import Any

from tracking_comet_ml.settings import Settings, imported

__all__ = ["closed", "opened"]


def opened(settings: Settings) -> Any:
    """A ``comet_ml.CometExperiment`` that adds to the same experiment.

    An experiment that the program has started by itself stays Comet's current one and goes on.
    """
    comet_ml = imported()
    current = comet_ml.config.config_api
    theirs = comet_ml.get_running_experiment()
    # Making one ends the current one, unless there is none to be seen.
    current.set_global_experiment(None)
    made = None
    try:
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
    return made


def closed(experiment: Any) -> None:
    """End it, and leave nothing of it behind."""
    current = imported().config.config_api
    experiment.end()
    if current.get_global_experiment() is experiment:
        current.set_global_experiment(None)
