"""Media and texts as the files that ClearML shows under DEBUG SAMPLES, and back."""

from __future__ import annotations

import hashlib
import io
import struct
import wave
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tracking_clearml.events import MediaFile
from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.records import LoggedAudio, LoggedImage, LoggedVideo, Value

__all__ = ["Sample", "sample_of", "samples_of", "value_of_file"]

IMAGE_SUFFIXES = ("png", "jpg", "jpeg", "gif", "webp", "bmp")
AUDIO_SUFFIXES = ("wav", "mp3", "flac", "ogg", "m4a", "aac")
VIDEO_SUFFIXES = ("mp4", "webm", "mov", "avi", "mkv")


class Sample(NamedTuple):
    """A medium or a text as a file; `about` is what the file itself does not say."""

    kind: str
    suffix: str
    data: bytes
    about: dict[str, Any]


def samples_of(values: Sequence[object], step: int, when: int) -> list[tuple[MediaFile, Sample]]:
    """The files of what was logged under one key in one call, each with its name.

    The same values have the same names, so storing them again replaces what is there.
    """
    samples = [sample_of(value) for value in values]
    whole = hashlib.sha256()
    for sample in samples:
        whole.update(hashlib.sha256(sample.data).digest())
        whole.update(repr(sample.about).encode())
    digest = whole.hexdigest()[:16]
    return [
        (MediaFile(step, when, digest, number, len(samples), sample.kind, sample.suffix), sample)
        for number, sample in enumerate(samples)
    ]


def sample_of(value: object) -> Sample:
    """`value`, a picture, a sound, a video or a text, as a file."""
    match value:
        case str():
            return Sample("text", "txt", value.encode("utf-8"), {})
        case LoggedImage():
            data, suffix = image_file(value)
            about = {} if value.caption is None else {"caption": value.caption}
            return Sample("figure" if value.figure else "image", suffix, data, about)
        case LoggedAudio():
            data, suffix = audio_file(value)
            return Sample("audio", suffix, data, _about(value))
        case LoggedVideo():
            data, suffix = video_file(value)
            return Sample("video", suffix, data, _about(value))
        case _:
            raise TypeError(f"{type(value).__name__} is no medium")


def value_of_file(name: str, kind: str, data: bytes, about: Mapping[str, Any]) -> Value:
    """The value of a file, ours or another's; pictures and sound stay encoded."""
    suffix = name.rpartition(".")[2].lower()
    if kind == "text":
        return data.decode("utf-8", "replace")
    if kind in ("image", "figure"):
        shape = _png_shape(data) if suffix == "png" else (0, 0, 0)
        kept = about.get("caption")
        suffix = "jpeg" if suffix == "jpg" else suffix
        return LoggedImage(data, *shape, format=suffix, caption=kept, figure=kind == "figure")
    known = {"sample_rate": 0, "channels": 0} if kind == "audio" else _NO_VIDEO
    fields = {**known, **about}
    if kind == "audio":
        if not about and suffix == "wav":
            fields.update(_wave(data))
        return LoggedAudio(data, format=suffix, **fields)
    return LoggedVideo(data, format=suffix, **fields)


def kind_of(name: str) -> str:
    """What a file of other making is, by its suffix; empty if it is none of ours."""
    suffix = name.rpartition(".")[2].lower()
    for kind, suffixes in (
        ("image", IMAGE_SUFFIXES),
        ("audio", AUDIO_SUFFIXES),
        ("video", VIDEO_SUFFIXES),
        ("text", ("txt",)),
    ):
        if suffix in suffixes:
            return kind
    return ""


_NO_VIDEO: dict[str, Any] = {"width": 0, "height": 0, "channels": 0, "frames": 0, "fps": 0.0}


def _about(value: LoggedAudio | LoggedVideo) -> dict[str, Any]:
    fields = msgspec.structs.asdict(value)
    return {name: field for name, field in fields.items() if name not in ("data", "format")}


def _wave(data: bytes) -> dict[str, int]:
    try:
        with wave.open(io.BytesIO(data)) as file:
            return {"sample_rate": file.getframerate(), "channels": file.getnchannels()}
    except (EOFError, wave.Error):
        return {}


def _png_shape(data: bytes) -> tuple[int, int, int]:
    if len(data) < 26:
        return 0, 0, 0
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    return width, height, {0: 1, 4: 2, 2: 3, 6: 4}.get(colour, 0)
