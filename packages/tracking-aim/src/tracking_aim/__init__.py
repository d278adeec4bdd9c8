"""Aim as a tracker: `AimTracker` logs a run, `read_run` reads it back.

Importing this imports no aim.
"""

from tracking_aim.__about__ import __version__
from tracking_aim.reader import read_run
from tracking_aim.tracker import AimTracker

__all__ = ["AimTracker", "__version__", "read_run"]
