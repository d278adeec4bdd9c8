from __future__ import annotations

from pathlib import Path

from tracking_core.testing import Seen, assert_is_the_readmes_run, run_readme
from tracking_dvclive import read_run

README = Path(__file__).parent.parent / "README.md"


def test_what_the_readme_shows_runs_as_it_is_pasted(tmp_path: Path) -> None:
    run_readme(README, "dvclive", tmp_path)
    assert_is_the_readmes_run(Seen(read_run(tmp_path / "dvclive")))
