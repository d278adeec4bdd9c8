"""What MLflow's page shows of histograms: for each key one picture of how they went.

MLflow has no panel for distributions, and a metric for each quantile would bury the metrics that a
person has logged. So a key has one picture, in the place that the page opens with, drawn anew with
every histogram that comes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import Any

from tracking_core.records import LoggedHistogram

__all__ = ["Course"]

WIDTH, HEIGHT = 512, 384  # the page shows half of that
LINE = 28  # what a line of text takes
LETTERS = 22
FADING = ((214, 229, 243), (158, 197, 226), (96, 155, 205))  # minimum to maximum, 5-95 %, 25-75 %
INK, PAPER = (20, 60, 110), (255, 255, 255)
PERCENT = (5, 25, 50, 75, 95)
MOST = 2 * WIDTH  # columns that are kept, before every second one goes


class Course:
    """How the histograms of one key went from step to step.

    Args:
        kept: what `plain` said when there were fewer.
    """

    def __init__(self, kept: Iterable[Any] = ()) -> None:
        self._columns: dict[tuple[int, int], list[float]] = {
            (int(step), int(when)): list(map(float, marks)) for step, when, marks in kept
        }
        self._newest: LoggedHistogram | None = None

    def take(self, histogram: LoggedHistogram, step: int, when: int) -> None:
        """Add a histogram, or once more the one of that step and time."""
        marks = _marks(histogram)
        if all(map(math.isfinite, marks)):
            self._columns[step, when] = marks
            self._newest = histogram
        if len(self._columns) > MOST:
            places = sorted(self._columns)
            for place in places[1:-1:2]:
                del self._columns[place]

    def plain(self) -> list[list[Any]]:
        """Step, time, and minimum, quantiles and maximum, of each."""
        return [[*place, marks] for place, marks in sorted(self._columns.items())]

    def picture(self) -> bytes | None:
        """A PNG: the bars of a single histogram, or where most of the values of several lay."""
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont

        if not self._columns:
            return None
        image = PIL.Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        draw = PIL.ImageDraw.Draw(image)
        font = PIL.ImageFont.load_default(LETTERS)
        if len(self._columns) == 1 and self._newest is not None:
            bottom = self._draw_bars(draw, self._newest)
            top = (f"{max(self._newest.counts):.4g} at most", "")
        else:
            top, bottom = self._draw_bands(draw)
        for y, (left, right) in ((0, top), (HEIGHT - LINE, bottom)):
            draw.text((4, y), left, INK, font)
            draw.text((WIDTH - 4, y), right, INK, font, anchor="ra")
        file = io.BytesIO()
        image.save(file, "png")
        return file.getvalue()

    def _draw_bars(self, draw: Any, histogram: LoggedHistogram) -> tuple[str, str]:
        edges, highest = histogram.edges, max(histogram.counts) or 1
        for place, count in enumerate(histogram.counts):
            left = _along(edges[place], edges[0], edges[-1]) * WIDTH
            right = _along(edges[place + 1], edges[0], edges[-1]) * WIDTH
            y = _height(count, 0, highest)
            # One bar beside the other, and a thin one is seen, too.
            box = (round(left), y, max(round(right) - 2, round(left)), HEIGHT - LINE)
            if count > 0:
                draw.rectangle(box, FADING[-1])
        return f"{edges[0]:.4g}", f"{edges[-1]:.4g}"

    def _draw_bands(self, draw: Any) -> tuple[tuple[str, str], tuple[str, str]]:
        ordered = sorted(self._columns.items())
        lowest = min(marks[0] for _, marks in ordered)
        highest = max(marks[-1] for _, marks in ordered)
        (first, _), (last, _) = ordered[0][0], ordered[-1][0]
        xs = [
            # Steps that are all the same are told apart by their order.
            _along(step, first, last) if last > first else number / (len(ordered) - 1 or 1)
            for number, ((step, _), _) in enumerate(ordered)
        ]
        xs = [x * (WIDTH - 1) for x in xs]
        lines = [
            [
                (x, _height(marks[mark], lowest, highest))
                for x, (_, marks) in zip(xs, ordered, strict=True)
            ]
            for mark in range(len(PERCENT) + 2)
        ]
        for low, shade in enumerate(FADING):
            draw.polygon(lines[low] + lines[-1 - low][::-1], shade)
        draw.line(lines[3], INK, 3)
        return (
            (f"{highest:.4g}", ""),
            (f"{lowest:.4g}", f"step {first}" if first == last else f"step {first} to {last}"),
        )


def _marks(histogram: LoggedHistogram) -> list[float]:
    """Minimum, 5, 25, 50, 75 and 95 %, maximum; between the edges of a bin by interpolation."""
    total = sum(histogram.counts)
    inner = [_quantile(histogram, total * percent / 100) for percent in PERCENT]
    return [histogram.min, *inner, histogram.max] if total > 0 else [math.nan]


def _quantile(histogram: LoggedHistogram, rank: float) -> float:
    below = 0.0
    for place, count in enumerate(histogram.counts):
        if count and below + count >= rank:
            left, right = histogram.edges[place], histogram.edges[place + 1]
            inside = left + (right - left) * ((rank - below) / count)
            return min(max(inside, histogram.min), histogram.max)
        below += count
    return histogram.max


def _along(value: float, first: float, last: float) -> float:
    """Where `value` lies between `first` (0) and `last` (1); halved, or large ones overflow."""
    whole = last / 2 - first / 2
    return min(max((value / 2 - first / 2) / whole, 0.0), 1.0) if whole > 0 else 0.5


def _height(value: float, lowest: float, highest: float) -> int:
    return round(HEIGHT - LINE - _along(value, lowest, highest) * (HEIGHT - 2 * LINE))
