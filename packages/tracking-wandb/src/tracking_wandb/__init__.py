"""Weights & Biases as a tracker: `WandBTracker` writes a run, `read_run` reads it back.

Importing this imports no wandb.
"""

from tracking_wandb.__about__ import __version__
from tracking_wandb.reader import read_run
from tracking_wandb.session import WandBLoginError, WandBServiceError
from tracking_wandb.tracker import WandBTracker

__all__ = ["WandBLoginError", "WandBServiceError", "WandBTracker", "__version__", "read_run"]
