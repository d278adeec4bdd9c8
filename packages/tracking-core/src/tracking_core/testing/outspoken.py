"""Trackers that warn when they start, by whose words it is seen where words of the delivery process go.

That process makes a tracker by the module and the name of its class. So classes of this module are
named after those that they add the warning to, and are made when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from tracking_core.rejections import say
from tracking_core.tracker import GeneralTracker

__all__ = ["WORDS", "outspoken"]

WORDS = "what only the delivery process knows"


def outspoken(kind: type[GeneralTracker]) -> type[GeneralTracker]:
    """A subclass of `kind` that says `WORDS` when it has started, and can be found again."""

    def start(self: GeneralTracker) -> None:
        kind.start(self)
        say(f"tracker {kind.name!r}: {WORDS}")

    name = f"{kind.__module__}:{kind.__qualname__}".replace(".", "/")
    return type(name, (kind,), {"start": start, "__module__": __name__})


def __getattr__(name: str) -> Any:
    module, _, qualname = name.replace("/", ".").partition(":")
    if not qualname:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return outspoken(found)
