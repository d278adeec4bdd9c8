"""Log to ClearML, to a server or to an offline session: `ClearMLTracker`.

Importing this does not import clearml; starting a tracker does.
"""

from tracking_clearml.__about__ import __version__
from tracking_clearml.errors import (
    ClearMLLoginError,
    ClearMLRunGoneError,
    ClearMLServerError,
    ClearMLSettingError,
    ClearMLUnreachableError,
)
from tracking_clearml.reader import read_run
from tracking_clearml.tracker import ClearMLTracker

__all__ = [
    "ClearMLLoginError",
    "ClearMLRunGoneError",
    "ClearMLServerError",
    "ClearMLSettingError",
    "ClearMLTracker",
    "ClearMLUnreachableError",
    "__version__",
    "read_run",
]
