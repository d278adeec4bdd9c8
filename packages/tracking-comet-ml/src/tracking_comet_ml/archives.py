"""What the offline archives of an experiment hold, and the directories that are none yet."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from tracking_comet_ml.batch import Parameter, Point
from tracking_comet_ml.contents import Contents, FoundAsset
from tracking_comet_ml.offline import MESSAGES, META, sessions

__all__ = ["read_archives"]


def read_archives(place: str, experiment_key: str | None) -> Contents:
    """All sessions of one experiment in a directory; or of one archive alone.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several experiments, and none was named; or a file is no archive.
    """
    paths = list(sessions(place, experiment_key)) if os.path.isdir(place) else [place]
    found = [_opened(path) for path in paths]
    keys = sorted({str(session.meta.get("offline_id")) for session in found})
    if not found:
        of = f" of experiment {experiment_key!r}" if experiment_key else ""
        raise FileNotFoundError(f"{place!r} holds no offline archive{of} (*.zip)")
    if len(keys) > 1:
        raise ValueError(f"{place!r} holds several experiments, say which: {', '.join(keys)}")
    contents = Contents(began=min(session.meta["start_time"] for session in found))
    for session in sorted(found, key=lambda session: session.meta["start_time"]):
        meta = session.meta
        contents.tags += [tag for tag in meta.get("tags") or () if tag not in contents.tags]
        contents.ended = None if session.running else meta["stop_time"]
        failed = meta.get("customer_error_reported")
        contents.status = None if session.running else "failed" if failed else "finished"
        _read_messages(session.read, contents)
    return contents


class _Session(NamedTuple):
    meta: dict[str, Any]
    read: Callable[[str], bytes]
    running: bool


def _opened(path: str) -> _Session:
    running = os.path.isdir(path)
    try:
        read = partial(_from_directory, path) if running else zipfile.ZipFile(path).read
        return _Session(json.loads(read(META)), read, running)
    except (KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path!r} is no offline archive of Comet's: {error}") from error


def _from_directory(path: str, name: str) -> bytes:
    with open(os.path.join(path, os.path.basename(name)), "rb") as file:
        return file.read()


def _read_messages(read: Callable[[str], bytes], contents: Contents) -> None:
    text = read(MESSAGES)
    # The last line of a session that was killed may be cut off, or still on its way.
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        message = json.loads(line)
        payload = message["payload"]
        if "metric" in payload:
            contents.points.append(_point(payload))
        elif "param" in payload or "params" in payload:
            contents.parameters.append(_parameter(payload))
        elif message["type"] == "log_other":
            contents.others[payload["key"]] = payload["value"]
        elif message["type"] == "file_upload":
            contents.assets.append(_asset(read, payload))


def _point(payload: Mapping[str, Any]) -> Point:
    metric = payload["metric"]
    name, context = metric["metricName"], payload.get("context")
    name = f"{context}_{name}" if context else name  # as Comet's UI has it
    step = metric.get("step")
    return Point(
        name,
        metric["metricValue"],
        0 if step is None else int(step),
        metric.get("epoch"),
        payload["local_timestamp"],
    )


def _parameter(payload: Mapping[str, Any]) -> Parameter:
    given = payload.get("param") or payload["params"]
    automatic = given.get("source") == "auto-logged"
    return Parameter(
        given["paramName"],
        given["paramValue"],
        payload.get("local_timestamp", 0),
        given.get("step"),
        automatic,
    )


def _asset(read: Callable[[str], bytes], payload: Mapping[str, Any]) -> FoundAsset:
    about = payload.get("additional_params") or {}
    name = about.get("figName") or about.get("fileName") or ""
    load = partial(read, payload["file_path"])
    metadata = payload.get("metadata") or {}
    when = payload.get("local_timestamp", 0)
    return FoundAsset(payload["upload_type"], name, about.get("step"), when, metadata, load)
