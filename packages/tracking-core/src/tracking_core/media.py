"""Pictures, sound, tables and distributions: what others hold them in becomes plain data.

Arrays, tensors, PIL images, dataframes and figures are recognised without importing their
libraries: an object of theirs can only come from a program that has imported them.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from tracking_core.errors import UnfitValueError
from tracking_core.plain import NOT_PLAIN, plain_value, text, type_name
from tracking_core.records import (
    MEDIA_TYPES,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Media,
    Plain,
)
from tracking_core.values import Artifact, Audio, Histogram, Image, Layout, Table, Video

__all__ = ["medium_of", "plain_array"]


def medium_of(key: str, value: object) -> Media | None:
    """`value` as one of the media of `tracking_core.records`; None if it is none of them.

    Raises:
        UnfitValueError: it is meant to be one, but its content does not fit.
        OSError: its file can't be read.
    """
    match value:
        case Image():
            return _image(value)
        case Table():
            return _table(value)
        case Histogram():
            return _histogram(value)
        case Audio():
            return _audio(value)
        case Video():
            return _video(value)
        case Artifact():
            return _artifact(key, value)
        case _ if isinstance(value, MEDIA_TYPES):
            return value
        case _ if _is("PIL.Image", "Image", value) or _is("matplotlib.figure", "Figure", value):
            return _image(Image(value))
        case _:
            return None


# --- pictures, sound and moving pictures ---


_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"BM": "bmp",
}


def _image(image: Image) -> LoggedImage:
    data = image.data
    if isinstance(data, (str, os.PathLike)):
        return _picture_file(data, image.caption)
    if _is("matplotlib.figure", "Figure", data):
        drawn = BytesIO()
        data.savefig(drawn, format="png")  # type: ignore[attr-defined]  # recognised by its class
        return _encoded_picture(drawn.getvalue(), "png", image.caption, figure=True)
    if _is("PIL.Image", "Image", data):
        return _pil_picture(data, image.caption)
    array, layout = _array(data), image.layout
    if array is None:
        raise UnfitValueError(
            f"Image can't take a {type_name(data)}: give an array, PIL image or path"
        )
    pixels = _pixels(array, layout, first=_is("torch", "Tensor", data))
    height, width, channels = pixels.shape
    return LoggedImage(_bytes(pixels), width, height, channels, caption=image.caption)


def _picture_file(path: str | os.PathLike[str], caption: str | None) -> LoggedImage:
    with open(path, "rb") as file:
        data = file.read()
    for magic, name in _FORMATS.items():
        if data.startswith(magic):
            return _encoded_picture(data, name, caption)
    raise UnfitValueError(f"{os.fspath(path)!r} is no PNG, JPEG, GIF, WebP or BMP picture")


def _encoded_picture(
    data: bytes, name: str, caption: str | None, *, figure: bool = False
) -> LoggedImage:
    width = height = 0
    if name == "png":
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif name == "gif":
        width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return LoggedImage(data, width, height, 0, format=name, caption=caption, figure=figure)


def _pil_picture(picture: Any, caption: str | None) -> LoggedImage:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
    if picture.mode not in channels:
        has_alpha = "transparency" in picture.info or picture.mode in ("PA", "RGBa", "La")
        picture = picture.convert("L" if picture.mode == "1" else "RGBA" if has_alpha else "RGB")
    width, height = picture.size
    return LoggedImage(picture.tobytes(), width, height, channels[picture.mode], caption=caption)


def _audio(audio: Audio) -> LoggedAudio:
    if isinstance(audio.data, (str, os.PathLike)):
        data, suffix = _media_file(audio.data)
        return LoggedAudio(data, audio.sample_rate or 0, 0, format=suffix, caption=audio.caption)
    if not audio.sample_rate:
        raise UnfitValueError("Audio needs sample_rate=... beside an array of samples")
    array = _array(audio.data)
    if array is None or array.ndim not in (1, 2) or array.size == 0:
        raise UnfitValueError(
            "Audio takes an array of shape (samples,) or (samples, channels), or a path"
        )
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    elif array.shape[0] < array.shape[1]:
        array = array.T
    if array.dtype.kind == "f":
        array = array.astype("float64")
        array[array != array] = 0
        array = (array.clip(-1, 1) * 32767).round()
    samples = array.clip(-32768, 32767).astype("<i2")
    return LoggedAudio(
        _bytes(samples), int(audio.sample_rate), samples.shape[1], caption=audio.caption
    )


def _video(video: Video) -> LoggedVideo:
    if isinstance(video.data, (str, os.PathLike)):
        data, suffix = _media_file(video.data)
        return LoggedVideo(data, 0, 0, 0, 0, video.fps, format=suffix, caption=video.caption)
    array = _array(video.data)
    if array is None or array.ndim not in (3, 4) or array.size == 0:
        raise UnfitValueError(
            "Video takes an array of shape (T, H, W), (T, H, W, C) or (T, C, H, W)"
        )
    first = _is("torch", "Tensor", video.data)
    # All frames at once, so that floats are stretched over the whole video and not over each frame.
    layout = video.layout or _layout(array.shape[1:], first=first)
    frames = _to_eight_bits(_channels_last(array, layout))
    count, height, width, channels = frames.shape
    return LoggedVideo(
        _bytes(frames), width, height, channels, count, float(video.fps), caption=video.caption
    )


def _media_file(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    with open(path, "rb") as file:
        return file.read(), os.path.splitext(path)[1].removeprefix(".").lower() or "bin"


def _pixels(array: Any, layout: Layout | None, *, first: bool) -> Any:
    """(H, W, C) bytes of an array that holds one picture."""
    if array.size == 0:
        raise UnfitValueError(f"an array of shape {array.shape} holds no pixels")
    return _to_eight_bits(_channels_last(array, layout or _layout(array.shape, first=first)))


def _layout(shape: Sequence[int], *, first: bool) -> Layout:
    possible = range(1, 5)
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        order: tuple[tuple[Layout, int], ...] = (("HWC", 2), ("CHW", 0))
        for layout, axis in reversed(order) if first else order:
            if shape[axis] in possible:
                return layout
    raise UnfitValueError(
        f"shape {tuple(shape)} is no picture: (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels"
    )


def _channels_last(array: Any, layout: Layout) -> Any:
    """`array` with the axes of a picture as its last three, (..., H, W, C)."""
    if layout not in ("HW", "HWC", "CHW"):
        raise UnfitValueError(f"layout {layout!r} is none of 'HW', 'HWC', 'CHW'")
    if layout == "HW":
        return array[..., None]
    return array if layout == "HWC" else array.swapaxes(-3, -2).swapaxes(-2, -1)


def _to_eight_bits(array: Any) -> Any:
    kind = array.dtype.kind
    if kind == "b":
        return array.astype("uint8") * 255
    if kind == "f":
        array = array.astype("float32")
        array[(array != array) | (abs(array) == math.inf)] = 0
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 255:
            array = (array - low) / ((high - low) or 1.0) * 255
        elif high <= 1:
            array = array * 255
        return (array + 0.5).astype("uint8")
    if kind in "ui":
        if array.dtype.itemsize == 2 and int(array.max()) > 255:
            array = array.clip(0, 65535) // 256
        return array.clip(0, 255).astype("uint8")
    raise UnfitValueError(f"an array of {array.dtype} holds no pixels")


# --- tables, distributions, files ---


def _table(table: Table) -> LoggedTable:
    columns, rows = table.columns, table.data
    frame: Any = table.dataframe
    if frame is not None:
        columns = list(frame.columns)
        # polars has rows(); pandas gives plain tuples through itertuples.
        rows = frame.rows() if hasattr(frame, "rows") else frame.itertuples(index=False, name=None)
    if rows is None:
        raise UnfitValueError("Table needs data=... (rows) or dataframe=...")
    listed = [row if isinstance(row, Mapping) else list(row) for row in rows]
    if columns is None:
        first = listed[0] if listed else []
        columns = (
            list(dict.fromkeys(key for row in listed if isinstance(row, Mapping) for key in row))
            if isinstance(first, Mapping)
            else [str(index) for index in range(len(first))]
        )
    cells = [
        [row.get(name) for name in columns] if isinstance(row, Mapping) else row for row in listed
    ]
    for row in cells:
        if len(row) != len(columns):
            raise UnfitValueError(f"a row of {len(row)} cells does not fit {len(columns)} columns")
    return LoggedTable(
        [text(str(name)) for name in columns], [[_cell(c) for c in row] for row in cells]
    )


def _cell(value: object) -> Plain:
    try:
        plain = plain_value(value)
    except Exception:  # a cell of any type has a text
        plain = NOT_PLAIN
    return text(str(value)) if plain is NOT_PLAIN else plain  # type: ignore[return-value]  # plain


def _histogram(histogram: Histogram) -> LoggedHistogram:
    if histogram.counts is not None and histogram.edges is not None:
        return _ready_histogram(histogram.counts, histogram.edges)
    array = _array(histogram.data)
    if array is not None:
        if array.dtype.kind not in "buif":
            raise UnfitValueError(f"Histogram can't take an array of {array.dtype}")
        array = array.astype("float64").ravel()
        finite = array[abs(array) < math.inf]
        _require_some(len(finite))
        counts, edges = sys.modules["numpy"].histogram(finite, bins=histogram.bins)
        return LoggedHistogram(
            counts.astype("float64").tolist(), edges.tolist(), float(finite.min()),
            float(finite.max()), float(len(finite)), float(finite.sum()),
            float((finite * finite).sum()), len(array) - len(finite),
        )  # fmt: skip
    if not isinstance(histogram.data, Iterable):
        raise UnfitValueError(
            "Histogram takes an array, a sequence of numbers, or counts and edges"
        )
    everything = [float(number) for number in histogram.data]
    numbers = [number for number in everything if math.isfinite(number)]
    _require_some(len(numbers))
    return _counted(numbers, histogram.bins, nonfinite=len(everything) - len(numbers))


def _require_some(count: int) -> None:
    if not count:
        raise UnfitValueError("Histogram was given no finite number")


def _counted(numbers: list[float], bins: int, *, nonfinite: int) -> LoggedHistogram:
    low, high = min(numbers), max(numbers)
    start, stop = (low, high) if low < high else (low - 0.5, high + 0.5)
    width = (stop - start) / bins
    counts = [0.0] * bins
    for number in numbers:
        counts[min(int((number - start) / width), bins - 1)] += 1
    edges = [start + width * index for index in range(bins)] + [stop]
    squares = math.fsum(number * number for number in numbers)
    count = float(len(numbers))
    return LoggedHistogram(counts, edges, low, high, count, math.fsum(numbers), squares, nonfinite)


def _ready_histogram(counts: Sequence[float], edges: Sequence[float]) -> LoggedHistogram:
    heights, borders = [float(count) for count in counts], [float(edge) for edge in edges]
    if len(borders) != len(heights) + 1 or not heights:
        raise UnfitValueError(
            f"{len(heights)} counts need {len(heights) + 1} edges, not {len(borders)}"
        )
    if borders != sorted(borders):
        raise UnfitValueError("the edges must rise")
    middles = [(left + right) / 2 for left, right in itertools.pairwise(borders)]
    weighted = [count * middle for count, middle in zip(heights, middles, strict=True)]
    squares = [part * middle for part, middle in zip(weighted, middles, strict=True)]
    return LoggedHistogram(
        heights, borders, borders[0], borders[-1], sum(heights), sum(weighted), sum(squares)
    )


def _artifact(key: str, artifact: Artifact) -> LoggedFile:
    path = os.path.abspath(artifact.path)
    if not os.path.exists(path):
        raise UnfitValueError(f"no such file or directory: {path!r}")
    folder = key if artifact.artifact_path is None else artifact.artifact_path
    return LoggedFile(path, folder, os.path.isdir(path))


def plain_array(value: object, longest: int) -> list[Any] | str | None:
    """An array or tensor of any library as nested lists; a text if it is long or holds no numbers.

    None for what is no array.
    """
    array = _array(value)
    if array is None:
        return None
    if array.size > longest or array.dtype.kind not in "buif":
        return f"array of shape {array.shape}, {array.dtype}"
    listed: list[Any] = array.tolist()
    return listed


# --- recognising what others made ---


def _is(module: str, name: str, value: object) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _array(value: object) -> Any:
    """`value` as a numpy array if it is an array of any library, else None."""
    if _is("numpy", "ndarray", value):
        return value
    if _is("torch", "Tensor", value):
        tensor: Any = value
        tensor = tensor.detach().cpu()
        # numpy has no bfloat16 or float8.
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        numpy = sys.modules.get("numpy")
        array = None if numpy is None else numpy.asarray(value)
        # JAX's bfloat16 has a dtype of its own kind.
        return array.astype("float32") if array is not None and array.dtype.kind == "V" else array
    return None


def _bytes(array: Any) -> bytes:
    copied: bytes = array.tobytes()
    return copied
