"""Which directory a run gets, and the ``Live`` on it.

Imports dvclive, so only `tracking_dvclive.run` imports this.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from tracking_core.files import files_below
from tracking_dvclive import layout, native
from tracking_dvclive.batch import json_bytes, replace_file
from tracking_dvclive.errors import DVCLiveDirectoryError
from tracking_dvclive.history import read_history
from tracking_dvclive.layout import path_in
from tracking_dvclive.library import Live, load_yaml
from tracking_dvclive.notes import Notes, read_notes
from tracking_dvclive.repository import live_in_it
from tracking_dvclive.saved import is_committed, is_experiment

__all__ = ["Opened", "opened"]

_ours: weakref.WeakSet[Any] = weakref.WeakSet()  # every Live that has been logged to


class Opened(NamedTuple):
    """A run ready to be written.

    Attributes:
        live: the ``dvclive.Live``.
        notes: what was noted so far.
        indexed: the files that the index of media names.
        metrics: the names of the metrics that have a file.
        next_position: the step after its last one.
        unsaved: why DVC is going to save nothing of it, with a place for the run's directory.
    """

    live: Any
    notes: Notes
    indexed: set[str]
    metrics: list[str]
    next_position: int
    unsaved: str = ""


def opened(given: Any, kwargs: Mapping[str, Any], resumed: str | None) -> Opened:
    """The run on the ``Live`` that was `given`, else on one that is made with `kwargs`.

    Raises:
        TypeError: `given` is no ``Live``.
        ValueError: the directory is a URL.
        DVCLiveDirectoryError: it can't be made.
        OSError: the disk is full or broken.
    """
    if given is not None:
        if not isinstance(given, Live):
            raise TypeError(
                f"tracker 'dvclive': live must be a dvclive.Live, not a {type(given).__name__}"
            )
        return _entered(given, goes_on=bool(resumed or given._resume or given in _ours))
    _check(kwargs)
    try:
        return _made(kwargs, resumed)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise DVCLiveDirectoryError(
            f"tracker 'dvclive' can't write to its directory: {error}. Give another one "
            "(init_kwargs={'dvclive': {'dir': ...}})"
        ) from error


def _made(kwargs: Mapping[str, Any], resumed: str | None) -> Opened:
    wanted = os.fspath(kwargs.get("dir") or "dvclive")
    goes_on = resumed is not None or native.resumes(kwargs)
    directory, ours_alone = wanted, False
    if resumed is not None and os.path.abspath(wanted) != resumed:
        directory = resumed
    if goes_on:
        _mend(directory)
    elif not _is_dvcs_to_manage(wanted):
        directory, ours_alone = layout.first_free(wanted), True
    try:
        live, unsaved = live_in_it({**kwargs, "dir": directory, "resume": goes_on})
    except BaseException:
        if ours_alone:
            layout.give_back(directory)
        raise
    asked = kwargs.get("save_dvc_exp", True)
    entered = _entered(live, goes_on=goes_on or ours_alone)
    return entered._replace(unsaved=unsaved if asked else "")


def _check(kwargs: Mapping[str, Any]) -> None:
    if "://" in str(kwargs.get("dir")):
        raise ValueError(
            f"tracker 'dvclive' writes to a local directory, not to {str(kwargs['dir'])!r}: give a "
            "local dir, and `dvc push` it"
        )


def _is_dvcs_to_manage(directory: str) -> bool:
    """Whether what lies in `directory` may be replaced: git has it, or DVC cleans up itself."""
    if os.environ.get("DVC_ROOT") or os.environ.get("DVCLIVE_TEST"):
        return True
    notes = read_notes(directory)
    if notes is not None and notes.status != "running" and is_experiment(notes.experiment):
        return True
    return is_committed(directory)


def _entered(live: Any, *, goes_on: bool) -> Opened:
    directory = os.path.abspath(live.dir)
    if not goes_on:
        layout.clear(directory)
    _ours.add(live)
    notes = read_notes(directory) or Notes()
    notes.status, notes.ended_at = "running", None
    notes.experiment = live._exp_name if live._save_dvc_exp else None
    native.register_existing(live)
    step = live.summary.get("step")
    position = step + 1 if type(step) is int and goes_on else 0
    return Opened(live, notes, _index(directory), _metric_names(directory), position)


def _index(directory: str) -> set[str]:
    """The files that the index names; of a line that was cut off nothing stays."""
    path = path_in(directory, layout.INDEX)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return set()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    entries = (json.loads(line) for line in data[:whole].splitlines())
    return {entry["file"] for entry in entries if "file" in entry}


def _metric_names(directory: str) -> list[str]:
    top = path_in(directory, layout.METRICS)
    paths = (os.path.relpath(path, top) for path in files_below(top))
    return [path[: -len(".tsv")].replace(os.sep, "/") for path in paths if path.endswith(".tsv")]


def _mend(directory: str) -> None:
    """Move aside what a death has left half-written, or DVCLive could not go on with it."""
    params, metrics = (
        path_in(directory, name) for name in (layout.PARAMS_FILE, layout.METRICS_FILE)
    )
    try:
        if os.path.exists(params) and not isinstance(load_yaml(params), dict):
            os.replace(params, f"{params}.damaged")
    except Exception:  # the parser's own
        os.replace(params, f"{params}.damaged")
    try:
        if os.path.exists(metrics):
            with open(metrics, encoding="utf-8") as file:
                json.load(file)
    except ValueError:
        os.replace(metrics, f"{metrics}.damaged")
        replace_file(metrics, json_bytes(_summary_of(directory), indent=4))
    os.makedirs(os.path.join(directory, layout.OURS), exist_ok=True)


def _summary_of(directory: str) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    steps = [-1]
    for name in _metric_names(directory):
        for point in read_history(path_in(directory, f"{layout.METRICS}/{name}.tsv")):
            native.summarised(summary, name, point.value)
            steps.append(point.step or 0)
    return {**summary, "step": steps[-1]} if steps[1:] else summary
