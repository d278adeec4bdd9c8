from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracking_core import Image, Table, Video
from tracking_core.capture import capture
from tracking_core.records import Config, End, Log, LoggedTable, Tags
from tracking_core.testing import Seen, pixels_of
from tracking_tensorboard import TensorBoardTracker, read_run

WALL_TIME = 1_760_000_000.25


def started(directory: Path, run_name: str = "run", **kwargs: Any) -> TensorBoardTracker:
    tracker = TensorBoardTracker(run_name, directory, **kwargs)
    tracker.start()
    return tracker


def row(step: int, wall_time: float = WALL_TIME, **values: Any) -> Log:
    return Log(capture(values)[0], step, step, wall_time)


def the_event_file(run_dir: Path) -> Path:
    (path,) = (path for path in run_dir.iterdir() if "tfevents" in path.name)
    return path


def test_the_records_that_were_delivered(tmp_path: Path) -> None:
    records = [
        Config({"lr": 0.5, "nested": {"n": [1, None, 2**70]}}, WALL_TIME),
        Tags({"baseline": None, "team": "vision"}, WALL_TIME + 1),
        row(3, WALL_TIME + 2, loss=0.5, note="text", missing=None),
        row(1, WALL_TIME + 3, loss=0.25),
    ]
    tracker = started(tmp_path)
    tracker.deliver([*records, End("killed", WALL_TIME + 4)])
    tracker.finish("killed")
    assert list(read_run(tmp_path / "run")) == [*records, End("killed", WALL_TIME + 4)]


def test_rows_of_one_moment_stay_apart_where_they_share_a_key(tmp_path: Path) -> None:
    pixels = numpy.zeros((1, 2), "uint8")
    tracker = started(tmp_path)
    tracker.deliver([row(0, m=1.0, i=Image(pixels, "one")), row(0, m=2.0, i=Image(pixels, "two"))])
    tracker.finish()
    rows = [record for record in read_run(tmp_path / "run") if isinstance(record, Log)]
    assert [one.values["m"] for one in rows] == [1.0, 2.0]
    assert [one.values["i"].caption for one in rows] == ["one", "two"]


def test_more_rows_than_tensorboard_keeps_by_default(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row(step, WALL_TIME + step, m=1.0, t=str(step)) for step in range(12_000)])
    tracker.finish()
    seen = Seen(read_run(tmp_path / "run"))
    assert len(seen.values("m")) == 12_000
    assert seen.values("t") == [str(step) for step in range(12_000)]


def test_a_directory_without_a_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no event file"):
        list(read_run(tmp_path))


def test_a_run_that_still_goes_on_has_no_end(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row(0, m=1.0)])
    assert not any(isinstance(record, End) for record in read_run(tmp_path / "run"))
    tracker.finish()
    again = TensorBoardTracker("run", tmp_path)
    again.resume(tracker.identity())
    again.start()
    assert not any(isinstance(record, End) for record in read_run(tmp_path / "run"))
    again.finish("failed")
    assert Seen(read_run(tmp_path / "run")).status == "failed"


def test_rows_that_are_hidden_by_purge_step_are_read(tmp_path: Path) -> None:
    for number in range(2):
        tracker = started(tmp_path, purge_step=0)
        tracker.deliver([row(0, WALL_TIME + number, m=float(number))])
        tracker.finish()
    assert Seen(read_run(tmp_path / "run")).values("m") == [0.0, 1.0]


@pytest.mark.parametrize("lost", [1, 10, 60])
def test_of_a_file_cut_off_all_before_is_read(tmp_path: Path, lost: int) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row(step, m=float(step)) for step in range(10)])
    file = the_event_file(tmp_path / "run")
    data = file.read_bytes()
    file.write_bytes(data[:-lost])
    values = Seen(read_run(tmp_path / "run")).values("m")
    assert values == [float(step) for step in range(len(values))]
    assert 8 <= len(values) < 10
    tracker.finish()


def test_a_file_cut_off_hides_nothing_of_the_next(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row(0, m=0.0), row(1, m=1.0)])
    file = the_event_file(tmp_path / "run")
    file.write_bytes(file.read_bytes()[:-5])
    again = TensorBoardTracker("run", tmp_path)
    again.resume(tracker.identity())
    again.start()
    again.deliver([row(1, m=2.0)])
    again.finish()
    assert Seen(read_run(tmp_path / "run")).values("m") == [0.0, 2.0]


def test_an_animated_picture_is_a_video_with_its_speed(tmp_path: Path) -> None:
    frames = numpy.zeros((2, 3, 4, 3), "uint8")
    tracker = started(tmp_path)
    tracker.deliver([row(0, clip=Video(frames, fps=8, caption="a walk"))])
    tracker.finish()
    (video,) = Seen(read_run(tmp_path / "run")).media("clip")
    assert (video.width, video.height, video.fps, video.caption) == (4, 3, 8.0, "a walk")


def test_a_table_has_its_cells_as_text(tmp_path: Path) -> None:
    long = "z" * 200_000
    tracker = started(tmp_path)
    tracker.deliver(
        [row(0, t=Table(["a", "b"], [[1, None], ["x,\r\n", long]]), empty=Table([], []))]
    )
    tracker.finish()
    seen = Seen(read_run(tmp_path / "run"))
    assert seen.media("t") == [LoggedTable(["a", "b"], [["1", ""], ["x,\r\n", long]])]
    assert seen.media("empty")[0].rows == []


def test_a_table_whose_file_is_gone_is_its_markdown(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([row(0, t=Table(["a"], [[1]]))])
    tracker.finish()
    (tmp_path / "run" / "artifacts" / "t" / "0.csv").unlink()
    assert Seen(read_run(tmp_path / "run")).values("t") == ["| a |\n| --- |\n| 1 |"]


def test_a_run_may_be_moved(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    tracker = started(tmp_path)
    tracker.log_artifact(tmp_path / "model.bin", "..")
    tracker.finish()
    (tmp_path / "run").rename(tmp_path / "moved")
    seen = Seen(read_run(tmp_path / "moved"))
    assert seen.files() == {"../model.bin": b"weights"}


@pytest.mark.parametrize("place", ["../secret", "artifacts/../../secret", "/etc/passwd"])
def test_no_place_leads_out_of_the_run(tmp_path: Path, place: str) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2

    from tracking_tensorboard import summaries
    from tracking_tensorboard.event_file import EventFile

    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    values = [
        summaries._text("file/_file", place),
        summaries._text("table/_table", "shown", place),
        summaries._text("clip/_video", place),
    ]
    file = EventFile(str(tmp_path / "run"))
    file.append([event_pb2.Event(summary=summary_pb2.Summary(value=values))])
    file.close()
    seen = Seen(read_run(tmp_path / "run"))
    assert [seen.values(key) for key in ("file", "table", "clip")] == [[place], ["shown"], [place]]


def test_runs_of_other_writers(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    writer = type(tracker.writer)(str(tmp_path / "theirs"))
    tracker.finish()
    pixels = numpy.arange(12, dtype="uint8").reshape(2, 2, 3)
    writer.add_scalar("loss", 0.5, 3, walltime=WALL_TIME)
    writer.add_scalar("loss", math.nan, 4, walltime=WALL_TIME + 1)
    writer.add_text("note", "text", 3)
    writer.add_image("image", pixels, 3, dataformats="HWC")
    writer.add_histogram("weights", numpy.arange(10.0), 3, bins=5)
    writer.close()
    seen = Seen(read_run(tmp_path / "theirs"))
    assert seen.points("loss")[0] == (3, WALL_TIME, 0.5)
    assert math.isnan(seen.values("loss")[1])
    assert seen.values("note") == ["text"]
    assert numpy.array_equal(pixels_of(seen.media("image")[0]), pixels)
    (histogram,) = seen.media("weights")
    assert histogram.num == sum(histogram.counts) == 10
    assert len(histogram.edges) == len(histogram.counts) + 1
    assert seen.status is None


def test_hyperparameters_and_end_of_other_writers(tmp_path: Path) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    from tracking_tensorboard import summaries
    from tracking_tensorboard.event_file import EventFile

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=WALL_TIME)
    start.hparams["lr"].number_value = 0.1
    start.hparams["amp"].bool_value = True
    start.hparams["layers"].list_value.extend([1, "two"])
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_FAILURE, end_time_secs=WALL_TIME + 1)
    values = [
        summaries._hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start),
        summaries._hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end),
    ]
    file = EventFile(str(tmp_path))
    file.append([event_pb2.Event(summary=summary_pb2.Summary(value=values))])
    file.close()
    assert list(read_run(tmp_path)) == [
        Config({"lr": 0.1, "amp": True, "layers": [1.0, "two"]}, WALL_TIME),
        End("failed", WALL_TIME + 1),
    ]


def test_scalars_of_the_new_style(tmp_path: Path) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.scalar import metadata
    from tensorboard.util import tensor_util

    from tracking_tensorboard.event_file import EventFile

    value = summary_pb2.Summary.Value(
        tag="loss",
        tensor=tensor_util.make_tensor_proto(0.1),
        metadata=metadata.create_summary_metadata("", ""),
    )
    file = EventFile(str(tmp_path))
    event = event_pb2.Event(wall_time=WALL_TIME, step=2, summary=summary_pb2.Summary(value=[value]))
    file.append([event])
    file.close()
    ((step, wall_time, found),) = Seen(read_run(tmp_path)).points("loss")
    assert (step, wall_time) == (2, WALL_TIME)
    assert found == pytest.approx(0.1)
