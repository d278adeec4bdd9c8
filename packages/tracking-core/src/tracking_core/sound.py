"""Sound as interleaved 16-bit samples, by the rule of `tracking_core.values.Audio`."""

from __future__ import annotations

import math
from typing import Any

from tracking_core.errors import UnfitValueError
from tracking_core.foreign import array_of, imported_numpy, is_masked, without_mask
from tracking_core.plain import type_name
from tracking_core.records import LoggedAudio
from tracking_core.values import Audio

__all__ = ["rate_of", "sound_of"]

FULL = 32767
OVERSHOOT = 0.1  # what resampling adds: clipping it is not heard
LARGEST_SIZE = 2**32 - 2**10  # bytes in a WAV file, and in a second of it
MOST_CHANNELS = 2**15 - 1

CLIPPED = "its samples were clipped to -1..1, where some are far beyond: scale them to -1..1"
SILENT = "what is NaN or masked in it is silence"


def sound_of(audio: Audio, caption: str | None, notes: list[str]) -> LoggedAudio:
    """The sound in `audio`, which is none of a file; what is lost of it is added to `notes`.

    Raises:
        UnfitValueError: there is none.
    """
    if audio.sample_rate is None:
        raise UnfitValueError("Audio needs sample_rate=... beside an array of samples")
    rate = rate_of(audio.sample_rate)
    array = array_of(audio.data)
    if array is None:
        raise UnfitValueError(
            f"Audio takes an array of shape (samples,) or (samples, channels), or a path, "
            f"not a {type_name(audio.data)}"
        )
    shape = array.shape
    while array.ndim > 2 and len(array) == 1:
        array = array[0]  # a batch of one
    if array.ndim not in (1, 2) or array.size == 0:
        raise UnfitValueError(
            "Audio takes an array of shape (samples,) or (samples, channels), or a path, "
            f"not an array of shape {shape}"
        )
    samples = array.reshape(-1, 1) if array.ndim == 1 else array
    if samples.shape[0] < samples.shape[1]:
        samples = samples.T
    channels = samples.shape[1]
    if channels > MOST_CHANNELS or max(rate * channels, samples.size) * 2 > LARGEST_SIZE:
        raise UnfitValueError(
            f"{len(samples)} samples of {channels} channels at {rate} a second are more than a WAV "
            "file holds: log parts of it"
        )
    return LoggedAudio(_sixteen_bits(samples, notes).tobytes(), rate, channels, caption=caption)


def rate_of(given: Any) -> int:
    """Samples a second, whatever the number was given as.

    Raises:
        UnfitValueError: it is no number above 0.
    """
    try:
        rate = float(given)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not 0.5 <= rate < LARGEST_SIZE:
        raise UnfitValueError(f"sample_rate={given!r:.50} is no number of samples a second")
    return round(rate)


def _sixteen_bits(samples: Any, notes: list[str]) -> Any:
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind not in "buif":
        raise UnfitValueError(f"an array of {samples.dtype} holds no samples")
    middle = 2 ** (8 * size - 1) if kind == "u" else 0
    if kind == "f":
        return _of_floats(without_mask(samples, math.nan), notes)
    if is_masked(samples):
        notes.append(SILENT)
    samples = without_mask(samples, middle)
    if kind == "b":
        return imported_numpy().multiply(samples, FULL, dtype="<i2")
    if size == 1:
        return (samples.astype("<i2") - middle) * 256
    if samples.dtype == "int16":
        return samples.astype("<i2")
    bits = _bits_of(int(samples.min()), int(samples.max()), signed=kind == "i")
    upper = (samples >> (bits - 16)).astype("<i4")
    return (upper - (2**15 if kind == "u" else 0)).astype("<i2")


def _bits_of(low: int, high: int, *, signed: bool) -> int:
    """16, 32 or 64: in which integers of that range are no silence, whatever holds them."""
    widths = (16, 32, 64)
    return next(
        bits for bits in widths if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - signed)
    )


def _of_floats(samples: Any, notes: list[str]) -> Any:
    numpy = imported_numpy()
    with numpy.errstate(all="ignore"):
        # A copy, in which all that follows is done.
        scaled = samples.astype("float32" if samples.dtype.itemsize <= 4 else "float64")
        silent = numpy.isnan(scaled)
        if silent.any():
            scaled[silent] = 0
            notes.append(SILENT)
        if max(-scaled.min(), scaled.max()) > 1 + OVERSHOOT:
            notes.append(CLIPPED)
        numpy.clip(scaled, -1, 1, out=scaled)
        scaled *= FULL
        return numpy.rint(scaled, out=scaled).astype("<i2")
