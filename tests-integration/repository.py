"""A copy of this repository as it lies here, for tools that change it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Repository:
    """A copy of the working tree in `folder`, what is not committed included; a commit of its own.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():  # a deleted one is listed, too
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    def commit(self) -> None:
        """Make what lies there the state that `restore` goes back to."""
        self.git("add", "--all")
        author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        self.git(*author, "commit", "--quiet", "--message", "as it lay")

    def status(self) -> list[str]:
        """What differs from the commit, as ``git status --porcelain`` says it."""
        return self.git("status", "--porcelain").splitlines()

    def restore(self) -> None:
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "-ffd")

    def tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its tools, from another folder."""
        return subprocess.run(
            [sys.executable, str(self.folder / "tools" / name), *arguments],
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            timeout=120,
        )
