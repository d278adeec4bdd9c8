"""What metrics, params and tags of one run are called in its store: `Naming`.

In a database each key has the name that `layout.fitted` gives it. A directory has a file for each
name, so that none can be the folder of another, and capitals may count for nothing. There whoever
comes second has another name, which reads as the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from tracking_core.names import Names
from tracking_mlflow import layout

if TYPE_CHECKING:
    from mlflow.entities import RunData

__all__ = ["Kind", "Naming", "has_parents", "parents"]

Kind = Literal["metrics", "params", "tags"]
MOST_REMEMBERED = 10_000


class Naming:
    """Names by key.

    Args:
        data: what the run has already.
        files: whether its store has a file for each name.
    """

    def __init__(self, data: RunData | None = None, *, files: bool = False) -> None:
        self.files = files
        self._fitted: dict[str, str] = {}
        self._apart: dict[Kind, Names] = {}
        if files:
            self._apart = {
                "metrics": Names(layout.file_names, taken=data.metrics if data else (), files=True),
                "params": Names(layout.file_names, taken=data.params if data else (), files=True),
                "tags": Names(layout.tag_file_names, taken=data.tags if data else (), files=True),
            }

    def metric(self, key: str) -> str:
        """The name of a metric."""
        return self._name("metrics", key, layout.fitted)

    def param(self, key: str) -> str:
        """The name of a param."""
        return self._name("params", key, layout.fitted)

    def tag(self, key: str) -> str:
        """The name of a tag of the user's."""
        return self._apart["tags"].name_of(key) if self.files else layout.fitted_tag(key)

    def companion(self, name: str, what: str) -> str:
        """The name of a metric that says something about the metric `name`."""
        return layout.companion(name, what, files=self.files)

    def _name(self, kind: Kind, key: str, fitted: Callable[[str], str]) -> str:
        if self.files:
            return self._apart[kind].name_of(key)
        name = self._fitted.get(key)
        if name is None:
            name = fitted(key)
            if len(self._fitted) < MOST_REMEMBERED:
                self._fitted[key] = name
        return name


def has_parents(names: Iterable[str]) -> bool:
    """Whether one of `names` is the folder of another: as files they can't be beside each other."""
    known = set(names)
    return any(parent in known for name in known for parent in parents(name))


def parents(name: str) -> Iterator[str]:
    """The folders above `name`."""
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
