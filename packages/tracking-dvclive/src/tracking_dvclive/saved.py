"""Whether git holds a run already, so that DVCLive may begin the next one in its place."""

from __future__ import annotations

import os
import subprocess

from tracking_dvclive.library import Git, exp_refs_by_names

__all__ = ["is_committed", "is_experiment"]

SECONDS_FOR_GIT = 10


def is_experiment(name: str | None) -> bool:
    """Whether the repository that we are in holds the DVC experiment `name`."""
    if not name:
        return False
    try:
        return bool(exp_refs_by_names(Git(), {name})[name])
    except Exception:  # no repository, or one that DVC can't read: then nothing is saved in it
        return False


def is_committed(directory: str) -> bool:
    """Whether `directory` is in git as it is: nothing new, nothing changed."""
    folder = os.path.abspath(directory)
    if not os.path.isdir(folder):
        return False
    known = _git(folder, "ls-files", "--", ".")
    return bool(known) and _git(folder, "status", "--porcelain", "--", ".") == ""


def _git(folder: str, *arguments: str) -> str | None:
    """What git says; None if it is not there, or can't say."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_FOR_GIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
