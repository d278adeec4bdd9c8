"""A misspelt argument is told before the library that would refuse it is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tracking_core.arguments import parameters_of, refuse_unknown

LIBRARY = """
raise RuntimeError("importing this takes seconds")
def init(project, /, name=None, *, mode="online"): ...
def anything(**kwargs): ...
class Run:
    def __init__(self, repo, *tags, hash=None): ...
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "heavy_library" / "sdk").mkdir(parents=True)
    for inner in ("__init__.py", "sdk/__init__.py", "sdk/calls.py"):
        (tmp_path / "heavy_library" / inner).write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    return "heavy_library"


def test_parameters_are_read_without_importing_anything(library: str) -> None:
    assert parameters_of(library, "init") == {"project", "name", "mode"}
    assert parameters_of(f"{library}.sdk", "init") == {"project", "name", "mode"}
    assert parameters_of(f"{library}.sdk.calls", "Run.__init__") == {"repo", "hash"}
    assert library not in sys.modules


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("heavy_library", "anything"),
        ("heavy_library", "nothing"),
        ("heavy_library", "Run"),
        ("heavy_library.gone", "init"),
        ("no_such_library", "init"),
        ("sys", "exit"),
        ("", "init"),
    ],
)
def test_where_nobody_can_tell_everything_passes(library: str, module: str, function: str) -> None:
    known = parameters_of(module, function)
    assert known is None
    refuse_unknown("heavy", ["projct"], known, "heavy.init")


def test_the_culprit_is_named_with_what_was_probably_meant() -> None:
    refuse_unknown("heavy", ["project"], ["project", "name"], "heavy.init")
    with pytest.raises(TypeError) as refused:
        refuse_unknown("heavy", ["project", "projct"], ["project", "name"], "heavy.init")
    assert str(refused.value) == (
        "tracker 'heavy' has no argument 'projct': did you mean 'project'? "
        "heavy.init takes name, project"
    )
    with pytest.raises(TypeError, match=r"has no argument 'zzz': heavy\.init takes name"):
        refuse_unknown("heavy", ["zzz"], ["name"], "heavy.init")
