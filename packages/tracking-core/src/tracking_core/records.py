"""What can be said to a tracker, as frozen plain data.

`Tracking.log` turns what it is given into one record, every tracker takes records through
`GeneralTracker.deliver`, and a tracker's reader yields the same records again. Nothing in here
holds a tensor, an array, a figure or an open file, so a record can wait, be stored or be sent.

Media arrives *raw* (pixels, samples, bins): `tracking_core.encoding` makes files of it, away from
the training thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

__all__ = [
    "Cell",
    "Config",
    "End",
    "Log",
    "LoggedAudio",
    "LoggedFile",
    "LoggedHistogram",
    "LoggedImage",
    "LoggedTable",
    "LoggedVideo",
    "Media",
    "Plain",
    "Record",
    "Status",
    "Tags",
    "Value",
    "flat",
    "media_list",
]

Plain: TypeAlias = bool | int | float | str | None
Status: TypeAlias = Literal["finished", "failed", "killed"]


class LoggedImage(msgspec.Struct, frozen=True, tag="image"):
    """A picture: `height` rows of `width` pixels with `channels` bytes each, or an encoded file.

    Attributes:
        format: ``"raw"`` (`data` holds the pixels, row by row, 8 bits a channel: 1 grey, 2 grey
            and alpha, 3 RGB, 4 RGBA), else the kind of file that `data` holds: ``"png"``,
            ``"jpeg"``, ``"gif"``, ``"webp"``, ``"bmp"``.
        width, height, channels: 0 where an encoded file does not say.
        caption: text to show beside it.
        figure: whether it was drawn from a figure.
    """

    data: bytes
    width: int
    height: int
    channels: int
    format: str = "raw"
    caption: str | None = None
    figure: bool = False

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Lets ``numpy.asarray(image)`` see the raw pixels as (height, width, channels) uint8."""
        if self.format != "raw":
            raise AttributeError(f"an image held as {self.format} has no raw pixels")
        shape = (self.height, self.width, self.channels)
        return {"version": 3, "typestr": "|u1", "shape": shape, "data": self.data}

    def __getitem__(self, rows: slice) -> LoggedImage:
        """The picture of some of its rows, where it holds raw pixels."""
        if self.format != "raw":
            raise TypeError(f"an image held as {self.format} has no rows of pixels")
        width = self.width * self.channels
        kept = range(self.height)[rows]
        data = b"".join(self.data[row * width : (row + 1) * width] for row in kept)
        return msgspec.structs.replace(self, data=data, height=len(kept))


Cell: TypeAlias = Plain | LoggedImage


class LoggedTable(msgspec.Struct, frozen=True, tag="table"):
    """A table: every row has one cell for each column, which is plain or a picture.

    A tracker whose tables hold no pictures passes its rows through
    `tracking_core.tables.pictures_beside`.
    """

    columns: list[str]
    rows: list[list[Cell]]


class LoggedHistogram(msgspec.Struct, frozen=True, tag="histogram"):
    """A distribution: ``counts[i]`` values lie in ``[edges[i], edges[i + 1])``.

    `num`, `sum` and `sum_squares` are over the finite values; `nonfinite` counts the others. None
    is infinite: a sum that no float holds is the largest float.
    """

    counts: list[float]
    edges: list[float]
    min: float
    max: float
    num: float
    sum: float
    sum_squares: float
    nonfinite: int = 0

    @property
    def middles(self) -> list[float]:
        """The middle of each bin."""
        # Not the half of a sum, which may be more than a float holds.
        return [left / 2 + right / 2 for left, right in itertools.pairwise(self.edges)]


class LoggedAudio(msgspec.Struct, frozen=True, tag="audio"):
    """Sound: interleaved 16-bit little-endian samples, or an encoded file.

    Attributes:
        format: ``"pcm16"``, else the file's suffix without the dot (``"wav"``, ``"mp3"``, ...).
        sample_rate: samples a second of each channel; 0 where an encoded file does not say.
    """

    data: bytes
    sample_rate: int
    channels: int
    format: str = "pcm16"
    caption: str | None = None


class LoggedVideo(msgspec.Struct, frozen=True, tag="video"):
    """Moving pictures: `frames` pictures one after the other, or an encoded file.

    Attributes:
        format: ``"raw"`` (pixels as in `LoggedImage`, frame after frame), else the file's suffix
            without the dot (``"mp4"``, ``"gif"``, ...).
        fps: frames a second.
    """

    data: bytes
    width: int
    height: int
    channels: int
    frames: int
    fps: float
    format: str = "raw"
    caption: str | None = None


class LoggedFile(msgspec.Struct, frozen=True, tag="file"):
    """A file or a directory on this machine that the tracker is to keep.

    Attributes:
        path: absolute.
        artifact_path: folder of the run's artifacts to put it in; ``""`` is their root. The
            contents of a directory go into it, as MLflow's ``log_artifacts`` has it.
    """

    path: str
    artifact_path: str = ""
    directory: bool = False


Media: TypeAlias = (
    LoggedImage | LoggedTable | LoggedHistogram | LoggedAudio | LoggedVideo | LoggedFile
)
if TYPE_CHECKING:
    # Any stands for a nested `Value`: an alias can't name itself.
    Value: TypeAlias = Plain | Media | list[Media] | dict[str, Any]
else:
    # msgspec takes no union of media and dicts; `tracking_core.codec` tells them apart.
    Value = Any


class Config(msgspec.Struct, frozen=True, tag="config", omit_defaults=True):
    """Hyperparameters: nested dicts and lists of plain values."""

    values: dict[str, Any]
    wall_time: float
    only: str | None = None


class Tags(msgspec.Struct, frozen=True, tag="tags", omit_defaults=True):
    """Tags: a label has the value None, a key-value tag its text."""

    values: dict[str, str | None]
    wall_time: float
    only: str | None = None


class Log(msgspec.Struct, frozen=True, tag="log", omit_defaults=True):
    """What one call of `Tracking.log` said.

    Attributes:
        values: plain values, media, lists of media, and nested dicts of them.
        step: as the caller gave it; None if the call had none.
        position: `step`, or for a row without one the place after the row before it; from 0.
        wall_time: seconds since the epoch when `log` was called.
        options: what `log_kwargs` held, by tracker name.
        only: the one tracker that this is for, as in `Config` and `Tags`; None for all of them.
    """

    values: dict[str, Value]
    step: int | None
    position: int
    wall_time: float
    options: dict[str, dict[str, Any]] = {}
    only: str | None = None


class End(msgspec.Struct, frozen=True, tag="end"):
    """How the run ended."""

    status: Status
    wall_time: float


Record: TypeAlias = Config | Tags | Log | End


def flat(values: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """`values` without its nested dicts, as pairs of ``"parent/child"`` keys and values.

    >>> list(flat({"loss": 1.0, "val": {"acc": 0.5}}))
    [('loss', 1.0), ('val/acc', 0.5)]
    """
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{parent}{key}/")
        else:
            yield parent + key, value


def media_list(value: Value) -> Sequence[Media]:
    """The media in `value`: a list as it is, one medium as a list of one, else nothing."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, MEDIA_TYPES) else []


MEDIA_TYPES = (LoggedImage, LoggedTable, LoggedHistogram, LoggedAudio, LoggedVideo, LoggedFile)
