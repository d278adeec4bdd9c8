"""Log to Comet, online or into offline archives: `CometMLTracker` writes a run, `read_run` reads it.

Importing this does not import comet_ml; starting a tracker does.
"""

from tracking_comet_ml.__about__ import __version__
from tracking_comet_ml.errors import (
    CometExperimentError,
    CometLoginError,
    CometServerError,
    CometSettingError,
)
from tracking_comet_ml.reader import read_run
from tracking_comet_ml.tracker import CometMLTracker

__all__ = [
    "CometExperimentError", "CometLoginError", "CometMLTracker", "CometServerError", "CometSettingError",
    "__version__", "read_run",
]  # fmt: skip
