"""The command that installs a package, as messages say it: the one that works where they say it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracking_core
from tracking_core import (
    LoggerType,
    Tracking,
    TrackingWarning,
    UnknownTrackerError,
    filter_trackers,
)
from tracking_core.installing import ON_AN_INDEX, in_a_clone, install_line, update_line

SOURCE = Path(tracking_core.__file__).parent
ASK = """
from tracking_core.installing import install_line
print(install_line("tracking-wandb"))
print(install_line("tracking-core", "testing"))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that the core lies in as pip puts it there: beside no source of any package."""
    site = tmp_path / "site"
    shutil.copytree(SOURCE, site / "tracking_core", ignore=shutil.ignore_patterns("__pycache__"))
    return site


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for package in ("tracking-core", "tracking-wandb"):
        (tmp_path / "my clone" / "packages" / package).mkdir(parents=True)
        (tmp_path / "my clone" / "packages" / package / "pyproject.toml").touch()
    return tmp_path / "my clone"


def noted(site: Path, origin: dict[str, Any] | str | None) -> None:
    """Lay out what pip writes of an installation, with `origin` as where the core came from."""
    information = site / "tracking_core-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tracking-core\nVersion: 0.1\n"
    )
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (information / "direct_url.json").write_text(text)


def lines(site: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, "PYTHONPATH": str(site)}, cwd=site, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_from_the_folder_that_the_core_was_installed_from(site: Path, clone: Path) -> None:
    core = clone / "packages" / "tracking-core"
    noted(site, {"url": core.as_uri(), "dir_info": {}})
    assert lines(site) == [
        f"pip install '{core.parent}/tracking-wandb'",
        f"pip install '{core}[testing]'",
    ]


def test_an_editable_core_stays_editable(site: Path, clone: Path) -> None:
    core = clone / "packages" / "tracking-core"
    noted(site, {"url": core.as_uri(), "dir_info": {"editable": True}})
    assert lines(site) == [
        f"pip install '{core.parent}/tracking-wandb'",
        f"pip install -e '{core}[testing]'",
    ]


def test_from_the_repository_and_the_commit_that_the_core_was_installed_from(site: Path) -> None:
    noted(
        site,
        {
            "url": "https://git.example/team/tracking.git",
            "vcs_info": {"vcs": "git", "commit_id": "0123abc"},
            "subdirectory": "packages/tracking-core",
        },
    )
    repository = "git+https://git.example/team/tracking.git@0123abc#subdirectory=packages"
    assert lines(site) == [
        f"pip install 'tracking-wandb @ {repository}/tracking-wandb'",
        f"pip install 'tracking-core[testing] @ {repository}/tracking-core'",
    ]


def test_a_core_that_only_lies_on_the_path_is_installed_with_it(clone: Path) -> None:
    source = clone / "packages" / "tracking-core" / "src"
    shutil.copytree(SOURCE, source / "tracking_core")
    script = (
        "import importlib.metadata as m\n"
        "def none(name): raise m.PackageNotFoundError(name)\n"
        "m.distribution = none\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + ASK],
        env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True,
    )  # fmt: skip
    packages = clone / "packages"
    assert done.stdout.splitlines()[0] == (
        f"pip install '{packages}/tracking-core' '{packages}/tracking-wandb'"
    ), done.stderr


@pytest.mark.parametrize(
    "origin",
    [
        None,
        {"url": "file:///gone/packages/tracking-core", "dir_info": {}},
        {"url": "file:///wheels/tracking_core-0.1-py3-none-any.whl", "archive_info": {}},
        "{",
        "[]",
        b"\xff".decode("latin-1"),
    ],
)
def test_where_nobody_knows_it_is_the_line_for_a_clone(
    site: Path, origin: dict[str, Any] | str | None
) -> None:
    noted(site, origin)
    assert lines(site) == [
        "in a clone of the project, pip install ./packages/tracking-core ./packages/tracking-wandb",
        "in a clone of the project, pip install './packages/tracking-core[testing]'",
    ]


def test_as_long_as_nothing_is_on_an_index_no_name_alone_is_proposed() -> None:
    assert not ON_AN_INDEX
    for name in LoggerType.list():
        package = f"tracking-{name}".replace("_", "-")
        for line in (install_line(package), in_a_clone(package), update_line(package, ours=True)):
            assert package not in line.split(), "that is how somebody else's package gets here"
    assert update_line("their-tracker", ours=False) == "pip install -U their-tracker"


def test_this_checkout_names_its_own_folders() -> None:
    packages = SOURCE.parents[2]
    if not (packages / "tracking-wandb").is_dir():
        pytest.skip("the core was installed from a wheel")
    line = install_line("tracking-wandb")
    assert line.endswith(f"{packages / 'tracking-wandb'}")


def test_a_tracker_that_is_not_installed_comes_with_that_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracking_core.registry._installed", dict)  # none of them is
    with pytest.warns(TrackingWarning) as said:
        assert filter_trackers("comet_ml") == []
    assert f"is not installed and left out: {install_line('tracking-comet-ml')} (" in str(
        said[0].message
    )


@pytest.mark.parametrize("name", ["neptune", "runs", "tensorboards", "../x", "a b; rm"])
def test_no_package_is_proposed_for_a_name_that_nobody_knows(name: str) -> None:
    for ask in (filter_trackers, Tracking):
        with pytest.raises(UnknownTrackerError) as caught:
            ask(name)
        assert "pip" not in str(caught.value)
        assert f"tracking-{name}" not in str(caught.value)
