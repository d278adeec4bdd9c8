"""TensorBoard as a tracker: `TensorBoardTracker` writes a run, `read_run` reads it back.

Importing this imports no tensorboard and no torch.
"""

from tracking_tensorboard.__about__ import __version__
from tracking_tensorboard.errors import TensorBoardDirectoryError
from tracking_tensorboard.reader import read_run
from tracking_tensorboard.tracker import TensorBoardTracker

__all__ = ["TensorBoardDirectoryError", "TensorBoardTracker", "__version__", "read_run"]
