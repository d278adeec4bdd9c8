"""The nightly on one machine: what can't run is named, and is no success."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import nightly
from monorepo import PYTHONS, packages


@pytest.fixture(autouse=True)
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any Python, until a test says otherwise; what is set is set back."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.setattr(nightly, "PLACE", tmp_path)


def test_an_environment_whose_python_is_missing_is_named_and_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert nightly.main(["environments", "-e", "pkg-py313-wandb", "-e", "lowest-wandb"]) == 1
    assert capfd.readouterr().out.splitlines()[-3:] == [
        "0 of 2 passed",
        "pkg-py313-wandb: NOT RUN, there is no Python 3.13 here",
        "lowest-wandb: NOT RUN, there is no Python 3.10 here",
    ]


def test_an_environment_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"no environment pkg-py39-core: pkg-py310-core, "):
        nightly.main(["environments", "-e", "pkg-py39-core"])


def test_a_program_that_answers_for_another_python_is_none(tmp_path: Path) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert not nightly.is_here(here)
    for version in {here, "3.99"}:
        (tmp_path / f"python{version}").symlink_to(sys.executable)
    assert nightly.is_here(here)
    assert not nightly.is_here("3.99")


def test_pythons_of_pyenv_are_found_before_its_shims(tmp_path: Path) -> None:
    folders = [tmp_path / "versions" / version / "bin" for version in ("3.10.13", "3.13.0")]
    for folder in folders:
        folder.mkdir(parents=True)
    path = nightly.machine({"PYENV_ROOT": str(tmp_path), "PATH": "/shims"})["PATH"]
    assert path.split(":") == [*map(str, folders), "/shims"]


def test_an_environment_that_would_fill_the_disk_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free // 1_000_000_000
    monkeypatch.setattr(nightly, "ROOM", 0)
    monkeypatch.setattr(nightly, "ROOM_WITH_TORCH", free + 10)
    problem = nightly.too_full("all-py312-torch215-newest")
    assert problem.startswith("NOT RUN, ")
    assert problem.endswith(f" GB are free on the disk and {free + 10} are wanted")
    assert nightly.too_full("all-py312-notorch-newest") == ""
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    assert nightly.too_full("all-py312-torch215-newest") == ""


def test_all_environments_are_known_with_their_pythons() -> None:
    known = nightly.all_environments()
    for one in packages():
        assert one.environments.items() <= known.items()
    together = {name: python for name, python in known.items() if name.startswith("all-")}
    assert set(together.values()) == set(PYTHONS)
    assert known["all-py311-torch213-newest"] == "3.11"


def test_what_fails_is_named_and_the_rest_goes_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "DEV", [sys.executable, "-c"])
    results = {"first": nightly.run("first", ["raise SystemExit(3)"])}
    results["second"] = nightly.run("second", ["print('done')"])
    assert nightly.summary(results) == 1
    said = capfd.readouterr().out.splitlines()
    assert "done" in said
    assert said[-2:] == ["1 of 2 passed", "first: FAILED, exit status 3"]
    assert nightly.summary({"second": ""}) == 0
    assert nightly.summary({}) == 1, "a night in which nothing was done is no good one"
