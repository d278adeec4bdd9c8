"""A package is tested from a wheel of what is there now, or not at all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from repository import Repository

ONE = "packages/tracking-tensorboard"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("wheels") / "repository")


@pytest.fixture
def wheelhouse(copy: Repository) -> Iterator[Any]:
    """The copy's own tools/wheelhouse.py, in this process, with a wheel that it says it has built."""
    ours = ("archives", "history", "monorepo", "wheelhouse")
    before = {name: sys.modules.pop(name) for name in ours if name in sys.modules}
    sys.path.insert(0, str(copy.folder / "tools"))
    module = import_module("wheelhouse")
    module.WHEELHOUSE.mkdir(parents=True)
    for one in module.packages():
        name = f"{one.module}-{one.version}-py3-none-any.whl"
        (module.WHEELHOUSE / name).write_bytes(b"")
        module._note(one).write_text(module.digest(one))
    yield module
    sys.path.remove(str(copy.folder / "tools"))
    for name in ours:
        sys.modules.pop(name, None)
    sys.modules.update(before)
    shutil.rmtree(module.WHEELHOUSE)
    copy.restore()


def named(wheelhouse: Any, name: str) -> Any:
    return next(one for one in wheelhouse.packages() if one.name == f"tracking-{name}")


@pytest.mark.parametrize(
    "change",
    [
        ("src/tracking_tensorboard/__init__.py", "raise RuntimeError\n"),
        ("src/tracking_tensorboard/new.py", ""),
        ("tests/test_new.py", "def test_it() -> None: ...\n"),
        ("pyproject.toml", "\n"),
    ],
)
def test_a_wheel_of_what_was_there_before_is_refused(
    wheelhouse: Any, copy: Repository, change: tuple[str, str]
) -> None:
    one, other = named(wheelhouse, "tensorboard"), named(wheelhouse, "dvclive")
    assert wheelhouse.wheel_of(one).is_file()
    path = copy.folder / ONE / change[0]
    with path.open("a") as file:
        file.write(change[1])
    with pytest.raises(SystemExit, match=f"{ONE} has changed since .*tox:wheelhouse builds it"):
        wheelhouse.wheel_of(one)
    assert wheelhouse.wheel_of(other).is_file()


def test_a_file_that_is_gone_is_a_change_too(wheelhouse: Any, copy: Repository) -> None:
    (copy.folder / ONE / "src" / "tracking_tensorboard" / "reader.py").unlink()
    with pytest.raises(SystemExit, match="has changed since"):
        wheelhouse.wheel_of(named(wheelhouse, "tensorboard"))


def test_what_git_ignores_and_what_no_wheel_has_is_no_change(
    wheelhouse: Any, copy: Repository
) -> None:
    for name in (f"{ONE}/src/tracking_tensorboard/__pycache__/a.pyc", f"{ONE}/changes/x.fixed.md"):
        (copy.folder / name).parent.mkdir(exist_ok=True)
        (copy.folder / name).write_text("It is faster.\n")
    assert wheelhouse.wheel_of(named(wheelhouse, "tensorboard")).is_file()


def test_the_core_of_the_tree_is_looked_at_for_the_lowest_versions_too(
    wheelhouse: Any, copy: Repository
) -> None:
    one = named(wheelhouse, "tensorboard")
    assert wheelhouse.oldest_core(one).is_file()
    with (copy.folder / "packages/tracking-core/src/tracking_core/names.py").open("a") as file:
        file.write("\n")
    with pytest.raises(SystemExit, match="packages/tracking-core has changed since"):
        wheelhouse.oldest_core(one)
