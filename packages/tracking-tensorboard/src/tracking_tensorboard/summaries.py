"""What goes where in TensorBoard: each record as one event, each value as its native summary."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tensorboard.compat.proto import (
    event_pb2,
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tracking_core.encoding import audio_file, csv_text, image_file, markdown, video_file
from tracking_core.files import Unkept, in_words
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
    Media,
    Plain,
    Record,
    Status,
    Tags,
    flat,
)
from tracking_core.tables import pictures_beside
from tracking_tensorboard import hparams_file, tags
from tracking_tensorboard.artifacts import Artifacts
from tracking_tensorboard.tags import tag_of

__all__ = ["Summaries"]

Reject = Callable[[str, object, str], None]

LARGEST_FLOAT = 3.4028235677973366e38  # what rounds to infinity in 32 bits begins here
STEPS = -(2**63), 2**63 - 1
UNFIT = (OverflowError, TypeError, Unkept, ValueError)  # of one value, whoever tries
MOST_ROWS_SHOWN = 500  # of a table as text; its CSV has all
LONGEST_HPARAM = 1000  # characters in the table of hyperparameters; the JSON has all

STATUSES = {
    "finished": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "killed": api_pb2.STATUS_FAILURE,  # TensorBoard has no word for it: `tags.STATUS` tells
}


class Summaries:
    """Turns the records of one run into events (``event_pb2.Event``).

    Args:
        run_dir: where artifacts go.
        started_at: seconds since the epoch.
        reject: told about what TensorBoard can't store, with key, value and reason.
    """

    def __init__(self, run_dir: str, started_at: float, reject: Reject) -> None:
        self._run_dir = run_dir
        self._artifacts = Artifacts(run_dir)
        self._started_at = started_at
        self._reject = reject
        self._config: dict[str, Any] = {}
        self._tags: dict[str, str | None] = {}
        self._session_stored = False

    def event(self, record: Record) -> Any:
        """The event that holds `record`; None if there is nothing to hold.

        Raises:
            OSError: a file among its values could not be stored.
        """
        match record:
            case Log():
                return self._row(record)
            case Config():
                return _event(self._configuration(record), record.wall_time)
            case Tags():
                self._tags.update(record.values)
                return _event([_json(tags.TAGS, self._tags)], record.wall_time)
            case End():
                return self.end(record.status, record.wall_time)

    def end(self, status: Status, wall_time: float) -> Any:
        """The event that says how the run ended."""
        # TensorBoard shows a session's end only beside its start.
        values = [] if self._session_stored else [self._session_start({}, wall_time)]
        end = plugin_data_pb2.SessionEndInfo(status=STATUSES[status], end_time_secs=wall_time)
        values.append(_hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end))
        return _event([*values, _text(tags.STATUS, status)], wall_time)

    def taken_up(self, wall_time: float) -> Any:
        """The event that says that a run which may have ended goes on."""
        return _event([_text(tags.STATUS, "running")], wall_time)

    # --- hyperparameters ---

    def _configuration(self, record: Config) -> list[Any]:
        self._config.update(record.values)
        hparams = dict(_hyperparameters(self._config))
        start = self._session_start(hparams, record.wall_time)
        hparams_file.store(self._run_dir, self._config, record.wall_time)
        return [start, _json(tags.CONFIG, self._config)]

    def _session_start(self, hparams: Mapping[str, Plain], wall_time: float) -> Any:
        self._session_stored = True
        started = min(self._started_at, wall_time)  # records may be older than this process
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=started)
        for name, value in hparams.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, float):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        return _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start)

    # --- values ---

    def _row(self, record: Log) -> Any:
        step = self._step(record)
        options = record.options.get("tensorboard", {})
        event = _event([], self._wall_time(record, options), step)
        stored = event.summary.value
        for key, value in flat(pictures_beside(record.values)):
            # Nearly every value of nearly every run: made in place, which costs half.
            if isinstance(value, (int, float)) and -LARGEST_FLOAT < value < LARGEST_FLOAT:
                stored.add(tag=tag_of(key), simple_value=value)
                continue
            try:
                stored.extend(self._values(key, value, step))
            except UNFIT as error:
                # One value must not cost the others, nor be tried for ever.
                self._reject(key, value, str(error))
        return event if stored else None

    def _step(self, record: Log) -> int:
        step = record.position if record.step is None else record.step
        inside = min(max(step, STEPS[0]), STEPS[1])
        if step != inside:
            self._reject("step", step, f"TensorBoard's steps have 64 bits, stored at {inside}")
        return inside

    def _wall_time(self, record: Log, options: Mapping[str, object]) -> float:
        wall_time = record.wall_time
        for name, value in options.items():
            if name == "walltime":
                if isinstance(value, (int, float)):
                    wall_time = float(value)
                elif value is not None:
                    self._reject("log_kwargs['walltime']", value, "it must be seconds as a number")
            # Every tag has steps of its own here, so an axis needs nothing but to be allowed.
            elif name not in ("new_style", "double_precision", "step_axis"):
                reason = "log() takes walltime, step_axis, new_style and double_precision"
                self._reject(f"log_kwargs[{name!r}]", value, reason)
        return wall_time

    def _values(self, key: str, value: object, step: int) -> list[Any]:
        """The summaries of one value."""
        tag = tag_of(key)
        match value:
            case bool() | int() | float():
                if LARGEST_FLOAT <= abs(value) < math.inf:
                    reason = "TensorBoard stores 32-bit floats, in which it is infinite"
                    self._reject(key, value, reason)
                return [summary_pb2.Summary.Value(tag=tag, simple_value=value)]
            case str():
                return [_text(tag, value)]
            case None:
                return [_text(tag + tags.NONE, "None")]
            case list():
                return [
                    summary
                    for number, medium in enumerate(value)
                    for summary in self._one_of_them(key, f"{tag}/{number}", medium, step)
                ]
            case _:
                return list(self._medium(key, tag, value, step))

    def _one_of_them(self, key: str, tag: str, medium: Media | object, step: int) -> list[Any]:
        try:
            return list(self._medium(key, tag, medium, step))
        except UNFIT as error:
            self._reject(key, medium, str(error))
            return []

    def _medium(self, key: str, tag: str, medium: Media | object, step: int) -> Iterator[Any]:
        match medium:
            case LoggedImage():
                yield _image(tag, medium, image_file(medium)[0])
                yield from _caption(tag, medium.caption)
            case LoggedVideo():
                data, suffix = video_file(medium)
                if suffix in ("png", "gif"):
                    yield _image(tag + tags.VIDEO, medium, data)
                else:
                    place = self._artifacts.add(key, str(step), suffix, data)
                    yield _text(tag + tags.VIDEO, place)
                yield from _caption(tag, medium.caption)
            case LoggedAudio():
                yield _audio(tag, medium)
                yield from _caption(tag, medium.caption)
            case LoggedHistogram():
                yield _histogram(tag, medium)
                if medium.nonfinite:
                    count = float(medium.nonfinite)
                    yield summary_pb2.Summary.Value(tag=tag + tags.NONFINITE, simple_value=count)
            case LoggedTable():
                place = self._artifacts.add(key, str(step), "csv", csv_text(medium).encode())
                yield _text(tag + tags.TABLE, _shown(medium), place)
            case LoggedFile():
                place, left_out = self._artifacts.keep(medium)
                if left_out:
                    self._reject(key, medium, in_words(medium, left_out))
                yield _text(tag + tags.FILE, place)
            case _:
                raise TypeError("TensorBoard has no place for it")


def _hyperparameters(values: Mapping[str, Any]) -> Iterator[tuple[str, Plain]]:
    """`values` as TensorBoard's table can show them: numbers, booleans and short texts."""
    used: set[str] = set()
    for key, value in flat(values):
        name = key or "_x_"
        while name in used:  # {"a/b": 1, "a": {"b": 2}}
            name += "'"
        used.add(name)
        if isinstance(value, list):
            # The plugin leaves lists out.
            value = json.dumps(value, ensure_ascii=False)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # JSON, in which the plugin sends them, has no NaN; and no number that big is exact.
            exact = math.isfinite(value) and float(value) == value
            yield name, float(value) if exact else str(value)
        else:
            short = isinstance(value, (bool, type(None))) or len(value) <= LONGEST_HPARAM
            yield name, value if short else value[:LONGEST_HPARAM] + "…"


def _shown(table: LoggedTable) -> str:
    if len(table.rows) <= MOST_ROWS_SHOWN:
        return markdown(table)
    shown = markdown(LoggedTable(table.columns, table.rows[:MOST_ROWS_SHOWN]))
    return f"{shown}\n\nand {len(table.rows) - MOST_ROWS_SHOWN} more rows in the file:"


# --- TensorBoard's protos ---


def _event(values: list[Any], wall_time: float, step: int = 0) -> Any:
    return event_pb2.Event(
        wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values)
    )


def _plugin(name: str, content: bytes = b"") -> Any:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=name, content=content)
    return summary_pb2.SummaryMetadata(plugin_data=data)


def _hparams(tag: str, **info: Any) -> Any:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **info)
    plugin = _plugin(metadata.PLUGIN_NAME, data.SerializeToString())
    return summary_pb2.Summary.Value(tag=tag, metadata=plugin)


def _text(tag: str, *texts: str) -> Any:
    size = tensor_shape_pb2.TensorShapeProto.Dim(size=len(texts))
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[text.encode() for text in texts],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[size]),
    )
    return summary_pb2.Summary.Value(tag=tag + tags.TEXT, metadata=_plugin("text"), tensor=tensor)


def _json(tag: str, values: Mapping[str, Any]) -> Any:
    # Indented by four spaces it is a block of code in Markdown, and still JSON. (textwrap.indent
    # would indent after the line separators within a text, too, and so change it.)
    lines = json.dumps(values, indent=2, ensure_ascii=False).split("\n")
    return _text(tag, "".join(f"    {line}\n" for line in lines))


def _caption(tag: str, caption: str | None) -> list[Any]:
    # Not the summary's description: of that TensorBoard shows the first of all steps only.
    return [] if caption is None else [_text(tag + tags.CAPTION, caption)]


def _image(tag: str, picture: LoggedImage | LoggedVideo, data: bytes) -> Any:
    image = summary_pb2.Summary.Image(
        width=picture.width,
        height=picture.height,
        colorspace=picture.channels or 3,
        encoded_image_string=data,
    )
    return summary_pb2.Summary.Value(tag=tag, image=image)


def _audio(tag: str, sound: LoggedAudio) -> Any:
    data, suffix = audio_file(sound)
    audio = summary_pb2.Summary.Audio(
        sample_rate=sound.sample_rate,
        num_channels=sound.channels,
        length_frames=len(sound.data) // (2 * sound.channels) if sound.format == "pcm16" else 0,
        encoded_audio_string=data,
        content_type=f"audio/{suffix}",
    )
    return summary_pb2.Summary.Value(tag=tag, audio=audio)


def _histogram(tag: str, histogram: LoggedHistogram) -> Any:
    # A limit is the right edge of its bucket, so an empty one stands for the leftmost edge.
    proto = summary_pb2.HistogramProto(
        min=histogram.min,
        max=histogram.max,
        num=histogram.num,
        sum=histogram.sum,
        sum_squares=histogram.sum_squares,
        bucket_limit=histogram.edges,
        bucket=[0.0, *histogram.counts],
    )
    return summary_pb2.Summary.Value(tag=tag, histo=proto)
