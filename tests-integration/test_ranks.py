"""Off the main process every call returns at once and makes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracking_core.testing import Seen

TRAINING = """
import json, os, sys
import torch, torch.distributed
from tracking_core import Tracking, PartialState, Image

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
# What the launcher said must not be needed once torch knows.
for name in ("RANK", "WORLD_SIZE"):
    del os.environ[name]
out = sys.argv[1]
before = set(sys.modules)
with Tracking(["tensorboard", "mlflow"], logging_dir=f"{out}/rank{rank}", delivery="inline") as tracking:
    tracking.init_trackers("project", config={"rank": rank})
    tracking.log({"rank": rank, "tensor": torch.tensor(1.5)}, step=0)
    tracking.log_images({"picture": torch.zeros(1, 3, 4, 4)}, step=0)
    board = tracking.get_tracker("tensorboard")
    board.log_images({"direct": torch.zeros(1, 3, 4, 4)}, step=1)
    board.log_table("table", columns=["a"], data=[[1]], step=1)
    tracking.get_tracker("mlflow", unwrap=True).info.run_id
    report = {
        "main": PartialState().is_main_process,
        "world": PartialState().num_processes,
        "trackers": [tracker.name for tracker in tracking.trackers],
        "null": not board,
        "imported": sorted({"mlflow", "tensorboard"} & (set(sys.modules) - before)),
    }
with open(f"{out}/report{rank}.json", "w") as file:
    json.dump(report, file)
torch.distributed.destroy_process_group()
"""


def test_a_two_process_torchrun_makes_one_run(
    tmp_path: Path,
    torch: Any,
    read_tensorboard: Callable[[Path], Seen],
    read_mlflow: Callable[..., Seen],
) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, *launch, str(script), str(tmp_path)], check=True, timeout=300)

    main, other = (json.loads((tmp_path / f"report{rank}.json").read_text()) for rank in (0, 1))
    assert main == {
        "main": True,
        "world": 2,
        "trackers": ["tensorboard", "mlflow"],
        "null": False,
        "imported": ["mlflow", "tensorboard"],
    }
    assert other == {"main": False, "world": 2, "trackers": [], "null": True, "imported": []}
    assert not (tmp_path / "rank1").exists()
    for seen in (read_tensorboard(tmp_path / "rank0" / "project"), read_mlflow()):
        assert seen.config == {"rank": 0}
        assert seen.values("rank") == [0.0]
        assert len(seen.media("picture")) == 1
    assert {"direct/0", "table"} <= read_tensorboard(tmp_path / "rank0" / "project").keys
