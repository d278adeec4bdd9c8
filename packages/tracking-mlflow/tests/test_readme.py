from __future__ import annotations

import shutil
from pathlib import Path

from tracking_core.testing import Seen, assert_is_the_readmes_run, run_readme
from tracking_mlflow import read_run

README = Path(__file__).parent.parent / "README.md"


def test_what_the_readme_shows_runs_as_it_is_pasted(migrated: Path, tmp_path: Path) -> None:
    shutil.copyfile(migrated, tmp_path / "mlflow.db")  # as if it were not the first run there
    identity = run_readme(README, "mlflow", tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = read_run(identity["run_id"], store, download_to=tmp_path / "down")
    assert_is_the_readmes_run(Seen(run))
