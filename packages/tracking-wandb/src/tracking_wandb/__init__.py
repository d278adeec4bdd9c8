"""Weights & Biases as a tracker: `WandBTracker` writes a run, `read_run` reads it back.

Importing this imports no wandb.
"""

from tracking_wandb.__about__ import __version__
from tracking_wandb.errors import (
    WandBLoginError,
    WandBRunError,
    WandBServiceError,
    WandBSettingError,
)
from tracking_wandb.reader import read_run
from tracking_wandb.tracker import WandBTracker

__all__ = [
    "WandBLoginError", "WandBRunError", "WandBServiceError", "WandBSettingError", "WandBTracker",
    "__version__", "read_run",
]  # fmt: skip
