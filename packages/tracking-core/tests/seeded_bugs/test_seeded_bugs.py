"""The tests are tested: a bug that is planted turns one of them red.

By default a sample; all with ``TRACKING_LONG=1`` or ``python3 tools/dev.py seeded-bugs``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .bugs import BUGS, Bug, copy_of_package, plant, with_bug

SAMPLE = (
    "the checksum of a payload is not looked at",
    "a place is written over the one that counts",
    "a forked child writes to its parent's journal",
)
CHOSEN = [one for one in BUGS if os.environ.get("TRACKING_LONG") == "1" or one.name in SAMPLE]


def test_without_a_bug_the_tests_are_green() -> None:
    status, text = with_bug(None, sorted({one.test for one in CHOSEN}))
    assert status == 0, text


@pytest.mark.parametrize("bug", CHOSEN, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_bug_is_noticed(bug: Bug) -> None:
    status, text = with_bug(bug, [bug.test])
    assert status == 1, text


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_bug_still_has_its_place_in_the_code(bug: Bug, tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    plant(package, bug.edits)
    for file in {edit.file for edit in bug.edits}:
        compile((package / file).read_text(encoding="utf-8"), file, "exec")
