"""What everything is called in Trackio: projects, runs, metrics, parameters, files.

Trackio drops what it can't take from the name of a project, so that ``a/b`` and ``ab`` would be one,
and makes directories of the names of runs. Here such characters are escaped
(`tracking_core.names`): other names stay other names, and nothing leads out of Trackio's directory.
"""

from __future__ import annotations

import functools
import posixpath
import re

from tracking_core.names import escape, shortened, unescape

__all__ = [
    "NOTES", "artifact_name", "file_path", "key_of", "metric_name", "parameter_name",
    "parameter_of", "project_name", "quoted", "run_name",
]  # fmt: skip

NOTES = "__tracking"
"""A column of a row: what its other columns don't say of themselves. No key is called like this."""

LONGEST = 150  # bytes: Trackio appends to a file's name, which may have 255
SHORTENED = 40  # characters, of at most four bytes

RESERVED = frozenset({"project", "run", "timestamp", "step", "time", "metrics"})
_SIDECARS = (
    "system", "configs", "traces", "artifacts", "artifact_versions", "artifact_aliases",
    "run_artifact_links", "external_run_artifact_links",
)  # fmt: skip

# Trackio refuses a project whose files could be taken for those of another.
_NOT_LIKE_A_SIDECAR = "".join(rf"(?!{name[-1]}\Z(?<=_{name}))" for name in _SIDECARS)
_PROJECT = re.compile(rf"{_NOT_LIKE_A_SIDECAR}(?!(?<=\Aregistry)-)[\w-]")
_SLASH = r"(?<=[^/])/(?=[^/])"
_DOT = r"(?<=[^/])\.|(?<![^/])\.(?=[^/.])"
_PATH = re.compile(rf"[^\x00-\x1f\x7f\\:/.\ud800-\udfff]|{_SLASH}|{_DOT}")
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f]")


def project_name(project: str) -> str:
    """`project` in letters, digits, ``_`` and ``-``, which is all that Trackio keeps of one."""
    return _short(escape(project, _PROJECT)).replace(".", "-")


def run_name(name: str) -> str:
    """`name` as the name of a run, which Trackio also uses as a path."""
    return _short(escape(name, _PATH))


@functools.lru_cache(maxsize=10_000)
def metric_name(key: str) -> str:
    """The column that `key` lies in. Reserved names get the prefix that Trackio gives them."""
    name = escape(key, _KEY)
    return f"__{name}" if name in RESERVED or name.startswith("__") else name


def key_of(name: str) -> str:
    """The key that lies in the column `name`."""
    return unescape(name.removeprefix("__"))


def parameter_name(key: str) -> str:
    """`key` of a configuration, apart from Trackio's own entries (``_Group``) and from ours."""
    return f".{key}" if key.startswith(("_", ".", "tracking/")) else key


def parameter_of(name: str) -> str | None:
    """The key that is called `name` in a run that we logged; None for an entry that is none."""
    return None if name.startswith(("_", "tracking/")) else name.removeprefix(".")


def artifact_name(folder: str, name: str) -> str:
    """What the artifact is called that holds this file or directory. The same for similar ones."""
    path = posixpath.join(folder, name)
    return shortened(re.sub(r"[^A-Za-z0-9._-]", "-", path) or "_", LONGEST)


def file_path(folder: str, name: str) -> str:
    """Where a file lies in its artifact; `unescape` gives the path back."""
    return escape(posixpath.join(folder, name), _PATH)


def quoted(text: str) -> str:
    """`text` for an SQL statement."""
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


def _short(name: str) -> str:
    return name if len(name.encode("utf-8", "replace")) <= LONGEST else shortened(name, SHORTENED)
