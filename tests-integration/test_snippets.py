"""What pages show in Python runs as it is pasted, from the top of the page to its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from repository import ROOT

from tracking_core.testing import KINDS, Seen, python_of, run_python

PAGES = [ROOT / "README.md", ROOT / "packages" / "tracking-core" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
WITH_PYTHON = {page.relative_to(ROOT).as_posix(): page for page in PAGES if python_of(page)}

# A page whose Python is partly that of files: packages/tracking-core/tests/examples runs it.
ELSEWHERE = "docs/write-a-tracker.md"


@pytest.mark.usefixtures("mlflow_uri")
@pytest.mark.parametrize("page", sorted(WITH_PYTHON.keys() - {ELSEWHERE, "docs/what-to-log.md"}))
def test_what_a_page_shows_runs(page: str, tmp_path: Path) -> None:
    run_python("\n".join(python_of(WITH_PYTHON[page])), tmp_path)


def test_the_pages_are_found() -> None:
    wanted = {"README.md", ELSEWHERE, "docs/what-to-log.md", "docs/troubleshooting.md"}
    assert wanted < WITH_PYTHON.keys()


def test_what_to_log_logs_what_it_says(
    tmp_path: Path, read_tensorboard: Callable[[Path], Seen]
) -> None:
    page = ROOT / "docs" / "what-to-log.md"
    printed = run_python("\n".join(python_of(page)), tmp_path)
    assert printed.startswith("<Tracking 'what to log' ") and "tensorboard ended" in printed

    seen = read_tensorboard(tmp_path / "runs" / "what to log")
    assert [point.step for point in seen.points("train/loss")] == list(range(20))
    assert [point.step for point in seen.points("lr")] == [20]
    assert seen.values("best so far") == [None]
    assert seen.values("sample")[0].startswith("Once upon a time")  # type: ignore[union-attr]  # a text
    for key, number in {
        "one": 1, "several": 2, "batch": 4, "noise": 1, "curve": 1, "predictions": 1, "wrong": 1,
        "looked at": 1, "scores": 1, "best": 1, "weights": 1, "ages": 1, "tone": 1, "episode": 1,
    }.items():  # fmt: skip
        assert len(seen.media(key)) == number, key
    assert {name: len(content) for name, content in seen.files().items()} == {
        "last/model.bin": 11,
        "checkpoints/epoch-1/model.bin": 11,
    }
    labels = {"baseline": None, "first try": None}
    assert seen.tags == {**labels, "team": "vision", "dataset": "digits"}
    assert seen.config == {"lr": 0.1, "model": {"hidden": [64, 32]}}
    assert seen.status == "finished"

    configs = {
        name: read_tensorboard(tmp_path / "runs" / f"from {name}").config
        for name in ("dict", "argparse", "dataclass")
    }
    assert configs["argparse"] == {"lr": 0.1}
    assert configs["dataclass"] == {
        "epochs": 5,
        "optimizer": {"name": "adam", "betas": [0.9, 0.999]},
    }
    assert configs["dict"]["data"] == {"path": "digits", "classes": [1, 2, 3]}
    assert read_tensorboard(tmp_path / "runs" / "one only").values("loss") == [0.5]


def test_what_to_log_shows_every_typed_value_and_links_every_kind() -> None:
    text = (ROOT / "docs" / "what-to-log.md").read_text("utf-8")
    code = "\n".join(python_of(ROOT / "docs" / "what-to-log.md"))
    for shown in ("Image", "Table", "Histogram", "Audio", "Video", "Artifact"):
        assert f" {shown}(" in code, shown
    for call in ("log_images", "log_table", "log_artifact", "set_tags", "end_training"):
        assert f"tracking.{call}(" in code, call
    for kind in KINDS:
        assert f"values.md#{kind.replace(' ', '-')}" in text, kind


def test_every_link_of_a_page_leads_somewhere() -> None:
    dead = []
    for page in {*PAGES, *ROOT.glob("packages/*/README.md")}:
        for link, _, heading in re.findall(
            r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", page.read_text("utf-8")
        ):
            target = (page.parent / link).resolve() if link else page
            if not target.exists():
                dead.append(f"{page.name}: {link}")
            elif heading and heading not in headings(target):
                dead.append(f"{page.name}: {link}#{heading}")
    assert dead == []


def headings(page: Path) -> set[str]:
    """What a page's headings can be linked by."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in found}
