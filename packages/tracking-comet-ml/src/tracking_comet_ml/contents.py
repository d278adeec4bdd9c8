"""What a run holds, as Comet has it, wherever it was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tracking_comet_ml.batch import Parameter, Point
from tracking_core.records import Status

__all__ = ["Contents", "FoundAsset"]


class FoundAsset(NamedTuple):
    """A file of an experiment; `time` is in milliseconds since the epoch, `load` gets its bytes."""

    kind: str
    name: str
    step: int | None
    time: int
    metadata: Mapping[str, Any]
    load: Callable[[], bytes]


@dataclass
class Contents:
    """Everything of one experiment, each kind in the order in which it was logged.

    Attributes:
        began, ended: milliseconds since the epoch; `ended` is None while it goes on.
        status: how it ended, as Comet itself knows it.
    """

    began: int = 0
    ended: int | None = None
    status: Status | None = None
    points: list[Point] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    assets: list[FoundAsset] = field(default_factory=list)
