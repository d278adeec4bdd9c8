"""All nine trackers, offline below one directory: how each is set up, and how its run is read.

Where not all of the packages are installed, the tests are about those that are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tracking_core.records import Record
from tracking_core.testing import Seen

NINE = [
    "aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb",
]  # fmt: skip
HERE = [name for name in NINE if find_spec(f"tracking_{name}")]


def needs(module: str) -> Any:
    """`module`, or a skip that says it is missing; where it must be there, a failure."""
    if os.environ.get("TRACKING_REQUIRE") == "1":
        return import_module(module)
    return pytest.importorskip(module, reason=f"{module} is not installed here")


class Place(NamedTuple):
    """Where the one run of a test lies.

    Attributes:
        root: everything is below it but what Trackio stores, which takes its directory from the
            environment when it is imported, for the whole process.
        project: differs from test to test, because of Trackio.
    """

    root: Path
    project: str

    def variables(self) -> dict[str, str]:
        """The environment in which no library writes, asks or looks anywhere else."""
        home = self.root / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            "HOME": str(home),
            "CLEARML_OFFLINE_MODE": "1",
            "CLEARML_CONFIG_FILE": str(self.root / "no.conf"),
            "CLEARML_CACHE_DIR": str(self.root / "clearml"),
            "COMET_CONFIG": str(self.root / "no.config"),
            "COMET_START_ONLINE": "0",
            "COMET_OFFLINE_DIRECTORY": str(self.root / "comet"),
            "HF_HUB_OFFLINE": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.root / 'mlflow.db'}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "SWANLAB_MODE": "offline",
            "SWANLAB_LOG_DIR": str(self.root / "swanlab"),
            "SWANLAB_SAVE_DIR": str(home),
            "WANDB_MODE": "offline",
        }

    @property
    def logging_dir(self) -> str:
        return str(self.root / "logs")

    @property
    def init_kwargs(self) -> dict[str, dict[str, Any]]:
        return {
            "dvclive": {"dir": str(self.root / "dvclive"), "save_dvc_exp": False},
            # W&B takes WANDB_DIR from the environment once in a process.
            "wandb": {"dir": str(self.root)},
        }

    def read(self, name: str) -> Seen:
        """The only run of one tracker below this place, through that tracker's own reader."""
        return Seen(READERS[name](self))


def _aim(place: Place) -> Iterable[Record]:
    from aim import Repo

    from tracking_aim import read_run

    (run_hash,) = Repo(place.logging_dir).list_all_runs()
    return read_run(run_hash, place.logging_dir, download_to=place.root / "copies")


def _clearml(place: Place) -> Iterable[Record]:
    from tracking_clearml import read_run

    (session,) = (place.root / "clearml" / "offline").glob("*/")
    return read_run(session, download_to=place.root / "copies")


def _comet(place: Place) -> Iterable[Record]:
    from tracking_comet_ml import read_run

    return read_run(None, place.root / "comet", download_to=place.root / "copies")


def _dvclive(place: Place) -> Iterable[Record]:
    from tracking_dvclive import read_run

    return read_run(place.root / "dvclive")


def _mlflow(place: Place) -> Iterable[Record]:
    from mlflow import MlflowClient

    from tracking_mlflow import read_run

    store = f"sqlite:///{place.root / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    return read_run(run.info.run_id, store, download_to=place.root / "copies")


def read_experiment(store: str, experiment: str, folder: Path) -> Seen:
    """The only run of an experiment in an MLflow store."""
    from mlflow import MlflowClient

    from tracking_mlflow import read_run

    client = MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(experiment)
    assert found is not None, experiment
    (run,) = client.search_runs([found.experiment_id])
    return Seen(read_run(run.info.run_id, store, download_to=folder / experiment))


def _swanlab(place: Place) -> Iterable[Record]:
    from tracking_swanlab import read_run

    (run_dir,) = (place.root / "swanlab").glob("run-*")
    return read_run(run_dir)


def _tensorboard(place: Place) -> Iterable[Record]:
    from tracking_tensorboard import read_run

    return read_run(Path(place.logging_dir, place.project))


def _trackio(place: Place) -> Iterable[Record]:
    from tracking_trackio import read_run

    return read_run(place.project, download_to=place.root / "copies")


def _wandb(place: Place) -> Iterable[Record]:
    from tracking_wandb import read_run

    (run_dir,) = (place.root / "wandb").glob("offline-run-*")
    return read_run(run_dir)


READERS = {
    "aim": _aim,
    "clearml": _clearml,
    "comet_ml": _comet,
    "dvclive": _dvclive,
    "mlflow": _mlflow,
    "swanlab": _swanlab,
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
