"""Off the main process every call returns at once and makes nothing."""

from __future__ import annotations

import json
import os
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
    subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # torchrun leaves its folder of logs there
        check=True,
        timeout=300,
    )

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


LAUNCHED = """
import json, os, sys, threading
from tracking_core import Tracking

out, rank = sys.argv[1], int(os.environ["RANK"])
with Tracking(["tensorboard", "mlflow"], logging_dir=f"{out}/tb", delivery="process") as tracking:
    tracking.init_trackers("project", config={"rank": rank})
    for step in range(50):
        tracking.log({"rank": rank}, step=step)
    tracking.get_tracker("mlflow").log({"direct": rank}, step=0)
    report = {
        "run_dir": tracking.run_dir and str(tracking.run_dir),
        "trackers": list(tracking.status()),
        "alone": threading.active_count() == 1,
    }
    assert tracking.flush(240)
with open(f"{out}/report{rank}.json", "w") as file:
    json.dump(report, file)
"""


def test_without_torch_the_launchers_variables_make_one_run_and_one_journal(
    tmp_path: Path, read_tensorboard: Callable[[Path], Seen], read_mlflow: Callable[..., Seen]
) -> None:
    script = tmp_path / "training.py"
    script.write_text(LAUNCHED)
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "3"},
        )
        for rank in range(3)
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0, 0]

    main, *others = (json.loads((tmp_path / f"report{rank}.json").read_text()) for rank in range(3))
    (run_dir,) = (path for path in (tmp_path / "tb" / ".tracking").iterdir() if path.is_dir())
    assert (main["run_dir"], main["trackers"]) == (str(run_dir), ["tensorboard", "mlflow"])
    assert others == [{"run_dir": None, "trackers": [], "alone": True}] * 2
    assert len(list(run_dir.iterdir())) == 1
    for seen in (read_tensorboard(tmp_path / "tb" / "project"), read_mlflow()):
        assert seen.config == {"rank": 0}
        assert [(p.step, p.value) for p in seen.points("rank")] == [(s, 0.0) for s in range(50)]
        assert seen.status == "finished"
    assert read_mlflow().values("direct") == [0.0]
