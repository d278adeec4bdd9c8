from __future__ import annotations

from pathlib import Path

from tracking_comet_ml import read_run
from tracking_core.testing import Seen, assert_is_the_readmes_run, run_readme

README = Path(__file__).parent.parent / "README.md"


def test_what_the_readme_shows_runs_as_it_is_pasted(tmp_path: Path) -> None:
    run_readme(README, "comet_ml", tmp_path)
    assert_is_the_readmes_run(
        Seen(read_run(offline_directory=tmp_path / ".cometml-runs", download_to=tmp_path / "down"))
    )
