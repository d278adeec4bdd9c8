"""My Tool as a tracker: `MyToolTracker` writes a run, `read_run` reads it back.

Importing this imports nothing of My Tool.
"""

from tracking_my_tool.__about__ import __version__
from tracking_my_tool.reader import read_run
from tracking_my_tool.tracker import MyToolTracker

__all__ = ["MyToolTracker", "__version__", "read_run"]
