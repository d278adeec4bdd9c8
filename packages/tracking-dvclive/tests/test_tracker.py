from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy
import pytest

from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning, Video
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedFile,
    LoggedImage,
    LoggedVideo,
    Record,
    Tags,
)
from tracking_core.testing import Seen
from tracking_dvclive import DVCLiveTracker, read_run
from tracking_dvclive.errors import DVCLiveDirectoryError

from .runs import (
    WALL_TIME,
    Live,
    in_another_process,
    load_yaml,
    parse_metrics,
    parse_tsv,
    row,
    started,
)


class TestLaziness:
    def test_importing_and_constructing_import_no_dvclive(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_dvclive import DVCLiveTracker
            DVCLiveTracker("run", dir=sys.argv[1], report="html")
            print(sorted({"dvclive", "dvc", "numpy"} & set(sys.modules)))
        """
        assert in_another_process(script, tmp_path / "run").strip() == "[]"
        assert not (tmp_path / "run").exists()

    def test_nothing_of_the_interpreter_is_changed_and_nothing_printed(
        self, tmp_path: Path
    ) -> None:
        script = """if True:
            import atexit, logging, os, signal, sys, threading
            import tracking_dvclive
            def state():
                return (
                    sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, dict(os.environ),
                    logging.root.level, list(logging.root.handlers),
                    logging.getLogger("asyncio").level,
                    [signal.getsignal(one) for one in signal.valid_signals()],
                    vars(__builtins__).keys(), threading.active_count(), os.getcwd(),
                )
            before, exits = state(), atexit._ncallbacks()
            tracker = tracking_dvclive.DVCLiveTracker(dir=sys.argv[1])
            tracker.start()
            assert state() == before
            tracker.log({"m": 1.0, "bad (key)": None})
            tracker.store_init_configuration({"lr": 1})
            tracker.finish()
            assert state() == before
        """
        assert in_another_process(script, tmp_path / "run") == ""

    def test_off_the_main_process_nothing_is_made(self, tmp_path: Path) -> None:
        script = """if True:
            import sys
            from tracking_dvclive import DVCLiveTracker
            tracker = DVCLiveTracker("run", dir=sys.argv[1])
            tracker.start()
            tracker.log({"loss": 1.0})
            tracker.finish()
            print("dvclive" in sys.modules)
        """
        printed = in_another_process(
            script, tmp_path / "run", RANK="1", WORLD_SIZE="2", LOCAL_RANK="1"
        )
        assert printed.strip() == "False"
        assert not (tmp_path / "run").exists()


class TestLifeCycle:
    def test_before_the_start_there_is_no_live(self) -> None:
        tracker = DVCLiveTracker("run")
        tracker.finish()
        for attribute in ("live", "tracker"):
            with pytest.raises(NotStartedError, match="'dvclive' is not started"):
                getattr(tracker, attribute)
        with pytest.raises(NotStartedError, match="'dvclive' is not started"):
            tracker.log({"m": 1.0})

    def test_a_second_start_is_refused(self) -> None:
        tracker = started()
        with pytest.raises(AlreadyStartedError, match="'dvclive' is running"):
            tracker.start()
        tracker.finish()

    def test_nothing_is_written_after_the_end(self) -> None:
        tracker = started()
        tracker.log({"m": 1.0})
        tracker.finish("failed")
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        tracker.finish()
        with pytest.raises(NotStartedError, match="'dvclive' is finished"):
            tracker.log({"m": 1.0})
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before

    def test_an_unknown_argument_is_named_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"no argument 'directory': .*takes .*dvcyaml"):
            DVCLiveTracker(directory="x")
        with pytest.raises(TypeError, match="no argument 'reports': did you mean 'report'"):
            Tracking("dvclive", tmp_path).init_trackers(
                "p", init_kwargs={"dvclive": {"reports": 1}}
            )

    @pytest.mark.parametrize("place", ["file", "file/below"])
    def test_a_directory_that_is_a_file_is_named(self, place: str) -> None:
        Path("file").write_text("mine")
        for options in ({}, {"resume": True}):
            tracker = DVCLiveTracker(dir=place, **options)
            with pytest.raises(DVCLiveDirectoryError, match=r"can't write.*Give another") as bad:
                tracker.start()
            assert tracker.fault(bad.value) == "setup"
        assert Path("file").read_text() == "mine"

    def test_a_directory_that_can_not_be_written_is_named(self) -> None:
        script = """if True:
            import os
            from tracking_dvclive import DVCLiveTracker
            from tracking_dvclive.quiet import imported
            imported()  # nobody may be allowed to read where Python is
            import tracking_dvclive.run
            if os.geteuid() == 0:
                os.seteuid(65534)
            tracker = DVCLiveTracker(dir="locked/dvclive")
            try:
                tracker.start()
            except Exception as error:
                print(tracker.fault(error), error)
        """
        Path("locked").mkdir(mode=0o555)
        for path in (Path().absolute(), *Path().absolute().parents):
            if path.stat().st_uid == os.getuid():
                path.chmod(path.stat().st_mode | 0o055)
        said = in_another_process(script)
        assert said.startswith("setup tracker 'dvclive' can't write to its directory"), said

    def test_a_url_is_refused_with_what_to_do(self) -> None:
        with pytest.raises(ValueError, match=r"'s3://bucket/run': give a local dir"):
            started("s3://bucket/run")

    def test_a_wrong_argument_leaves_nothing_behind(self) -> None:
        tracker = DVCLiveTracker(dvcyaml="other.yaml")
        with pytest.raises(Exception, match=r"dvc\.yaml") as wrong:
            tracker.start()
        assert tracker.fault(wrong.value) == "setup"
        assert os.listdir() == []

    def test_the_end_of_a_replayed_run_is_when_it_was(self) -> None:
        records: list[Record] = [
            Config({"lr": 0.5, "nested": {"n": [1, None, 2**60]}}, WALL_TIME),
            Tags({"baseline": None, "team": "vision"}, WALL_TIME + 1),
            row(3, loss=0.5, note="text", missing=None),
            row(4, loss=0.25),
            End("killed", WALL_TIME + 9),
        ]
        tracker = started()
        tracker.deliver(records)
        tracker.finish("killed")
        assert list(read_run("dvclive")) == records


class TestDirectory:
    def test_a_second_run_deletes_nothing_of_the_first(self) -> None:
        for number in range(3):
            tracker = started()
            tracker.store_init_configuration({"number": number})
            tracker.log({"m": float(number)})
            tracker.finish()
        for number, name in enumerate(["dvclive", "dvclive-2", "dvclive-3"]):
            seen = Seen(read_run(name))
            assert (seen.values("m"), seen.config) == ([number], {"number": number})
        files = load_yaml("dvc.yaml")
        assert files["metrics"] == [f"{name}/metrics.json" for name in
                                    ("dvclive", "dvclive-2", "dvclive-3")]  # fmt: skip

    def test_a_run_of_plain_dvclive_is_left_alone_too(self) -> None:
        live = Live("dvclive", save_dvc_exp=False)
        live.log_metric("m", 1.0)
        live.end()
        tracker = started()
        tracker.log({"m": 2.0})
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [1.0]
        assert Seen(read_run("dvclive-2")).values("m") == [2.0]

    def test_two_at_once_keep_apart(self) -> None:
        trackers = [started(), started()]
        for step in range(3):
            for number, tracker in enumerate(trackers):
                tracker.log({"m": float(number)}, step=step)
        for tracker in trackers:
            tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [0.0] * 3
        assert Seen(read_run("dvclive-2")).values("m") == [1.0] * 3

    def test_files_of_others_in_the_directory_are_kept(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "mine.txt").write_text("mine")
        tracker = started(tmp_path / "run")
        tracker.finish()
        assert tracker.identity() == {"dir": str(tmp_path / "run")}
        assert (tmp_path / "run" / "mine.txt").read_text() == "mine"

    def test_it_goes_on_after_the_program_changed_its_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tracker = started()
        tracker.log({"m": 1.0})
        home = os.getcwd()
        monkeypatch.chdir(tmp_path)
        tracker.log({"m": 2.0})
        tracker.store_init_configuration({"lr": 0.1})
        assert sorted(os.listdir()) == ["cwd"]
        monkeypatch.chdir(home)
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [1.0, 2.0]
        assert json.loads(Path("dvclive/metrics.json").read_text()) == {"m": 2.0, "step": 1}
        assert load_yaml("dvc.yaml")["params"][0] == "dvclive/params.yaml"


class TestResuming:
    def test_resume_true_goes_on(self) -> None:
        first = started()
        first.store_init_configuration({"a": 1})
        first.log({"m": 1.0, "i": Image(numpy.zeros((2, 2)))}, step=0)
        first.log_table("t", columns=["x", "y"], data=[[1, 2]], step=0)
        first.finish("failed")
        second = started(resume=True)
        second.log({"m": 2.0})  # after step 0, which plain DVCLive would write again
        second.store_init_configuration({"b": 2})
        second.finish()
        assert second.identity() == first.identity()
        seen = Seen(read_run("dvclive"))
        # The table without a step of its own came after the row.
        assert [(point.step, point.value) for point in seen.points("m")] == [(0, 1.0), (1, 2.0)]
        assert seen.config == {"a": 1, "b": 2}
        assert seen.status == "finished"
        shown = json.dumps(load_yaml("dvc.yaml"))
        assert "plots/images" in shown and "custom/t.json" in shown

    def test_the_variable_of_dvclive_is_heeded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started().finish()
        monkeypatch.setenv("DVCLIVE_RESUME", "true")
        started().finish()
        assert not Path("dvclive-2").exists()

    def test_it_needs_an_identity_of_this_tracker(self) -> None:
        with pytest.raises(ValueError, match=r"'dvclive' can't resume .* 'dir'"):
            DVCLiveTracker("run").resume({"run_id": "x"})

    def test_the_run_of_plain_dvclive_gets_times(self) -> None:
        live = Live("dvclive", save_dvc_exp=False)
        live.log_params({"a": 1})
        for value in (1.0, 2.0):
            live.log_metric("val/m", value)
            live.next_step()
        live.end()
        tracker = started(resume=True)
        tracker.deliver([row(7, **{"val/m": 3.0})])
        tracker.finish()
        seen = Seen(read_run("dvclive"))
        assert [(p.step, p.value) for p in seen.points("val/m")] == [(0, 1.0), (1, 2.0), (7, 3.0)]
        assert seen.points("val/m")[-1].wall_time == WALL_TIME + 7
        rows = parse_tsv("dvclive/plots/metrics/val/m.tsv")
        assert [(one["step"], one["m"]) for one in rows] == [
            ("0", "1.0"),
            ("1", "2.0"),
            ("7", "3.0"),
        ]

    def test_plain_dvclive_goes_on_with_ours(self) -> None:
        tracker = started()
        tracker.store_init_configuration({"a": 1})
        tracker.deliver([row(5, m=1.0)])
        tracker.finish()
        live = Live("dvclive", resume=True, save_dvc_exp=False)
        assert live.step == 6
        live.log_metric("m", 2.0, timestamp=True)
        live.end()
        seen = Seen(read_run("dvclive"))
        assert [(point.step, point.value) for point in seen.points("m")] == [(5, 1.0), (6, 2.0)]

    @pytest.mark.parametrize("name", ["metrics.json", "params.yaml"])
    def test_a_summary_cut_off_is_no_obstacle(self, name: str) -> None:
        tracker = started()
        tracker.store_init_configuration({"lr": 0.1})
        tracker.log({"val": {"m": 1.0}}, step=4)
        tracker.finish("killed")
        path = Path("dvclive", name)
        path.write_bytes(b"{" if name.endswith("json") else b"")
        again = started(resume=True)
        again.log({"other": 2.0})
        again.finish()
        summary = json.loads(Path("dvclive/metrics.json").read_text())
        assert summary == {"val": {"m": 1.0}, "other": 2.0, "step": 5}

    @pytest.mark.parametrize("lost", [1, 3, 12, 30])
    def test_a_row_cut_off_goes_and_no_other(self, lost: int) -> None:
        tracker = started()
        tracker.deliver([row(step, m=float(step), t=f"text\nof {step}") for step in range(4)])
        for name in ("m", "t"):
            path = Path(f"dvclive/plots/metrics/{name}.tsv")
            path.write_bytes(path.read_bytes()[:-lost])
        again = DVCLiveTracker()
        again.resume(tracker.identity())
        again.start()
        again.deliver([row(9, m=9.0, t="last")])
        again.finish()
        seen = Seen(read_run("dvclive"))
        assert seen.values("m") in ([0.0, 1.0, 2.0, 9.0], [0.0, 1.0, 9.0])
        assert seen.values("t")[-1] == "last"
        assert seen.values("t")[:-1] == [f"text\nof {n}" for n in range(len(seen.values("t")) - 1)]


class TestLive:
    def test_one_that_is_given_is_used(self) -> None:
        live = Live("mine", save_dvc_exp=False, dvcyaml=None)
        tracker = DVCLiveTracker(live=live)
        tracker.start()
        assert tracker.live is tracker.tracker is live
        tracker.log({"m": 1.0}, step=3)
        assert live.step == 4
        tracker.finish()
        assert not Path("dvc.yaml").exists()
        assert Seen(read_run("mine")).points("m")[0].step == 3

    def test_something_else_is_refused(self) -> None:
        tracker = DVCLiveTracker(live="dvclive")
        with pytest.raises(TypeError, match=r"'dvclive': live must be a dvclive.Live, not a str"):
            tracker.start()

    def test_a_new_one_does_not_show_what_an_older_run_left(self) -> None:
        for number in range(2):
            live = Live("mine", save_dvc_exp=False)  # this deletes the run before
            tracker = DVCLiveTracker(live=live)
            tracker.start()
            tracker.set_tags([f"tag {number}"])
            tracker.log({"beep": Audio(numpy.zeros(10), 8000)}, step=number)
            tracker.finish()
        seen = Seen(read_run("mine"))
        assert seen.tags == {"tag 1": None}
        assert [point.step for point in seen.points("beep")] == [1]

    def test_its_own_methods_write_to_the_same_run(self) -> None:
        tracker = started()
        tracker.deliver([row(0, m=1.0, a=1.0)])
        tracker.live.log_metric("m", 2.0)
        tracker.live.log_metric("theirs", numpy.float32(0.5))
        tracker.live.log_image("pictures/7.png", numpy.zeros((2, 2, 3), "uint8"))
        tracker.deliver([row(2, m=3.0, theirs=4.0)])
        tracker.finish()
        seen = Seen(read_run("dvclive"))
        assert sorted(seen.values("m")) == [1.0, 2.0, 3.0]  # type: ignore[type-var]  # numbers
        assert sorted(seen.values("theirs")) == [0.5, 4.0]  # type: ignore[type-var]  # numbers
        assert [point.step for point in seen.points("pictures")] == [7]
        for name in ("m", "theirs"):
            rows = parse_tsv(f"dvclive/plots/metrics/{name}.tsv")
            assert all(float(one[name]) > 0 and int(one["step"]) >= 0 for one in rows)

    def test_its_next_step_works(self) -> None:
        tracker = started(report="md")
        tracker.log({"m": 1.0, "h": Histogram([1.0, 2.0])})
        tracker.live.next_step()
        tracker.finish()
        assert "metrics.json" in Path("dvclive/report.md").read_text()

    def test_inside_with_the_user_ends_it(self) -> None:
        with Live("mine", save_dvc_exp=False) as live:
            tracker = DVCLiveTracker(live=live)
            tracker.start()
            tracker.log({"m": 1.0})
            tracker.finish()
            live.log_metric("later", 1.0)
        assert json.loads(Path("mine/metrics.json").read_text())["later"] == 1.0


class TestRows:
    def test_they_are_what_dvclive_reads(self) -> None:
        tracker = started()
        tracker.deliver(
            [row(5, **{"val/loss": 0.5, "note": "a\tb\nc"}), row(6, **{"val/loss": math.nan})]
        )
        logs, latest = parse_metrics(tracker.live)
        assert logs["dvclive/plots/metrics/val/loss.tsv"] == [
            {"timestamp": "1760000005250", "step": "5", "loss": "0.5"},
            {"timestamp": "1760000006250", "step": "6", "loss": "nan"},
        ]
        assert logs["dvclive/plots/metrics/note.tsv"][0]["note"] == "a\tb\nc"
        assert latest == {"val": {"loss": "nan"}, "note": "a\tb\nc", "step": 6}
        tracker.finish()

    def test_times_are_exact(self) -> None:
        times = [0.0, 1e-7, 1760000000.1234567, 1.5e9, -3.25]
        tracker = started()
        tracker.deliver([Log({"m": 1.0}, n, n, time) for n, time in enumerate(times)])
        tracker.finish()
        assert [point.wall_time for point in Seen(read_run("dvclive")).points("m")] == times

    def test_texts_that_look_like_something_else_are_texts(self) -> None:
        texts = ["0.5", "nan", "True", "", "None", '"', '""', "a\tb", "a\r\nb", "timestamp", "1_0"]
        tracker = started()
        tracker.deliver([row(step, t=text) for step, text in enumerate(texts)])
        tracker.finish()
        assert Seen(read_run("dvclive")).values("t") == texts

    def test_a_text_that_dvc_cannot_read_is_kept_whole(self) -> None:
        texts = ["x" * 200_000, "nul \0 inside", "x" * 200_000, "y" * 300_000]
        tracker = started()
        tracker.deliver([row(step // 2, t=text) for step, text in enumerate(texts)])
        assert all(len(one["t"]) < 1000 for one in parse_tsv("dvclive/plots/metrics/t.tsv"))
        tracker.finish()
        assert sorted(map(str, Seen(read_run("dvclive")).values("t"))) == sorted(texts)

    def test_a_metric_and_others_below_it(self) -> None:
        tracker = started()
        tracker.log({"a": 1.0, "a/b": 2.0, "a/b/c": 3.0, "b/c": 4.0, "b": 5.0}, step=0)
        summary = json.loads(Path("dvclive/metrics.json").read_text())
        assert summary == {
            "a": 1.0,
            "a/b": 2.0,
            "a/b/c": 3.0,
            "b": {"c": 4.0},
            "b/": 5.0,
            "step": 0,
        }
        tracker.finish()
        seen = Seen(read_run("dvclive"))
        assert [seen.values(key) for key in ("a", "a/b", "a/b/c", "b/c", "b")] == [
            [1.0], [2.0], [3.0], [4.0], [5.0],
        ]  # fmt: skip

    def test_no_key_leads_out_of_the_directory(self, tmp_path: Path) -> None:
        keys = [
            "../../x",
            "/tmp/x",
            "",
            ".",
            "step",
            "timestamp",
            "val/step",
            "a.tsv/b",
            "a",
            "con",
        ]
        tracker = started(tmp_path / "run")
        tracker.log({key: float(number) for number, key in enumerate(keys)}, step=0)
        tracker.log({f"{key}": Image(numpy.zeros((2, 2))) for key in keys}, step=1)
        tracker.finish()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "run"]
        seen = Seen(read_run(tmp_path / "run"))
        for number, key in enumerate(keys):
            value, image = seen.values(key)
            assert (value, type(image)) == (float(number), LoggedImage)

    def test_no_two_files_differ_in_capitals_only(self) -> None:
        keys = [
            "Loss",
            "loss",
            "LOSS",
            "a/X",
            "A/x",
            "é",
            "e\u0301",
            "straße",
            "STRASSE",
            "_x4C_oss",
        ]
        tracker = started()
        tracker.log({key: float(number) for number, key in enumerate(keys)}, step=0)
        tracker.finish()
        files = [str(path).casefold() for path in Path("dvclive/plots/metrics").rglob("*")]
        assert len(set(files)) == len(files)
        again = started(resume=True)
        again.log({key: float(number) for number, key in enumerate(reversed(keys))}, step=1)
        again.finish()
        seen = Seen(read_run("dvclive"))
        for number, key in enumerate(keys):
            assert seen.values(key) == [float(number), float(len(keys) - 1 - number)]

    def test_very_long_keys(self) -> None:
        keys = ["k" * 5000, "损" * 300, "a/" * 2000 + "b", "a/" * 2000 + "c"]
        tracker = started()
        tracker.log({key: float(number) for number, key in enumerate(keys)}, step=0)
        tracker.log({key: Histogram([1.0, 2.0]) for key in keys}, step=1)
        tracker.finish()
        seen = Seen(read_run("dvclive"))
        for number, key in enumerate(keys):
            assert seen.values(key)[0] == float(number)

    def test_another_axis_does_not_move_the_runs_step(self) -> None:
        tracker = started()
        tracker.log({"loss": 1.0}, step=500)
        tracker.log({"val": {"loss": 2.0}}, step=1, step_axis="epoch")
        tracker.finish()
        assert not tracker.rejections.counts
        assert json.loads(Path("dvclive/metrics.json").read_text())["step"] == 500
        assert Seen(read_run("dvclive")).points("val/loss")[0].step == 1
        shown = json.loads(Path("dvclive/tracking/run.json").read_text())
        assert shown["step_axes"] == {"val/loss": "epoch"}

    def test_plot_false_is_for_the_summary_alone(self) -> None:
        tracker = started()
        tracker.log({"best": 1.0, "why": "x" * 500}, step=3, plot=False, timestamp=True)
        tracker.finish()
        assert not list(Path("dvclive").rglob("*.tsv"))
        seen = Seen(read_run("dvclive"))
        assert [(one.step, one.value) for one in seen.points("best")] == [(3, 1.0)]
        assert seen.values("why") == ["x" * 500]

    def test_an_unknown_option_is_named_and_the_values_land(self) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['plots'\].*step_axis"):
            tracker.log({"m": 1.0}, step=0, plots=False)
        with pytest.warns(TrackingWarning, match=r"log_kwargs\['plot'\]"):
            tracker.log({"m": 2.0}, step=1, plot="no")
        tracker.deliver([Log({"m": 3.0}, 2, 2, WALL_TIME, {"wandb": {"commit": True}})])
        tracker.finish()
        assert sorted(Seen(read_run("dvclive")).values("m")) == [1.0, 2.0, 3.0]  # type: ignore[type-var]  # numbers
        assert len(tracker.rejections.counts) == 2

    @pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts reads as Linux does")
    def test_a_row_costs_the_same_after_many(self) -> None:
        def bytes_moved() -> int:
            found = dict(
                line.split(": ") for line in Path("/proc/self/io").read_text().splitlines()
            )
            return int(found["rchar"]) + int(found["wchar"])

        def cost(step: int) -> int:
            before = bytes_moved()
            tracker.deliver([row(step, m=0.5)])
            return bytes_moved() - before

        tracker = started()
        tracker.deliver([row(0, m=0.5)])
        early = cost(1)
        tracker.deliver([row(step, m=0.5) for step in range(2, 20_000)])
        assert cost(20_000) < early + 100
        tracker.finish()


class TestMedia:
    def test_images_of_a_key_are_a_slider(self) -> None:
        tracker = started()
        for step in (0, 10, 10):
            tracker.log({"val/sample": Image(numpy.full((2, 2), step, "uint8"))}, step=step)
        tracker.log({"list": [Image(numpy.zeros((2, 2))), Image(numpy.zeros((3, 3)))]}, step=1)
        images = Path("dvclive/plots/images")
        assert sorted(path.name for path in (images / "val/sample").iterdir()) == [
            "0.png", "10-2.png", "10.png",
        ]  # fmt: skip
        assert (images / "list/0/1.png").exists() and (images / "list/1/1.png").exists()
        assert "dvclive/plots/images" in load_yaml("dvc.yaml")["plots"]
        tracker.finish()

    def test_what_dvc_shows_no_picture_of_lies_elsewhere(self) -> None:
        tracker = started()
        webp = LoggedImage(b"RIFF webp", 0, 0, 0, "webp", "caption")
        video = LoggedVideo(b"mp4 data", 0, 0, 0, 0, 10.0, "mp4", "caption")
        odd = LoggedVideo(b"data", 0, 0, 0, 0, 10.0, "../odd", None)
        tracker.deliver([row(3, photo=webp, clip=video, odd=odd)])
        tracker.finish()
        assert sorted(path.name for path in Path("dvclive/media").rglob("*.*")) == [
            "3.bin", "3.mp4", "3.webp",
        ]  # fmt: skip
        seen = Seen(read_run("dvclive"))
        assert (seen.media("photo"), seen.media("clip"), seen.media("odd")) == (
            [webp],
            [video],
            [odd],
        )

    def test_tables_and_histograms_are_plots(self) -> None:
        tracker = started()
        rows = [[1, 0.5, 2, "a"], [2, math.nan, None, "b"]]
        tracker.log({"curve": Table(["x", "p", "q", "name"], rows)}, step=0)
        tracker.log({"words": Table(["word", "word"], [["a", "b"]])}, step=0)
        tracker.log(
            {"empty": Table([], []), "w": Histogram(counts=[1, 3], edges=[0, 2, 4])}, step=0
        )
        plots = {name: about for one in load_yaml("dvc.yaml")["plots"] if isinstance(one, dict)
                 for name, about in one.items()}  # fmt: skip
        curve = plots["dvclive/plots/custom/curve.json"]
        assert (curve["x"], curve["y"], curve["template"]) == ("x", ["p", "q"], "linear")
        assert plots["dvclive/plots/custom/words.json"]["y"] == "word'"
        points = json.loads(Path("dvclive/plots/custom/curve.json").read_text())
        assert points[1] == {"x": 2, "p": None, "q": None, "name": "b"}
        points = json.loads(Path("dvclive/plots/custom/w.json").read_text())
        assert points == [{"value": 1.0, "count": 1.0}, {"value": 3.0, "count": 3.0}]
        tracker.finish()
        (table,) = Seen(read_run("dvclive")).media("curve")
        assert str(table.rows) == str(rows)  # exactly, with their types

    def test_a_damaged_medium_costs_only_itself(self) -> None:
        tracker = started()
        broken = LoggedImage(b"", 2, 2, 5)
        with pytest.warns(TrackingWarning, match="'broken'"):
            tracker.deliver([row(0, broken=broken, m=1.0)])
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [1.0]

    def test_a_damaged_one_of_a_list_costs_only_itself(self) -> None:
        good = LoggedImage(b"good", 0, 0, 0, "png")
        tracker = started()
        tracker.deliver([row(0, i=[good, good])])
        with pytest.warns(TrackingWarning, match="'i'"):
            tracker.deliver([row(1, i=[LoggedImage(b"", 2, 2, 5), good])])
        tracker.finish()
        assert [point.value for point in Seen(read_run("dvclive")).points("i")] == [
            [good, good], [good],
        ]  # fmt: skip

    def test_files_lie_among_the_artifacts(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"weights")
        tracker = started()
        tracker.log({"model": Artifact(tmp_path / "model.bin", "models/best")}, step=4)
        tracker.log_artifact(tmp_path / "model.bin", "../../up")
        tracker.finish()
        assert Path("dvclive/artifacts/models/best/model.bin").read_bytes() == b"weights"
        seen = Seen(read_run("dvclive"))
        assert seen.files() == {
            "models/best/model.bin": b"weights",
            "../../up/model.bin": b"weights",
        }
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "model.bin"]

    def test_a_directory_may_hold_the_run_itself(self) -> None:
        Path("code.py").write_text("pass")
        Path("circle").symlink_to(".")
        tracker = started()
        tracker.log_artifacts(".", "all")
        tracker.finish()
        assert Path("dvclive/artifacts/all/code.py").read_text() == "pass"
        assert not Path("dvclive/artifacts/all/dvclive/artifacts").exists()

    def test_a_file_that_is_gone_costs_only_itself(self, tmp_path: Path) -> None:
        tracker = started()
        with pytest.warns(TrackingWarning, match="'model' .*is gone"):
            tracker.deliver([row(0, model=LoggedFile(str(tmp_path / "gone")), m=1.0)])
        tracker.finish()
        assert Seen(read_run("dvclive")).values("m") == [1.0]

    def test_an_animated_picture_is_shown(self) -> None:
        tracker = started()
        tracker.log(
            {"clip": Video(numpy.zeros((2, 3, 4, 3), "uint8"), fps=8, caption="a walk")}, step=2
        )
        tracker.finish()
        assert Path("dvclive/plots/images/clip/2.png").exists()
        (video,) = Seen(read_run("dvclive")).media("clip")
        assert (video.width, video.height, video.fps, video.caption) == (4, 3, 8.0, "a walk")


class TestParameters:
    def test_they_are_what_dvc_reads(self) -> None:
        tracker = started()
        config = {
            "lr": 1e-5,
            "nested": {"betas": [0.9, None]},
            "line\x85end": "\u2028",
            "é": math.inf,
        }
        tracker.store_init_configuration(config)
        assert load_yaml("dvclive/params.yaml") == config
        assert "é" not in Path("dvclive/params.yaml").read_text()  # escaped for once
        tracker.store_init_configuration({"line\x85end": 1})
        tracker.finish()
        files = load_yaml("dvc.yaml")["params"]
        assert files == ["dvclive/params.yaml", "dvclive/tracking/run.json"]
        shown = load_yaml("dvclive/tracking/run.json")
        assert shown["status"] == "finished"

    def test_odd_objects_cost_nothing(self) -> None:
        tracker = started()
        odd = {"a": numpy.float32(0.5), "path": Path("x"), "type": int}
        tracker.store_init_configuration({"good": 1})
        tracker.store_init_configuration(odd)
        tracker.finish()
        assert load_yaml("dvclive/params.yaml") == {
            "good": 1, "a": 0.5, "path": "x", "type": "builtins.int",
        }  # fmt: skip


class TestWhatAccelerateTests:
    """Accelerate's own tests of its DVCLive tracker, against ours."""

    def test_init_trackers(self, tmp_path: Path) -> None:
        config = {"num_iterations": 12, "learning_rate": 1e-2, "some_boolean": False, "s": "text"}
        options = {
            "dvclive": {"dir": str(tmp_path / "run"), "save_dvc_exp": False, "dvcyaml": None}
        }
        tracking = Tracking("dvclive", delivery="inline")
        tracking.init_trackers("test_project_with_config", config, init_kwargs=options)
        tracking.end_training()
        live = tracking.get_tracker("dvclive", unwrap=True)
        assert load_yaml(live.params_file) == config

    def test_log(self, tmp_path: Path) -> None:
        options = {
            "dvclive": {"dir": str(tmp_path / "run"), "save_dvc_exp": False, "dvcyaml": None}
        }
        tracking = Tracking("dvclive", delivery="inline")
        tracking.init_trackers("test_project_with_log", init_kwargs=options)
        values = {"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}
        tracking.log(values)
        tracking.log(values)
        tracking.log(values, step=3)
        tracking.end_training()
        live = tracking.get_tracker("dvclive", unwrap=True)
        logs, latest = parse_metrics(live)
        assert latest.pop("step") == 3
        assert latest == values
        for name in values:
            path = os.path.join(live.plots_dir, "metrics", f"{name}.tsv")
            assert [int(one["step"]) for one in logs[path]] == [0, 1, 3]
