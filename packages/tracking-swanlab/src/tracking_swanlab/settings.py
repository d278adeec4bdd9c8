"""What SwanLab's own settings and the arguments of a tracker say about a run."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracking_core.faults import NOT_WRITABLE
from tracking_core.names import escape, shortened
from tracking_core.records import Plain
from tracking_swanlab.arguments import PLACES
from tracking_swanlab.errors import SwanLabSettingError

__all__ = [
    "config_of",
    "fitted_project",
    "fresh_directory",
    "quiet",
    "resolved",
]

_PROJECT = re.compile(r"[0-9a-zA-Z_\-+.]")
LONGEST_PROJECT = 100

_quiet_lock = threading.Lock()
_quiet_calls = 0
_was_quiet = False


def resolved(run_name: str, arguments: Mapping[str, Any]) -> Any:
    """SwanLab's ``Settings`` for one run: its files and ``SWANLAB_*`` variables, then `arguments`.

    Raises:
        SwanLabSettingError: SwanLab refuses a value.
    """
    from pydantic import ValidationError
    from swanlab.sdk.internal.settings import create_settings

    given: dict[str, Any] = {"project": {"name": fitted_project(run_name)}, "interactive": False}
    for name, value in arguments.items():
        if name in PLACES and value is not None:
            *parents, last = PLACES[name].split(".")
            place = given
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
    try:
        settings = create_settings()
        if arguments.get("settings") is not None:
            settings.merge_settings(arguments["settings"])
        settings.merge_settings(given)
    except ValidationError as error:
        raise SwanLabSettingError(
            f"tracker 'swanlab': SwanLab refuses {_refused(error)}"
        ) from error
    except TypeError as error:
        raise SwanLabSettingError(
            f"tracker 'swanlab': SwanLab refuses its settings: {error}"
        ) from error
    if settings.core.skip_store:
        raise SwanLabSettingError(
            "tracker 'swanlab' keeps every run in a local run file: unset core.skip_store "
            "(SWANLAB_CORE_SKIP_STORE)"
        )
    return settings


def fitted_project(name: str) -> str:
    """`name` in characters that SwanLab takes for a project; different names stay different."""
    return shortened(escape(name, _PROJECT), LONGEST_PROJECT)


def _refused(error: Any) -> str:
    """What a validation of SwanLab's says, in one line."""
    said = []
    for one in error.errors():
        path = ".".join(map(str, one["loc"])) or "its settings"
        shown = "" if "key" in path else f"={one['input']!r}"
        variable = f"SWANLAB_{path.replace('.', '_').upper()}"
        where = f" of {variable}" if variable in os.environ else ""
        said.append(f"{path}{shown}{where}: {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(said)


def fresh_directory(settings: Any, run_id: str) -> Path:
    """A new directory for a run, named and placed as the library does it.

    Raises:
        SwanLabSettingError: there is no place for it.
    """
    root = Path(settings.log_dir).absolute()
    try:
        return _made(root, settings, run_id)
    except OSError as error:
        lasting = (FileNotFoundError, NotADirectoryError, FileExistsError)
        if not (isinstance(error, lasting) or error.errno in NOT_WRITABLE):
            raise
        raise SwanLabSettingError(
            f"tracker 'swanlab' has no place for a run in {os.fspath(root)!r} ({error.strerror}): "
            'name another directory with SWANLAB_LOG_DIR or init_kwargs={"swanlab": {"log_dir": ...}}'
        ) from error


def _made(root: Path, settings: Any, run_id: str) -> Path:
    from swanlab.sdk.internal.pkg import fs

    root.mkdir(parents=True, exist_ok=True)
    if not any(root.iterdir()):
        (root / ".gitignore").write_text("*", encoding="utf-8")
    if settings.run.dir:
        directory = root / str(settings.run.dir)
        directory.mkdir()
        return directory
    safe_id, _ = fs.safe_truncate(fs.safe_fmt(run_id, fallback="run"), 200)
    name = f"run-{time.strftime('%Y%m%d_%H%M%S')}-{safe_id}"
    if settings.run.parallel != "none":
        name += f"-{os.uname().nodename[:30] if hasattr(os, 'uname') else 'host'}-{os.getpid()}"
    number = 1
    while True:
        directory = root / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir()
        except FileExistsError:
            number += 1
        else:
            return directory


def named(settings: Any) -> dict[str, Plain]:
    """The identity of a new run, with a directory of its own."""
    from swanlab.utils.experiment import generate_id

    run_id = str(generate_id())
    return {"run_id": run_id, "run_dir": str(fresh_directory(settings, run_id))}


def config_of(given: Any) -> Mapping[str, Any]:
    """The configuration that ``swanlab.init`` takes: a mapping, or the path of a JSON or YAML file.

    Raises:
        SwanLabSettingError: it is neither.
    """
    from swanlab.sdk.cmd.init import load_config

    if isinstance(given, Mapping):
        return given
    try:
        found = load_config(None, given)
    except (OSError, ValueError) as error:
        raise SwanLabSettingError(f"tracker 'swanlab': config={given!r}: {error}") from error
    return found if isinstance(found, Mapping) else {"config": found}


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, the library prints nothing; what goes wrong is said by errors alone."""
    from swanlab.sdk.internal.pkg import console

    global _quiet_calls, _was_quiet
    with _quiet_lock:
        if _quiet_calls == 0:
            _was_quiet = console.c.quiet
            console.c.quiet = True
        _quiet_calls += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_calls -= 1
            if _quiet_calls == 0:
                console.c.quiet = _was_quiet
