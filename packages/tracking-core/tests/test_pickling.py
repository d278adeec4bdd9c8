"""Models, trainers and datasets hold a Tracking, and are copied, stored and sent to workers."""

from __future__ import annotations

import copy
import multiprocessing
import operator
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tracking_core import GeneralTracker, Tracking, register_tracker_class
from tracking_core.testing import MemoryTracker
from tracking_core.tracker import NullTracker

LANES = pytest.mark.parametrize("delivery", ["inline", "thread"])


@pytest.fixture(autouse=True)
def _journals_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKING_DIR", str(tmp_path / "journals"))


class Model:
    def __init__(self, **parts: Any) -> None:
        self.parts = parts


class Unpicklable(MemoryTracker):
    """It holds from the beginning what no other process can have."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def loaded_elsewhere(what: Any, body: str) -> str:
    """What a program prints that has loaded `what` as ``it``."""
    program = "import pickle, sys\nit = pickle.load(sys.stdin.buffer)\n" + body
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=pickle.dumps(what),
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode()


SILENT = """
it.log({"a": 1}, step=0); it.log_images({"a": 1}); it.log_table("t", ["x"], [[1]])
it.log_artifact("nowhere"); it.set_tags(["x"]); it.flush(); it.end_training(); it.log({"a": 2})
assert not it.get_tracker("memory") and not it.trackers and not it.status() and not it.rejected
print(it.run_id)
"""


@LANES
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_copy_is_itself(delivery: Any, when: str, memory: MemoryTracker) -> None:
    tracking = Tracking([memory, Unpicklable()], delivery=delivery)
    if when != "before":
        tracking.init_trackers("p")
    if when == "after":
        tracking.end_training()
    model = Model(tracking=tracking, trackers=tracking.trackers, given=memory)
    for copied in (copy.copy(tracking), copy.deepcopy(tracking), copy.deepcopy(model)):
        assert copied is tracking or copied.parts == model.parts
    tracking.end_training()


@LANES
@pytest.mark.parametrize("when", ["during", "after"])
def test_elsewhere_every_call_returns_at_once(
    delivery: Any, when: str, memory: MemoryTracker
) -> None:
    register_tracker_class(MemoryTracker)
    tracking = Tracking([memory, "memory", Unpicklable()], delivery=delivery)
    tracking.init_trackers("p")
    if when == "after":
        tracking.end_training()
    assert loaded_elsewhere(tracking, SILENT) == f"{tracking.run_id}\n"
    assert loaded_elsewhere(Model(tracking=tracking).parts, "it['tracking'].log({'a': 1})") == ""
    tracking.end_training()
    assert not memory.values("a")


BEGINS = """
import tracking_core.testing
memory = tracking_core.testing.MemoryTracker()
tracking_core.register_tracker_class(tracking_core.testing.MemoryTracker)
it.init_trackers("p", config={"lr": 0.5})
it.log({"a": 1})
(tracker,) = it.trackers
it.end_training()
print(tracker.values("a"), tracker.config, tracker.status)
"""


@pytest.mark.parametrize("kind", ["name", "instance"])
def test_before_its_run_it_can_begin_one_elsewhere(kind: str, memory: MemoryTracker) -> None:
    register_tracker_class(MemoryTracker)
    chosen: Any = {"name": ["memory"], "instance": [memory, Unpicklable()]}[kind]
    tracking = Tracking(chosen, delivery="inline")
    assert loaded_elsewhere(tracking, BEGINS) == "[1] {'lr': 0.5} finished\n"
    assert memory.calls == []


def test_one_from_elsewhere_can_begin_a_run_of_its_own() -> None:
    register_tracker_class(MemoryTracker)
    tracking = Tracking("memory", delivery="inline")
    tracking.init_trackers("p")
    tracking.log({"a": 1})
    assert loaded_elsewhere(tracking, BEGINS) == "[1] {'lr': 0.5} finished\n"
    tracking.end_training()


@LANES
def test_here_it_is_itself_while_its_run_goes_on(delivery: Any, memory: MemoryTracker) -> None:
    register_tracker_class(MemoryTracker)
    tracking = Tracking(["memory", memory], delivery=delivery)
    tracking.init_trackers("p")
    data = pickle.dumps(tracking)
    assert pickle.loads(data) is tracking
    handle = tracking.get_tracker("memory")
    if delivery == "thread":
        assert pickle.loads(pickle.dumps(handle)) is handle
    tracking.end_training()
    after = pickle.loads(data)
    assert after is not tracking
    after.log({"a": 1})
    assert not memory.values("a")


@LANES
def test_a_tracker_elsewhere_takes_every_call_and_does_nothing(
    delivery: Any, memory: MemoryTracker
) -> None:
    register_tracker_class(MemoryTracker)
    tracking = Tracking(["memory", memory], delivery=delivery)
    tracking.init_trackers("p")
    null = NullTracker()
    for tracker in (*tracking.trackers, null):
        body = 'it.log({"a": 1}); it.run.log({"a": 1}); print(bool(it))'
        assert loaded_elsewhere(tracker, body) == "False\n"
    assert copy.deepcopy(null) is null
    tracking.end_training()
    assert not memory.values("a")


@pytest.mark.filterwarnings("ignore::tracking_core.TrackingWarning")
def test_a_tracker_that_is_in_no_run_goes_as_it_is() -> None:
    tracker = MemoryTracker("mine", colour="red")
    tracker.reject("a", 1, "too red")
    assert copy.deepcopy(tracker) is tracker
    there = pickle.loads(pickle.dumps(tracker))
    assert isinstance(there, MemoryTracker)
    assert (there.run_name, there.kwargs, there.calls) == ("mine", {"colour": "red"}, [])
    there.reject("b", 1, "too blue")
    assert [rejection.key for rejection in there.rejections.counts] == ["b"]


class Own(Tracking):
    """A subclass with attributes."""

    colour = "none"


def test_a_subclass_stays_one() -> None:
    own = Own(delivery="inline")
    own.colour = "red"
    there = pickle.loads(pickle.dumps(own))
    assert type(there) is Own and there.colour == "red"
    there.init_trackers("p")


class Custom(GeneralTracker):
    """As it was written for Accelerate, and sure that nobody sets anything on it."""

    name = "custom"
    requires_logging_directory = False

    @property
    def tracker(self) -> None:
        return None

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(name)


def test_a_tracker_that_lets_nobody_set_anything_can_still_be_used() -> None:
    tracking = Tracking(Custom(), delivery="inline")
    tracking.init_trackers("p")
    assert isinstance(pickle.loads(pickle.dumps(tracking.trackers[0])), NullTracker)
    tracking.end_training()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_a_worker_it_is_silent(method: str, memory: MemoryTracker) -> None:
    tracking = Tracking(memory, delivery="inline")
    tracking.init_trackers("p")
    # Nothing of this module, which a worker may be unable to import.
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(operator.attrgetter("run_id"), [tracking]) == tracking.run_id
        assert pool.apply(operator.methodcaller("log", {"a": 1}), [tracking]) is None
    tracking.end_training()
    assert not memory.values("a")


def test_in_torch(memory: MemoryTracker, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed here")
    tracking = Tracking([memory, Unpicklable()], delivery="thread")
    tracking.init_trackers("p")
    model = torch.nn.Linear(1, 1)
    model.tracking, model.memory = tracking, tracking.get_tracker("memory")
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert averaged.module.tracking is tracking
    torch.save(model, tmp_path / "model.pt")
    assert torch.load(tmp_path / "model.pt", weights_only=False).tracking is tracking

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is not there for mypy
        def __init__(self) -> None:
            self.tracking = tracking

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            self.tracking.log({"a": index})
            return index

    forked = torch.utils.data.DataLoader(Rows(), num_workers=1, multiprocessing_context="fork")
    assert len(list(forked)) == 4
    tracking.end_training()
    assert not memory.values("a")
