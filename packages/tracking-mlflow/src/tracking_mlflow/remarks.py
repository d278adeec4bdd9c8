"""What a user should know of the process that logs, where MLflow says nothing: `remarks`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from tracking_core.records import Plain
from tracking_mlflow import library

__all__ = ["remarks"]

SYSTEM_METRICS = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


def remarks(identity: Mapping[str, Plain], parent: Plain, before: Collection[str]) -> Iterator[str]:
    """What of MLflow's own goes elsewhere than its user may think.

    Args:
        identity: of the run; empty before it is begun.
        parent: the run that it hangs below, if there is one.
        before: runs that had ended when it began.
    """
    ours = identity.get("run_id")
    if os.environ.get(SYSTEM_METRICS, "").lower() in ("true", "1"):
        yield (
            f"tracker 'mlflow': {SYSTEM_METRICS} does nothing here: MLflow measures in "
            "mlflow.start_run() only. For its system metrics in this run see the README of "
            "tracking-mlflow"
        )
    if ours is None:
        return  # whether another run is meant can't be told yet
    found = dict.fromkeys(library.ended_fluent_runs().difference(before), "")
    for run_id, name in (found | library.open_fluent_runs()).items():
        if run_id not in (ours, parent):
            yield (
                f"tracker 'mlflow': what this program logs with mlflow.* itself goes to another run, "
                f"{name or run_id!r} ({run_id}), not to this one. To have it here, call "
                f"mlflow.start_run(run_id={ours!r}) before: get_tracker('mlflow').identity() has it"
            )
