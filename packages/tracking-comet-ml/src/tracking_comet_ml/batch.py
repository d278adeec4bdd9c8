"""What one `deliver` stores, as Comet has it: points, parameters, others, tags and assets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Asset", "Batch", "Parameter", "Point"]


class Point(NamedTuple):
    """One value of a metric; `time` is in milliseconds since the epoch."""

    name: str
    value: float | int
    step: int
    epoch: int | None
    time: int


class Parameter(NamedTuple):
    """One hyperparameter; `automatic` ones are not the user's own, such as ``curr_step``."""

    name: str
    value: Any
    time: int
    step: int | None = None
    automatic: bool = False


@dataclass(frozen=True)
class Asset:
    """A file of the experiment.

    Attributes:
        kind: Comet's upload type, such as ``"visualization"``; ``"asset"`` is any file.
        content: bytes, or the path of a file on this machine.
        time: milliseconds since the epoch.
        about: further fields that Comet wants for this kind.
        metadata: shown beside it.
    """

    kind: str
    name: str
    content: bytes | str
    step: int | None
    time: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def id(self, experiment_key: str) -> str:
        """Another for each asset, and the same when it comes again."""
        digest = hashlib.sha256()
        place = (experiment_key, self.kind, self.name, self.step, self.time)
        digest.update(repr((*place, sorted(self.metadata.items()))).encode("utf-8", "replace"))
        if isinstance(self.content, bytes):
            digest.update(self.content)
        else:
            # A checkpoint is large: reading it just for a name would take longer than keeping it.
            about = os.stat(self.content)
            digest.update(repr((self.content, about.st_size, about.st_mtime_ns)).encode())
        return digest.hexdigest()[:32]

    def fields(self, asset_id: str) -> dict[str, Any]:
        """What Comet's own client sends beside the content."""
        own: dict[str, Any] = {"context": None, "runId": None, "overwrite": False}
        own["step"] = self.step
        if self.kind == "visualization":
            own |= {"figName": self.name, "figCounter": 0, "imageId": asset_id}
        else:
            own |= {"fileName": self.name, "assetId": asset_id}
            if self.kind != "asset":
                own["type"] = self.kind
            extension = os.path.splitext(self.name)[1].lstrip(".")
            if extension:
                own["extension"] = extension
        return {**own, **self.about}


@dataclass
class Batch:
    """All of one `deliver`, in the order in which it came, kind by kind."""

    points: list[Point] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
