"""What a reader found in a run, arranged so that a test can ask for it."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import PIL.Image
import PIL.ImageSequence

from tracking_core.encoding import audio_file, image_file, video_file
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedImage,
    LoggedVideo,
    Record,
    Status,
    Tags,
    Value,
    flat,
    media_list,
)

__all__ = ["Point", "Seen", "frames_of", "pixels_of", "samples_of"]


class Point(NamedTuple):
    """One value of one key."""

    step: int
    wall_time: float
    value: Value


class Seen:
    """The records that a reader yielded, by key.

    Attributes:
        config: all configuration, later entries over earlier ones.
        tags: all tags likewise.
        status: how the run ended; None while it is running.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.config: dict[str, Any] = {}
        self.tags: dict[str, str | None] = {}
        self.status: Status | None = None
        self._points: dict[str, list[Point]] = {}
        self._files: list[LoggedFile] = []
        for record in records:
            match record:
                case Config():
                    self.config.update(record.values)
                case Tags():
                    self.tags.update(record.values)
                case End():
                    self.status = record.status
                case Log():
                    self._take(record)
                case _:
                    raise TypeError(
                        f"{record!r:.200} is no record: a reader yields Config, Tags, Log and End "
                        "of tracking_core.records"
                    )

    def _take(self, record: Log) -> None:
        step = record.position if record.step is None else record.step
        for key, value in flat(record.values):
            self._points.setdefault(key, []).append(Point(step, record.wall_time, value))
            self._files += [one for one in media_list(value) if isinstance(one, LoggedFile)]

    @property
    def keys(self) -> set[str]:
        """Every key with a value, nested ones as ``parent/child``."""
        return set(self._points)

    def points(self, key: str) -> list[Point]:
        """All values of `key`, in the order of their steps; those of one step as they were read."""
        return sorted(self._points.get(key, []), key=lambda point: point.step)

    def values(self, key: str) -> list[Value]:
        """The values of `points`."""
        return [point.value for point in self.points(key)]

    def media(self, key: str) -> list[Any]:
        """All media of `key`, also where a list was stored under ``key/0``, ``key/1``, ..."""
        found = [medium for value in self.values(key) for medium in media_list(value)]
        number = 0
        while not found or number:
            listed = self.values(f"{key}/{number}")
            if not listed:
                break
            found += [one for value in listed for one in media_list(value)]
            number += 1
        return found

    def files(self) -> dict[str, bytes]:
        """The content of all files among the artifacts, by their path there."""
        found: dict[str, bytes] = {}
        for file in self._files:
            root = Path(file.path)
            paths = (
                [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
            )
            for path in paths:
                inner = path.relative_to(root) if root.is_dir() else Path(path.name)
                found[os.path.join(file.artifact_path, inner)] = path.read_bytes()
        return found


def pixels_of(image: LoggedImage) -> Any:
    """The picture as a (height, width, channels) array of bytes."""
    with PIL.Image.open(io.BytesIO(image_file(image)[0])) as picture:
        return _channels_last(picture)


def frames_of(video: LoggedVideo) -> Any:
    """The moving picture as a (frames, height, width, channels) array of bytes."""
    with PIL.Image.open(io.BytesIO(video_file(video)[0])) as picture:
        mode = picture.mode
        frames = [frame.convert(mode) for frame in PIL.ImageSequence.Iterator(picture)]
        return numpy.stack([_channels_last(frame) for frame in frames])


def samples_of(audio: LoggedAudio) -> tuple[Any, int]:
    """The sound as a (samples, channels) array of 16-bit integers, and its sample rate."""
    with wave.open(io.BytesIO(audio_file(audio)[0])) as file:
        samples = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


def _channels_last(picture: PIL.Image.Image) -> Any:
    array = numpy.asarray(picture)
    return array[..., None] if array.ndim == 2 else array
