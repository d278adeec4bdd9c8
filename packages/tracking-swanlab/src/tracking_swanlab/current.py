"""SwanLab's current run, which is a run of the user's own and not ours."""

from __future__ import annotations

import sys
from contextlib import suppress

from tracking_core.rejections import say

__all__ = ["say_if_config_is_lost", "say_if_there_is_one"]


def say_if_there_is_one(project: str) -> None:
    """Warn if the program has begun a run itself: what is logged goes to another one."""
    swanlab = sys.modules.get("swanlab")
    with suppress(Exception):  # another version of the library
        if swanlab is None or not swanlab.has_run():
            return
        run = swanlab.get_run()
        say(
            f"tracker 'swanlab' logs to a run of its own in the project {project!r}, beside the run "
            f"{run.id!r} that this program has begun with swanlab.init(). If one is enough, leave "
            'that call out, and pass its arguments in init_kwargs={"swanlab": {...}}'
        )


def say_if_config_is_lost() -> None:
    """Warn if ``swanlab.config`` holds what no run gets: it belongs to SwanLab's current run."""
    swanlab = sys.modules.get("swanlab")
    with suppress(Exception):  # another version of the library
        if swanlab is None or swanlab.has_run():
            return
        names = list(swanlab.config)
        if names:
            say(
                f"tracker 'swanlab': swanlab.config holds {', '.join(map(repr, names[:5]))}, which "
                "no run gets: pass it as init_trackers(..., config=...), or to "
                "store_init_configuration"
            )
