"""W&B's current run, ``wandb.run``: a run of the user's own, which ours is not."""

from __future__ import annotations

import sys
from contextlib import suppress

from tracking_core.rejections import say

__all__ = ["say_if_there_is_one"]


def say_if_there_is_one(project: str) -> None:
    """Warn if the program has begun a run itself: what is logged goes to another one."""
    wandb = sys.modules.get("wandb")
    with suppress(Exception):  # another version of wandb
        run = getattr(wandb, "run", None)
        if run is None or run.disabled:
            return
        say(
            f"tracker 'wandb' logs to a run of its own in the project {project!r}, beside the run "
            f"{run.id!r} of the project {run.project!r} that this program has begun with "
            "wandb.init(). If one is enough, leave that call out, and pass its arguments in "
            'init_kwargs={"wandb": {...}}'
        )
