from __future__ import annotations

import csv
import json
import math
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.backend.event_processing.io_wrapper import GetLogdirSubdirectories
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api_pb2, metadata

from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning, Video
from tracking_core.errors import (
    AlreadyStartedError,
    MissingLoggingDirectoryError,
    NotStartedError,
    TrackingError,
)
from tracking_core.records import Config, End, Log, LoggedFile, LoggedImage, LoggedVideo
from tracking_core.testing import Seen
from tracking_tensorboard import TensorBoardTracker, read_run
from tracking_tensorboard.tags import key_of, tag_of

WALL_TIME = 1_760_000_000.25


def started(directory: Path, run_name: str = "run", **kwargs: Any) -> TensorBoardTracker:
    tracker = TensorBoardTracker(run_name, directory, **kwargs)
    tracker.start()
    return tracker


def row(step: int, **values: Any) -> Log:
    return Log(values, step, step, WALL_TIME + step)


def event_files(run_dir: Path) -> list[Path]:
    return sorted(path for path in run_dir.iterdir() if "tfevents" in path.name)


def loaded(file: Path) -> Any:
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML is not installed here")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def events_of(run_dir: Path) -> Iterator[Any]:
    for path in event_files(run_dir):
        yield from LegacyEventFileLoader(str(path)).Load()


def accumulated(run_dir: Path) -> Any:
    return EventAccumulator(str(run_dir), STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def in_another_process(script: str, *arguments: object, **environment: str) -> str:
    """What `script` prints. It may die: whoever calls this looks at what it left."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


class TestLaziness:
    def test_importing_and_constructing_import_no_tensorboard(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_tensorboard import TensorBoardTracker
            TensorBoardTracker("run", sys.argv[1], max_queue=3)
            print(sorted({"tensorboard", "torch", "numpy"} & set(sys.modules)))
        """
        assert in_another_process(script, tmp_path).strip() == "[]"
        assert list(tmp_path.iterdir()) == []

    def test_a_run_imports_neither_torch_nor_tensorflow(self, tmp_path: Path) -> None:
        for name in ("torch", "tensorflow", "tensorboardX"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError(__name__)\n")
        script = """if True:
            import sys
            sys.path.insert(0, sys.argv[1])
            from tracking_tensorboard import TensorBoardTracker
            tracker = TensorBoardTracker("run", sys.argv[1])
            tracker.start()
            tracker.store_init_configuration({"lr": 0.1})
            tracker.log({"loss": 1.0, "note": "text"})
            tracker.finish()
        """
        in_another_process(script, tmp_path)
        assert Seen(read_run(tmp_path / "run")).values("loss") == [1.0]

    def test_nothing_is_made_off_the_main_process(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_tensorboard import TensorBoardTracker
            tracker = TensorBoardTracker("run", sys.argv[1])
            tracker.start()
            tracker.log({"loss": 1.0})
            tracker.finish()
            print("tensorboard" in sys.modules)
        """
        printed = in_another_process(script, tmp_path, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
        assert printed.strip() == "False"
        assert list(tmp_path.iterdir()) == []


class TestDirectory:
    def test_the_first_run_lies_where_accelerate_puts_it(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, "project")
        tracker.finish()
        assert tracker.logging_dir == str(tmp_path / "project")
        (file,) = event_files(tmp_path / "project")
        assert re.fullmatch(rf"events\.out\.tfevents\.\d{{10}}\..+\.{os.getpid()}\.t\d+", file.name)

    def test_a_second_run_of_the_name_gets_its_own_directory(self, tmp_path: Path) -> None:
        for number in range(3):
            tracker = started(tmp_path)
            tracker.log({"m": float(number)})
            tracker.finish()
        for number, name in enumerate(["run", "run-2", "run-3"]):
            assert Seen(read_run(tmp_path / name)).values("m") == [number]

    def test_purge_step_goes_on_in_the_directory(self, tmp_path: Path) -> None:
        first = started(tmp_path)
        first.deliver([row(step, m=0.0) for step in range(4)])
        first.finish("failed")
        second = started(tmp_path, purge_step=2)
        second.deliver([row(step, m=1.0) for step in range(2, 4)])
        second.finish()
        assert second.identity() == first.identity()
        shown = [(event.step, event.value) for event in accumulated(tmp_path / "run").Scalars("m")]
        assert shown == [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)]
        logs = [event for event in events_of(tmp_path / "run") if event.HasField("session_log")]
        assert [(log.step, log.session_log.status) for log in logs] == [
            (2, event_pb2.SessionLog.START)
        ]

    def test_files_of_one_second_are_read_in_the_order_in_which_they_were_begun(
        self, tmp_path: Path
    ) -> None:
        for step in range(12):
            tracker = started(tmp_path, purge_step=step)
            tracker.deliver([row(step, m=float(step))])
            tracker.finish()
        shown = [(event.step, event.value) for event in accumulated(tmp_path / "run").Scalars("m")]
        assert shown == [(step, float(step)) for step in range(12)]

    def test_resuming_hides_nothing(self, tmp_path: Path) -> None:
        first = started(tmp_path)
        first.deliver([row(0, m=0.0), row(1, m=1.0)])
        again = TensorBoardTracker("another name", tmp_path)
        again.resume(first.identity())
        again.start()
        again.deliver([row(1, m=2.0)])
        again.finish()
        assert [event.value for event in accumulated(tmp_path / "run").Scalars("m")] == [0, 1, 2]
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    def test_resuming_needs_an_identity_of_this_tracker(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'tensorboard' can't resume .* 'run_dir'"):
            TensorBoardTracker("run", tmp_path).resume({"run_id": "x"})

    @pytest.mark.parametrize("name", ["../up", "/absolute", "a/../../b", "..", ".", ""])
    def test_no_name_leads_out_of_the_directory(self, tmp_path: Path, name: str) -> None:
        inside = tmp_path / "logs"
        for _ in range(2):
            started(inside, name).finish()
        assert [path.name for path in tmp_path.iterdir()] == ["logs"]
        runs = list(GetLogdirSubdirectories(str(inside)))
        assert len(runs) == 2
        assert str(inside) not in runs

    def test_nested_names_make_nested_directories(self, tmp_path: Path) -> None:
        started(tmp_path, "sweep/3").finish()
        assert event_files(tmp_path / "sweep" / "3")

    def test_a_url_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'tensorboard' .*'s3://bucket/logs': give a local"):
            TensorBoardTracker("run", "s3://bucket/logs")

    def test_the_suffix_is_the_end_of_the_files_name(self, tmp_path: Path) -> None:
        started(tmp_path, filename_suffix=".rank0").finish()
        (file,) = event_files(tmp_path / "run")
        assert file.name.endswith(".rank0")


class TestLifeCycle:
    def test_an_unknown_argument_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"'flush_seconds': did you mean 'flush_secs'"):
            TensorBoardTracker("run", tmp_path, flush_seconds=3)
        assert list(tmp_path.iterdir()) == []

    def test_before_the_start_there_is_no_writer(self, tmp_path: Path) -> None:
        tracker = TensorBoardTracker("run", tmp_path)
        tracker.finish()
        for attribute in ("writer", "tracker"):
            with pytest.raises(NotStartedError, match="'tensorboard' is not started"):
                getattr(tracker, attribute)
        with pytest.raises(NotStartedError, match="'tensorboard' is not started"):
            tracker.log({"m": 1.0})

    def test_a_second_start_is_refused(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.raises(AlreadyStartedError, match="'tensorboard' is running"):
            tracker.start()
        tracker.finish()

    def test_nothing_is_written_after_the_end(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.finish("failed")
        before = [(path, path.read_bytes()) for path in event_files(tmp_path / "run")]
        tracker.finish()
        with pytest.raises(NotStartedError, match="'tensorboard' is finished"):
            tracker.log({"m": 1.0})
        assert [(path, path.read_bytes()) for path in event_files(tmp_path / "run")] == before

    def test_starting_again_begins_another_run(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.finish()
        tracker.start()
        tracker.log({"m": 2.0})
        tracker.finish()
        assert Seen(read_run(tmp_path / "run-2")).values("m") == [2.0]

    def test_the_end_of_a_replayed_run_is_when_it_was(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([row(0, m=1.0), End("finished", WALL_TIME + 9)])
        tracker.finish()
        assert list(read_run(tmp_path / "run"))[-1] == End("finished", WALL_TIME + 9)


class TestSummaryWriter:
    def test_it_writes_to_the_same_run(self, tmp_path: Path) -> None:
        tracker = started(tmp_path, max_queue=5, flush_secs=30)
        tracker.deliver([row(0, ours=1.0)])
        assert len(event_files(tmp_path / "run")) == 1
        writer = tracker.tracker
        assert type(writer).__name__ == "SummaryWriter"
        assert tracker.writer is writer
        writer.add_scalar("theirs", 2.0, 1)
        tracker.deliver([row(2, ours=3.0)])
        tracker.finish()
        found = accumulated(tmp_path / "run")
        assert [event.value for event in found.Scalars("ours")] == [1.0, 3.0]
        assert [event.value for event in found.Scalars("theirs")] == [2.0]
        assert len(event_files(tmp_path / "run")) == 2
        assert tracker.writer is writer

    def test_what_it_was_given_is_on_disk_with_the_next_row(self, tmp_path: Path) -> None:
        pytest.importorskip("torch", reason="tensorboardX's flush() does not wait for its queue")
        tracker = started(tmp_path, max_queue=10_000)
        for step in range(3000):  # more than its thread has written by then
            tracker.writer.add_scalar("theirs", 1.0, step)
        tracker.deliver([row(0, ours=1.0)])
        assert len(Seen(read_run(tmp_path / "run")).values("theirs")) == 3000
        tracker.finish()

    def test_two_in_one_second_keep_their_rows(self, tmp_path: Path) -> None:
        first = started(tmp_path)
        second = TensorBoardTracker("run", tmp_path)
        second.resume(first.identity())
        second.start()
        for number, tracker in enumerate([first, second]):
            tracker.writer.add_scalar(f"m{number}", 1.0, 0)
        first.finish()
        second.finish()
        assert set(accumulated(tmp_path / "run").Tags()["scalars"]) == {"m0", "m1"}

    def test_it_hides_no_row_of_its_own_run(self, tmp_path: Path) -> None:
        started(tmp_path).finish()
        tracker = started(tmp_path, purge_step=1)
        tracker.deliver([row(5, m=1.0)])
        tracker.writer.add_scalar("theirs", 2.0, 6)
        tracker.finish()
        assert [event.step for event in accumulated(tmp_path / "run").Scalars("m")] == [5]

    def test_without_a_library_for_it_the_error_says_which(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            sys.modules["torch"] = sys.modules["tensorboardX"] = None
            from tracking_tensorboard import TensorBoardTracker
            tracker = TensorBoardTracker("run", sys.argv[1])
            tracker.start()
            try:
                tracker.writer
            except ImportError as error:
                print(error)
            tracker.log({"m": 1.0})
            tracker.finish()
        """
        printed = in_another_process(script, tmp_path)
        assert "'tensorboard'" in printed
        assert "pip install tensorboardX" in printed
        assert Seen(read_run(tmp_path / "run")).values("m") == [1.0]


class TestRows:
    def test_a_row_is_one_event(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.log(
            {"loss": 1.0, "val": {"acc": 0.5}, "note": "hi", "i": Image(numpy.zeros((2, 2)))},
            step=7,
        )
        tracker.finish()
        (event,) = (event for event in events_of(tmp_path / "run") if event.step == 7)
        tags = [value.tag for value in event.summary.value]
        assert tags == ["loss", "val/acc", "note/text_summary", "i"]

    @pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts writes as Linux does")
    def test_a_batch_is_one_write(self, tmp_path: Path) -> None:
        def writes() -> int:
            text = Path("/proc/self/io").read_text()
            return int(text.split("syscw:")[1].split()[0])

        tracker = started(tmp_path)
        before = writes()
        tracker.deliver([row(step, m=1.0) for step in range(100)])
        assert writes() - before == 1
        tracker.finish()

    def test_walltime_replaces_the_time_of_the_call(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.log({"m": 1.0}, step=0, walltime=1.5, new_style=True, double_precision=True)
        tracker.finish()
        (point,) = Seen(read_run(tmp_path / "run")).points("m")
        assert point.wall_time == 1.5
        assert not tracker.rejections.counts

    def test_an_unknown_option_is_named_and_the_values_land(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['walltme'\]"):
            tracker.log({"m": 1.0}, step=0, walltme=1.5)
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['walltime'\].*seconds"):
            tracker.log({"m": 2.0}, step=1, walltime="noon")
        tracker.finish()
        assert Seen(read_run(tmp_path / "run")).values("m") == [1.0, 2.0]

    def test_options_of_other_trackers_are_not_ours(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([Log({"m": 1.0}, 0, 0, WALL_TIME, {"wandb": {"commit": True}})])
        tracker.finish()
        assert not tracker.rejections.counts

    def test_a_number_too_large_for_32_bits_is_reported(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match="'m' .*32-bit"):
            tracker.deliver([row(0, m=-1e300, largest=float(numpy.finfo("float32").max))])
        tracker.finish()
        seen = Seen(read_run(tmp_path / "run"))
        assert seen.values("m") == [-numpy.inf]
        assert seen.values("largest") == [float(numpy.finfo("float32").max)]

    @pytest.mark.parametrize("step", [2**63, -(2**70)])
    def test_a_step_of_more_than_64_bits_is_reported(self, tmp_path: Path, step: int) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match="'step' .*64 bits"):
            tracker.deliver([Log({"m": 1.0}, step, step, WALL_TIME)])
        tracker.finish()
        (point,) = Seen(read_run(tmp_path / "run")).points("m")
        assert point.step == (2**63 - 1 if step > 0 else -(2**63))

    def test_a_value_of_no_known_kind_costs_only_itself(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match=r"'odd' \(object\)"):
            tracker.deliver([row(0, odd=object(), m=1.0), row(1, m=2.0)])
        tracker.finish()
        assert Seen(read_run(tmp_path / "run")).values("m") == [1.0, 2.0]

    @given(st.text() | st.sampled_from(["a/_caption", "_tracking_/x", "a/text_summary", "\x00"]))
    def test_a_tag_gives_its_key_back(self, key: str) -> None:
        tag = tag_of(key)
        assert tag
        assert key_of(tag) == key
        assert tag == tag.translate(dict.fromkeys(range(32)))

    @given(st.text("a/_x", max_size=6), st.sampled_from(["_caption", "_file", "text_summary"]))
    def test_no_key_reads_as_a_tag_of_ours(self, parent: str, own: str) -> None:
        assert not tag_of(f"{parent}/{own}").endswith(f"/{own}")
        assert not tag_of(f"_tracking_/{parent}").startswith("_tracking_/")
        assert not tag_of(f"_hparams_/{parent}").startswith("_hparams_/")

    def test_keys_like_our_own_tags_stay_apart(self, tmp_path: Path) -> None:
        pixel = Image(numpy.zeros((1, 1), "uint8"), caption="a caption")
        tracker = started(tmp_path)
        tracker.log({"i": pixel, "i/_caption": "text", "_tracking_/tags": "mine"}, step=0)
        tracker.set_tags(["label"])
        tracker.finish()
        seen = Seen(read_run(tmp_path / "run"))
        assert seen.keys == {"i", "i/_caption", "_tracking_/tags"}
        assert seen.media("i")[0].caption == "a caption"
        assert seen.tags == {"label": None}


class TestMedia:
    def test_tensorboard_has_them_natively(self, tmp_path: Path) -> None:
        numbers = numpy.random.default_rng(0)
        frames = numbers.integers(0, 256, (3, 4, 4, 3), "uint8")
        tracker = started(tmp_path)
        tracker.log(
            {
                "image": Image(frames[0]),
                "images": [Image(frame) for frame in frames],
                "clip": Video(frames, fps=4),
                "beep": Audio(numbers.uniform(-1, 1, 100), 8000),
                "weights": Histogram(counts=[1, 0, 3], edges=[0.0, 1.0, 2.0, 4.0]),
                "none": None,
            },
            step=1,
        )
        tracker.finish()
        found = accumulated(tmp_path / "run")
        tags = found.Tags()
        assert set(tags["images"]) == {"image", "images/0", "images/1", "images/2", "clip/_video"}
        assert tags["audio"] == ["beep"]
        assert tags["tensors"][:1] == ["none/_none/text_summary"]
        (histogram,) = (event.histogram_value for event in found.Histograms("weights"))
        assert histogram.bucket_limit == [0.0, 1.0, 2.0, 4.0]
        assert histogram.bucket == [0, 1, 0, 3]
        (audio,) = found.Audio("beep")
        assert (audio.content_type, audio.sample_rate, audio.length_frames) == (
            "audio/wav", 8000, 100,
        )  # fmt: skip

    def test_a_histogram_says_how_much_was_not_finite(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.log({"h": Histogram([1.0, numpy.nan, 2.0, -numpy.inf])}, step=0)
        tracker.finish()
        (event,) = accumulated(tmp_path / "run").Scalars("h/_nonfinite")
        assert event.value == 2
        (histogram,) = Seen(read_run(tmp_path / "run")).media("h")
        assert histogram.nonfinite == 2

    def test_encoded_pictures_are_kept_as_they_are(self, tmp_path: Path) -> None:
        data = b"\xff\xd8\xff\xe0 no real JPEG, and nobody looks"
        tracker = started(tmp_path)
        tracker.deliver([row(0, photo=LoggedImage(data, 0, 0, 0, "jpeg", "caption"))])
        tracker.finish()
        (image,) = Seen(read_run(tmp_path / "run")).media("photo")
        assert (image.data, image.format, image.caption) == (data, "jpeg", "caption")

    def test_a_video_that_browsers_cannot_show_as_a_picture_is_a_file(self, tmp_path: Path) -> None:
        video = LoggedVideo(b"mp4 data", 0, 0, 0, 0, 10.0, "mp4", "caption")
        tracker = started(tmp_path)
        tracker.deliver([row(3, clip=video), row(3, clip=video)])
        tracker.finish()
        assert sorted(os.listdir(tmp_path / "run" / "artifacts" / "clip")) == ["3-2.mp4", "3.mp4"]
        found = Seen(read_run(tmp_path / "run")).media("clip")
        assert [(one.data, one.format, one.caption) for one in found] == [
            (b"mp4 data", "mp4", "caption")
        ] * 2

    def test_a_long_table_is_shown_in_part_and_kept_whole(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.log({"t": Table(["n"], [[number] for number in range(2000)])}, step=0)
        tracker.finish()
        (event,) = accumulated(tmp_path / "run").Tensors("t/_table/text_summary")
        shown, place = (text.decode() for text in event.tensor_proto.string_val)
        assert shown.count("\n") < 600
        assert "1500 more rows" in shown
        with open(tmp_path / "run" / place, newline="") as file:
            assert len(list(csv.reader(file))) == 2001


class TestArtifacts:
    def test_they_are_no_runs(self, tmp_path: Path) -> None:
        old = tmp_path / "old"
        started(tmp_path, "old").finish()
        tracker = started(tmp_path / "logs")
        tracker.log_artifact(old, "imported")
        tracker.finish()
        assert list(GetLogdirSubdirectories(str(tmp_path / "logs"))) == [
            str(tmp_path / "logs" / "run")
        ]
        (kept,) = (tmp_path / "logs" / "run" / "artifacts" / "imported").iterdir()
        assert kept.read_bytes() == event_files(old)[0].read_bytes()

    @pytest.mark.parametrize("folder", ["../../up", "/absolute", "a/../..", "..", "x" * 400])
    def test_no_folder_leads_out_of_the_run(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / "model.bin").write_bytes(b"weights")
        tracker = started(tmp_path / "logs")
        tracker.log({"model": Artifact(tmp_path / "model.bin", folder)})
        tracker.finish()
        (kept,) = (tmp_path / "logs" / "run" / "artifacts").rglob("model.bin")
        assert kept.read_bytes() == b"weights"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "model.bin"]

    def test_the_place_is_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"weights")
        tracker = started(tmp_path)
        tracker.log({"model": Artifact(tmp_path / "model.bin", "models/best")}, step=4)
        tracker.finish()
        (event,) = accumulated(tmp_path / "run").Tensors("model/_file/text_summary")
        assert event.tensor_proto.string_val == [b"artifacts/models/best/model.bin"]
        assert event.step == 4

    def test_the_newer_of_two_replaces_the_older(self, tmp_path: Path) -> None:
        model = tmp_path / "model.bin"
        tracker = started(tmp_path)
        for content in (b"first", b"second"):
            model.write_bytes(content)
            tracker.log_artifact(model)
        tracker.finish()
        assert (tmp_path / "run" / "artifacts" / "model.bin").read_bytes() == b"second"
        assert os.listdir(tmp_path / "run" / "artifacts") == ["model.bin"]

    def test_a_directory_may_hold_the_run_itself(self, tmp_path: Path) -> None:
        (tmp_path / "code.py").write_text("print()")
        (tmp_path / "circle").symlink_to(tmp_path)
        tracker = started(tmp_path)
        tracker.log_artifact(tmp_path / "code.py")
        tracker.log_artifacts(tmp_path, "all")
        tracker.finish()
        kept = tmp_path / "run" / "artifacts" / "all"
        assert (kept / "code.py").read_text() == "print()"
        assert not (kept / "run" / "artifacts").exists()

    def test_a_file_that_is_gone_costs_only_itself(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match="'model' .*is gone"):
            tracker.deliver([row(0, model=LoggedFile(str(tmp_path / "gone.bin")), m=1.0)])
        tracker.finish()
        assert Seen(read_run(tmp_path / "run")).values("m") == [1.0]

    def test_a_file_where_a_folder_is_wanted_costs_only_itself(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_bytes(b"a file")
        tracker = started(tmp_path / "logs")
        tracker.log_artifact(tmp_path / "taken")
        with pytest.warns(TrackingWarning, match="already something else"):
            tracker.log_artifact(tmp_path / "taken", "taken")
        tracker.log_table("taken", columns=["x"], data=[[1]], step=0)
        tracker.finish()
        seen = Seen(read_run(tmp_path / "logs" / "run"))
        assert seen.files() == {"taken": b"a file"}
        (table,) = (one for one in seen.media("taken") if hasattr(one, "rows"))
        assert table.rows == [["1"]]

    def test_what_cannot_be_read_in_a_directory_is_named(self, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "good").write_text("good")
        (tree / "nowhere").symlink_to(tmp_path / "gone")
        tracker = started(tmp_path)
        with pytest.warns(TrackingWarning, match="nowhere"):
            tracker.log_artifacts(tree)
        tracker.finish()
        assert Seen(read_run(tmp_path / "run")).files() == {"good": b"good"}


class TestHyperparameters:
    def test_they_are_native_with_types(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        config = {
            "lr": 0.1, "epochs": 3, "amp": True, "optimizer": {"name": "adam", "betas": [0.9, 1]},
            "nan": float("nan"), "big": 2**60 + 1, "none": None, "long": "y" * 5000,
            "a/b": 1, "a": {"b": 2},
        }  # fmt: skip
        tracker.deliver([Config(config, WALL_TIME)])
        tracker.finish()
        content = accumulated(tmp_path / "run").SummaryMetadata("_hparams_/session_start_info")
        start = metadata.parse_session_start_info_plugin_data(content.plugin_data.content)
        assert start.start_time_secs == WALL_TIME
        found = {
            name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
        }
        assert len(found.pop("long")) < 1100
        assert found == {
            "lr": 0.1, "epochs": 3.0, "amp": True, "optimizer/name": "adam",
            "optimizer/betas": "[0.9, 1]", "nan": "nan", "big": str(2**60 + 1), "none": "None",
            "a/b": 1.0, "a/b'": 2.0,
        }  # fmt: skip

    def test_a_run_that_is_started_late_began_when_it_began(self, tmp_path: Path) -> None:
        tracker = TensorBoardTracker("run", tmp_path)
        tracker.began_at = WALL_TIME
        tracker.start()
        tracker.deliver([Config({"lr": 0.1}, WALL_TIME + 5)])
        tracker.finish()
        content = accumulated(tmp_path / "run").SummaryMetadata("_hparams_/session_start_info")
        start = metadata.parse_session_start_info_plugin_data(content.plugin_data.content)
        assert start.start_time_secs == WALL_TIME

    def test_the_file_beside_them_is_yaml(self, tmp_path: Path) -> None:
        config = {
            "lr": 1e-05, "big": 1e22, "n": 2**70, "none": None, "yes": True, "off": "no", "": "",
            "inf": [math.inf, -math.inf], "model": {"hidden": [64, 32], "a: b": "#x\n\t\\\"'"},
            "k" * 2000: {"l" * 2000: 0.5}, "\x7f\u2028é😀\U000e0001": "\x00\ufeff-", "empty": [{}, []],
        }  # fmt: skip
        tracker = started(tmp_path)
        for _ in range(2):  # as a delivery lane may do
            tracker.deliver([Config(config, WALL_TIME)])
        tracker.deliver([Config({"lr": 0.5}, WALL_TIME + 1)])
        tracker.finish()
        first, second = sorted((tmp_path / "run").glob("*/hparams.yml"))
        assert loaded(first) == config
        assert loaded(second) == config | {"lr": 0.5}

    def test_the_text_beside_them_is_json(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        tracker.deliver([Config({"a": 1, "b": [None]}, WALL_TIME), Config({"a": 2}, WALL_TIME)])
        tracker.finish()
        texts = accumulated(tmp_path / "run").Tensors("_tracking_/config/text_summary")
        found = [json.loads(event.tensor_proto.string_val[0]) for event in texts]
        assert found == [{"a": 1, "b": [None]}, {"a": 2, "b": [None]}]

    @pytest.mark.parametrize(
        ("status", "native"),
        [
            ("finished", api_pb2.STATUS_SUCCESS),
            ("failed", api_pb2.STATUS_FAILURE),
            ("killed", api_pb2.STATUS_FAILURE),
        ],
    )
    @pytest.mark.parametrize("config", [None, {"lr": 0.1}])
    def test_the_end_is_native(
        self, tmp_path: Path, status: Any, native: int, config: dict[str, Any] | None
    ) -> None:
        tracker = started(tmp_path)
        if config:
            tracker.store_init_configuration(config)
        tracker.finish(status)
        found = accumulated(tmp_path / "run")
        content = found.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
        assert metadata.parse_session_end_info_plugin_data(content).status == native
        assert found.SummaryMetadata("_hparams_/session_start_info")


class TestDisk:
    def test_a_kill_right_after_log_loses_nothing(self, tmp_path: Path) -> None:
        script = """if True:
            import os, signal, sys
            from tracking_tensorboard import TensorBoardTracker
            tracker = TensorBoardTracker("run", sys.argv[1])
            tracker.start()
            for step in range(500):
                tracker.log({"m": float(step)}, step=step)
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        """
        in_another_process(script, tmp_path)
        seen = Seen(read_run(tmp_path / "run"))
        assert seen.values("m") == [float(step) for step in range(500)]
        assert seen.status is None

    @pytest.mark.skipif(sys.platform == "win32", reason="limits files as POSIX does")
    def test_a_full_disk_leaves_whole_records(self, tmp_path: Path) -> None:
        # The limit makes one write short and the next fail, as a full disk does.
        script = """if True:
            import pathlib, resource, sys
            from tracking_core.records import Log
            from tracking_tensorboard import TensorBoardTracker

            def rows(*steps):
                return [Log({"m": float(step), "t": "x" * 100}, step, step, 1.0) for step in steps]

            tracker = TensorBoardTracker("run", sys.argv[1])
            tracker.start()
            tracker.deliver(rows(0, 1))
            (file,) = pathlib.Path(sys.argv[1], "run").iterdir()
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 300, hard))
            try:
                tracker.deliver(rows(*range(2, 50)))
            except OSError as error:
                print("raised")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            tracker.deliver(rows(*range(2, 5)))
            tracker.finish()
        """
        assert in_another_process(script, tmp_path).strip() == "raised"
        seen = Seen(read_run(tmp_path / "run"))
        assert seen.values("m") == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert len(event_files(tmp_path / "run")) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="limits files as POSIX does")
    def test_a_start_on_a_full_disk_leaves_no_file(self, tmp_path: Path) -> None:
        script = """if True:
            import resource, sys
            from tracking_tensorboard import TensorBoardTracker
            tracker = TensorBoardTracker("run", sys.argv[1])
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            import tracking_tensorboard.event_file, tracking_tensorboard.summaries
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
            try:
                tracker.start()
            except OSError as error:
                print("raised")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            tracker.start()
            tracker.finish()
        """
        assert in_another_process(script, tmp_path).strip() == "raised"
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert len(event_files(tmp_path / "run")) == 1

    def test_a_deleted_run_goes_on_in_a_new_file(self, tmp_path: Path) -> None:
        tracker = started(tmp_path)
        (file,) = event_files(tmp_path / "run")
        file.unlink()
        file.parent.rmdir()
        tracker.deliver([row(1, m=1.0)])
        tracker.finish()
        assert Seen(read_run(tmp_path / "run")).values("m") == [1.0]


class TestWhatAccelerateTests:
    """Accelerate's own tests of its TensorBoard tracker, against ours."""

    def test_init_trackers(self, tmp_path: Path) -> None:
        tracking = Tracking("tensorboard", tmp_path, delivery="inline")
        config = {"num_iterations": 12, "learning_rate": 1e-2, "some_boolean": False, "s": "text"}
        tracking.init_trackers("test_project_with_config", config)
        tracking.end_training()
        (file,) = (tmp_path / "test_project_with_config").glob("*/hparams.yml")
        assert loaded(file) == config

    def test_log(self, tmp_path: Path) -> None:
        tracking = Tracking("tensorboard", tmp_path, delivery="inline")
        tracking.init_trackers("test_project_with_log")
        tracking.log({"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}, step=0)
        tracking.end_training()
        assert event_files(tmp_path / "test_project_with_log")

    def test_a_tensor_is_a_simple_value(self, tmp_path: Path) -> None:
        tracking = Tracking("tensorboard", tmp_path, delivery="inline")
        tracking.init_trackers("test_project_with_log")
        tracking.log({"tensor": numpy.array(1)}, step=0)
        tracking.end_training()
        # Accelerate's test reads the file's bytes itself, without CRCs.
        (file,) = event_files(tmp_path / "test_project_with_log")
        data, found = file.read_bytes(), False
        while data:
            (size,) = struct.unpack("Q", data[:8])
            event = event_pb2.Event()
            event.ParseFromString(data[12 : 12 + size])
            data = data[12 + size + 4 :]
            for value in event.summary.value:
                if value.tag == "tensor":
                    found = True
                    assert value.simple_value == 1.0
        assert found

    def test_project_dir(self, tmp_path: Path) -> None:
        message = "Logging with `tensorboard` requires a `logging_dir` to be passed in."
        with pytest.raises(ValueError, match=re.escape(message)) as raised:
            Tracking("tensorboard")
        assert isinstance(raised.value, MissingLoggingDirectoryError)
        Tracking("tensorboard", logging_dir=tmp_path)

    def test_the_native_object_by_the_names_of_accelerate(self, tmp_path: Path) -> None:
        tracking = Tracking("tensorboard", tmp_path, delivery="inline")
        options = {"tensorboard": {"max_queue": 3, "flush_secs": 10}}
        tracking.init_trackers("project", init_kwargs=options)
        tracker = tracking.trackers[0]
        assert tracking.get_tracker("tensorboard") is tracker
        assert tracking.get_tracker("tensorboard", unwrap=True) is tracker.writer
        tracking.log({"m": 1.0}, log_kwargs={"tensorboard": {"walltime": 5.0}})
        tracking.end_training()
        assert Seen(read_run(tmp_path / "project")).points("m")[0].wall_time == 5.0

    def test_all_errors_are_of_the_family(self) -> None:
        assert issubclass(NotStartedError, TrackingError)
        assert issubclass(NotStartedError, AttributeError)
