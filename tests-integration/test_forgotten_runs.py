"""A user who forgets `end_training()` finds everything, and how the program ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking_core.testing import Seen

NOTEBOOK = """
import sys
from tracking_core import Tracking

def train():
    tracking = Tracking(["tensorboard", "mlflow"], logging_dir=sys.argv[1], delivery="inline")
    tracking.init_trackers("project", config={"lr": 0.5})
    for step in range(20):
        tracking.log({"loss": step / 2}, step=step)

train()
"""


@pytest.mark.parametrize(
    ("ending", "status"), [("", "finished"), ("raise RuntimeError('out of memory')", "failed")]
)
def test_everything_is_there_after_the_interpreter_exits(
    tmp_path: Path,
    read_tensorboard: Callable[[Path], Seen],
    read_mlflow: Callable[..., Seen],
    ending: str,
    status: str,
) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK + ending)
    subprocess.run([sys.executable, str(script), str(tmp_path / "tb")], timeout=300)
    for seen in (read_tensorboard(tmp_path / "tb" / "project"), read_mlflow()):
        assert seen.values("loss") == [step / 2 for step in range(20)]
        assert seen.config == {"lr": 0.5}
        assert seen.status == status
