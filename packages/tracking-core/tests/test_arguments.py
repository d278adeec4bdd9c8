"""A misspelt argument is told before the library that would refuse it is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tracking_core.arguments import (
    choices_of,
    fields_of,
    parameters_of,
    refuse_unfit,
    refuse_unknown,
)

LIBRARY = """
raise RuntimeError("importing this takes seconds")
def init(project, /, name=None, *, mode="online"): ...
def anything(**kwargs): ...
class Run:
    def __init__(self, repo, *tags, hash=None): ...
class Settings(Base):
    Kind: ClassVar[type] = str
    mode: Literal["online", "offline"] = "online"
    resume: Literal["must", True] = True
    tags: list[str]
    def reset(self): self.late: int = 1
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


def test_so_are_the_fields_of_a_class_and_the_texts_that_they_may_have(library: str) -> None:
    assert fields_of(library, "Settings") == {"mode", "resume", "tags"}
    assert choices_of(library, "Settings", "mode") == {"online", "offline"}
    for field in ("resume", "tags", "nothing"):
        assert choices_of(library, "Settings", field) is None
    for name in ("Run", "init", "nothing"):
        assert fields_of(library, name) is None
        assert choices_of(library, name, "mode") is None
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


def test_of_very_many_names_only_the_nearest_is_listed() -> None:
    names = [f"name{number}" for number in range(60)]
    with pytest.raises(TypeError, match=r"did you mean 'name1\d?'\? heavy\.init does not take it$"):
        refuse_unknown("heavy", ["name1x"], names, "heavy.init")


def test_a_value_that_a_library_does_not_know_is_named() -> None:
    for value in ("online", None, True, 3):
        refuse_unfit("heavy", "mode", value, ["online", "offline"])
    refuse_unfit("heavy", "mode", "anything", None)
    with pytest.raises(ValueError, match="mode") as refused:
        refuse_unfit("heavy", "mode", "offlin", ["online", "offline"])
    assert str(refused.value) == (
        "tracker 'heavy' can't take mode='offlin': did you mean 'offline'? "
        "it is one of 'offline', 'online'"
    )
    with pytest.raises(ValueError, match=r"mode='zzz': it is one of 'offline', 'online'"):
        refuse_unfit("heavy", "mode", "zzz", ["online", "offline"])
