"""What to type to have a package of this project: one rule for messages, READMEs and docs.

Only Python's own modules are imported here, because the check of the READMEs reads this file where
nothing is installed.
"""

from __future__ import annotations

import json
import os
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["ON_AN_INDEX", "in_a_clone", "install_line", "update_line"]

CORE = "tracking-core"

# Whether the packages can be had by their names alone. As long as they are published nowhere, to
# propose a name is to invite somebody else to take it.
ON_AN_INDEX = False


def in_a_clone(package: str) -> str:
    """The command that installs `package` in a clone of the repository, as READMEs have it."""
    names = [package] if package == CORE else [CORE, package]
    return _pip(*names) if ON_AN_INDEX else _pip(*(f"./packages/{name}" for name in names))


def install_line(package: str, extra: str = "") -> str:
    """The command that installs `package`, from where this core came.

    That is the folder that it was installed from or runs in, or the address of a version control
    system; where neither is known, it is the command for a clone, and the text says so.
    """
    wanted = f"{package}[{extra}]" if extra else package
    if ON_AN_INDEX:
        return _pip(wanted)
    origin = _origin()
    folder = _folder(origin)
    if folder is not None and (folder / package / "pyproject.toml").is_file():
        if package == CORE:
            editable = ("-e",) if (origin or {}).get("dir_info", {}).get("editable") else ()
            return _pip(*editable, str(folder / wanted))
        # Named again, an editable core would be replaced by a copy.
        core = () if origin is not None else (str(folder / CORE),)
        return _pip(*core, str(folder / wanted))
    if origin is not None and "vcs_info" in origin:
        info = origin["vcs_info"]
        inside = str(origin.get("subdirectory", "")).replace(CORE, package)
        place = f"{info['vcs']}+{origin['url']}@{info['commit_id']}#subdirectory={inside}"
        return _pip(f"{wanted} @ {place}")
    named = [CORE, package] if package != CORE else [CORE]
    named[-1] = wanted
    return f"in a clone of the project, {_pip(*(f'./packages/{name}' for name in named))}"


def update_line(package: str, ours: bool) -> str:
    """The command that brings a newer `package`, which is one of this project if it is `ours`."""
    return install_line(package) if ours and not ON_AN_INDEX else _pip("-U", package)


def _folder(origin: dict[str, Any] | None) -> Path | None:
    """The folder ``packages`` that this core lies in, or was installed from."""
    here = Path(__file__).resolve()
    places = [here.parents[2]] if len(here.parents) > 2 else []
    url = urlsplit(str((origin or {}).get("url", "")))
    if url.scheme == "file":
        from urllib.request import url2pathname  # what it imports in turn is for those who need it

        places.append(Path(url2pathname(url.path)))
    for place in places:
        if place.name == CORE and (place / "pyproject.toml").is_file():
            return place.parent
    return None


def _origin() -> dict[str, Any] | None:
    """What pip noted about where the core came from: {} if nothing, None if it is not installed."""
    try:
        text = distribution(CORE).read_text("direct_url.json")
        noted = json.loads(text) if text else {}
    except PackageNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _pip(*arguments: str) -> str:
    words = ["pip", "install", *arguments]
    if os.name == "nt":
        return " ".join(f'"{word}"' if set(word) & set(" []&#") else word for word in words)
    return shlex.join(words)
