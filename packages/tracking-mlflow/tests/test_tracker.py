from __future__ import annotations

import io
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core import Artifact, Histogram, Image, PartialState, Table, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, LoggedHistogram, LoggedImage, Record, Tags
from tracking_core.testing import Seen, pixels_of
from tracking_mlflow import MLflowSettingError, MLflowTracker, layout, read_run
from tracking_mlflow.distribution import Course
from tracking_mlflow.settings import QUIET, chosen, imported

NOW = 1_760_000_000.25

Make = Callable[..., MLflowTracker]


@pytest.fixture
def make(store: str, tmp_path: Path) -> Make:
    def start(experiment: str | None = "exp", **arguments: Any) -> MLflowTracker:
        if experiment is not None:
            arguments.setdefault("logging_dir", tmp_path / "artifacts")
        tracker = MLflowTracker(experiment, **arguments)
        tracker.start()
        return tracker

    return start


@pytest.fixture
def client(store: str) -> Any:
    return imported().MlflowClient(tracking_uri=store)


def run_id_of(tracker: MLflowTracker) -> str:
    return str(tracker.identity()["run_id"])


def seen(tracker: MLflowTracker, tmp_path: Path) -> Seen:
    return Seen(read_run(run_id_of(tracker), download_to=tmp_path / "downloads"))


def row(values: dict[str, Any], step: int = 0, **options: Any) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW, {"mlflow": options})


def paths_of(client: Any, run_id: str, folder: str | None = None) -> list[str]:
    found = []
    for entry in client.list_artifacts(run_id, folder):
        found += paths_of(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return sorted(found)


# --- laziness and manners ---


def test_importing_and_constructing_import_no_mlflow() -> None:
    program = (
        "import sys, tracking_mlflow; tracking_mlflow.MLflowTracker('e')\n"
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_whole_run_leaves_no_trace_outside_its_store(migrated: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = """
import os, threading
before, threads = dict(os.environ), threading.active_count()
import tracking_mlflow
tracker = tracking_mlflow.MLflowTracker("e", os.path.abspath("artifacts"))
tracker.start()
tracker.log({"loss": 1.0, "note": "text"}, step=1)
tracker.store_init_configuration({"lr": 1})
list(tracking_mlflow.read_run(tracker.active_run.info.run_id, download_to="down"))
tracker.finish()
assert dict(os.environ) == before, set(os.environ) ^ set(before)
"""
    database = tmp_path / "m.db"
    database.write_bytes(migrated.read_bytes())
    hidden = {"MLFLOW_DISABLE_TELEMETRY", "CI", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in home.rglob("*") if "mlflow" in str(path)] == []


def test_the_users_own_fluent_run_goes_on_untouched(
    make: Make, client: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow = imported()
    with chosen(QUIET), mlflow.start_run() as theirs:
        environment = dict(os.environ)
        capfd.readouterr()
        tracker = make()
        tracker.log({"loss": 1.0}, step=0)
        tracker.finish("failed")
        assert mlflow.active_run().info.run_id == theirs.info.run_id != run_id_of(tracker)
        assert dict(os.environ) == environment
        assert capfd.readouterr() == ("", "")
    assert client.get_run(theirs.info.run_id).data.metrics == {}


def test_settings_reach_no_other_thread_and_yield_to_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported()
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES

    default, elsewhere = RETRIES.get(), []
    with chosen({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0}):
        thread = threading.Thread(target=lambda: elsewhere.append(RETRIES.get()))
        thread.start()
        thread.join()
        assert (RETRIES.get(), elsewhere) == (0, [default])
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        assert RETRIES.get() == 3
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    assert RETRIES.get() == default


def test_nothing_happens_off_the_main_process(
    store: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(PartialState, "_shared_state", {})
    tracker = MLflowTracker("never made")
    tracker.start()
    tracker.log({"loss": 1.0})
    tracker.finish()
    assert client.get_experiment_by_name("never made") is None


# --- which run ---


def test_variables_win_over_arguments(
    make: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from variable")
    monkeypatch.setenv("MLFLOW_TAGS", '{"team": "vision", "n": {"a": 2}}')
    tracker = make("from argument", tags={"team": "nlp"}, run_name="mine", description="why")
    run = client.get_run(run_id_of(tracker))
    assert client.get_experiment(run.info.experiment_id).name == "from variable"
    assert (run.data.tags["team"], run.data.tags["n"]) == ("vision", "{'a': 2}")
    assert (run.info.run_name, run.data.tags["mlflow.note.content"]) == ("mine", "why")
    assert run.data.tags["mlflow.user"]


@pytest.mark.parametrize(
    ("variable", "value"), [("MLFLOW_TAGS", "{no json"), ("MLFLOW_NESTED_RUN", "perhaps")]
)
def test_a_malformed_variable_is_named(
    store: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(MLflowSettingError, match=variable):
        MLflowTracker("exp").start()


@pytest.mark.parametrize("name", ["it's", 'a "b"', "100%", "損失 😀", "a=b and c", "x" * 400])
def test_experiments_of_any_name_are_found_again(make: Make, client: Any, name: str) -> None:
    first, second = make(name), make(name)
    assert first.active_run.info.experiment_id == second.active_run.info.experiment_id
    assert client.get_experiment(second.active_run.info.experiment_id).name == name


def test_without_a_name_it_is_the_default_experiment(
    make: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(None).active_run.info.experiment_id == "0"
    chosen_id = client.create_experiment("chosen")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", chosen_id)
    assert make(None).active_run.info.experiment_id == chosen_id


def test_a_deleted_experiment_is_restored(make: Make, client: Any) -> None:
    experiment_id = make().active_run.info.experiment_id
    client.delete_experiment(experiment_id)
    assert make().active_run.info.experiment_id == experiment_id
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"


def test_several_that_create_one_experiment_at_once_share_it(make: Make, client: Any) -> None:
    together, found = threading.Barrier(4), []

    def start() -> None:
        together.wait()
        found.append(make("contested").active_run.info.experiment_id)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_going_on_with_a_run_makes_no_experiment(
    make: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    first.finish()
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id_of(first))
    second = make("another project")
    assert run_id_of(second) == run_id_of(first)
    assert os.environ["MLFLOW_RUN_ID"] == run_id_of(first)
    assert client.get_experiment_by_name("another project") is None
    assert client.get_run(run_id_of(first)).info.status == "RUNNING"


def test_a_run_that_is_gone_is_said_so(make: Make, client: Any) -> None:
    with pytest.raises(MLflowSettingError, match="there is no run"):
        make(run_id="0" * 32)
    run_id = run_id_of(make())
    client.delete_run(run_id)
    with pytest.raises(MLflowSettingError, match="was deleted: restore it"):
        make(run_id=run_id)


def test_a_run_deleted_meanwhile_costs_no_value_its_name(make: Make, client: Any) -> None:
    tracker = make()
    client.delete_run(run_id_of(tracker))
    with pytest.raises(imported().exceptions.MlflowException, match="active"):
        tracker.deliver([row({"a": 1.0, "b": 2.0})])
    assert tracker.rejections.counts == {}


def test_a_nested_run_hangs_below_the_active_one(
    make: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = imported()
    with chosen(QUIET), mlflow.start_run() as parent:
        nested, beside = make(nested_run=True), make()
        monkeypatch.setenv("MLFLOW_NESTED_RUN", "false")
        third = make(nested_run=True)
    tags = [client.get_run(run_id_of(tracker)).data.tags for tracker in (nested, beside, third)]
    found = [tag.get("mlflow.parentRunId") for tag in tags]
    assert found == [parent.info.run_id, None, None]


def test_a_directory_is_no_store_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    with pytest.raises(MLflowSettingError, match="sqlite:///"):
        MLflowTracker("exp").start()


def test_identity_holds_no_password() -> None:
    from tracking_mlflow.runs import without_password

    assert without_password("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert without_password("sqlite:////tmp/a@b.db") == "sqlite:////tmp/a@b.db"


@pytest.mark.parametrize("address", ["sqlite:///m.db", "mlruns", "file:mlruns"])
def test_a_run_is_found_again_from_another_directory(
    address: str, migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m.db").write_bytes(migrated.read_bytes())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.chdir(tmp_path)
    first = MLflowTracker("exp")
    first.start()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = MLflowTracker("exp")
    second.resume(first.identity())
    second.start()
    assert second.identity() == first.identity()
    assert os.listdir() == []


def test_a_tracker_that_is_started_again_begins_another_run(
    make: Make, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = run_id_of(make())
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setattr("tracking_mlflow.runs._taken", set())
    tracker = make()
    assert run_id_of(tracker) == given
    tracker.finish()
    tracker.start()
    assert run_id_of(tracker) != given


def test_a_run_that_is_started_late_began_when_it_began(client: Any) -> None:
    tracker = MLflowTracker("exp")
    tracker.began_at = 1_760_000_000.25
    tracker.start()
    tracker.deliver([End("finished", 1_760_000_003.25)])
    tracker.finish()
    info = client.get_run(run_id_of(tracker)).info
    assert (info.start_time, info.end_time) == (1_760_000_000_250, 1_760_000_003_250)


def test_finishing_twice_keeps_the_first_status(make: Make, client: Any) -> None:
    tracker = make()
    tracker.finish("killed")
    tracker.finish()
    run = client.get_run(run_id_of(tracker))
    assert run.info.status == "KILLED"
    assert run.info.end_time >= run.info.start_time
    MLflowTracker("never started").finish()


# --- config ---


def test_params_that_differ_on_resume_are_shown_beside_the_old(
    make: Make, client: Any, tmp_path: Path
) -> None:
    first = make()
    first.store_init_configuration({"epochs": 1, "lr": 0.1})
    first.finish()
    second = make(run_id=run_id_of(first))
    second.store_init_configuration({"epochs": 2, "new": True})
    second.finish()
    data = client.get_run(run_id_of(first)).data
    assert data.params == {"epochs": "1", "lr": "0.1", "new": "True"}
    assert data.tags["tracking.changed.epochs"] == "2"
    assert seen(second, tmp_path).config == {"epochs": 2, "lr": 0.1, "new": True}
    assert seen(second, tmp_path).tags == {}


def test_one_refused_param_costs_only_itself(make: Make, client: Any, tmp_path: Path) -> None:
    tracker = make()
    client.log_param(run_id_of(tracker), "lr", "set by somebody else")
    with pytest.warns(TrackingWarning, match="'lr'"):
        tracker.store_init_configuration({"a": 1, "lr": 0.1, "b": 2})
    params = client.get_run(run_id_of(tracker)).data.params
    assert params == {"a": "1", "lr": "set by somebody else", "b": "2"}
    assert seen(tracker, tmp_path).config == {"a": 1, "lr": 0.1, "b": 2}


def test_config_is_not_changed_and_long_values_are_cut_and_kept_whole(
    make: Make, client: Any, tmp_path: Path
) -> None:
    tracker = make()
    config = {"long": "x" * 7000, "nested": {"lr": 1}, "none": None}
    tracker.store_init_configuration(config)
    assert config == {"long": "x" * 7000, "nested": {"lr": 1}, "none": None}
    params = client.get_run(run_id_of(tracker)).data.params
    assert params == {"long": "x" * 6000, "nested/lr": "1", "none": "None"}
    assert seen(tracker, tmp_path).config == config


# --- metrics ---


def test_numpy_steps_and_timestamps_never_reach_sqlite_as_blobs(make: Make, store: str) -> None:
    tracker = make()
    tracker.log({"m": numpy.float32(1.5)}, step=numpy.int64(4), timestamp=numpy.int64(5))  # type: ignore[arg-type]  # users do
    database = sqlite3.connect(store.removeprefix("sqlite:///"))
    query = "select typeof(step), step, typeof(timestamp), timestamp, typeof(value) from metrics"
    assert database.execute(query).fetchall() == [("integer", 4, "integer", 5, "real")]
    database.close()


def test_the_truth_about_infinities_and_none_lies_beside_them(make: Make, client: Any) -> None:
    tracker = make()
    tracker.deliver([row({"m": value}, step) for step, value in enumerate([math.inf, -math.inf])])
    tracker.deliver([row({"m": None}, 2), row({"m": math.nan}, 3)])
    run_id = run_id_of(tracker)
    signs = client.get_metric_history(run_id, "m/_x_inf")
    assert sorted((point.step, point.value) for point in signs) == [(0, 1.0), (1, -1.0)]
    assert [point.step for point in client.get_metric_history(run_id, "m/_x_none")] == [2]


def test_options_of_log_metrics(make: Make, client: Any) -> None:
    tracker = make()
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['bogus'\]"):
        tracker.deliver([row({"m": 1.0}, 1, timestamp=1234, synchronous=True, bogus=1)])
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['run_id'\]"):
        tracker.deliver([row({"m": 2.0}, 2, run_id="another")])
    points = client.get_metric_history(run_id_of(tracker), "m")
    assert [(p.step, p.timestamp) for p in points] == [(1, 1234), (2, round(NOW * 1000))]


def test_a_step_beyond_64_bits_costs_only_its_row(make: Make, tmp_path: Path) -> None:
    tracker = make()
    with pytest.warns(TrackingWarning, match="64 bits"):
        tracker.deliver([row({"m": 1.0}, 2**63), row({"m": 2.0}, -(2**63))])
    assert [(p.step, p.value) for p in seen(tracker, tmp_path).points("m")] == [(-(2**63), 2.0)]


def everything(tmp_path: Path) -> list[Record]:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    picture = numpy.zeros((4, 4, 3), "uint8")
    values = {
        "loss": 0.5, "inf": math.inf, "none": None, "note": "text", "k" * 300: "long key",
        "image": Image(picture, caption="c"), "samples": [Image(picture), Image(picture)],
        "table": Table(["a"], [[1], [math.nan]]), "h": Histogram(numpy.arange(9.0)),
        "model": Artifact(model, "models"),
    }  # fmt: skip
    rows = [row({**values, "loss": float(step)}, step) for step in range(1200)[::400]]
    many = [row({"many": float(step)}, step) for step in range(2500)]
    tags = Tags({"label": None, "empty": "", "quotes": '""', "long": "y" * 9000}, NOW)
    return [Config({"lr": 0.1, "p": {str(n): n for n in range(150)}}, NOW), tags, *rows, *many]


def test_sending_everything_again_changes_nothing(make: Make, client: Any, tmp_path: Path) -> None:
    tracker = make()
    records = everything(tmp_path)
    run_id = run_id_of(tracker)

    def state() -> Any:
        data = client.get_run(run_id).data
        points = {key: client.get_metric_history(run_id, key) for key in data.metrics}
        histories = {
            key: sorted((p.timestamp, p.step, repr(p.value)) for p in found)
            for key, found in points.items()
        }
        return data.params, data.tags, histories, paths_of(client, run_id)

    tracker.deliver(records)
    first = state()
    tracker.deliver(records)
    assert state() == first
    assert len(first[2]["many"]) == 2500
    found = seen(tracker, tmp_path)
    assert found.tags == {"label": None, "empty": "", "quotes": '""', "long": "y" * 9000}
    assert found.values("none") == [None] * 3
    assert math.isnan(found.media("table")[0].rows[1][0])
    assert found.values("k" * 300) == ["long key"] * 3
    assert [image.caption for image in found.media("image")] == ["c"] * 3
    assert {"many", "loss", "inf", "h"} <= found.keys


@given(st.text())
def test_every_key_becomes_a_name_that_mlflow_takes_and_comes_back(key: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

    name, tag = layout.fitted(key), layout.fitted_tag(key)
    _validate_metric_name(name)
    _validate_metric_name(layout.companion(name, "none"))
    _validate_tag_name(layout.CHANGED_TAG + tag)
    assert layout.split_companion(name) == (name, "")
    assert layout.restored(name, {layout.name_tag(name): key}) == key
    assert layout.restored(tag, {layout.name_tag(tag): key}) == key
    assert not tag.startswith(layout.OURS)


@given(st.text(st.sampled_from('"a/.\\%#~+_x4')), st.text(st.sampled_from('"a/.\\%#~+_x4')))
def test_every_path_comes_back(folder: str, name: str) -> None:
    path = layout.file_path(folder, name)
    assert not any(part in ("", ".", "..") for part in path.split("/"))
    assert not set(path) & set('\\%#?:*"<>|')
    assert unescape(path) == os.path.join(folder, name)
    picture = layout.encoded(LoggedImage(b"0", 1, 1, 1))
    for items in ([layout.encoded("text")], [picture], [picture] * 3):
        for place in layout.Place.of(name, -3, 12, items):
            assert layout.Place.at(place.path) == place
            assert not place.is_course
    assert layout.Place.at(layout.Place.of_course(name).path) == layout.Place.of_course(name)


@given(st.one_of(st.none(), st.text(), st.text(st.just('"'))))
def test_tags_keep_labels_and_empty_texts_apart(value: str | None) -> None:
    assert layout.text_label(layout.label_text(value)) == value


# --- media and files ---


def test_images_are_named_as_mlflows_own_client_names_them(make: Make, client: Any) -> None:
    tracker = make()
    run_id = run_id_of(tracker)
    big = numpy.zeros((300, 500, 3), "uint8")
    client.log_image(run_id, big, key="a/b c", step=3, timestamp=77, synchronous=True)
    theirs = paths_of(client, run_id)
    tag = client.get_run(run_id).data.tags["mlflow.loggedImages"]
    tracker.deliver([row({"a/b c": Image(big)}, 3, timestamp=77)])
    ours = [path for path in paths_of(client, run_id) if path not in theirs]
    for paths in (theirs, ours):
        whole, small = sorted(paths, key=layout.is_thumbnail)
        place = layout.Place.at(whole)
        assert place is not None
        assert (place.key, place.step, place.time, place.suffix) == ("a/b c", 3, 77, "png")
        assert small == layout.thumbnail_path(place, "webp") or place.number == 0
        assert layout.is_thumbnail(small)
        assert small.endswith(".webp")
        assert whole.startswith("images/a~b c+step+3+timestamp+77+")
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == tag


def test_a_jpeg_stays_as_it_is_beside_copies_that_the_grid_shows(
    make: Make, client: Any, tmp_path: Path
) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (20, 10), "red").save(file, "jpeg")
    tracker = make()
    tracker.deliver([Log({"i": LoggedImage(file.getvalue(), 0, 0, 0, "jpeg", "red")}, 1, 1, NOW)])
    (image,) = seen(tracker, tmp_path).media("i")
    assert (image.data, image.format, image.caption) == (file.getvalue(), "jpeg", "red")
    suffixes = [path.partition("_0")[2] for path in paths_of(client, run_id_of(tracker), "images")]
    assert suffixes == ["+compressed.webp", ".jpeg", ".webp"]


def test_tables_are_what_load_table_loads(make: Make, client: Any) -> None:
    tracker = make()
    tracker.deliver([row({"wrong": Table(["label", "p"], [["seven", 0.5], ["two", math.inf]])})])
    run = client.get_run(run_id_of(tracker))
    (entry,) = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert entry["type"] == "table"
    table = client.load_table(run.info.experiment_id, entry["path"], run_ids=[run.info.run_id])
    assert table["label"].tolist() == ["seven", "two"]
    assert table["p"].tolist()[0] == 0.5


def test_pictures_in_a_table_are_where_log_table_has_them(
    make: Make, client: Any, tmp_path: Path
) -> None:
    tracker = make()
    pictures = [numpy.full((size, size, 3), size % 256, "uint8") for size in (4, 400)]
    rows = [[1, Image(pictures[0], caption="small")], [2, Image(pictures[1])], [3, None]]
    tracker.deliver([row({"t": Table(["id", "seen"], rows)})])
    run = client.get_run(run_id_of(tracker))
    (entry,) = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    table = client.load_table(run.info.experiment_id, entry["path"], run_ids=[run.info.run_id])
    small, large, nothing = table["seen"].tolist()
    assert (small["type"], large["type"], nothing) == ("image", "image", None)
    assert small["filepath"] == small["compressed_filepath"]
    paths = paths_of(client, run.info.run_id, "table_images")
    assert paths == sorted({small["filepath"], large["filepath"], large["compressed_filepath"]})
    shown = client.download_artifacts(run.info.run_id, large["compressed_filepath"], str(tmp_path))
    with PIL.Image.open(shown) as picture:
        assert picture.size == (256, 256)
    found = seen(tracker, tmp_path)
    (table,) = found.media("t")
    assert [row[0] for row in table.rows] == [1, 2, 3]
    for cell, picture in zip([table.rows[0][1], table.rows[1][1]], pictures, strict=True):
        assert numpy.array_equal(pixels_of(cell), picture)
    assert table.rows[0][1].caption == "small"
    assert found.files() == {}


def test_tables_of_mlflows_own_client_are_read_with_their_pictures(
    make: Make, client: Any, tmp_path: Path
) -> None:
    tracker = make()
    picture = numpy.full((5, 6, 3), 7, "uint8")
    theirs = {"id": [1], "seen": [imported().Image(picture)], "nested": [{"a": [1]}]}
    client.log_table(run_id_of(tracker), theirs, "tables/t/step_00000002_1000_0123abcd_0.json")
    found = seen(tracker, tmp_path)
    (table,) = found.media("t")
    assert table.rows[0][0] == 1 and table.rows[0][2] == '{"a": [1]}'
    assert numpy.array_equal(pixels_of(table.rows[0][1]), picture)
    assert found.files() == {}


def histograms(*places: int, of: str = "w") -> list[Log]:
    """A row for each step of `places`, with numbers that move with it."""
    return [
        row({of: Histogram(numpy.linspace(0, 100, 1001) + place, bins=50)}, place)
        for place in places
    ]


def course_of(client: Any, run_id: str, key: str, tmp_path: Path) -> tuple[list[Any], Any]:
    """The steps of a histogram's picture, and the picture itself."""
    place = layout.Place.of_course(key)
    kept = Path(client.download_artifacts(run_id, layout.course_path(key), str(tmp_path)))
    picture = PIL.Image.open(client.download_artifacts(run_id, place.path, str(tmp_path)))
    return json.loads(kept.read_text()), picture


def test_a_histogram_is_one_panel_and_no_metric(make: Make, client: Any, tmp_path: Path) -> None:
    tracker = make()
    tracker.deliver(histograms(2, 3, of="layers/w 0") + histograms(2, of="once"))
    tracker.deliver(histograms(4, of="layers/w 0"))
    run = client.get_run(run_id_of(tracker))
    assert run.data.metrics == {}
    assert run.data.tags["mlflow.loggedImages"] == "True"
    # One step for each key, 0: it is where a panel of the image grid opens.
    assert paths_of(client, run.info.run_id, "images") == [
        "images/layers~w 0+step+0+timestamp+0+histogram_0+compressed.webp",
        "images/layers~w 0+step+0+timestamp+0+histogram_0.png",
        "images/once+step+0+timestamp+0+histogram_0+compressed.webp",
        "images/once+step+0+timestamp+0+histogram_0.png",
    ]
    columns, picture = course_of(client, run.info.run_id, "layers/w 0", tmp_path)
    assert [(step, [round(mark) for mark in marks]) for step, _, marks in columns] == [
        (2, [2, 7, 27, 52, 77, 97, 102]),
        (3, [3, 8, 28, 53, 78, 98, 103]),
        (4, [4, 9, 29, 54, 79, 99, 104]),
    ]
    assert len(picture.getcolors(10_000)) >= 5, "paper, three bands, a line"
    found = seen(tracker, tmp_path)
    assert found.keys == {"layers/w 0", "once"}
    assert [point.step for point in found.points("layers/w 0")] == [2, 3, 4]


def test_the_picture_of_histograms_goes_on_with_the_run(
    make: Make, client: Any, tmp_path: Path
) -> None:
    first = make()
    first.deliver(histograms(2, 3))
    first.finish("killed")
    second = make(run_id=run_id_of(first))
    second.deliver(histograms(3, 4) + histograms(0, of="new"))
    columns, _ = course_of(client, run_id_of(first), "w", tmp_path)
    assert [step for step, _, _ in columns] == [2, 3, 4]
    columns, _ = course_of(client, run_id_of(first), "new", tmp_path)
    assert [step for step, _, _ in columns] == [0]


@st.composite
def any_histogram(draw: st.DrawFn) -> LoggedHistogram:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    edges = sorted(draw(st.lists(finite, min_size=2, max_size=6, unique=True)))
    some = st.one_of(st.just(0.0), st.floats(0, 1e300))
    counts = draw(st.lists(some, min_size=len(edges) - 1, max_size=len(edges) - 1))
    return LoggedHistogram(counts, edges, edges[0], edges[-1], 1, 0, 0)


@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), any_histogram()), min_size=1, max_size=4)
)
def test_histograms_of_any_numbers_have_a_picture(
    rows: list[tuple[int, LoggedHistogram]],
) -> None:
    course = Course()
    for when, (step, histogram) in enumerate(rows):
        course.take(histogram, step, when)
    picture = course.picture()
    if any(sum(histogram.counts) for _, histogram in rows):
        assert picture is not None
        assert PIL.Image.open(io.BytesIO(picture)).size == (512, 384)
    assert Course(json.loads(json.dumps(course.plain()))).plain() == course.plain()


def test_a_long_run_of_histograms_keeps_its_ends_and_a_bounded_size() -> None:
    course = Course()
    for step in range(3000):
        course.take(capture({"w": Histogram([step, step + 1.0])})[0]["w"], step, step)  # type: ignore[arg-type]  # a histogram
    steps = [step for step, _, _ in course.plain()]
    assert (steps[0], steps[-1]) == (0, 2999)
    assert 500 < len(steps) <= 1024


def test_every_picture_of_a_list_has_a_panel_and_a_figure_one_too(
    make: Make, client: Any, tmp_path: Path
) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    pictures = [numpy.full((5, 6, 3), shade, "uint8") for shade in range(3)]
    tracker = make()
    tracker.deliver(
        [
            row({"a/b": [Image(picture, caption=f"{n}") for n, picture in enumerate(pictures)]}, 7),
            row({"a/b": Image(pictures[0]), "curve": figure_module.Figure(figsize=(1, 1))}, 8),
        ]
    )
    # What the page makes of these names: a panel for each key, a picture for each step.
    names = [
        path.removeprefix("images/").split("+")
        for path in paths_of(client, run_id_of(tracker), "images")
    ]
    panels = {(name[0].replace("~", "/"), name[2]) for name in names}
    assert panels == {("a/b/0", "7"), ("a/b/1", "7"), ("a/b/2", "7"), ("a/b", "8"), ("curve", "8")}
    found = seen(tracker, tmp_path)
    assert found.keys == {"a/b", "curve"}
    *listed, alone = found.media("a/b")
    assert [(image.caption, image.figure) for image in listed] == [
        (str(n), False) for n in range(3)
    ]
    assert (alone.caption, found.media("curve")[0].figure) == (None, True)


def test_files_of_any_name_land_and_come_back(make: Make, tmp_path: Path) -> None:
    names = ["config.json", "100% #1?.txt", "_x40_.txt", ".hidden", "é 損.txt", 'q".txt']
    tree = tmp_path / "tree"
    (tree / "tracking").mkdir(parents=True)
    (tree / "tracking" / "config.json").write_text("theirs")
    for name in names:
        (tree / name).write_text(name)
    tracker = make()
    tracker.store_init_configuration({"lr": 1})
    tracker.log_artifacts(tree)
    tracker.log_artifact(tree / "config.json", "../../up")
    found = seen(tracker, tmp_path)
    expected = {name: name.encode() for name in names}
    expected |= {"tracking/config.json": b"theirs", "../../up/config.json": b"config.json"}
    assert found.files() == expected
    assert found.config == {"lr": 1}
    assert not (tmp_path / "up").exists()


def test_a_file_that_is_gone_costs_only_itself(make: Make, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    record = row({"model": Artifact(model), "loss": 1.0})
    model.unlink()
    tracker = make()
    with pytest.warns(TrackingWarning, match="model.bin' is gone"):
        tracker.deliver([record])
    assert seen(tracker, tmp_path).values("loss") == [1.0]


def test_images_of_mlflows_own_client_are_read_too(make: Make, client: Any, tmp_path: Path) -> None:
    tracker = make()
    picture = numpy.full((5, 6, 3), 7, "uint8")
    client.log_image(run_id_of(tracker), picture, key="theirs", step=2, synchronous=True)
    (point,) = seen(tracker, tmp_path).points("theirs")
    assert point.step == 2
    assert numpy.array_equal(pixels_of(point.value), picture)  # type: ignore[arg-type]  # an image


# --- what Accelerate's own tests check ---


def test_what_accelerates_tests_check(store: str, client: Any, tmp_path: Path) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    options = {"mlflow": {"logging_dir": tmp_path / "artifacts"}}
    config = {"lr": 0.1, "long": "x" * 9000}
    tracking = Tracking(log_with="mlflow", delivery="inline")
    tracking.init_trackers("accelerate", config=config, init_kwargs=options)
    tracker = tracking.get_tracker("mlflow")
    assert tracking.trackers[0] is tracker
    run_id = tracker.active_run.info.run_id
    assert tracking.get_tracker("mlflow", unwrap=True).info.run_id == run_id
    tracking.log({"total_loss": 0.1, "iteration": 1, "my_text": "some_value"}, step=0)
    tracking.log({"no_step": 1.0})
    tracking.log({"kw": 1.0}, step=5, log_kwargs={"mlflow": {"synchronous": True}})
    tracker.log_figure(figure_module.Figure(), artifact_file="figure.png")
    local = tmp_path / "local"
    local.mkdir()
    (local / "a.txt").write_text("a")
    tracker.log_artifact(str(local / "a.txt"), artifact_path="one")
    tracker.log_artifacts(str(local), artifact_path="many")
    tracking.end_training()
    run = client.get_run(run_id)
    assert set(run.data.metrics) == {"total_loss", "iteration", "no_step", "kw"}
    assert client.get_metric_history(run_id, "kw")[0].step == 5
    assert {"figure.png", "one/a.txt", "many/a.txt"} <= set(paths_of(client, run_id))
    assert run.info.status == "FINISHED"
    assert config["long"] == "x" * 9000
    assert tracking.status()["mlflow"].failed == 0
