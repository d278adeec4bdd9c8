"""What proves that a tracker keeps the contract: ``pip install tracking-core[testing]``.

Subclass `TrackerConformance` in a test module, say how to make a tracker and how to read a run back
with the *library's own* reader, and pytest runs the rest.
"""

from tracking_core.testing.conformance import KINDS, TrackerConformance
from tracking_core.testing.seen import Point, Seen, frames_of, pixels_of, samples_of
from tracking_core.testing.trackers import MemoryTracker, MisbehavingTracker

__all__ = [
    "KINDS",
    "MemoryTracker",
    "MisbehavingTracker",
    "Point",
    "Seen",
    "TrackerConformance",
    "frames_of",
    "pixels_of",
    "samples_of",
]
