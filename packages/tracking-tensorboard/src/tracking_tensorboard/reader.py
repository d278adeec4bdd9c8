"""A run as records again, read through TensorBoard's own `EventAccumulator`.

What it tells apart, it tells by the tags of `tracking_tensorboard.tags`, so the runs of other
writers are read too: their scalars, texts, pictures, sounds, histograms and hyperparameters.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tracking_core.names import unescape
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedHistogram,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Record,
    Tags,
    Value,
)
from tracking_tensorboard import tags
from tracking_tensorboard.artifacts import FOLDER

__all__ = ["read_run"]

_FORMATS = {b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
_CSV_LIMIT = threading.Lock()
LONGEST_CELL = 2**31 - 1  # characters: what a C long holds everywhere


def read_run(run_dir: str | os.PathLike[str]) -> Iterator[Record]:
    """What was logged to the run in `run_dir`: its configuration, tags, rows, and its end.

    Nested keys come as ``parent/child`` and lists as ``key/0``, ``key/1``, ...; numbers as 32-bit
    floats; tables with their cells as text; artifacts with the path of the copy in `run_dir`. Rows
    are in the order of their wall times; those of one time and step come as one. Rows that
    `purge_step` hides in TensorBoard are there. A run that was not ended has no `End`. Of a file
    whose end is damaged, everything before is read.

    Raises:
        FileNotFoundError: `run_dir` holds no event file.
    """
    directory = os.path.abspath(run_dir)
    if not any("tfevents" in name for name in os.listdir(directory)):
        raise FileNotFoundError(f"no TensorBoard run: {directory!r} holds no event file")
    from tensorboard.backend.event_processing import event_accumulator as native

    # Nothing sampled. The compressed ones are made of the histograms, which are read themselves.
    sizes = {**native.STORE_EVERYTHING_SIZE_GUIDANCE, native.COMPRESSED_HISTOGRAMS: 1}
    found = native.EventAccumulator(directory, size_guidance=sizes, purge_orphaned_data=False)
    found.Reload()
    run = _Run(directory, found)
    yield from run.config()
    yield from run.tags()
    yield from run.rows()
    yield from run.end()


class _When(NamedTuple):
    """One row: two events of one tag with the same time and step are of different rows."""

    wall_time: float
    step: int
    occurrence: int


class _Run:
    def __init__(self, directory: str, found: Any) -> None:
        self._directory = directory
        self._found = found
        self._native = found.Tags()
        self._texts: dict[str, dict[_When, list[str]]] = {}
        for tag in self._native["tensors"]:
            if self._plugin(tag) == "text":
                texts = {
                    when: [text.decode() for text in event.tensor_proto.string_val]
                    for when, event in _series(found.Tensors(tag))
                }
                self._texts[tag.removesuffix(tags.TEXT)] = texts

    def config(self) -> Iterator[Record]:
        texts = self._texts.get(tags.CONFIG, {})
        for when, (text, *_) in texts.items():
            yield Config(json.loads(text), when.wall_time)
        if not texts and (start := self._session("session_start_info")) and start.hparams:
            values = {name: _hparam(value) for name, value in start.hparams.items()}
            yield Config(values, start.start_time_secs)

    def tags(self) -> Iterator[Record]:
        for when, (text, *_) in self._texts.get(tags.TAGS, {}).items():
            yield Tags(json.loads(text), when.wall_time)

    def end(self) -> Iterator[Record]:
        texts = self._texts.get(tags.STATUS, {})
        if texts:
            when, (status, *_) = list(texts.items())[-1]
            if status in ("finished", "failed", "killed"):
                yield End(status, when.wall_time)  # type: ignore[arg-type]  # just compared
        elif end := self._session("session_end_info"):
            from tensorboard.plugins.hparams import api_pb2

            failed = end.status == api_pb2.STATUS_FAILURE
            yield End("failed" if failed else "finished", end.end_time_secs)

    def rows(self) -> Iterator[Record]:
        rows: dict[_When, dict[str, Value]] = {}
        for tag, when, value in self._values():
            rows.setdefault(when, {})[tags.key_of(tag)] = value
        for when in sorted(rows, key=lambda when: (when.wall_time, when.occurrence)):
            yield Log(rows[when], when.step, when.step, when.wall_time)

    def _values(self) -> Iterator[tuple[str, _When, Value]]:
        found = self._found
        left_out = {}
        for tag in self._native["scalars"]:
            numbers = {when: event.value for when, event in _series(found.Scalars(tag))}
            if tag.endswith(tags.NONFINITE):
                left_out[tag.removesuffix(tags.NONFINITE)] = numbers
            else:
                yield from ((tag, when, number) for when, number in numbers.items())
        for tag in self._native["tensors"]:
            if self._plugin(tag) == "scalars":
                yield from ((tag, *one) for one in self._new_scalars(tag))
        for tag in self._native["histograms"]:
            counts = left_out.get(tag, {})
            for when, event in _series(found.Histograms(tag)):
                nonfinite = int(counts.get(when, 0))
                yield tag, when, _histogram(event.histogram_value, nonfinite)
        for tag in self._native["images"]:
            for when, event in _series(found.Images(tag)):
                key = tag.removesuffix(tags.VIDEO)
                read = _picture if key == tag else _moving_picture
                yield key, when, read(event, self._caption(key, when))
        for tag in self._native["audio"]:
            for when, event in _series(found.Audio(tag)):
                suffix = event.content_type.rpartition("/")[2]
                yield tag, when, LoggedAudio(
                    event.encoded_audio_string, round(event.sample_rate), 0, suffix,
                    self._caption(tag, when),
                )  # fmt: skip
        for tag, texts in self._texts.items():
            yield from ((*one,) for one in self._told_by(tag, texts))

    def _told_by(
        self, tag: str, texts: dict[_When, list[str]]
    ) -> Iterator[tuple[str, _When, Value]]:
        """What texts stand for: themselves, or one of the kinds in `tags`."""
        if tag in (tags.CONFIG, tags.TAGS, tags.STATUS) or tag.endswith(tags.CAPTION):
            return
        reads: dict[str, Callable[[str, _When, list[str]], Value]] = {
            tags.NONE: lambda key, when, texts: None,
            tags.TABLE: self._table,
            tags.FILE: self._file,
            tags.VIDEO: self._video_file,
        }
        ending = next((ending for ending in reads if tag.endswith(ending)), "")
        key = tag.removesuffix(ending)
        for when, parts in texts.items():
            value = reads[ending](key, when, parts) if ending else "\n\n".join(parts)
            yield key, when, value

    def _table(self, key: str, when: _When, texts: list[str]) -> Value:
        path = self._path(texts[-1])
        if path is None or not os.path.isfile(path):
            return texts[0]
        with open(path, encoding="utf-8", newline="") as file:
            columns, *rows = _csv_rows(file.read()) or [[]]
        return LoggedTable(columns, [list(row) for row in rows])

    def _file(self, key: str, when: _When, texts: list[str]) -> Value:
        place = texts[0]
        path = self._path(place)
        if path is None:
            return place
        parts = place.rstrip("/").split("/")
        directory = place.endswith("/")
        folder = parts[1:] if directory else parts[1:-1]
        return LoggedFile(path, "/".join(map(unescape, folder)), directory)

    def _video_file(self, key: str, when: _When, texts: list[str]) -> Value:
        path = self._path(texts[0])
        if path is None or not os.path.isfile(path):
            return texts[0]
        with open(path, "rb") as file:
            data = file.read()
        suffix = os.path.splitext(path)[1].removeprefix(".")
        return LoggedVideo(data, 0, 0, 0, 0, 0.0, suffix, self._caption(key, when))

    def _caption(self, tag: str, when: _When) -> str | None:
        texts = self._texts.get(tag + tags.CAPTION, {}).get(when)
        return texts[0] if texts else None

    def _path(self, place: str) -> str | None:
        """Where an artifact lies; None if that is not among the artifacts of this run."""
        parts = place.rstrip("/").split("/")
        if parts[0] != FOLDER or os.pardir in parts:
            return None
        return os.path.join(self._directory, *parts)

    def _plugin(self, tag: str) -> str:
        try:
            name: str = self._found.SummaryMetadata(tag).plugin_data.plugin_name
        except KeyError:
            return ""
        return name

    def _session(self, info: str) -> Any:
        from tensorboard.plugins.hparams import metadata

        parse = getattr(metadata, f"parse_{info}_plugin_data")
        try:
            data = self._found.SummaryMetadata(f"_hparams_/{info}").plugin_data
        except KeyError:
            return None
        return parse(data.content)

    def _new_scalars(self, tag: str) -> Iterator[tuple[_When, float]]:
        from tensorboard.util import tensor_util

        for when, event in _series(self._found.Tensors(tag)):
            yield when, float(tensor_util.make_ndarray(event.tensor_proto).item())


def _series(events: list[Any]) -> Iterator[tuple[_When, Any]]:
    seen: Counter[tuple[float, int]] = Counter()
    for event in events:
        moment = (event.wall_time, event.step)
        yield _When(*moment, seen[moment]), event
        seen[moment] += 1


def _picture(event: Any, caption: str | None) -> LoggedImage:
    data = event.encoded_image_string
    kind = next((kind for magic, kind in _FORMATS.items() if data.startswith(magic)), "png")
    return LoggedImage(data, event.width, event.height, 0, kind, caption)


def _moving_picture(event: Any, caption: str | None) -> LoggedVideo:
    data = event.encoded_image_string
    kind = "gif" if data.startswith(b"GIF8") else "png"
    return LoggedVideo(data, event.width, event.height, 0, 0, _fps(data), kind, caption)


def _fps(animated: bytes) -> float:
    """Frames a second of an animated PNG, by its first frame; 0 if it does not say."""
    place = animated.find(b"fcTL")
    delay = animated[place + 24 : place + 28] if place >= 0 else b""
    numerator, denominator = int.from_bytes(delay[:2], "big"), int.from_bytes(delay[2:], "big")
    return denominator / numerator if numerator else 0.0


def _histogram(value: Any, nonfinite: int) -> LoggedHistogram:
    counts, edges = list(value.bucket), list(value.bucket_limit)
    if counts and counts[0] == 0:
        del counts[0]  # stands for the leftmost edge
    else:
        edges.insert(0, value.min)
    return LoggedHistogram(
        counts, edges, value.min, value.max, value.num, value.sum, value.sum_squares, nonfinite
    )


def _hparam(value: Any) -> Any:
    """A ``google.protobuf.Value``."""
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_hparam(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def _csv_rows(text: str) -> list[list[str]]:
    with _CSV_LIMIT:  # a setting of the whole process
        limit = csv.field_size_limit(LONGEST_CELL)
        try:
            return list(csv.reader(io.StringIO(text, newline="")))
        finally:
            csv.field_size_limit(limit)
