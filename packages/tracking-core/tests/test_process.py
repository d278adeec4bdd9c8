"""Which rank am I: the order of evidence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tracking_core import PartialState


def place() -> tuple[int, int, int]:
    state = PartialState()
    return state.process_index, state.local_process_index, state.num_processes


def test_alone_it_is_the_main_process() -> None:
    assert place() == (0, 0, 1)
    assert PartialState().is_main_process
    assert PartialState().is_local_main_process


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, (3, 1, 8)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 3, 8)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, (2, 2, 4)),
        (
            {
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            },
            (2, 0, 4),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}, (1, 1, 2)),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1"}, (5, 1, 6)),
    ],
)
def test_launchers_say_it_in_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, int, int]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place() == expected


@pytest.mark.parametrize(
    "variables",
    [
        # A batch script that srun did not start has these too.
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "16"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
        {"RANK": "1"},
        {"RANK": "one", "WORLD_SIZE": "2"},
    ],
)
def test_what_proves_nothing_is_ignored(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place() == (0, 0, 1)


def test_torchrun_is_believed_before_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "4",
        "SLURM_PROCID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert place() == (1, 1, 4)


def test_the_evidence_is_looked_at_again_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PartialState()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not PartialState().is_main_process
    assert not before.is_main_process, "all of them share what was found last"


def test_on_main_process_does_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(number: int) -> int:
        return number

    assert PartialState().on_main_process(answer)(42) == 42
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert PartialState().on_main_process(answer)(42) is None


def test_importing_imports_no_framework_and_starts_no_thread() -> None:
    program = (
        "import sys, threading, tracking_core\n"
        "foreign = {'torch', 'numpy', 'PIL', 'pandas', 'matplotlib', 'jax', 'tensorboard', 'mlflow',"
        " 'wandb', 'pytest'}\n"
        "assert not foreign & set(sys.modules), foreign & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
        "tracking = tracking_core.Tracking()\n"
        "tracking.init_trackers('p', config={'a': 1})\n"
        "tracking.log({'a': 1})\n"
        "tracking.end_training()\n"
        "assert not foreign & set(sys.modules), foreign & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ})
