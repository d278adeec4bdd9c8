"""Log to MLflow, to a server or to a local database: `MLflowTracker`.

Importing this does not import mlflow; starting a tracker does.
"""

from tracking_mlflow.__about__ import __version__
from tracking_mlflow.reader import read_run
from tracking_mlflow.settings import MLflowLoginError, MLflowSettingError
from tracking_mlflow.tracker import MLflowTracker

__all__ = ["MLflowLoginError", "MLflowSettingError", "MLflowTracker", "__version__", "read_run"]
