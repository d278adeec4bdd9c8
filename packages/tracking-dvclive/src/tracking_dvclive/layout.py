"""Where things lie in a run's directory.

DVCLive's own places are as it has them; what it has no place for lies in two folders beside them.
"""

from __future__ import annotations

import itertools
import os
import shutil

__all__ = [
    "ARTIFACTS", "IMAGES", "INDEX", "MEDIA", "METRICS", "METRICS_FILE", "NOTES", "OURS",
    "PARAMS_FILE", "PLOTS", "SHOWN_NOTES", "claim", "clear", "first_free", "give_back", "holds_a_run",
    "path_in",
]  # fmt: skip

METRICS_FILE = "metrics.json"
PARAMS_FILE = "params.yaml"
METRICS = "plots/metrics"
IMAGES = "plots/images"
PLOTS = "plots/custom"
ARTIFACTS = "artifacts"

MEDIA = "media"
"""Sound, tables and whatever else DVC shows no file of: ``media/<key>/<step>.<ending>``."""
OURS = "tracking"
SHOWN_NOTES = "tracking/run.json"
"""How the run ended, and its tags; DVC shows them among the parameters."""
NOTES = "tracking/notes.json"
"""What else there is to know of it."""
INDEX = "tracking/media.jsonl"
"""A line of JSON for each picture, sound, ...: its key, step and time, and where it lies."""

_MARKS = (METRICS_FILE, PARAMS_FILE, "plots", OURS)


def path_in(directory: str, place: str) -> str:
    """The path of `place`, which is written with slashes."""
    return os.path.join(directory, *place.split("/"))


def holds_a_run(directory: str) -> bool:
    """Whether anything lies there that DVCLive would delete to begin a new run."""
    return any(os.path.exists(os.path.join(directory, mark)) for mark in _MARKS)


def claim(directory: str) -> bool:
    """Take `directory` for a new run; false if another process was faster."""
    try:
        os.makedirs(os.path.join(directory, OURS))
    except FileExistsError:
        return False
    return True


def give_back(directory: str) -> None:
    """Undo `claim`, for a run that did not begin after all."""
    for folder in (os.path.join(directory, OURS), directory):
        try:
            os.rmdir(folder)
        except OSError:  # something lies there
            return


def first_free(directory: str) -> str:
    """The first of ``directory``, ``directory-2``, ... that holds no run; it is claimed."""
    first = directory.rstrip("/" + os.sep) or directory
    names = itertools.chain([directory], (f"{first}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not holds_a_run(name) and claim(name))


def clear(directory: str) -> None:
    """Delete what lies in our own folders, as DVCLive does with its own, to begin a new run."""
    for folder in (OURS, MEDIA):
        shutil.rmtree(os.path.join(directory, folder), ignore_errors=True)
    claim(directory)
