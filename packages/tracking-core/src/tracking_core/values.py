"""What a value is meant to be: the typed values that a training loop can log.

Making one costs nothing and can't fail: it only keeps its arguments, and `tracking_core.capture`
looks inside when the value is logged. So an array may change after the call, not before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Artifact", "Audio", "Histogram", "Image", "Layout", "Table", "Video", "base_name"]

Layout: TypeAlias = Literal["HW", "HWC", "CHW"]


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One picture.

    What is black and what is white in an array is found in its numbers, whatever their type:

    * booleans are black and white, bytes as they are
    * floats up to 2 are a picture in 0..1; larger ones and integers one in 0..255. What lies beyond
      is clipped: resizing and sharpening add up to a fifth
    * integers that need more than 8 bits lose the lower ones
    * everything else, such as floats in -1..1, is stretched from its smallest number to its largest
    * NaN, infinities and what is masked are black

    Where that loses more than an overshoot, one warning for each key says so.

    Args:
        data: numpy, torch or JAX array of shape (H, W), (H, W, C) or (C, H, W) with 1 to 4
            channels; a PIL image of any mode; a matplotlib figure, or what lies on one or has one
            (axes, pyplot, a grid of seaborn); the content of a picture file as bytes, or its path:
            PNG, JPEG, GIF, WebP and BMP are kept as they are, others are decoded by Pillow if the
            program has imported it.
        caption: text shown beside it.
        layout: which axis is which, where the shape alone leaves a doubt. Without it the last axis
            holds the channels if it can (numpy, JAX), for torch the first if it can.
    """

    data: object
    caption: str | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table, from rows, columns by name, or a dataframe.

    Cells are numbers, texts, None, and pictures (`Image`, a PIL image, a figure). Dates are text of
    ISO 8601, durations seconds, what is missing is None, lists and dicts are JSON; cells of other
    types are kept as their text.

    Args:
        columns: names of the columns; beside ones that have names, which of them to take.
        data: rows (sequences as long as `columns`, or a two-dimensional array), rows by name
            (mappings, dataclasses, named tuples), a mapping of columns, a structured array, a
            Series, or a dataframe.
        dataframe: a dataframe of pandas, polars or pyarrow, or anything else that `data` takes. An
            index that does more than count the rows becomes the first columns; levels of column
            names are joined by ``/``.
    """

    columns: Sequence[str] | None = None
    data: Iterable[Any] | None = None
    dataframe: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """A distribution, from numbers (`data`) or from ready `counts` and `edges`.

    Args:
        data: array, tensor or sequence of any finite numbers and any shape, or a list of those;
            sorted into `bins` bins of equal width. NaN, infinities and what is missing are counted
            apart. What ``numpy.histogram`` gives is taken for counts and edges.
        counts: how many values each bin holds.
        edges: the bins' borders, one more than `counts`.
        bins: number of bins for `data`, at most 10,000.
    """

    data: object = None
    counts: Sequence[float] | None = None
    edges: Sequence[float] | None = None
    bins: int = 64


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Sound, kept as 16-bit samples.

    Floats are in -1..1, and clipped where they are not. Integers use the whole range of their type,
    the unsigned ones around its middle; 16-bit samples in a larger type are taken as what they are.

    Args:
        data: array of shape (samples,), (samples, channels) or (channels, samples), of which the
            longer axis counts samples; or the path of a sound file, which is kept as it is.
        sample_rate: samples a second; needed for an array.
        caption: text shown beside it.
    """

    data: object
    sample_rate: float | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Moving pictures.

    Args:
        data: array of shape (T, H, W), (T, H, W, C) or (T, C, H, W), with numbers as in `Image` and
            one range for all frames; a list of arrays, tensors or PIL images of one size; a PIL
            image with several frames; (N, T, H, W, C) or (N, T, C, H, W), shown side by side; or
            the path of a video file, which is kept as it is.
        fps: frames a second.
        caption: text shown beside it.
        layout: which axis of a frame is which, as in `Image`.
    """

    data: object
    fps: float = 10.0
    caption: str | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """A file or a directory that goes to the run's artifacts.

    Args:
        path: where it is now.
        artifact_path: folder among the artifacts; without it the key it is logged under.
    """

    path: str | os.PathLike[str]
    artifact_path: str | None = None


def base_name(path: object) -> str:
    """The last part of a path: the key that a file is logged under when it was given none."""
    return os.path.basename(os.path.normpath(str(path)))
