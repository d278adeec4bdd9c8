from __future__ import annotations

import shutil
from pathlib import Path

from tracking_aim import read_run
from tracking_core.testing import Seen, assert_is_the_readmes_run, run_readme

README = Path(__file__).parent.parent / "README.md"


def test_what_the_readme_shows_runs_as_it_is_pasted(empty_repository: Path, tmp_path: Path) -> None:
    # As if it were not the first run there, which takes seconds.
    shutil.copytree(empty_repository / ".aim", tmp_path / "logs" / ".aim")
    identity = run_readme(README, "aim", tmp_path)
    run = read_run(identity["run_hash"], tmp_path / "logs", download_to=tmp_path / "down")
    assert_is_the_readmes_run(Seen(run))
