"""Trackio's current run, which is a run of the user's own and not ours."""

from __future__ import annotations

import sys
from contextlib import suppress

from tracking_core.rejections import say

__all__ = ["say_if_there_is_one"]


def say_if_there_is_one(project: str) -> None:
    """Warn if the program has begun a run itself: what is logged goes to another one."""
    context = sys.modules.get("trackio.context_vars")
    with suppress(Exception):  # another version of Trackio
        run = None if context is None else context.current_run.get()
        if run is not None:
            say(
                f"tracker 'trackio' logs to a run of its own in the project {project!r}, beside the "
                f"run {run.name!r} of the project {run.project!r} that this program has begun with "
                "trackio.init(). If one is enough, leave that call out, and pass its arguments in "
                'init_kwargs={"trackio": {...}}'
            )
