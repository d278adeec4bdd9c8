"""What MLflow can show of a histogram: quantiles as metrics, and a picture of its bars."""

from __future__ import annotations

from tracking_core.records import LoggedHistogram, LoggedImage

__all__ = ["picture", "quantiles"]

WIDTH, HEIGHT = 256, 96
BAR, GROUND = 70, 255  # shades of grey


def quantiles(histogram: LoggedHistogram) -> dict[str, float]:
    """Minimum, 5 %, median, 95 % and maximum; between the edges of a bin by interpolation."""
    found = {"min": histogram.min, "max": histogram.max}
    total = sum(histogram.counts)
    if total > 0:
        for percent in (5, 50, 95):
            found[f"p{percent}"] = _quantile(histogram, total * percent / 100)
    return found


def picture(histogram: LoggedHistogram) -> LoggedImage:
    """Its bars in grey, from the first edge to the last."""
    highest = max(histogram.counts, default=0) or 1
    first, last = histogram.edges[0], histogram.edges[-1]
    tops = [HEIGHT] * WIDTH
    for column in range(WIDTH):
        at = first + (last - first) * (column + 0.5) / WIDTH
        count = _count_at(histogram, at)
        tops[column] = HEIGHT - round(HEIGHT * count / highest)
    rows = (bytes(BAR if row >= top else GROUND for top in tops) for row in range(HEIGHT))
    return LoggedImage(b"".join(rows), WIDTH, HEIGHT, 1)


def _quantile(histogram: LoggedHistogram, rank: float) -> float:
    below = 0.0
    for place, count in enumerate(histogram.counts):
        if count and below + count >= rank:
            left, right = histogram.edges[place], histogram.edges[place + 1]
            inside = left + (right - left) * (rank - below) / count
            return min(max(inside, histogram.min), histogram.max)
        below += count
    return histogram.max


def _count_at(histogram: LoggedHistogram, at: float) -> float:
    for place, right in enumerate(histogram.edges[1:]):
        if at < right:
            return histogram.counts[place]
    return 0.0
