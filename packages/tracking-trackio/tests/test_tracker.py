from __future__ import annotations

import inspect
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import trackio
from hypothesis import given
from hypothesis import strategies as st
from trackio.sqlite_storage import SQLiteStorage

from tracking_core import Artifact, Audio, Histogram, Image, Table, Tracking, TrackingWarning, Video
from tracking_core.capture import capture
from tracking_core.errors import AlreadyStartedError, NotStartedError
from tracking_core.faults import Fault, fault_of, fault_of_start
from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedImage, LoggedVideo, Record, Tags
from tracking_core.testing import Seen, pixels_of
from tracking_trackio import TrackioSettingError, TrackioTracker, names, read_run
from tracking_trackio.card import Card
from tracking_trackio.settings import INIT_TAKES, Where

NOW = 1_760_000_000.25
Make = Callable[..., TrackioTracker]


@pytest.fixture
def project(tmp_path: Path) -> str:
    """A project of this test's own: all tests share Trackio's directory."""
    return f"project {tmp_path}"


@pytest.fixture
def make(project: str) -> Make:
    def started(**kwargs: Any) -> TrackioTracker:
        tracker = TrackioTracker(project, **kwargs)
        tracker.start()
        return tracker

    return started


def row(values: dict[str, Any], step: int = 0, wall_time: float = NOW, **options: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, wall_time, {"trackio": options} if options else {})


def run_of(tracker: TrackioTracker) -> str:
    return str(tracker.identity()["run_id"])


def seen(tracker: TrackioTracker, folder: Path) -> Seen:
    return Seen(read_run(tracker.run_name, run_of(tracker), download_to=folder / "read"))


def native_project(tracker: TrackioTracker) -> str:
    return names.project_name(tracker.run_name)


def native_rows(tracker: TrackioTracker) -> list[dict[str, Any]]:
    """What Trackio's own reader finds, without the row that makes the run."""
    project = native_project(tracker)
    logs: list[dict[str, Any]] = SQLiteStorage.get_logs(project, run_id=run_of(tracker))
    return [log for log in logs if set(log) - {"step", "timestamp"}]


def native_config(tracker: TrackioTracker) -> dict[str, Any]:
    project = native_project(tracker)
    config: dict[str, Any] | None = SQLiteStorage.get_run_config(project, run_id=run_of(tracker))
    assert config is not None
    return config


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


# --- construction and start ---


def test_importing_and_constructing_import_no_trackio(tmp_path: Path) -> None:
    script = """if True:
        import sys
        import tracking_trackio
        tracking_trackio.TrackioTracker("run", name="n", server_url="http://nowhere")
        print(sorted({"trackio", "numpy", "huggingface_hub", "httpx"} & set(sys.modules)))
    """
    assert in_another_process(script, TRACKIO_DIR=str(tmp_path / "none")).strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_the_constructor_is_that_of_accelerate() -> None:
    tracker = TrackioTracker("project", name="run", group="g")
    assert (tracker.name, tracker.run_name) == ("trackio", "project")
    assert tracker.init_kwargs == {"name": "run", "group": "g"}
    assert (tracker.requires_logging_directory, tracker.main_process_only) == (False, False)
    with pytest.raises(AttributeError):
        tracker.run  # noqa: B018  # reading it is what is tested


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"entity": "me", "name": "n"}, r"'trackio' has no argument 'entity': trackio\.init takes"),
        ({"nam": "me"}, r"no argument 'nam': did you mean 'name'\? trackio\.init takes"),
        ({"private": True}, r"does not take 'private': .* make it once with .*private=\.\.\."),
        ({"bucket_id": "b"}, "does not take 'bucket_id'"),
        ({"settings": {}}, "does not take 'settings'"),
    ],
)
def test_what_can_not_work_is_refused_when_it_is_constructed(
    kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        TrackioTracker("p", **kwargs)


def test_every_argument_of_init_is_taken_or_refused_by_name() -> None:
    parameters = inspect.signature(trackio.init).parameters
    taken = {name for name in parameters if name != "project"}
    assert taken <= INIT_TAKES
    TrackioTracker("p", **{name: parameters[name].default for name in taken})


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"resume": "yes"}, r"can't take resume='yes': it is one of 'allow', 'must', 'never'"),
        ({"resume": "alow"}, r"did you mean 'allow'\?"),
        ({"server_url": "ftp://me:secret@host"}, "'ftp://host': server_url begins with http"),
        ({"space_id": "name"}, "space_id='<user>/name'"),
    ],
)
def test_so_is_a_value_of_no_use(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrackioTracker("p", **kwargs)


def failed(tracker: TrackioTracker) -> tuple[Fault, str]:
    """Whose fault it is that `tracker` does not start, and what it says."""
    with pytest.raises(Exception, match="tracker 'trackio'") as raised:
        tracker.start()
    return fault_of_start(tracker.fault(raised.value), raised.value), str(raised.value)


@pytest.mark.parametrize(
    ("kwargs", "fault", "said"),
    [
        ({"resume": "must"}, "setup", "finds no run named None"),
        (
            {"resume": "must", "name": "gone"},
            "setup",
            "finds no run named 'gone'.*resume='allow'",
        ),
        (
            {"server_url": "http://127.0.0.1:9"},
            "login",
            "without a write token: set TRACKIO_WRITE_TOKEN",
        ),
    ],
)
def test_settings_of_no_use_are_named_with_a_remedy(
    project: str, kwargs: dict[str, Any], fault: Fault, said: str
) -> None:
    found, message = failed(TrackioTracker(project, **kwargs))
    assert found == fault
    assert re.search(said, message), message


@pytest.mark.parametrize("directory", ["/proc/nothing", "a file"])
def test_a_directory_of_no_use_is_named(tmp_path: Path, directory: str) -> None:
    (tmp_path / "a file").write_text("")
    script = """if True:
        from tracking_core.faults import fault_of_start
        from tracking_trackio import TrackioTracker
        tracker = TrackioTracker("p")
        try:
            tracker.start()
        except Exception as error:
            print(fault_of_start(tracker.fault(error), error), error)
    """
    said = in_another_process(script, TRACKIO_DIR=str(tmp_path / directory))
    assert re.match("setup tracker 'trackio' can't use its directory .*TRACKIO_DIR", said), said


def test_a_database_that_is_broken_blames_no_row(make: Make, project: str) -> None:
    tracker = make()
    tracker.finish()
    path = SQLiteStorage.get_project_db_path(native_project(tracker))
    for leftover in Path(path).parent.glob(f"{Path(path).name}-*"):
        leftover.unlink()
    Path(path).write_bytes(b"no database" * 1000)
    fault, message = failed(TrackioTracker(project))
    assert fault == "setup"
    assert re.search(r"not a database.*TRACKIO_DIR", message), message
    Path(path).unlink()


def test_the_address_of_a_space() -> None:
    assert Where(space_id="My_User/my.space").url == "https://my-user-my-space.hf.space/"


def test_a_space_without_a_token_is_refused_and_never_asked_for(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    fault, message = failed(TrackioTracker(project, space_id="user/space"))
    assert fault == "login"
    assert "set HF_TOKEN" in message


def test_a_second_start_and_what_comes_before_or_after_a_run(make: Make, project: str) -> None:
    early = TrackioTracker(project)
    early.finish()
    with pytest.raises(NotStartedError, match="not started"):
        early.log({"m": 1.0})
    tracker = make()
    with pytest.raises(AlreadyStartedError):
        tracker.start()
    tracker.finish("failed")
    tracker.finish()
    assert native_config(tracker)["tracking/status"] == "failed"
    with pytest.raises(NotStartedError, match="finished"):
        tracker.tracker  # noqa: B018  # reading it is what is tested


def test_trackios_current_run_is_left_alone(
    make: Make, project: str, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs: Any = trackio.init(names.project_name(project), name="theirs", auto_log_cpu=False)
    capfd.readouterr()
    with pytest.warns(TrackingWarning, match=rf"own.*{project}.*beside the run 'theirs'"):
        tracker = make(name="ours")
    trackio.log({"m": 1.0})
    tracker.log({"m": 2.0})
    tracker.finish()
    assert trackio.context_vars.current_run.get() is theirs
    assert capfd.readouterr() == ("", "")
    theirs.finish()
    trackio.context_vars.current_run.set(None)
    assert [log["m"] for log in native_rows(tracker)] == [2.0]
    logs = SQLiteStorage.get_logs(names.project_name(project), "theirs")
    assert [log["m"] for log in logs] == [1.0]


# --- what a user of Trackio sees ---


def test_every_kind_is_what_the_dashboard_shows(make: Make, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    pixels = numpy.zeros((2, 2, 3), "uint8")
    values = {
        "loss": 0.5, "flag": True, "none": None, "nan": math.nan, "val": {"acc": 2},
        "note": "*text*", "image": Image(pixels, "black"), "list": [Image(pixels), Image(pixels)],
        "clip": Video(numpy.zeros((2, 2, 2, 3), "uint8"), 5), "wave": Audio(numpy.zeros(9), 8000),
        "table": Table(["a", "b"], [[1, "x"]]), "weights": Histogram(numpy.arange(9.0), bins=3),
        "model": Artifact(tmp_path / "model.bin", "models"),
    }  # fmt: skip
    tracker = make()
    tracker.deliver([row(values, 3)])
    (log,) = native_rows(tracker)
    assert log["step"] == 3
    assert log["timestamp"] == "2025-10-09T08:53:20.250000+00:00"
    assert [log["loss"], log["flag"], log["none"], log["val/acc"]] == [0.5, 1, None, 2]
    assert math.isnan(log["nan"])
    assert log["note"] == {"_type": "trackio.markdown", "_value": "*text*"}
    kinds = {key: log[key]["_type"] for key in ("image", "list/0", "list/1", "clip", "wave")}
    assert kinds == {
        "image": "trackio.image", "list/0": "trackio.image", "list/1": "trackio.image",
        "clip": "trackio.image", "wave": "trackio.audio",
    }  # fmt: skip
    assert log["image"]["caption"] == "black"
    assert log["table"]["_value"] == [{"a": 1, "b": "x"}]
    assert (log["weights"]["values"], len(log["weights"]["bins"])) == ([3, 3, 3], 4)
    media = Path(os.environ["TRACKIO_DIR"]) / "media"
    for key in kinds:
        assert (media / log[key]["file_path"]).is_file()
    project = native_project(tracker)
    (artifact,) = SQLiteStorage.get_run_artifacts(project, None, run_of(tracker))["output"]
    assert (artifact["name"], artifact["version"]) == ("models-model.bin", 0)
    assert seen(tracker, tmp_path).keys == {*values, "val/acc"} - {"val"}


def test_config_tags_and_status_in_the_runs_config(make: Make, tmp_path: Path) -> None:
    tracker = make(group="sweep", config={"seed": 1})
    assert native_config(tracker)["tracking/status"] == "running"
    tracker.store_init_configuration({"lr": 0.1, "opt": {"name": "adam"}, "_Group": "mine"})
    tracker.set_tags({"team": "vision", "good": None})
    tracker.deliver([End("killed", NOW)])
    tracker.finish("killed")
    config = native_config(tracker)
    assert (config["lr"], config["opt"], config["seed"]) == (0.1, {"name": "adam"}, 1)
    assert (config["_Group"], config["._Group"]) == ("sweep", "mine")
    assert config["tracking/status"] == "killed"
    assert config["tracking/tags"] == {"team": "vision", "good": None}
    *_, end = read_run(tracker.run_name, run_of(tracker), download_to=tmp_path)
    assert end == End("killed", NOW)
    assert seen(tracker, tmp_path).config["_Group"] == "mine"


def test_a_config_without_a_row_is_stored(make: Make, tmp_path: Path) -> None:
    tracker = make()
    tracker.store_init_configuration({"lr": 0.1})
    assert native_config(tracker)["lr"] == 0.1
    assert seen(tracker, tmp_path).config == {"lr": 0.1}
    assert [run.id for run in trackio.Api().runs(native_project(tracker))] == [run_of(tracker)]


def test_numpy_steps_and_values_never_reach_sqlite_as_blobs(make: Make) -> None:
    tracker = make()
    tracker.log({"m": numpy.float32(1.5), "n": numpy.array(2)}, step=numpy.int64(4))  # type: ignore[arg-type]  # users do
    tracker.log({"m": 2.5})
    path = SQLiteStorage.get_project_db_path(native_project(tracker))
    database = sqlite3.connect(path)
    query = (
        "SELECT typeof(step), step FROM metrics WHERE run_id = ? AND metrics != '{}' ORDER BY id"
    )
    found = database.execute(query, (run_of(tracker),)).fetchall()
    database.close()
    assert found[-2:] == [("integer", 4), ("integer", 5)]
    assert [log["m"] for log in native_rows(tracker)] == [1.5, 2.5]


def test_a_text_that_reads_as_nan_stays_one(make: Make, tmp_path: Path) -> None:
    tracker = make()
    tracker.store_init_configuration(
        {"text": "NaN", "number": math.nan, "nested": {"inf": math.inf, "text": ["Infinity"]}}
    )
    table = Table(["a", "b"], [["NaN", math.nan], [None, -math.inf]])
    tracker.deliver([row({"text": "NaN", "number": math.nan, "table": table})])
    found = seen(tracker, tmp_path)
    assert found.values("text") == ["NaN"]
    assert repr(found.values("number")) == "[nan]"
    assert repr(found.media("table")[0].rows) == "[['NaN', nan], [None, -inf]]"
    assert repr(found.config) == (
        "{'text': 'NaN', 'number': nan, 'nested': {'inf': inf, 'text': ['Infinity']}}"
    )


def test_tables_that_trackio_would_change_come_back_whole(make: Make, tmp_path: Path) -> None:
    tracker = make()
    tables = {"twice": Table(["a", "a"], [[1, 2]]), "empty": Table(["a", "b"], [])}
    tracker.deliver([row(tables)])
    (log,) = native_rows(tracker)
    assert log["twice"]["_value"] == [{"a": 1, "a'": 2}]
    found = seen(tracker, tmp_path)
    assert (found.media("twice")[0].columns, found.media("twice")[0].rows) == (["a", "a"], [[1, 2]])
    assert found.media("empty")[0].columns == ["a", "b"]


def test_pictures_in_a_table_are_trackios_own(make: Make, tmp_path: Path) -> None:
    tracker = make()
    pictures = [numpy.full((3, 4, 3), number, "uint8") for number in range(3)]
    cells = [Image(pictures[0], caption="a"), None, Image(pictures[1])]
    values = {
        "t": Table(["id", "seen"], [[number, cell] for number, cell in enumerate(cells)]),
        "twice": Table(["a", "a"], [["NaN", Image(pictures[2])]]),
    }
    tracker.deliver([row(values)])
    (log,) = native_rows(tracker)
    shown = [cells["seen"] for cells in log["t"]["_value"]]
    assert (shown[0]["_type"], shown[0]["caption"], shown[1]) == ("trackio.image", "a", None)
    for cell in (shown[0], shown[2], log["twice"]["_value"][0]["a'"]):
        assert Path(os.environ["TRACKIO_DIR"], "media", cell["file_path"]).is_file()
    html = trackio.Table.to_display_format(log["t"]["_value"])[0]["seen"]
    assert html.startswith("<img") and 'alt="a"' in html
    found = seen(tracker, tmp_path)
    (table,), (twice,) = found.media("t"), found.media("twice")
    assert [row[0] for row in table.rows] == [0, 1, 2] and table.rows[1][1] is None
    assert (twice.columns, twice.rows[0][0]) == (["a", "a"], "NaN")
    for cell, picture in zip(
        [table.rows[0][1], table.rows[2][1], twice.rows[0][1]], pictures, strict=True
    ):
        assert numpy.array_equal(pixels_of(cell), picture)
    assert table.rows[0][1].caption == "a"


def test_records_come_back_as_they_were_delivered(make: Make, tmp_path: Path) -> None:
    records: list[Record] = [
        Config({"lr": 0.5, "nested": {"n": [1, None, 2**70]}, "_x": 1, ".y": 2}, NOW),
        Tags({"baseline": None, "team": "vision"}, NOW + 1),
        Log({"loss": 0.5, "flag": True, "n": 2**64 - 1, "none": None, "": "x"}, 3, 3, NOW + 2),
        Log({"step": 1, "time": 2, "__tracking": 3, "____x": 4, "_x41_": 5}, 1, 1, NOW + 3),
        Log({"val/loss": 1.0}, -(2**63), -(2**63), NOW, {"trackio": {"step_axis": "epoch"}}),
    ]
    tracker = make()
    tracker.deliver([*records, End("failed", NOW + 4)])
    tracker.finish("failed")
    found = list(read_run(tracker.run_name, run_of(tracker), download_to=tmp_path))
    assert found == [*records, End("failed", NOW + 4)]


def test_lists_beside_keys_of_their_items(make: Make, tmp_path: Path) -> None:
    one, two = (Image(numpy.full((1, 1), shade, "uint8")) for shade in (1, 2))
    tracker = make()
    tracker.deliver([row({"i": [one, two], "i/0": 5.0, "single": [one]})])
    found = list(read_run(tracker.run_name, run_of(tracker), download_to=tmp_path))[-1]
    assert isinstance(found, Log)
    assert found.values["i/0"] == 5.0
    assert [len(found.values[key]) for key in ("i", "single")] == [2, 1]  # type: ignore[arg-type]  # lists


def test_encoded_media_stays_as_it_is(make: Make, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "jpeg": LoggedImage(b"jpeg", 3, 2, 0, "jpeg", "c", True),
        "mp4": LoggedVideo(b"mp4", 4, 3, 3, 7, 12.5, "mp4"),
        "gif": LoggedVideo(b"gif", 0, 0, 0, 0, 0.0, "gif", "g"),
    }
    tracker = make()
    tracker.deliver([Log(values, 0, 0, NOW)])
    (log,) = native_rows(tracker)
    assert (log["mp4"]["_type"], log["gif"]["_type"]) == ("trackio.video", "trackio.image")
    assert log["mp4"]["file_path"].endswith(".mp4")
    found = seen(tracker, tmp_path)
    assert {key: found.values(key)[0] for key in values} == values


# --- delivery ---


def everything(folder: Path) -> list[Record]:
    model = folder / "model.bin"
    model.write_bytes(b"weights")
    values = {
        "loss": 0.5, "note": "text", "image": Image(numpy.zeros((4, 4), "uint8")),
        "model": Artifact(model), "samples": [Image(numpy.ones((4, 4), "uint8"))] * 2,
    }  # fmt: skip
    rows = [row({**values, "loss": float(step)}, step, NOW + step) for step in range(3)]
    return [Config({"lr": 0.1}, NOW), Tags({"label": None}, NOW), *rows]


def test_sending_everything_again_changes_nothing(make: Make, tmp_path: Path) -> None:
    tracker = make()
    records = everything(tmp_path)
    tracker.deliver(records)
    first = native_rows(tracker), native_config(tracker)
    for start in range(len(records)):
        tracker.deliver(records[start:])
    assert (native_rows(tracker), native_config(tracker)) == first
    media = Path(os.environ["TRACKIO_DIR"]) / "media" / native_project(tracker)
    assert len([path for path in media.rglob("*") if path.is_file()]) == 2 * 3
    assert len(SQLiteStorage.get_artifacts(native_project(tracker))) == 1


def test_rows_alike_in_one_batch_are_all_kept(make: Make, tmp_path: Path) -> None:
    tracker = make()
    tracker.deliver([row({"m": 1.0})] * 3)
    tracker.deliver([row({"m": 1.0})] * 3)
    assert seen(tracker, tmp_path).values("m") == [1.0] * 3


def test_what_fails_in_the_middle_stores_no_row_and_may_come_again(
    make: Make, tmp_path: Path
) -> None:
    tracker = make()
    tracker.deliver([row({"m": 1.0})])
    media = Path(os.environ["TRACKIO_DIR"]) / "media" / native_project(tracker)
    media.parent.mkdir(parents=True, exist_ok=True)
    media.write_text("in the way")
    records = everything(tmp_path)
    with pytest.raises(OSError, match=r"Not a directory|exists"):
        tracker.deliver(records)
    assert len(native_rows(tracker)) == 1
    media.unlink()
    tracker.deliver(records)
    found = seen(tracker, tmp_path)
    assert found.values("loss") == [0.0, 1.0, 2.0]
    assert (found.config, found.tags) == ({"lr": 0.1}, {"label": None})


def test_a_locked_database_is_no_record_s_fault() -> None:
    assert fault_of(sqlite3.OperationalError("database is locked")) in ("server", "login")
    assert fault_of(OSError("Could not acquire database lock after 10 seconds")) in (
        "server",
        "login",
    )


def test_what_was_delivered_survives_the_death_of_the_process(tmp_path: Path) -> None:
    script = """if True:
        import os, signal, sys
        from tracking_core.records import Config, Log
        from tracking_trackio import TrackioTracker
        tracker = TrackioTracker("killed", name="run")
        tracker.start()
        rows = [Log({"m": float(step)}, step, step, 1.75e9 + step) for step in range(200)]
        tracker.deliver([Config({"lr": 0.1}, 1.75e9), *rows])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    in_another_process(script, TRACKIO_DIR=str(tmp_path / "home"))
    script = """if True:
        import sys
        from tracking_core.testing import Seen, pixels_of
        from tracking_trackio import read_run
        seen = Seen(read_run("killed", "run", download_to=sys.argv[1]))
        print(len(seen.values("m")), seen.config, seen.status)
    """
    home = str(tmp_path / "home")
    assert in_another_process(script, tmp_path, TRACKIO_DIR=home) == "200 {'lr': 0.1} None\n"


def test_values_that_cant_be_stored_are_named(make: Make, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    gone = row({"model": Artifact(model), "loss": 1.0})
    model.unlink()
    tracker = make()
    with pytest.warns(TrackingWarning, match="'model'.*model.bin' is gone"):
        tracker.deliver([gone])
    with pytest.warns(TrackingWarning, match="'big'.*64 bits"):
        tracker.deliver([Log({"big": 2**64, "fine": 1.0}, 0, 0, NOW)])
    with pytest.warns(TrackingWarning, match="'far'.*64 bits"):
        tracker.deliver([Log({"far": 1.0}, 2**63, 2**63, NOW), row({"near": 1.0})])
    broken = LoggedImage(b"", -1, 1, 9)
    with pytest.warns(TrackingWarning, match=r"'(broken|list)'.*encoding it raised"):
        tracker.deliver([Log({"broken": broken, "list": [broken], "m": 2.0}, 0, 0, NOW)])
    assert seen(tracker, tmp_path).keys == {"loss", "fine", "near", "m"}


def test_options_of_log(make: Make) -> None:
    tracker = make()
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['commit'\].*no such argument"):
        tracker.deliver([row({"m": 1.0}, commit=True)])
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['step_axis'\].*named by a text"):
        tracker.deliver([row({"m": 2.0}, step_axis=3)])
    tracker.deliver([row({"val/m": 3.0}, 7, step_axis="epoch")])
    tracker.deliver([row({"val/m": 4.0, "epoch": 0.5}, 8, step_axis="epoch")])
    # The dashboard draws over any column that holds numbers.
    assert [log.get("epoch") for log in native_rows(tracker)] == [None, None, 7, 0.5]


# --- going on with a run ---


def test_resume_by_name_merges_the_config(make: Make, tmp_path: Path) -> None:
    first = make(name="run", config={"a": 1, "b": 1})
    first.set_tags("one")
    first.log({"m": 1.0})
    first.finish("failed")
    second = make(name="run", resume="must", config={"b": 2})
    assert native_config(second)["tracking/status"] == "running"
    second.set_tags("two")
    second.log({"m": 2.0})
    second.finish()
    assert run_of(second) == run_of(first)
    found = seen(second, tmp_path)
    assert (found.config, found.tags) == ({"a": 1, "b": 2}, {"one": None, "two": None})
    assert [(point.step, point.value) for point in found.points("m")] == [(0, 1.0), (1, 2.0)]
    other = make(name="run")
    assert run_of(other) != run_of(first)
    assert make(name="new", resume="allow").identity()["name"] == "new"


def test_a_tracker_that_is_started_again_makes_a_new_run(make: Make, tmp_path: Path) -> None:
    tracker = make(config={"lr": 0.1})
    tracker.log({"m": 1.0})
    tracker.set_tags("first")
    tracker.finish("failed")
    first = tracker.identity()
    tracker.start()
    tracker.finish()
    assert tracker.identity()["run_id"] != first["run_id"]
    assert (seen(tracker, tmp_path).tags, seen(tracker, tmp_path).status) == ({}, "finished")


def test_a_run_that_is_named_before_it_begins_is_begun_once(project: str, tmp_path: Path) -> None:
    first, second = TrackioTracker(project), TrackioTracker(project)
    second.resume(first.identity())  # the first died before it had begun, or while it began
    second.start()
    second.deliver([row({"m": 1.0})])
    second.finish()
    assert second.identity() == first.identity()
    assert SQLiteStorage.get_runs(native_project(second)) == [second.identity()["name"]]
    assert seen(second, tmp_path).values("m") == [1.0]
    third = TrackioTracker(project)
    named = third.identity()
    with pytest.raises(NotStartedError, match="not started"):
        third.deliver([])
    third.start()
    third.finish()
    assert third.identity() == named != first.identity()


def test_a_local_run_is_resumed_locally_whatever_the_variables_say(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:9")
    again = TrackioTracker("another project")
    again.resume(first.identity())
    again.start()
    assert again.identity() == first.identity()


def test_a_run_in_another_directory_is_refused_with_the_remedy(project: str) -> None:
    tracker = TrackioTracker(project)
    tracker.resume({"project": project, "name": "n", "run_id": "1", "directory": "/elsewhere"})
    with pytest.raises(TrackioSettingError, match="set TRACKIO_DIR=/elsewhere before"):
        tracker.start()
    with pytest.raises(TrackioSettingError, match="needs 'run_id'"):
        tracker.resume({"run": "x"})


# --- names ---


def test_names_that_trackio_would_take_for_one_another_stay_apart(tmp_path: Path) -> None:
    for project in ("a/b", "ab", "a.b", "..", "", "model_artifacts", "registry-x", "x" * 400):
        for name in ("../up", "..", "a/b", "损失" * 90):
            tracker = TrackioTracker(f"{project} of {tmp_path.name}"[:500], name=name)
            tracker.start()
            tracker.deliver([row({"i": Image(numpy.zeros((1, 1), "uint8")), "m": 1.0})])
            tracker.finish()
            assert seen(tracker, tmp_path).values("m") == [1.0]
            found = Seen(read_run(tracker.run_name, name, download_to=tmp_path))
            assert len(found.media("i")) == 1
    root = Path(os.environ["TRACKIO_DIR"])
    assert list(root.parent.glob("up*")) == []


@given(st.text())
def test_every_project_is_one_that_trackio_takes_as_it_is(project: str) -> None:
    from trackio.utils import canonical_project_name

    name = names.project_name(project)
    assert canonical_project_name(name) == name
    SQLiteStorage.validate_project_name(name)
    assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    "project", ["m_system", "m_artifacts", "registry-m", "a_run_artifact_links"]
)
def test_projects_that_trackio_refuses(project: str) -> None:
    name = names.project_name(project)
    SQLiteStorage.validate_project_name(name)
    assert unescape(name) == project


@given(st.text(), st.text())
def test_keys_come_back_and_never_collide(one: str, other: str) -> None:
    assert names.key_of(names.metric_name(one)) == one
    assert names.parameter_of(names.parameter_name(one)) == one
    assert (names.metric_name(one) == names.metric_name(other)) == (one == other)
    assert names.metric_name(one) not in {names.NOTES, "step", "timestamp", "time"}


@given(st.text(st.sampled_from('"a/.\\:%_x4')), st.text(st.sampled_from('"a/.\\:%_x4'), min_size=1))
def test_every_path_in_an_artifact_comes_back(folder: str, name: str) -> None:
    from trackio import cas

    path = names.file_path(folder, name)
    cas.validate_logical_path(path)
    assert unescape(path) == os.path.join(folder, name)
    cas.validate_artifact_name(names.artifact_name(folder, name))


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text()
            | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=5,
    )
)  # fmt: skip
def test_every_configuration_comes_back(values: dict[str, Any]) -> None:
    card = Card()
    card.begin(None)
    card.configure(values, NOW)
    stored = json.loads(json.dumps(card.stored(), allow_nan=False))
    assert repr(Card(stored).values) == repr(values)


def test_files_of_any_name_land_and_come_back(make: Make, tmp_path: Path) -> None:
    found_names = ["config.json", "100% #1?.txt", "_x40_.txt", ".hidden", "é 損.txt", "b\\c", "d:e"]
    tree = tmp_path / "tree"
    (tree / "inner" / "empty").mkdir(parents=True)
    (tree / "inner" / "config.json").write_text("theirs")
    (tree / "link").symlink_to(tree / "config.json")
    for name in found_names:
        (tree / name).write_text(name)
    (tmp_path / "nothing").mkdir()
    (tree / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tree / "pipe")
    tracker = make()
    with pytest.warns(
        TrackingWarning, match="'tree' .* 2 entries: 'nowhere' .*; 'pipe' "
    ) as warned:
        tracker.log_artifacts(tree)
    assert len(warned) == 1
    tracker.log_artifact(tree / "config.json", "../../up")
    tracker.log_artifacts(tmp_path / "nothing", "nothing")
    expected = {name: name.encode() for name in found_names}
    expected |= {"inner/config.json": b"theirs", "link": b"config.json"}
    expected |= {"../../up/config.json": b"config.json"}
    assert seen(tracker, tmp_path).files() == expected


def test_a_file_of_a_name_that_is_taken_by_another_type(make: Make, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("a")
    tracker = make()
    tracker.log_artifacts(tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model").write_text("b")
    tracker.log_artifact(tmp_path / "other" / "model")
    found = SQLiteStorage.get_artifacts(native_project(tracker))
    assert [(one["name"], one["num_versions"]) for one in found] == [("model", 2)]
    assert seen(tracker, tmp_path).files() == {"a": b"a", "model": b"b"}


# --- Trackio's own object, and the inbox ---


def test_the_native_run_goes_on_with_ours(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = make(name="run", config={"lr": 0.1})
    tracker.deliver([row({"m": 1.0}, 4)])
    native = tracker.tracker
    assert isinstance(native, trackio.run.Run)
    assert native is tracker.run
    assert (native.name, native.id, native.config) == ("run", run_of(tracker), {"lr": 0.1})
    native.log({"m": 2.0, "html": trackio.Html("<p>")})
    tracker.finish()
    assert [(log["step"], log["m"]) for log in native_rows(tracker)] == [(4, 1.0), (5, 2.0)]
    found = seen(tracker, tmp_path)
    assert found.config == {"lr": 0.1}
    assert len(found.files()) == 1
    assert capfd.readouterr() == ("", "")


def test_the_inbox_of_network_file_systems(tmp_path: Path) -> None:
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from tracking_core.records import Config, Log
        from tracking_core.testing import Seen, pixels_of
        from tracking_trackio import TrackioTracker, read_run
        first = TrackioTracker("p", name="r")
        first.start()
        rows = [Log({"m": float(step)}, step, step, 1.75e9 + step) for step in range(3)]
        first.deliver([Config({"a": 1}, 1.75e9), *rows])
        first.deliver(rows)
        waiting = len(list(Path(os.environ["TRACKIO_DIR"]).glob("inbox/*/*.jsonl")))
        again = TrackioTracker("p", name="r")
        again.resume(first.identity())
        again.start()
        again.deliver([Config({"b": 2}, 1.75e9)])
        again.finish()
        records = list(read_run("p", download_to=sys.argv[1]))
        seen = Seen(records)
        print(waiting > 0, seen.values("m"), seen.points("m")[1].wall_time, seen.config, seen.status)
    """
    said = in_another_process(
        script, tmp_path, TRACKIO_DIR=str(tmp_path / "home"), TRACKIO_STORAGE_MODE="jsonl"
    )
    assert said == "True [0.0, 1.0, 2.0] 1750000001.0 {'a': 1, 'b': 2} finished\n"


def test_hardware_is_monitored_only_if_asked_for(make: Make) -> None:
    pytest.importorskip("psutil")
    quiet, tracker = make(), make(auto_log_cpu=True, cpu_log_interval=0.01)
    thread = tracker.tracker._cpu_monitor._thread
    tracker.tracker.log_system({"cpu": 1.0})
    tracker.finish()
    quiet.finish()
    assert not thread.is_alive()
    project = native_project(tracker)
    assert SQLiteStorage.get_system_logs(project, run_id=run_of(quiet)) == []
    assert SQLiteStorage.get_system_logs(project, run_id=run_of(tracker)) != []


# --- reading ---


@pytest.mark.filterwarnings("ignore:Reserved keys renamed")
def test_runs_of_trackio_itself(project: str, tmp_path: Path) -> None:
    name = names.project_name(project)
    (tmp_path / "f.txt").write_text("file")
    config = {"lr": 0.1, "nested": {"inf": math.inf}, "tracking/tags": 1}
    run: Any = trackio.init(name, name="theirs", config=config, auto_log_cpu=False)
    run.log(
        {
            "loss": 0.5,
            "note": "text",
            "val": {"nan": math.nan, "tracking": 4},
            "step": 3,
            "l": [1, 2],
        },
        step=2,
    )
    run.log({"n": 1.0}, step=numpy.int64(300))
    run.log(
        {
            "image": trackio.Image(numpy.zeros((2, 3, 3), "uint8"), "black"),
            "table": trackio.Table(["a", "b"], [[1, math.nan]]),
            "seen": trackio.Table(["i"], [[trackio.Image(numpy.ones((2, 3, 3), "uint8"))], ["x"]]),
            "h": trackio.Histogram(numpy.arange(10.0), num_bins=5),
            "report": trackio.Markdown("# hi"),
        }
    )
    run.log_artifact(tmp_path / "f.txt", name="f")
    run.finish()
    trackio.context_vars.current_run.set(None)
    found = Seen(read_run(name, "theirs", download_to=tmp_path / "read"))
    assert found.config == config
    assert (found.tags, found.status) == ({}, None)
    assert [(p.step, p.value) for p in found.points("loss")] == [(2, 0.5)]
    assert found.points("n")[0].step == 300
    assert (found.values("note"), found.values("step")) == (["text"], [3])
    assert (found.values("l"), found.values("report")) == (["[1, 2]"], ["# hi"])
    assert found.values("val/tracking") == [4]
    assert math.isnan(found.values("val/nan")[0])  # type: ignore[arg-type]  # a number
    assert (found.media("image")[0].format, found.media("image")[0].caption) == ("png", "black")
    assert found.media("table")[0].columns == ["a", "b"]
    (picture,), (text,) = found.media("seen")[0].rows
    assert pixels_of(picture).shape[:2] == (2, 3) and text == "x"
    assert (found.media("h")[0].num, found.media("h")[0].min) == (10, 0.0)
    assert found.files() == {"f.txt": b"file"}


def test_the_newest_run_and_what_is_not_there(make: Make, project: str, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        tracker = make(name="run")
        tracker.log({"m": value})
        tracker.finish()
    assert Seen(read_run(project, download_to=tmp_path)).values("m") == [2.0]
    assert Seen(read_run(project, "run", download_to=tmp_path)).values("m") == [2.0]
    with pytest.raises(LookupError, match="no run 'other'"):
        list(read_run(project, "other", download_to=tmp_path))
    with pytest.raises(LookupError, match="no project 'nothing like it'"):
        list(read_run("nothing like it", download_to=tmp_path))


def test_more_rows_than_one_query_gives(make: Make, tmp_path: Path) -> None:
    tracker = make()
    tracker.deliver([row({"m": float(step)}, step, NOW + step) for step in range(4500)])
    assert seen(tracker, tmp_path).values("m") == [float(step) for step in range(4500)]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd"])
def test_no_medium_lies_outside_of_trackios_directory(
    make: Make, tmp_path: Path, path: str
) -> None:
    (Path(os.environ["TRACKIO_DIR"]) / "secret").write_text("x")
    tracker = make()
    tracker.deliver([row({"m": 1.0})])
    column = {"_type": "trackio.image", "file_path": path, "caption": None}
    SQLiteStorage.bulk_log(
        native_project(tracker), "r", [{"i": column}], [1], run_id=run_of(tracker)
    )
    assert seen(tracker, tmp_path).values("i") == [path]


# --- the whole way ---


def test_what_accelerates_tests_check(project: str, tmp_path: Path) -> None:
    tracker = TrackioTracker(project)
    tracking = Tracking(log_with=[tracker], delivery="inline")
    tracking.init_trackers("ignored", config={"lr": 0.1})
    assert tracking.get_tracker("trackio") is tracker
    assert isinstance(tracking.get_tracker("trackio", unwrap=True), trackio.run.Run)
    tracking.log({"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}, step=0)
    tracking.log({"no_step": numpy.float32(1.0)})
    tracking.end_training()
    found = seen(tracker, tmp_path)
    assert found.values("total_loss") == [0.1]
    assert found.values("my_text") == ["some_value"]
    assert found.points("no_step")[0].step == 1
    assert found.config == {"lr": 0.1}
    assert tracking.status()["trackio"].failed == 0


def test_by_name_in_the_delivery_process(
    project: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"trackio": {"name": "run"}}
    with Tracking("trackio", tmp_path) as tracking:
        tracking.init_trackers(project, config={"lr": 0.1}, init_kwargs=options)
        for step in range(50):
            tracking.log({"loss": 1 / (step + 1)}, step=step)
    found = Seen(read_run(project, "run", download_to=tmp_path))
    assert len(found.values("loss")) == 50
    assert found.status == "finished"
    out, err = capfd.readouterr()
    said = [line for line in err.splitlines() if "the end of the run waits" not in line]
    assert (out, said) == ("", [])
