"""Trackio's own object for a run that we log: for alerts, traces, 3D objects, hardware monitors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracking_trackio.store import RunId, quiet

__all__ = ["finish", "native_run"]


def native_run(
    run: RunId,
    *,
    last_step: int,
    config: Mapping[str, Any],
    where: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """A ``trackio.Run`` that goes on with `run`. It is nobody's current run.

    Args:
        last_step: rows that it logs without a step follow this one.
        config: shown as its ``config``; it never stores it, which would replace ours.
        where: its arguments ``space_id`` or ``server_base_url`` and ``write_token``.
        options: its other arguments.
    """
    from trackio.run import Run

    # Finding out the user's name is a request to Hugging Face, also where all stays here.
    nameless: Any = type("Run", (Run,), {"_get_username": lambda self: None})
    made = nameless(
        url=where.get("space_id") or where.get("server_base_url"),
        project=run.project,
        client=None,
        name=run.name,
        run_id=run.id,
        existing_runs=[],
        initial_last_step=last_step,
        **where,
        **options,
    )
    made._config_logged = True
    made.config = dict(config)
    return made


def finish(native: Any) -> None:
    """Have it send what it holds, and end its threads; Trackio waits half a minute at most."""
    from trackio import run

    with quiet(run):
        native.finish()
