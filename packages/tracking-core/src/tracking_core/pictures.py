"""Pictures, still and moving, as bytes: what is black, what is white, and which axis is which.

The rule for numbers is that of `tracking_core.values.Image`, and the same for moving pictures.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from tracking_core.errors import UnfitValueError
from tracking_core.foreign import array_of, imported_numpy, is_a, is_masked, without_mask
from tracking_core.plain import text_of, type_name
from tracking_core.records import LoggedImage, LoggedVideo
from tracking_core.values import Image, Layout, Video

__all__ = [
    "caption_of",
    "drawn",
    "encoded_picture",
    "figure_of",
    "fps_of",
    "of_pillow",
    "picture_of",
    "video_of",
]

OVERSHOOT = 0.2  # of the whole range: what resizing and sharpening add
BRIGHTEST = 2.0  # of a picture in 0..1
VISIBLE = 8  # of 255: what is darker looks black
USUAL_FPS = 10.0
AT_ONCE = 2**20  # numbers, while they are made bytes

NOT_FINITE = "what is NaN or infinite in it is black"
MASKED = "what is masked in it is black"
STRETCHED = (
    "its values, neither 0..1 nor 0..255, were stretched from black for the smallest to white for "
    "the largest: scale them to 0..1 to choose the range yourself"
)
CLIPPED = "its values were clipped to 0..1, where some are far beyond: scale them to 0..1"
NEARLY_BLACK = (
    "it is nearly black: floats up to 2 are taken as 0..1, other numbers as 0..255, so scale them"
)
SHIFTED = "its integers have more than 8 bits, of which the upper 8 were kept"
ONE_FRAME = "it has several frames, of which one was kept: log it as a Video to have all"
STRANGE_FPS = f"its fps is no positive number: it is shown at {USUAL_FPS:g} frames a second"

_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"BM": "bmp",
}
_POSSIBLE = range(1, 5)
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def picture_of(image: Image, notes: list[str]) -> LoggedImage:
    """The picture in `image`, which is none of a file; what is lost of it is added to `notes`.

    Raises:
        UnfitValueError: there is none.
    """
    data, caption = image.data, caption_of(image.caption)
    if isinstance(data, (bytes, bytearray, BytesIO)):
        encoded = data.getvalue() if isinstance(data, BytesIO) else bytes(data)
        return encoded_picture(encoded, caption, "what Image was given", notes)
    if is_a("PIL.Image", "Image", data):
        return of_pillow(data, caption, notes)
    figure = figure_of(data)
    if figure is not None:
        return drawn(figure, caption)
    array = array_of(data)
    if array is None:
        raise UnfitValueError(
            f"Image can't take a {type_name(data)}: give an array, PIL image, figure or path"
        )
    return _of_pixels(_pixels(array, image.layout, notes, of_torch=_of_torch(data)), caption)


def caption_of(given: object) -> str | None:
    """A caption as text, whatever it was given as."""
    return None if given is None else text_of(given)


# --- files and what others draw ---


def encoded_picture(data: bytes, caption: str | None, what: str, notes: list[str]) -> LoggedImage:
    """The picture in the content of a file: as it is, where every browser shows its kind.

    Others are decoded by Pillow, if the program has imported it.

    Raises:
        UnfitValueError: it is no picture. `what` is named then.
    """
    width = height = 0
    kind = _format_of(data)
    if kind == "png":
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif kind == "gif":
        width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    elif kind is None:
        return _decoded(data, caption, what, notes)
    return LoggedImage(data, width, height, 0, format=kind, caption=caption)


def drawn(figure: Any, caption: str | None) -> LoggedImage:
    """A matplotlib figure as PNG."""
    file = BytesIO()
    figure.savefig(file, format="png")
    data = file.getvalue()
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return LoggedImage(data, width, height, 0, format="png", caption=caption, figure=True)


def figure_of(value: Any) -> Any:
    """The matplotlib figure that `value` is, is drawn on, or has; None if there is none.

    That may be a figure, whatever lies on one (axes, what ``plot`` gives back), several of one
    figure (what ``subplots`` gives back), pyplot itself, or an object with a figure, such as the
    grids of seaborn and the displays of scikit-learn.

    Raises:
        UnfitValueError: it is drawn on none, or on several.
    """
    if "matplotlib.figure" not in sys.modules:
        return None
    if is_a("matplotlib.figure", "Figure", value):
        return value
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and value is pyplot:
        if not pyplot.get_fignums():
            raise UnfitValueError("pyplot has no figure: draw one first")
        return pyplot.gcf()
    artists = _artists(value)
    if artists:
        figures = {id(figure): figure for figure in map(_root, artists)}
        if len(figures) > 1 or None in figures.values():
            raise UnfitValueError("it is drawn on no figure, or on several: log each figure")
        return _root(artists[0])
    for name in ("figure", "fig", "figure_"):
        found = getattr(value, name, None)
        if is_a("matplotlib.figure", "Figure", found):
            return found
    return None


def _artists(value: Any) -> list[Any]:
    if is_a("matplotlib.artist", "Artist", value):
        return [value]
    if is_a("numpy", "ndarray", value) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, (list, tuple)) and value:
        return value if all(is_a("matplotlib.artist", "Artist", one) for one in value) else []  # type: ignore[return-value]  # a tuple does, too
    return []


def _root(artist: Any) -> Any:
    """The whole figure that an artist lies on, also through figures in figures; None without one."""
    while artist is not None and not is_a("matplotlib.figure", "Figure", artist):
        artist = artist.figure
    return artist


def _format_of(data: bytes) -> str | None:
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in _FORMATS.items() if data.startswith(magic)), None)


def _decoded(data: bytes, caption: str | None, what: str, notes: list[str]) -> LoggedImage:
    pillow = sys.modules.get("PIL.Image")
    kinds = f"{what} is no PNG, JPEG, GIF, WebP or BMP picture"
    if pillow is None:
        raise UnfitValueError(f"{kinds}: give what PIL.Image.open() makes of it")
    try:
        picture = pillow.open(BytesIO(data))
    except pillow.UnidentifiedImageError:
        raise UnfitValueError(f"{kinds}, nor any that Pillow reads") from None
    with picture:
        return of_pillow(picture, caption, notes)


def of_pillow(picture: Any, caption: str | None, notes: list[str]) -> LoggedImage:
    """A PIL image of any mode; of one with several frames, the one that it stands at."""
    if getattr(picture, "is_animated", False):
        notes.append(ONE_FRAME)
    return _of_pillow(picture, caption, notes)


def _of_pillow(
    picture: Any, caption: str | None, notes: list[str], mode: str | None = None
) -> LoggedImage:
    if 0 in picture.size:
        raise UnfitValueError(f"a picture of size {picture.size} holds no pixels")
    if mode is None and _is_deep(picture):
        return _of_pixels(_pixels(_as_array(picture), "HW", notes), caption)
    wanted = mode or _mode_of(picture)
    if picture.mode != wanted:
        picture = picture.convert(wanted)
    width, height = picture.size
    return LoggedImage(picture.tobytes(), width, height, _CHANNELS[wanted], caption=caption)


def _is_deep(picture: Any) -> bool:
    """Whether it holds grey values of more than 8 bits, which Pillow would cut to 255."""
    mode: str = picture.mode
    return mode in ("I", "F") or mode.startswith("I;")


def _as_array(picture: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise UnfitValueError(
            f"a picture of mode {picture.mode!r} needs numpy: import it, or convert it to 'L'"
        )
    return numpy.asarray(picture)


def _mode_of(picture: Any) -> str:
    mode: str = picture.mode
    if mode in ("1", "L", "LA", "La") and "transparency" not in picture.info:
        return "L" if mode in ("1", "L") else "LA"
    return "RGBA" if mode in _WITH_ALPHA or "transparency" in picture.info else "RGB"


# --- arrays ---


def _of_torch(data: object) -> bool:
    return is_a("torch", "Tensor", data)


def _of_pixels(pixels: Any, caption: str | None) -> LoggedImage:
    height, width, channels = pixels.shape
    return LoggedImage(pixels.tobytes(), width, height, channels, caption=caption)


def _pixels(array: Any, layout: Layout | None, notes: list[str], *, of_torch: bool = False) -> Any:
    """(H, W, C) bytes of an array that holds one picture."""
    if array.size == 0:
        raise UnfitValueError(f"an array of shape {array.shape} holds no pixels")
    if layout is None and array.ndim == 4 and len(array) == 1:
        array = array[0]  # a batch of one
    layout = layout or _layout(array.shape, first=of_torch)
    if array.ndim != len(layout):
        raise UnfitValueError(f"an array of shape {array.shape} has no layout {layout!r}")
    return _eight_bits(_channels_last(array, layout), notes)


def _layout(shape: Sequence[int], *, first: bool) -> Layout:
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        order: tuple[tuple[Layout, int], ...] = (("HWC", 2), ("CHW", 0))
        for layout, axis in reversed(order) if first else order:
            if shape[axis] in _POSSIBLE:
                return layout
    batch = ": log_images() takes a batch of them" if len(shape) == 4 else ""
    raise UnfitValueError(
        f"shape {tuple(shape)} is no picture: (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels"
        + batch
    )


def _channels_last(array: Any, layout: Layout) -> Any:
    """`array` with the axes of a picture as its last three, (..., H, W, C)."""
    if layout not in ("HW", "HWC", "CHW"):
        raise UnfitValueError(f"layout {layout!r} is none of 'HW', 'HWC', 'CHW'")
    if layout == "HW":
        return array[..., None]
    array = array if layout == "HWC" else array.swapaxes(-3, -2).swapaxes(-2, -1)
    if array.shape[-1] not in _POSSIBLE:
        raise UnfitValueError(f"{array.shape[-1]} channels are none of 1, 2, 3 and 4")
    return array


def _eight_bits(array: Any, notes: list[str]) -> Any:
    """`array` of any type of numbers as bytes, by the rule of `Image`."""
    kind = array.dtype.kind
    if kind not in "buif":
        remedies = {"c": ": give its abs(), real or imag", "O": ": give numbers of one type"}
        raise UnfitValueError(f"an array of {array.dtype} holds no pixels{remedies.get(kind, '')}")
    if is_masked(array):
        notes.append(MASKED)
    array = without_mask(array, math.nan if kind == "f" else 0)
    if kind == "b":
        return imported_numpy().multiply(array, 255, dtype="uint8")
    if kind == "f":
        return _eight_bits_of_floats(array, notes)
    return array if array.dtype == "uint8" else _eight_bits_of_integers(array, notes)


def _eight_bits_of_integers(array: Any, notes: list[str]) -> Any:
    numpy = imported_numpy()
    low, high = int(array.min()), int(array.max())
    pixels = numpy.empty(array.shape, "uint8")
    if -low <= OVERSHOOT * high and high <= 255 * (1 + OVERSHOOT):
        if 0 < high < VISIBLE:
            notes.append(NEARLY_BLACK)
        return numpy.clip(array, 0, 255, out=pixels, casting="unsafe")
    if low >= 0:
        notes.append(SHIFTED)
        return numpy.right_shift(array, high.bit_length() - 8, out=pixels, casting="unsafe")
    notes.append(STRETCHED)
    return _scaled(array.astype("float64"), float(low), float(high))


def _eight_bits_of_floats(array: Any, notes: list[str]) -> Any:
    numpy = imported_numpy()
    with numpy.errstate(all="ignore"):
        if array.dtype.itemsize not in (4, 8):
            # numpy computes with halves slowly, and few have more than 64 bits to say.
            array = array.astype("float32" if array.dtype.itemsize < 4 else "float64")
        low, high = float(array.min()), float(array.max())
        finite = None
        if not math.isfinite(low + high):  # NaN is the smallest and the largest of all
            finite = numpy.isfinite(array)
            if not finite.all():
                # Not those of a mask, of which something was said already.
                notes.extend([] if MASKED in notes else [NOT_FINITE])
            if not finite.any():
                return numpy.zeros(array.shape, "uint8")
            low = float(array.min(initial=math.inf, where=finite))
            high = float(array.max(initial=-math.inf, where=finite))
        pixels = _scaled(array, *_range(low, high, notes))
        if finite is not None:
            pixels[~finite] = 0
        return pixels


def _range(low: float, high: float, notes: list[str]) -> tuple[float, float]:
    """What is black and what is white in a picture of floats from `low` to `high`."""
    if -low <= OVERSHOOT * high and high <= 255 * (1 + OVERSHOOT):
        white = 1.0 if high <= BRIGHTEST else 255.0
        if white == 1 and high > 1 + OVERSHOOT:
            notes.append(CLIPPED)
        elif 0 < high < white * VISIBLE / 255:
            notes.append(NEARLY_BLACK)
        return 0.0, white
    notes.append(STRETCHED)
    return low, high


def _scaled(array: Any, black: float, white: float) -> Any:
    """Bytes from 0 for `black` to 255 for `white`; what is beyond is clipped, and NaN anything."""
    numpy = imported_numpy()
    largest = max(abs(black), abs(white))
    if not 1e-30 < largest < 1e30:
        # Their difference may be more than a float holds, or less.
        largest = largest or 1.0
        array, black, white = array / largest, black / largest, white / largest
    factor = 255 / ((white - black) or 1.0)
    pixels = numpy.empty(array.shape, "uint8")
    rows = max(1, AT_ONCE * len(array) // array.size)
    for start in range(0, len(array), rows):  # a video need not be in memory as floats once more
        part = array[start : start + rows]
        scaled = numpy.empty(part.shape, "float32")
        numpy.subtract(part, black, out=scaled, casting="same_kind")
        scaled *= factor
        scaled += 0.5
        numpy.clip(scaled, 0, 255, out=pixels[start : start + rows], casting="unsafe")
    return pixels


# --- moving pictures ---


def video_of(video: Video, notes: list[str]) -> LoggedVideo:
    """The moving picture in `video`, which is none of a file; as `picture_of`."""
    data = video.data
    if is_a("PIL.Image", "Image", data):
        data = _frames_of_pillow(data)
    of_torch = _of_torch(data)
    if isinstance(data, (list, tuple)):
        if not data:
            raise UnfitValueError("Video was given no frames")
        of_torch = _of_torch(data[0])
        array = _stacked(data)
        if array is None:
            return _joined(data, video, notes)
    else:
        array = array_of(data)
    if array is None or array.ndim not in (3, 4, 5) or array.size == 0:
        shape = "" if array is None else f", not of shape {array.shape}"
        raise UnfitValueError(
            "Video takes an array of shape (T, H, W), (T, H, W, C) or (T, C, H, W), a list of "
            f"frames, or a path{shape}"
        )
    layout = video.layout or _layout_of_frames(array.shape, first=of_torch)
    if array.ndim - len(layout) not in (1, 2):
        raise UnfitValueError(f"an array of shape {array.shape} has no frames of {layout!r}")
    # All frames at once, so that floats have one range in the whole video and not in each frame.
    frames = _side_by_side(_eight_bits(_channels_last(array, layout), notes))
    count, height, width, channels = frames.shape
    return LoggedVideo(
        frames.tobytes(), width, height, channels, count, fps_of(video.fps, notes),
        caption=caption_of(video.caption),
    )  # fmt: skip


def _layout_of_frames(shape: Sequence[int], *, first: bool) -> Layout:
    if len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) > VISIBLE:
        raise UnfitValueError(
            f"shape {tuple(shape)} looks like one picture: log it as an Image, or say "
            "layout='HW' if its first axis counts frames"
        )
    return _layout(shape[2:] if len(shape) == 5 else shape[1:], first=first)


def fps_of(given: Any, notes: list[str]) -> float:
    """Frames a second as a number above 0; what is none becomes the usual one."""
    try:
        fps = float(given)
    except (TypeError, ValueError, OverflowError):
        fps = math.nan
    if 0 < fps < math.inf:
        return fps
    notes.append(STRANGE_FPS)
    return USUAL_FPS


def _stacked(frames: Sequence[Any]) -> Any:
    """Frames that are arrays of one type as one array, so that they have one range; else None."""
    arrays: list[Any] = []
    for frame in frames:
        deep = is_a("PIL.Image", "Image", frame) and _is_deep(frame)
        array = _as_array(frame) if deep else array_of(frame)
        if array is None or (arrays and array.dtype != arrays[0].dtype):
            return None
        arrays.append(array[0] if array.ndim == 4 and len(array) == 1 else array)
    _require_one([array.shape for array in arrays], "shape")
    if arrays[0].ndim > 3:
        raise UnfitValueError(f"frame 0 is of shape {arrays[0].shape}: give one picture a frame")
    numpy = imported_numpy()
    masked = any(is_a("numpy.ma", "MaskedArray", array) for array in arrays)
    return numpy.ma.stack(arrays) if masked else numpy.stack(arrays)


def _joined(frames: Sequence[Any], video: Video, notes: list[str]) -> LoggedVideo:
    """Frames of several kinds as one moving picture, each a picture of its own."""
    mode = None
    if all(is_a("PIL.Image", "Image", frame) for frame in frames):
        modes = {None if _is_deep(frame) else _mode_of(frame) for frame in frames}
        # As pictures of one mode, where some are grey or transparent and others are not.
        mode = "RGBA" if len(modes) > 1 and None not in modes else None
    pictures = []
    for number, frame in enumerate(frames):
        if is_a("PIL.Image", "Image", frame):
            picture = _of_pillow(frame, None, notes, mode)
        elif (array := array_of(frame)) is not None:
            of_torch = _of_torch(frame)
            picture = _of_pixels(_pixels(array, video.layout, notes, of_torch=of_torch), None)
        else:
            raise UnfitValueError(
                f"frame {number} is a {type_name(frame)}: give arrays, or PIL images"
            )
        pictures.append(picture)
    _require_one([(one.width, one.height) for one in pictures], "width and height")
    _require_one([one.channels for one in pictures], "number of channels")
    first = pictures[0]
    return LoggedVideo(
        b"".join(one.data for one in pictures), first.width, first.height, first.channels,
        len(pictures), fps_of(video.fps, notes), caption=caption_of(video.caption),
    )  # fmt: skip


def _require_one(found: Sequence[Any], what: str) -> None:
    for number, one in enumerate(found):
        if one != found[0]:
            raise UnfitValueError(
                f"the frames are not of one {what}: frame {number} has {one}, frame 0 {found[0]}"
            )


def _frames_of_pillow(picture: Any) -> list[Any]:
    place = picture.tell()
    frames = []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        frames.append(picture.copy())
    picture.seek(place)
    return frames


def _side_by_side(frames: Any) -> Any:
    """(T, H, W, C) of (N, T, H, W, C): N videos at once, in a grid that is as square as can be."""
    if frames.ndim == 4:
        return frames
    count, length, height, width, channels = frames.shape
    if count == 1:
        return frames[0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = imported_numpy().zeros((rows * columns, length, height, width, channels), "uint8")
    grid[:count] = frames
    placed = grid.reshape(rows, columns, length, height, width, channels)
    moved = placed.transpose(2, 0, 3, 1, 4, 5)
    return moved.reshape(length, rows * height, columns * width, channels)
