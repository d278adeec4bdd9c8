from __future__ import annotations

import errno
import itertools
import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracking_core import Artifact, Histogram, Image, Table, TrackingWarning, Video
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.faults import fault_of_start
from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedImage, LoggedTable, LoggedVideo, Tags
from tracking_core.testing import Seen
from tracking_swanlab import SwanLabTracker, read_run
from tracking_swanlab.names import fitted, inner_path, parts_of

NOW = 1_760_000_000.25

Make = Callable[..., SwanLabTracker]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def start(project: str = "digits", **arguments: Any) -> SwanLabTracker:
        arguments = {"mode": "offline", "log_dir": str(tmp_path / "log"), **arguments}
        tracker = SwanLabTracker(project, **arguments)
        tracker.start()
        return tracker

    return start


def row(values: dict[str, Any], step: int = 0, **options: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step / 4, {"swanlab": options})


def run_dir(tracker: SwanLabTracker) -> Path:
    return Path(str(tracker.identity()["run_dir"]))


def seen(tracker: SwanLabTracker) -> Seen:
    return Seen(read_run(run_dir(tracker)))


def native(tracker: SwanLabTracker) -> list[Any]:
    """The records that SwanLab's own reader finds."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    (path,) = run_dir(tracker).glob("run-*.swanlab")
    reader = DataStoreReader()
    reader.open(path)
    try:
        return [Record.FromString(data) for data in reader]
    finally:
        reader.close()


def columns(tracker: SwanLabTracker) -> dict[str, Any]:
    from swanlab.sdk.internal.pkg import adapter

    found = [record.column for record in native(tracker) if record.HasField("column")]
    return {column.column_key: adapter.column[column.column_type] for column in found}


# --- laziness and manners ---


def test_importing_and_constructing_import_no_swanlab() -> None:
    program = (
        "import sys, tracking_swanlab; tracking_swanlab.SwanLabTracker('p')\n"
        "assert 'swanlab' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_whole_run_changes_and_prints_nothing(tmp_path: Path) -> None:
    program = """
import builtins, logging, os, signal, sys, threading
import swanlab  # what importing alone does is its own affair
def state():
    return (sys.stdout, sys.stderr, sys.stdout.write, sys.excepthook, threading.excepthook,
            signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), dict(os.environ),
            list(logging.getLogger().handlers), logging.getLogger().level, builtins.print,
            threading.active_count(), swanlab.has_run())
before = state()
import tracking_swanlab
tracker = tracking_swanlab.SwanLabTracker("p", mode="offline", log_dir="log")
tracker.start()
tracker.log({"loss": 1.0, "note": "text"}, step=1)
tracker.store_init_configuration({"lr": 1})
assert state() == before
tracker.run.log({"loss": 0.5}, step=2)
assert state()[:-2] == before[:-2]
tracker.finish()
list(tracking_swanlab.read_run(tracker.identity()["run_dir"]))
assert state() == before
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(os.listdir(tmp_path)) == ["log"]


def test_a_run_of_the_users_own_goes_on_untouched(make: Make, tmp_path: Path) -> None:
    import swanlab

    quiet = swanlab.Settings(
        probe=swanlab.Settings.Probe(monitor=False, hardware=False, requirements=False, git=False),
        terminal=swanlab.Settings.Terminal(proxy_type="none"),
    )
    theirs = swanlab.init(mode="offline", project="theirs", log_dir=str(tmp_path), settings=quiet)
    theirs.config["theirs"] = 1
    with pytest.warns(TrackingWarning, match=rf"own.*'digits'.*beside the run '{theirs.id}'"):
        tracker = make()
    hook = sys.excepthook
    assert tracker.run is not theirs
    tracker.log({"ours": 1.0}, step=0)
    tracker.run.log({"ours": 2.0}, step=1)
    tracker.finish("failed")
    assert swanlab.get_run() is theirs
    assert sys.excepthook == hook
    swanlab.log({"theirs": 3.0}, step=0)
    swanlab.config["late"] = 2
    theirs.finish()
    found = Seen(read_run(theirs.dir))
    assert (found.keys, found.status) == ({"theirs"}, "finished")
    assert found.config == {"theirs": 1, "late": 2}
    assert seen(tracker).values("ours") == [1.0, 2.0]


# --- which run ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"project": "x"}, "no argument 'project': its run_name is the project"),
        ({"callbacks": []}, "no argument 'callbacks': nobody would call them"),
        (
            {"experiment_nam": "x"},
            r"'experiment_nam': did you mean 'experiment_name'\? swanlab\.init",
        ),
        ({"settings": {"colour": 1}}, r"no argument 'colour': .*swanlab\.Settings takes api_host"),
        ({"settings": {"core": {"record_bach": 1}}}, r"'record_bach': did you mean 'record_batch'"),
        ({"settings": 3}, "settings is a dict or a swanlab.Settings, not a int"),
        ({"settings": {"probe": {"monitor": True}}}, "probe.monitor=True: hardware.*not recorded"),
        ({"settings": {"terminal": {"proxy_type": "all"}}}, "terminal.proxy_type='all'"),
    ],
)
def test_what_can_not_work_is_refused_when_it_is_constructed(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        SwanLabTracker("p", **arguments)


def test_so_is_what_a_settings_object_says() -> None:
    import swanlab

    with pytest.raises(TypeError, match=r"probe\.git=True"):
        SwanLabTracker("p", settings=swanlab.Settings(probe=swanlab.Settings.Probe(git=True)))
    quiet = swanlab.Settings(
        mode="offline",
        probe=swanlab.Settings.Probe(monitor=False, git=False),
        terminal=swanlab.Settings.Terminal(proxy_type="none"),
    )
    SwanLabTracker("p", settings=quiet, mode=None)
    SwanLabTracker("p", settings={"terminal": {"max_length": 2000}, "mode": "cloud"})


def test_a_mode_that_swanlab_does_not_know_is_refused_too() -> None:
    for arguments in ({"mode": "offlin"}, {"settings": {"mode": "offlin"}}):
        with pytest.raises(ValueError, match=r"mode='offlin': did you mean 'offline'\?"):
            SwanLabTracker("p", **arguments)


def test_a_variable_without_effect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWANLAB_PROBE_MONITOR", "true")
    monkeypatch.setenv("SWANLAB_PROBE_GIT", "false")
    with pytest.warns(TrackingWarning, match="SWANLAB_PROBE_MONITOR has no effect") as said:
        SwanLabTracker("p")
    assert len(said) == 1


def test_parameters_that_no_run_gets_are_named() -> None:
    import swanlab

    swanlab.config.update({"lr": 0.1})
    try:
        with pytest.warns(TrackingWarning, match=r"swanlab\.config holds 'lr', which no run gets"):
            SwanLabTracker("p")
    finally:
        swanlab.config.clear()


def failed(tracker: SwanLabTracker) -> tuple[str, str]:
    with pytest.raises(Exception, match="tracker 'swanlab'") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ({}, {"SWANLAB_MODE": "offlin"}, "mode='offlin' of SWANLAB_MODE: .*'offline'"),
        ({"id": "a/b"}, {}, "run.id='a/b'"),
        ({"tags": ["x"] * 40}, {}, "experiment.tags=.*at most 30"),
        ({"color": "blurple"}, {}, "experiment.color='blurple'"),
        ({"config": "nowhere.yaml"}, {}, "config='nowhere.yaml': Config file not found"),
        (
            {"log_dir": "/proc/nothing"},
            {},
            "no place for a run in '/proc/nothing'.*SWANLAB_LOG_DIR",
        ),
        ({"log_dir": "a file"}, {}, "log_dir='a file'.*not a directory"),
    ],
)
def test_what_only_swanlab_knows_to_be_wrong_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    variables: dict[str, str],
    said: str,
) -> None:
    (tmp_path / "a file").write_text("")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    mode = {} if variables else {"mode": "offline"}
    fault, message = failed(SwanLabTracker("p", **{"log_dir": "log", **mode, **arguments}))
    assert fault == "setup"
    assert re.search(said, message), message
    assert "\n" not in message


def test_arguments_reach_the_run(make: Make) -> None:
    tracker = make(
        experiment_name="e", description="why", group="g", job_type="train", id="given",
        tags=["a", "b"], config={"lr": 0.1}, reinit=True,
    )  # fmt: skip
    tracker.finish()
    start = native(tracker)[0].start
    assert (start.project, start.name, start.description) == ("digits", "e", "why")
    assert (start.group, start.job_type, start.id) == ("g", "train", "given")
    assert list(start.tags) == ["a", "b"]
    assert tracker.identity()["run_id"] == "given"
    assert seen(tracker).config == {"lr": 0.1}


def test_variables_say_how_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_LOG_DIR", str(tmp_path / "elsewhere"))
    tracker = SwanLabTracker("p")
    tracker.start()
    tracker.finish()
    assert run_dir(tracker).parent == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        ("mode='disabled'", ""),
        ("settings={'mode': 'disabled'}", ""),
        ("log_dir='log'", "disabled"),
    ],
)
def test_what_the_user_turned_off_takes_everything_at_once(
    tmp_path: Path, arguments: str, variable: str
) -> None:
    program = f"""
import sys
from tracking_swanlab import SwanLabTracker
tracker = SwanLabTracker("p", {arguments})
assert tracker.identity() == {{}}
tracker.start()
tracker.log({{"loss": 1.0}})
tracker.store_init_configuration({{"lr": 1}})
tracker.run.log({{"mine": 1.0}})
tracker.finish()
assert "swanlab" not in sys.modules
"""
    variables = {"SWANLAB_MODE": variable} if variable else {}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, **variables}, check=False
    )
    assert done.returncode == 0
    assert os.listdir(tmp_path) == []


def test_a_file_of_swanlabs_wins_over_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWANLAB_MODE", "disabled")
    (tmp_path / "swanlab.yaml").write_text("mode: offline\n")
    tracker = SwanLabTracker("p", log_dir=str(tmp_path / "log"))
    tracker.start()
    tracker.log({"loss": 1.0})
    tracker.finish()
    assert seen(tracker).values("loss") == [1.0]


def test_disabled_it_stores_nothing(make: Make, tmp_path: Path) -> None:
    tracker = make(mode="disabled")
    tracker.log({"loss": 1.0})
    tracker.run.log({"loss": 1.0})
    tracker.finish()
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "project"),
    [("my run", "my_x20_run"), ("損失", "_x640D__x5931_"), ("", "_x_"), ("a.b-c_d+e", "a.b-c_d+e")],
)
def test_projects_of_any_name(make: Make, name: str, project: str) -> None:
    tracker = make(name)
    tracker.finish()
    assert native(tracker)[0].start.project == project


def test_a_project_with_a_long_name_is_cut(make: Make) -> None:
    names = [native(make("x" * 300 + end))[0].start.project for end in ("1", "2")]
    assert [len(name) for name in names] == [100, 100]
    assert names[0] != names[1]


def test_runs_of_one_second_and_id_have_directories_of_their_own(make: Make) -> None:
    trackers = [make(id="same") for _ in range(3)]
    assert len({run_dir(tracker) for tracker in trackers}) == 3


def test_the_end_is_that_of_the_record(make: Make) -> None:
    tracker = make()
    tracker.deliver([End("failed", NOW)])
    tracker.finish("failed")
    tracker.finish("finished")
    assert list(read_run(run_dir(tracker)))[-1] == End("failed", NOW)
    finish = native(tracker)[-1].finish
    assert (finish.state, finish.error) == (2, "failed")


def test_outside_of_start_and_finish_it_says_so(make: Make) -> None:
    tracker = SwanLabTracker("p")
    tracker.finish()
    with pytest.raises(NotStartedError, match="not started"):
        tracker.log({"a": 1})
    tracker = make()
    with pytest.raises(AlreadyStartedError):
        tracker.start()
    tracker.finish()
    with pytest.raises(NotStartedError, match="finished"):
        tracker.log({"a": 1})
    with pytest.raises(ValueError, match="'run_id'"):
        tracker.resume({})


def test_a_run_that_is_started_late_began_when_it_began(tmp_path: Path) -> None:
    tracker = SwanLabTracker("digits", mode="offline", log_dir=str(tmp_path))
    tracker.began_at = NOW
    tracker.start()
    tracker.finish()
    began = native(tracker)[0].start.started_at
    assert began.seconds + began.nanos / 1e9 == NOW


def test_after_its_end_the_next_start_makes_a_new_run(make: Make) -> None:
    tracker = make()
    tracker.finish()
    first = run_dir(tracker)
    tracker.start()
    tracker.finish()
    assert run_dir(tracker) != first


def test_a_run_whose_directory_is_gone_goes_on_under_its_id(make: Make, tmp_path: Path) -> None:
    tracker = SwanLabTracker("p", mode="offline", log_dir=str(tmp_path))
    tracker.resume({"run_id": "abc", "run_dir": str(tmp_path / "gone")})
    tracker.start()
    tracker.finish()
    assert tracker.identity()["run_id"] == "abc"
    assert native(tracker)[0].start.id == "abc"


def test_a_run_that_is_named_before_it_begins_is_begun_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments: dict[str, Any] = {"mode": "offline", "log_dir": str(log)}
    first, second = (SwanLabTracker("digits", **arguments) for _ in range(2))
    second.resume(first.identity())  # the first died before it had begun, or while it began
    second.start()
    second.deliver([row({"m": 1.0})])
    second.finish()
    assert second.identity() == first.identity()
    (directory,) = (path for path in log.iterdir() if path.is_dir())
    assert Seen(read_run(directory)).values("m") == [1.0]
    third = SwanLabTracker("digits", **arguments)
    named = third.identity()
    third.start()
    third.finish()
    assert third.identity() == named != first.identity()


def test_a_run_that_arguments_name_is_theirs_to_begin(tmp_path: Path) -> None:
    assert SwanLabTracker("p", mode="offline", log_dir=str(tmp_path), id="given").identity() == {}
    assert SwanLabTracker("p", mode="disabled").identity() == {}


def test_a_resumed_run_has_one_end_and_its_series_once(make: Make) -> None:
    first = make()
    first.deliver([row({"m": 1.0, "neg": 1.0}, -5), Config({"a": 1}, NOW), Tags({"t": None}, NOW)])
    first.finish("failed")
    second = SwanLabTracker("digits", mode="offline")
    second.resume(first.identity())
    second.start()
    second.deliver([row({"m": 2.0}, -4), Config({"b": 2}, NOW), Tags({"u": "v"}, NOW)])
    second.finish()
    records = native(second)
    assert [record.HasField("finish") for record in records].count(True) == 1
    names = [record.column.column_key for record in records if record.HasField("column")]
    assert len(names) == len(set(names))
    numbers = [record.num for record in records if record.num > 0]
    assert len(numbers) == len(set(numbers))
    assert list(records[0].start.tags) == ["t", "u: v"]
    found = seen(second)
    assert [(p.step, p.value) for p in found.points("m")] == [(-5, 1.0), (-4, 2.0)]
    assert (found.config, found.tags) == ({"a": 1, "b": 2}, {"t": None, "u": "v"})


# --- what a user of SwanLab sees ---


def test_numbers_are_scalars_with_the_time_of_the_call(make: Make) -> None:
    tracker = make()
    tracker.deliver([row({"loss": 0.5, "val": {"acc": True}}, 7)])
    tracker.finish()
    scalars = [record.scalar for record in native(tracker) if record.HasField("scalar")]
    assert [(s.key, s.step, s.value.number) for s in scalars] == [
        ("loss", 7, 0.5), ("val/acc", 7, 1.0),
    ]  # fmt: skip
    assert scalars[0].timestamp.ToNanoseconds() == 1_760_000_002_000_000_000
    sections = {
        r.column.column_key: r.column.section_name for r in native(tracker) if r.HasField("column")
    }
    assert sections == {"loss": "", "val/acc": "val"}


def test_every_kind_has_a_chart_of_its_own(make: Make) -> None:
    frames = numpy.zeros((2, 4, 4, 3), dtype="uint8")
    values = {
        "text": "hello", "image": Image(frames[0], caption="c"), "clip": Video(frames, fps=4),
        "table": Table(["a"], [[1]]), "hist": Histogram([1.0, 2.0, 2.0], bins=2),
    }  # fmt: skip
    tracker = make()
    tracker.deliver([row(values, 3)])
    tracker.finish()
    assert columns(tracker) == {
        "text": "TEXT", "image": "IMAGE", "clip/_x_video": "IMAGE", "table": "ECHARTS",
        "hist": "ECHARTS",
    }  # fmt: skip
    media = {r.media.key: r.media for r in native(tracker) if r.HasField("media")}
    assert media["image"].value.items[0].caption == "c"
    for key, folder in [("text", "text"), ("image", "image"), ("table", "echarts")]:
        (item,) = media[key].value.items
        path = run_dir(tracker) / "media" / folder / item.filename
        assert path.stat().st_size == item.size
        assert item.filename.startswith("003-")
    assert seen(tracker).media("clip")[0].fps == 4


def test_a_table_is_one_of_swanlabs_own(make: Make) -> None:
    from swanlab import echarts

    rows: list[list[Any]] = [[1, "x"], [2.5, None]]
    table = echarts.Table()
    table.add(["a", "b"], rows)
    tracker = make()
    tracker.deliver([row({"t": Table(["a", "b"], rows)})])
    tracker.finish()
    (path,) = (run_dir(tracker) / "media" / "echarts").iterdir()
    stored = json.loads(path.read_text())
    del stored["_tracking"]
    assert stored == json.loads(table.dump_options())


def test_what_a_chart_can_not_say_is_read_back(make: Make) -> None:
    tracker = make()
    rows: list[list[Any]] = [[math.inf, None], *([1.0, str(n)] for n in range(1500))]
    tracker.deliver([row({"t": Table(["same", "same"], rows), "h": Histogram([0.1, math.nan])})])
    tracker.finish()
    found = seen(tracker)
    assert found.media("t") == [LoggedTable(["same", "same"], rows)]
    assert found.media("h")[0].nonfinite == 1
    for path in (run_dir(tracker) / "media" / "echarts").iterdir():
        shown = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert len(shown.get("rowData", [])) <= 1000


def test_pictures_are_stored_as_they_are(make: Make) -> None:
    """The library makes black ones of floats from 0 to 1."""
    tracker = make()
    tracker.log_images({"grey": numpy.full((4, 4), 0.5)}, step=0)
    tracker.finish()
    (image,) = seen(tracker).media("grey")
    import PIL.Image

    (path,) = (run_dir(tracker) / "media" / "image").iterdir()
    assert path.read_bytes() == image.data
    assert PIL.Image.open(path).getpixel((0, 0)) == 128


def test_more_pictures_than_swanlab_shows_of_one_key(make: Make) -> None:
    pictures = [Image(numpy.full((1, 1, 3), n, dtype="uint8"), caption=str(n)) for n in range(250)]
    tracker = make()
    tracker.deliver([row({"many": pictures}, 1), row({"many": pictures[:3]}, 2)])
    tracker.finish()
    sizes = [len(r.media.value.items) for r in native(tracker) if r.HasField("media")]
    assert max(sizes) <= 108
    points = seen(tracker).points("many")
    assert [len(point.value) for point in points] == [250, 3]  # type: ignore[arg-type]  # lists
    assert [image.caption for image in points[0].value] == [str(n) for n in range(250)]  # type: ignore[union-attr]  # likewise


def test_a_gif_is_a_video_and_an_mp4_a_file(make: Make, tmp_path: Path) -> None:
    for name in ("a.gif", "b.mp4"):
        (tmp_path / name).write_bytes(b"GIF89a moving")
    tracker = make()
    for step in range(2):
        values = {"a": Video(tmp_path / "a.gif"), "b": Video(tmp_path / "b.mp4")}
        tracker.deliver([row(values, step)])
    tracker.finish()
    assert columns(tracker)["a"] == "VIDEO"
    assert (run_dir(tracker) / "files" / "media" / "b" / "1.mp4").is_file()
    found = seen(tracker)
    for key, kind in [("a", "gif"), ("b", "mp4")]:
        assert [point.step for point in found.points(key)] == [0, 1]
        clip = found.media(key)[0]
        assert isinstance(clip, LoggedVideo)
        assert (clip.data, clip.format) == (b"GIF89a moving", kind)


def test_a_key_of_several_kinds_keeps_them_all(make: Make) -> None:
    """The library drops the second kind."""
    picture = Image(numpy.zeros((2, 2, 3), dtype="uint8"))
    tracker = make()
    values: list[Any] = [1.0, "two", picture, None, 5.0]
    tracker.deliver([row({"k": value}, step) for step, value in enumerate(values)])
    tracker.deliver([row({"t": value}, step) for step, value in enumerate(["a", None, 2.0])])
    tracker.finish()
    assert columns(tracker)["k/_x_text"] == "TEXT"
    assert columns(tracker)["t/_x_scalar"] == "FLOAT"
    one, two, three, four, five = seen(tracker).values("k")
    assert (one, two, four, five) == (1.0, "two", None, 5.0)
    assert isinstance(three, LoggedImage)
    assert seen(tracker).values("t") == ["a", None, 2.0]


def test_two_rows_of_one_moment_are_two(make: Make) -> None:
    tracker = make()
    for value in [1.0, "text", None, "text", 1.0]:
        tracker.deliver([row({"k": value, "other": 0.0}, 3)])
    tracker.finish()
    rows = [record.values for record in read_run(run_dir(tracker)) if isinstance(record, Log)]
    assert [values["k"] for values in rows] == [1.0, "text", None, "text", 1.0]
    assert [values["other"] for values in rows] == [0.0] * 5


def test_a_list_of_several_kinds_is_kept_by_number(make: Make) -> None:
    picture = Image(numpy.zeros((2, 2, 3), dtype="uint8"))
    tracker = make()
    tracker.deliver([row({"mixed": [picture, Table(["a"], [[1]]), picture]})])
    tracker.finish()
    kinds = [type(medium).__name__ for medium in seen(tracker).media("mixed")]
    assert kinds == ["LoggedImage", "LoggedTable", "LoggedImage"]


def test_files_are_copied_and_named_at_their_step(make: Make, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    tracker = make()
    tracker.store_init_configuration({"lr": 1})
    tracker.deliver([row({"f": Artifact(tmp_path / "config.yaml", "")}, 5)])
    (tmp_path / "config.yaml").write_text("changed")
    tracker.finish()
    files = run_dir(tracker) / "files"
    assert (files / "_x63_onfig.yaml").read_text() == "mine"
    assert "lr" in (files / "config.yaml").read_text()
    saves = [r.save for r in native(tracker) if r.HasField("save")]
    assert {save.name for save in saves} == {"tracking.json", "config.yaml", "_x63_onfig.yaml"}
    assert all(Path(save.source_path).is_file() for save in saves)
    assert [point.step for point in seen(tracker).points("f")] == [5]


def test_an_empty_directory_costs_nothing(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    tracker = make()
    tracker.deliver([row({"d": Artifact(tmp_path / "empty"), "loss": 1.0})])
    tracker.finish()
    assert (seen(tracker).media("d"), seen(tracker).values("loss")) == ([], [1.0])


def test_a_file_that_is_gone_is_named_and_the_rest_lands(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    tracker = make()
    rows = [row({"a": Artifact(tmp_path / "a"), "loss": 1.0})]
    (tmp_path / "a").unlink()
    with pytest.warns(TrackingWarning, match="'a'.*gone"):
        tracker.deliver(rows)
    tracker.finish()
    assert seen(tracker).keys == {"loss"}


def test_config_holds_what_was_given_and_nothing_else(make: Make) -> None:
    """Accelerate's tracker adds ``allow_val_change`` and ``FRAMEWORK``."""
    tracker = make()
    tracker.store_init_configuration({"lr": 0.1, "nan": math.nan, "none": None, "deep": {"a": [1]}})
    tracker.finish()
    shown = yaml.safe_load((run_dir(tracker) / "files" / "config.yaml").read_text())
    values = {key: entry["value"] for key, entry in shown.items()}
    assert values == {"lr": 0.1, "nan": "NaN", "none": None, "deep": {"a": [1]}}
    assert sorted(entry["sort"] for entry in shown.values()) == [0, 1, 2, 3]
    assert set(seen(tracker).config) == {"lr", "nan", "none", "deep"}


def test_late_tags_are_tags_of_the_run(make: Make) -> None:
    tracker = make(tags=["first"])
    tracker.log({"loss": 1.0})
    tracker.set_tags({f"tag {n}": "x" * 600 for n in range(40)})
    tracker.log({"loss": 2.0})
    tracker.finish()
    tags = list(native(tracker)[0].start.tags)
    assert (len(tags), tags[0], len(tags[1])) == (30, "first", 512)
    assert len(seen(tracker).tags) == 41
    assert seen(tracker).values("loss") == [1.0, 2.0]


def test_a_step_axis_is_the_charts_x_axis(make: Make) -> None:
    tracker = make()
    tracker.deliver(
        [row({"val/loss": 0.5, "note": "x"}, 3, step_axis="epoch"), row({"loss": 1.0}, 900)]
    )
    tracker.finish()
    axes = {r.column.column_key: r.column.x_axis for r in native(tracker) if r.HasField("column")}
    assert axes["val/loss"] == "epoch/_x_axis"
    assert axes["loss"] == ""
    scalars = [r.scalar for r in native(tracker) if r.HasField("scalar")]
    assert [(s.step, s.value.number) for s in scalars if s.key == "epoch/_x_axis"] == [(3, 3.0)]
    found = seen(tracker)
    assert found.keys == {"val/loss", "note", "loss"}
    assert [point.step for point in found.points("val/loss")] == [3]


def test_options_that_it_does_not_know_are_named(make: Make) -> None:
    tracker = make()
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['print_to_console'\]"):
        tracker.log({"a": 1.0}, print_to_console=True)
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['step_axis'\]"):
        tracker.log({"a": 2.0}, step_axis=3)
    tracker.finish()
    assert seen(tracker).values("a") == [1.0, 2.0]


def test_steps_beyond_all_bounds(make: Make) -> None:
    tracker = make()
    with pytest.warns(TrackingWarning, match="100 bits"):
        tracker.deliver([row({"m": 1.0}, 2**200)])
    steps = [2**48, 2**48 + 1, 2**53 + 1, -(2**63), 2**90 + 1]
    tracker.deliver([row({"m": float(n), "t": str(n)}, step) for n, step in enumerate(steps)])
    tracker.finish()
    found = seen(tracker)
    assert [(p.step, p.value) for p in found.points("m")] == sorted(
        zip(steps, range(5), strict=True)
    )
    assert [(p.step, p.value) for p in found.points("t")] == sorted(
        zip(steps, map(str, range(5)), strict=True)
    )


# --- the library's own run ---


def test_the_native_run_logs_to_the_same_run(make: Make, tmp_path: Path) -> None:
    import swanlab

    tracker = make(config={"lr": 0.1})
    tracker.log({"loss": 1.0}, step=4)
    assert isinstance(tracker.tracker, swanlab.Run)
    assert tracker.run is tracker.tracker
    assert tracker.run.id == tracker.identity()["run_id"]
    assert dict(tracker.run.config) == {"lr": 0.1}
    tracker.run.log({"note": swanlab.Text("hi"), "loss": 0.5})
    tracker.run.config["own"] = 1
    (tmp_path / "f.txt").write_text("f")
    tracker.run.save(str(tmp_path / "f.txt"), base_path=str(tmp_path), policy="now")
    tracker.store_init_configuration({"late": None})
    tracker.log({"loss": 0.25}, step=9)
    tracker.finish()
    found = seen(tracker)
    assert [(p.step, p.value) for p in found.points("loss")] == [(4, 1.0), (5, 0.5), (9, 0.25)]
    assert found.values("note") == ["hi"]
    assert found.config == {"lr": 0.1, "own": 1, "late": None}
    assert found.files() == {"f.txt": b"f"}
    assert [record.HasField("finish") for record in native(tracker)].count(True) == 1


def test_a_run_that_swanlab_wrote_is_read(tmp_path: Path) -> None:
    import swanlab

    quiet = swanlab.Settings(
        probe=swanlab.Settings.Probe(monitor=False, hardware=False, requirements=False, git=False),
        terminal=swanlab.Settings.Terminal(proxy_type="none"),
    )
    run = swanlab.init(
        mode="offline", project="p", log_dir=str(tmp_path), tags=["t"], settings=quiet,
        config={"lr": 0.1, "deep": {"a": 1}},
    )  # fmt: skip
    table = swanlab.echarts.Table()
    table.add(["a", "b"], [[1, "x"]])
    picture = swanlab.Image(numpy.zeros((2, 3, 3), dtype="uint8"), caption="black")
    run.log(
        {"loss": 1.0, "val": {"acc": 0.5}, "text": swanlab.Text("hi"), "image": picture}, step=3
    )
    run.log({"table": table, "html": swanlab.Html("<b>x</b>")}, step=4)
    run.finish("crashed", error="boom")
    found = Seen(read_run(run.dir))
    assert (found.values("loss"), found.values("val/acc")) == ([1.0], [0.5])
    assert found.values("text") == ["hi"]
    (image,) = found.media("image")
    assert (image.caption, image.width, image.height) == ("black", 3, 2)
    assert found.media("table") == [LoggedTable(["a", "b"], [[1, "x"]])]
    assert (found.config, found.tags) == ({"lr": 0.1, "deep": {"a": 1}}, {"t": None})
    assert found.status == "failed"
    rows = [record for record in read_run(run.dir) if isinstance(record, Log)]
    assert [(log.step, len(log.values)) for log in rows] == [(3, 4), (4, 2)]


def test_what_is_no_run_is_said_so(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no SwanLab run"):
            list(read_run(place))
    (tmp_path / "run-x.swanlab").write_bytes(b"")
    assert list(read_run(tmp_path)) == []


# --- delivery ---


def test_a_disk_that_fills_up_leaves_whole_rows_only(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make()
    tracker.deliver([row({"m": 0.0}, 0)])
    write = os.write

    def half(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    rows = [row({"m": float(step), "new": "text"}, step) for step in range(1, 5)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            tracker.deliver(rows)
    assert seen(tracker).values("m") == [0.0]
    tracker.deliver(rows)
    tracker.finish()
    assert seen(tracker).values("m") == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert columns(tracker) == {"m": "FLOAT", "new": "TEXT"}


def test_a_run_file_that_was_cut_anywhere_is_read_and_gone_on_with(make: Make) -> None:
    tracker = make()
    for step in range(3):
        tracker.log({"m": float(step)}, step=step)
    (path,) = run_dir(tracker).glob("run-*.swanlab")
    whole = path.read_bytes()
    places = list(itertools.chain([0, 3, 7, 500, 32768], range(32769, len(whole), 11)))
    for number, place in enumerate(places):
        path.write_bytes(whole[:place])
        survived = seen(tracker).values("m")
        assert survived == [0.0, 1.0, 2.0][: len(survived)]
        again = SwanLabTracker("digits", mode="offline")
        again.resume(tracker.identity())
        again.start()
        again.log({"m": 9.0}, step=100 + number)
        again.finish()
        assert seen(again).values("m") == [*survived, 9.0]
        assert native(again)[0].HasField("start")


def test_rows_survive_a_kill(tmp_path: Path) -> None:
    program = """
import os, signal, sys, tracking_swanlab
tracker = tracking_swanlab.SwanLabTracker("p", mode="offline", log_dir="log")
tracker.start()
tracker.set_tags(["t"])
tracker.store_init_configuration({"lr": 0.1})
for step in range(50):
    tracker.log({"m": float(step), "note": str(step)}, step=step)
sys.stdout.write(tracker.identity()["run_dir"])
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = Seen(read_run(done.stdout))
    assert found.values("m") == [float(step) for step in range(50)]
    assert found.values("note") == [str(step) for step in range(50)]
    assert (found.config, found.tags, found.status) == ({"lr": 0.1}, {"t": None}, None)


def test_rows_of_many_threads_are_whole(make: Make) -> None:
    tracker = make()
    together = threading.Barrier(4)

    def log(number: int) -> None:
        together.wait()
        for step in range(50):
            tracker.deliver([row({f"m{number}": float(step), "n": "x"}, step)])

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker.finish()
    for number in range(4):
        assert seen(tracker).values(f"m{number}") == [float(step) for step in range(50)]
    assert len(seen(tracker).values("n")) == 200


# --- names ---


@given(st.text(max_size=30))
def test_keys_are_such_that_swanlab_takes_them(key: str) -> None:
    from swanlab.sdk.internal.pkg import constraints
    from swanlab.sdk.internal.run import fmt

    key = key.encode("utf-8", "backslashreplace").decode()
    name = fitted(key)
    assert constraints.ta_metric_key.validate_python(name) == fmt.validate_key(name) == name
    assert unescape(name) == key
    assert parts_of(name) == (name, ())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_paths_stay_below_the_run(path: str) -> None:
    place = inner_path(path)
    assert not place.startswith("/")
    assert not {"..", "."} & set(place.split("/"))
    assert place not in ("config.yaml", "tracking.json")


def test_keys_too_long_for_swanlab_are_read_back_whole(make: Make) -> None:
    keys = ["k" * 600 + end for end in ("1", "2", "/3", "\n")]
    tracker = make()
    tracker.deliver([row({key: float(place) for place, key in enumerate(keys)})])
    tracker.finish()
    assert all(len(key) <= 512 for key in columns(tracker))
    assert [seen(tracker).values(key) for key in keys] == [[0.0], [1.0], [2.0], [3.0]]
