"""SwanLab as a tracker: `SwanLabTracker` writes a run, `read_run` reads it back.

Importing this does not import swanlab; starting a tracker does.
"""

from tracking_swanlab.__about__ import __version__
from tracking_swanlab.errors import SwanLabLoginError, SwanLabServerError, SwanLabSettingError
from tracking_swanlab.reader import read_run
from tracking_swanlab.tracker import SwanLabTracker

__all__ = [
    "SwanLabLoginError", "SwanLabServerError", "SwanLabSettingError", "SwanLabTracker",
    "__version__", "read_run",
]  # fmt: skip
