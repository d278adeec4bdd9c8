"""Bringing to a run's server what W&B's service did not send, and being sure of it.

W&B's service gives up after a refusal that may well pass, and after ``finish_timeout``; what was
on its way when it was killed it never sends. All of that lies in the run's transaction logs. What the
server lacks of them is put into a log of its own, and ``wandb sync`` sends that: a log that is sent
as it is comes after what the server has already, and doubles it. Which files it lacks W&B's own logs say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tracking_core.faults import REFUSED_CONTENT
from tracking_core.plain import text
from tracking_core.rejections import first_few, say
from tracking_wandb.errors import WandBArrivalError
from tracking_wandb.reader import Segment, native_step, segments_of
from tracking_wandb.remote import Remote
from tracking_wandb.transaction_log import write_log
from tracking_wandb.uploads import files_left, files_refused, note_files_left

__all__ = ["bring", "can_tell"]

SECONDS = 300.0  # for ``wandb sync``; what it has sent by then has arrived
STOPPED = f"wandb sync was stopped after {SECONDS:.0f} s"
SECONDS_TO_SHOW = 1.0, 2.0, 4.0  # between two looks, for a server that shows rows a while later
FOLDER = "rest"

_FOR_GOOD = re.compile(rf"HTTP ({'|'.join(map(str, sorted(REFUSED_CONTENT)))})\b")

# What says something of the row behind it alone; all else says something of the run.
_OF_A_ROW = frozenset({"files", "artifact", "output", "output_raw", "stats", "final"})

# They say what the run is to be: a log says so itself.
_OF_A_RUN = frozenset({
    "WANDB_JOB_TYPE", "WANDB_MODE", "WANDB_NAME", "WANDB_NOTES", "WANDB_RESUME", "WANDB_RUN_GROUP", "WANDB_RUN_ID",
    "WANDB_SERVICE", "WANDB_TAGS",
})  # fmt: skip


class _Left(NamedTuple):
    """What ``wandb sync`` complains of, and the files that it did not bring, with the reasons."""

    said: str
    files: dict[str, str]


def can_tell(settings: Any) -> bool:
    """Whether a run with W&B's `settings` has a server that can be asked, and a log to go by."""
    return bool(
        settings.api_key
        and not settings._offline
        and not settings._shared  # others log to the same run
        and not settings.x_skip_transaction_log
    )


def bring(settings: Any, run: Mapping[str, Any], *, ended: bool) -> None:
    """Return once the server has all of `run` that lies on this machine, and its end.

    A file that the server will never take is named and left.

    Args:
        settings: W&B's.
        run: its ``run_id``, ``project``, ``entity`` and ``dir``, where ``wandb/`` is.
        ended: whether the last of its logs says how it ended; else it goes on.

    Raises:
        WandBLoginError: the server refuses the key.
        WandBServiceError: it can't be reached.
        WandBArrivalError: it did not take everything.
    """
    segments = segments_of(str(run["dir"]), str(run["run_id"]))
    logged = sum(len(segment.steps) for segment in segments)
    files = [files_left(segment.path, segment.files) for segment in segments]
    if not (logged or ended or any(files)):
        return
    remote = Remote(settings, run)
    said = ""
    lacking = _lacking(remote, segments)
    lacks_the_end = ended and remote.goes_on()
    if not (any(lacking) or lacks_the_end or any(files)):
        return
    refused: dict[str, str] = {}
    for segment, steps, left_behind in zip(segments, lacking, files, strict=True):
        last = segment is segments[-1]
        if steps or left_behind or (last and lacks_the_end):
            some = _send(segment, steps, left_behind, settings, run, ended=last and ended)
            said = some.said or said
            refused |= some.files
    left = sum(map(len, _lacking(remote, segments))) if any(lacking) else 0
    if left or (ended and remote.goes_on()):
        what = f"{left} of {logged} rows have" if left else "how the run ended has"
        raise WandBArrivalError(
            f"tracker 'wandb': {what} not arrived at {remote.host}; it lies in {run['dir']}"
            + (f" ({said})" if said else ""),
            left,
        )
    if ended and refused:
        raise WandBArrivalError(
            f"tracker 'wandb': {_named(refused)} did not arrive at {remote.host}; all rows did", 0
        )


def _named(files: Mapping[str, str]) -> str:
    """Files with the reasons why they are not there, in words."""
    return first_few([f"{name!r} ({reason})" for name, reason in files.items()])


def _lacking(remote: Remote, segments: Sequence[Segment]) -> list[set[int]]:
    """The steps of the rows that the server lacks, for each of `segments`."""
    logged = sum(len(segment.steps) for segment in segments)
    for pause in (*SECONDS_TO_SHOW, 0.0):
        lacking = [remote.lacks(segment.steps) for segment in segments]
        if not any(lacking) or remote.rows() < logged:
            break
        # It has taken so many: a page in its place has answered for some, or they don't show yet.
        threading.Event().wait(pause)
    return lacking


def _send(
    segment: Segment,
    lacking: Collection[int],
    files: Collection[str],
    settings: Any,
    run: Mapping[str, Any],
    *,
    ended: bool,
) -> _Left:
    """Have ``wandb sync`` send the rows of `segment` with the steps `lacking`, and `files`."""
    directory = os.path.dirname(segment.path)
    place = os.path.join(directory, FOLDER)
    shutil.rmtree(place, ignore_errors=True)  # of one that was killed
    os.mkdir(place)
    try:
        log = os.path.join(place, os.path.basename(segment.path))
        write_log(log, _rest(segment, lacking, files, ended=ended))
        _link(os.path.join(directory, "files"), os.path.join(place, "files"))
        said = _synced(log, settings, run)
        if said == STOPPED:
            return _Left(said, dict.fromkeys(files, said))
        failed = files_refused(place)
        left = {name: reason for name, reason in failed.items() if name in segment.files}
        for name in [name for name, reason in left.items() if _FOR_GOOD.match(reason)]:
            say(
                f"tracker 'wandb': the server refuses the file {_named({name: left.pop(name)})} for good"
            )
        note_files_left(segment.path, left)
        return _Left(said, left)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _rest(
    segment: Segment, lacking: Collection[int], files: Collection[str], *, ended: bool
) -> Iterator[bytes]:
    """The records of `segment` without the rows that have arrived, and the files but for `files`."""
    waiting: list[bytes] = []  # what belongs to the next row
    for record in segment.raw():
        kind = record.WhichOneof("record_type")
        data: bytes = record.SerializeToString()
        if kind == "history":
            if native_step(record.history) in lacking:
                yield from (*waiting, data)
            waiting = []
        elif kind in _OF_A_ROW:
            if any(file.path in files for file in record.files.files):
                yield data
            else:
                waiting.append(data)
        elif kind != "exit":
            yield data
        elif ended:
            yield from (*waiting, data)


def _link(files: str, link: str) -> None:
    try:
        os.symlink(files, link, target_is_directory=True)
    except OSError:  # no links on this file system
        shutil.copytree(files, link)


def _synced(log: str, settings: Any, run: Mapping[str, Any]) -> str:
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--include-synced"]
    for option in ("project", "entity"):
        if run.get(option):
            command += [f"--{option}", str(run[option])]
    done = None
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*command, log],
            env=_environment(settings, os.path.dirname(log)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
    if done is None:
        return STOPPED
    lines = text(done.stdout.decode(errors="replace")).splitlines()
    return next((line for line in reversed(lines) if "rror" in line), "")


def _environment(settings: Any, place: str) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in _OF_A_RUN}
    environment |= {
        "WANDB_BASE_URL": settings.base_url,
        "WANDB_API_KEY": settings.api_key,
        "WANDB_DIR": place,
        "WANDB_ERROR_REPORTING": "false",
    }
    for name in ("http_proxy", "https_proxy", "insecure_disable_ssl"):
        if value := getattr(settings, name):
            environment[f"WANDB_{name.upper()}"] = str(value)
    if settings.x_extra_http_headers:
        environment["WANDB_X_EXTRA_HTTP_HEADERS"] = json.dumps(settings.x_extra_http_headers)
    return environment
