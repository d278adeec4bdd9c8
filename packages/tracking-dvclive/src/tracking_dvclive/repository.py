"""The git repository that we are in, in whatever state it is.

DVC uses it for experiments and artifacts. A run is its files first: what DVC can't do there costs
none of them, and is said.

Imports dvclive, so only `tracking_dvclive.run` and what it imports import this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from tracking_core.errors import StoreBusyError
from tracking_core.locks import only_one
from tracking_dvclive.library import Git, Live

__all__ = ["alone_in_it", "is_locked", "live_in_it"]

MADE_BY_DVC = (".dvc", ".dvcignore")
SECONDS_FOR_GIT = 10
SECONDS_FOR_LOCKS = 10.0

DEEDS = "so DVC saves no experiment of this run and takes none of its files; all of it is in"


def live_in_it(arguments: Mapping[str, Any]) -> tuple[Any, str]:
    """A ``Live``, and what keeps DVC from using the repository; empty if nothing does.

    Raises:
        StoreBusyError: another run is doing something in it for very long. It is a `TimeoutError`.
        Exception: whatever ``Live`` raises where there is no repository.
    """
    root = _root()
    if root is None or os.environ.get("DVCLIVE_TEST"):
        return Live(**arguments), ""
    no_commit = (
        f"the git repository in {root} has no commit yet, {DEEDS} {{0}}. Commit once, and later "
        "runs are saved"
    )
    if _has_no_commit() and not _is_in_dvc():
        return _OnlyFiles(**arguments), no_commit  # DVC would begin with `dvc init`
    before = list(MADE_BY_DVC)
    until = time.monotonic() + SECONDS_FOR_LOCKS
    while True:
        try:
            # The first one begins with `dvc init`, and what that makes is away while DVC saves a run.
            with alone_in_it():
                before = [one for one in MADE_BY_DVC if os.path.lexists(os.path.join(root, one))]
                live = Live(**arguments)
            if not hasattr(live, "_dvc_file"):  # DVCLive takes DVC's own errors for a mishap
                raise ValueError("what DVC has there can't be read; `dvc status` says more")
        except StoreBusyError:
            raise
        except Exception as error:
            if is_locked(error) and time.monotonic() < until:
                time.sleep(0.1)
                continue
            _take_back(root, [name for name in MADE_BY_DVC if name not in before])
            said = no_commit if _has_no_commit() else _cant_use(root, error)
            # It is not about the repository if this raises, too.
            return _OnlyFiles(**arguments), said
        return live, ""


def _cant_use(root: str, error: Exception) -> str:
    reason = f"{type(error).__name__}: {error}".rstrip(" :.")
    return (
        f"DVC can't use the git repository in {root} ({reason}), {DEEDS} {{0}}. Once `git status` "
        "and `dvc status` work there, later runs are saved"
    )


@contextmanager
def alone_in_it() -> Iterator[None]:
    """Within it no other run changes the repository: neither git nor DVC waits for others.

    Raises:
        StoreBusyError: another one does, and did not end. It is a `TimeoutError`.
    """
    place = _git_directory(_root())
    with nullcontext() if place is None else only_one(os.path.join(place, "tracking-dvclive")):
        yield


def is_locked(error: BaseException | str) -> bool:
    """Whether that is about a lock that somebody else holds for a moment."""
    if isinstance(error, TimeoutError):
        return True
    said = error if isinstance(error, str) else f"{type(error).__name__} {error}"
    return "lock" in said.lower()


class _OnlyFiles(Live):  # type: ignore[misc]  # dvclive has no types
    """A ``Live`` that looks for no repository."""

    def _init_dvc(self) -> None:
        self._dvc_file = self._init_dvc_file()
        self._save_dvc_exp = False


def _root() -> str | None:
    """The folder that git's repository is in, or is a bare one; None if there is none."""
    for folder in _upwards():
        if all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs")):
            return folder
        if os.path.lexists(os.path.join(folder, ".git")):
            return folder if _git_directory(folder) else None
    return None


def _is_in_dvc() -> bool:
    return any(os.path.lexists(os.path.join(folder, ".dvc")) for folder in _upwards())


def _upwards() -> Iterator[str]:
    """The working directory, and the folders that it is in."""
    folder, below = os.getcwd(), ""
    while folder != below:
        yield folder
        folder, below = os.path.dirname(folder), folder


def _git_directory(root: str | None) -> str | None:
    """Where git keeps what belongs to the folder `root`."""
    if root is None:
        return None
    place = os.path.join(root, ".git")
    with suppress(OSError, ValueError):
        if os.path.isfile(place):  # of a submodule, or of another working tree
            with open(place, encoding="utf-8") as file:
                place = os.path.join(root, file.read().partition("gitdir:")[2].strip())
    return place if os.path.isdir(place) else None


def _has_no_commit() -> bool:
    try:
        git = Git()
        try:
            return bool(git.no_commits)
        finally:
            git.close()
    except Exception:  # whatever else is wrong with it will be said
        return False


def _take_back(root: str, names: list[str]) -> None:
    """Delete what ``dvc init`` has made and put into git's index before it failed."""
    for name in names:
        path = os.path.join(root, name)
        if not os.path.lexists(path):
            continue
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["git", "rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", name],
                cwd=root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS_FOR_GIT,
            )
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.unlink(path)
