"""Names that get in each other's way as files, and what a second try does not write again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core import Artifact, Image, Tracking, TrackingWarning
from tracking_core.capture import capture
from tracking_core.names import Names
from tracking_core.records import Config, Log, Record, Tags
from tracking_core.testing import Seen
from tracking_mlflow import MLflowTracker, layout, read_run
from tracking_mlflow.naming import has_parents
from tracking_mlflow.settings import imported

from .server import Server, wait_for

NOW = 1_760_000_000.25


def row(values: dict[str, Any], step: int) -> Log:
    captured, rejected = capture(values)
    assert rejected == []
    return Log(captured, step, step, NOW + step)


def started(**arguments: Any) -> MLflowTracker:
    tracker = MLflowTracker("names", **arguments)
    tracker.start()
    return tracker


def run_id_of(tracker: MLflowTracker) -> str:
    return str(tracker.identity()["run_id"])


def client_of(tracker: MLflowTracker) -> Any:
    return imported().MlflowClient(tracking_uri=str(tracker.identity()["tracking_uri"]))


def seen(tracker: MLflowTracker, tmp_path: Path) -> Seen:
    return Seen(read_run(run_id_of(tracker), download_to=tmp_path / "downloads"))


def copies(tracker: MLflowTracker) -> Counter[tuple[str, int, str]]:
    """How often each point stands in the store."""
    client, found = client_of(tracker), Counter[tuple[str, int, str]]()
    for name in client.get_run(run_id_of(tracker)).data.metrics:
        history = client.get_metric_history(run_id_of(tracker), name)
        found.update((name, point.step, repr(point.value)) for point in history)
    return found


# --- a directory ---


def test_a_name_below_another_holds_up_nothing(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))
    config = {"model": "resnet", "model/layers": 50}
    with Tracking("mlflow", delivery="thread") as tracking:
        tracking.init_trackers("names", config=config)
        tracking.set_tags({"a": "1", "a/b": "2"})
        for step in range(3):
            tracking.log({"loss": float(step)}, step=step)
        tracking.log({"loss/ce": 0.5, "../up": 1.0, "..": 2.0, "Loss": 3.0}, step=3)
        tracking.log({"loss": None, "損" * 200: 1.0}, step=4)
        assert tracking.flush(60)
        tracker = tracking.get_tracker("mlflow")
        identity = tracker.identity()
    status = tracking.status()["mlflow"]
    assert (status.state, status.failed, status.rejected) == ("ended", 0, {})
    found = Seen(read_run(str(identity["run_id"]), download_to=tmp_path / "downloads"))
    assert found.values("loss") == [0.0, 1.0, 2.0, None]
    rest = {"loss/ce": [0.5], "../up": [1.0], "..": [2.0], "Loss": [3.0], "損" * 200: [1.0]}
    assert {key: found.values(key) for key in rest} == rest
    assert (found.config, found.tags) == (config, {"a": "1", "a/b": "2"})
    client = imported().MlflowClient(tracking_uri=directory)
    run = client.get_run(str(identity["run_id"]))
    assert {"loss", "loss_x2F_ce", "loss_x2F__x_none"} <= set(run.data.metrics)
    # One of them has its own name, whichever comes first.
    assert set(run.data.params) in (
        {"model", "model_x2F_layers"},
        {"model_x_", "model/layers"},
    )


def test_what_other_writers_put_there_is_avoided(directory: str, tmp_path: Path) -> None:
    tracker = started()
    tracker.deliver([row({"first": 1.0}, 0)])
    client, run_id = client_of(tracker), run_id_of(tracker)
    client.log_metric(run_id, "acc", 7.0, timestamp=1, step=1)
    client.log_metric(run_id, "x/y", 7.0, timestamp=1, step=1)
    client.log_param(run_id, "model/layers", "3")
    client.set_tag(run_id, "team/name", "vision")
    rows: list[Record] = [row({"before": float(s), "z": float(s)}, s) for s in range(1, 4)]
    rows += [row({"acc/top": 0.5, "x": 1.5, "after": 2.0}, 4)]
    tracker.deliver([Config({"model": "r"}, NOW), Tags({"team": "t"}, NOW), *rows])
    found = seen(tracker, tmp_path)
    assert found.values("acc/top") == [0.5] and found.values("acc") == [7.0]
    assert found.values("x") == [1.5] and found.values("x/y") == [7.0]
    assert found.values("before") == found.values("z") == [1.0, 2.0, 3.0]
    assert found.config == {"model": "r", "model/layers": "3"}
    assert found.tags == {"team": "t", "team/name": "vision"}
    # A directory writes a part of a request before it meets what it can't: not again.
    assert set(copies(tracker).values()) == {1}
    assert tracker.rejections.counts == {}


def test_a_run_that_is_gone_on_with_keeps_its_names_and_stores_nothing_twice(
    directory: str, tmp_path: Path
) -> None:
    records: list[Record] = [
        Config({"model/layers": 50, "model": "resnet"}, NOW),
        row({"loss/ce": 1.0}, 0),
        row({"loss": 2.0, "nothing": None}, 1),
    ]
    first = started()
    first.deliver(records)
    before = copies(first)
    # Killed before it was noted that the store has them: they come again, and some are new.
    second = MLflowTracker("names")
    second.resume(first.identity())
    second.start()
    second.deliver([*records, row({"loss/ce": 3.0}, 2)])
    second.finish()
    assert copies(second) == before + Counter({("loss/ce", 2, "3.0"): 1})
    found = seen(second, tmp_path)
    assert (found.values("loss/ce"), found.values("loss")) == ([1.0, 3.0], [2.0])
    assert found.config == {"model/layers": 50, "model": "resnet"}


def test_a_directory_that_fails_in_the_midst_of_a_request_is_given_the_rest(
    directory: str, tmp_path: Path
) -> None:
    tracker = started()
    (run_dir,) = Path(directory.removeprefix("file://")).glob(f"*/{run_id_of(tracker)}")
    # A folder that no name of ours explains, where a file should be.
    (run_dir / "metrics" / "b").mkdir(parents=True)
    values = dict.fromkeys("abcdef", 1.0)
    with pytest.warns(TrackingWarning, match="'b'"):
        tracker.deliver([row(values, 0), row(values, 1)])
    (run_dir / "metrics" / "b").rmdir()
    found = copies(tracker)
    assert set(found.values()) == {1}
    assert {name for name, _, _ in found} == set("acdef")


def test_experiments_with_quotes_are_found_again_in_a_directory(directory: str) -> None:
    ids = set()
    for _ in range(2):
        tracker = MLflowTracker('it\'s "mine"')
        tracker.start()
        ids.add(tracker.active_run.info.experiment_id)
    assert len(ids) == 1


def test_a_param_that_somebody_else_has_set_costs_only_itself_in_a_directory(
    directory: str, tmp_path: Path
) -> None:
    tracker = started()
    client_of(tracker).log_param(run_id_of(tracker), "lr", "set by somebody else")
    with pytest.warns(TrackingWarning, match="'lr'"):
        tracker.store_init_configuration({"a": 1, "lr": 0.1, "b": 2})
    assert seen(tracker, tmp_path).config == {"a": 1, "lr": 0.1, "b": 2}


@given(st.lists(st.text(st.sampled_from("aA/.é_x2F")), unique=True))
def test_names_as_files_stay_apart_and_come_back(keys: list[str]) -> None:
    for candidates in (layout.file_names, layout.tag_file_names):
        names = Names(candidates, files=True)
        found = {key: names.name_of(key) for key in keys}
        folded = [name.casefold() for name in found.values()]
        assert len(set(folded)) == len(keys) and not has_parents(folded)
        for key, name in found.items():
            assert layout.restored(name, {layout.name_tag(name): key}) == key
            about = layout.companion(name, "inf", files=True)
            assert layout.split_companion(about) == (name, "inf")
            assert layout.split_companion(name) == (name, "")
            assert max(len(part.encode()) for part in about.split("/")) <= 255


# --- a server that has a directory, and says nothing of it but that it failed ---


@pytest.fixture(scope="module")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("old")
    server = Server(directory / "none.db", directory / "artifacts")
    server.keep_runs_in(directory / "mlruns")
    server.start()
    yield server
    server.stop()


def test_a_server_with_a_directory(
    old_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", old_server.uri)
    wait_for(old_server)
    tracker = started()
    tracker.deliver([row({"loss": float(step)}, step) for step in range(3)])
    rows: list[Record] = [row({"loss/ce": 0.5, "a": float(step)}, step) for step in range(3)]
    tracker.deliver([Config({"model": "r", "model/layers": 3}, NOW), *rows])
    tracker.deliver([Tags({"a": "1"}, NOW), row({"loss": 3.0, "none": None}, 3)])
    tracker.deliver([Tags({"a/b": "2"}, NOW)])
    tracker.finish()
    found = seen(tracker, tmp_path)
    assert found.values("loss") == [0.0, 1.0, 2.0, 3.0]
    assert (found.values("loss/ce"), found.values("none")) == ([0.5] * 3, [None])
    assert found.config == {"model": "r", "model/layers": 3}
    assert found.tags == {"a": "1", "a/b": "2"}
    assert set(copies(tracker).values()) == {1}
    assert tracker.rejections.counts == {}


# --- files ---


def files_in_the_way(tmp_path: Path) -> tuple[list[Log], dict[str, bytes]]:
    """Rows with files where others need folders, and what is to be found."""
    for name in ("f", "g", "images", "q"):
        (tmp_path / name).write_bytes(name.encode())
    rows = [
        row({"1": Artifact(tmp_path / "f", "")}, 1),
        row({"2": Artifact(tmp_path / "g", "f")}, 2),
        row({"3": Artifact(tmp_path / "g", "q")}, 3),
        row({"4": Artifact(tmp_path / "q", "")}, 4),
        row({"5": Artifact(tmp_path / "images", "")}, 5),
        row({"picture": Image(numpy.zeros((2, 2), "uint8"))}, 6),
    ]
    return rows, {"f": b"f", "f/g": b"g", "q/g": b"g", "q": b"q", "images": b"images"}


def test_files_in_the_way_of_each_other(store: str, tmp_path: Path) -> None:
    rows, expected = files_in_the_way(tmp_path)
    tracker = started(logging_dir=tmp_path / "artifacts")
    for one in rows:
        tracker.deliver([one])
    found = seen(tracker, tmp_path)
    assert found.files() == expected
    assert len(found.media("picture")) == 1
    assert tracker.rejections.counts == {}


def test_files_in_the_way_of_each_other_on_a_server(address: str, tmp_path: Path) -> None:
    rows, expected = files_in_the_way(tmp_path)
    tracker = started()
    for one in rows:
        tracker.deliver([one])
    found = seen(tracker, tmp_path)
    assert found.files() == expected
    assert len(found.media("picture")) == 1
    assert tracker.rejections.counts == {}


def test_a_file_where_ours_need_a_folder_costs_only_what_is_in_there(
    store: str, tmp_path: Path
) -> None:
    (tmp_path / "note").write_bytes(b"mine")
    tracker = started(logging_dir=tmp_path / "artifacts")
    tracker.deliver([row({"mine": Artifact(tmp_path / "note", "text")}, 0)])
    with pytest.warns(TrackingWarning, match="something else has its place"):
        tracker.deliver([row({"note": "ours", "m": 1.0}, 1)])
    found = seen(tracker, tmp_path)
    assert (found.files(), found.values("m")) == ({"text/note": b"mine"}, [1.0])


# --- what was taken is not sent again ---


def test_a_second_try_sends_only_what_is_missing(
    address: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started()
    store = tracker._store
    assert store is not None
    sent: list[str] = []
    log_batch: Callable[..., Any] = store.client.log_batch

    def counted(run_id: str, **items: Any) -> None:
        sent.extend(item.key for item in items.get("metrics", []))
        log_batch(run_id, **items)

    monkeypatch.setattr(store.client, "log_batch", counted)
    (tmp_path / "model.bin").write_bytes(b"weights")
    model = row({"model": Artifact(tmp_path / "model.bin", ""), "late": 1.0}, 3)
    records: list[Record] = [row({"a": 1.0}, 1), row({"a": 2.0}, 2), model, row({"b": 1.0}, 4)]
    # The server has no place for files.
    shutil.rmtree(server.artifacts, ignore_errors=True)
    server.artifacts.write_bytes(b"")
    for some, taken in ((records, 2), (records[2:], 0)):
        tracker.taken = 0
        with pytest.raises(imported().exceptions.MlflowException, match="500") as refused:
            tracker.deliver(some)
        assert (tracker.fault(refused.value), tracker.taken) == ("server", taken)
    server.artifacts.unlink()
    tracker.deliver(records[2:])
    assert Counter(sent) == {"a": 2, "late": 1, "b": 1}
    assert seen(tracker, tmp_path).files() == {"model.bin": b"weights"}


def test_a_model_that_does_not_exist_costs_the_option_alone(store: str, tmp_path: Path) -> None:
    tracker = started()
    record = Log({"a": 1.0, "b": 2.0}, 1, 1, NOW, {"mlflow": {"model_id": "m-none"}})
    with pytest.warns(TrackingWarning, match=r"log_kwargs\['model_id'\]"):
        tracker.deliver([record])
    found = seen(tracker, tmp_path)
    assert (found.values("a"), found.values("b")) == ([1.0], [2.0])
    assert {rejection.key for rejection in tracker.rejections.counts} == {"log_kwargs['model_id']"}
