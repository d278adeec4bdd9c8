"""Log to Trackio, on this machine or to a Trackio server: `TrackioTracker`.

Importing this does not import trackio; starting a tracker does.
"""

from tracking_trackio.__about__ import __version__
from tracking_trackio.reader import read_run
from tracking_trackio.settings import TrackioLoginError, TrackioSettingError
from tracking_trackio.store import TrackioServerError
from tracking_trackio.tracker import TrackioTracker

__all__ = [
    "TrackioLoginError", "TrackioServerError", "TrackioSettingError", "TrackioTracker",
    "__version__", "read_run",
]  # fmt: skip
