"""DVCLive as a tracker: `DVCLiveTracker` writes a run, `read_run` reads it back.

Importing this imports no dvclive and no dvc.
"""

from tracking_dvclive.__about__ import __version__
from tracking_dvclive.reader import read_run
from tracking_dvclive.tracker import DVCLiveTracker

__all__ = ["DVCLiveTracker", "__version__", "read_run"]
