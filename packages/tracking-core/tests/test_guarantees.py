"""Every promise of docs/guarantees.md names tests, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent.parent.parent / "docs" / "guarantees.md"

NAMED = re.compile(r"`([\w/-]+\.py)::(\w+)(?:::(\w+))?`")


def page() -> str:
    if not PAGE.exists():
        pytest.skip("docs/ is not beside the package here: it is part of the repository only")
    return PAGE.read_text(encoding="utf-8")


def names_in(path: Path) -> set[str]:
    """``test_name`` and ``TestClass::test_name`` of a file."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = [child.name for child in node.body if isinstance(child, ast.FunctionDef)]
            found |= {f"{node.name}::{name}" for name in inner}
        elif isinstance(node, ast.Assign):
            # A state machine is made a test by an assignment.
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for file, *names in NAMED.findall(page()):
        name = "::".join(filter(None, names))
        path = TESTS / file
        if not path.is_file() or name not in names_in(path):
            missing.append(f"{file}::{name}")
    assert not missing


def test_every_promise_has_a_proof() -> None:
    promises = re.findall(r"^## (\d+\. .*?)(?=^## )", page(), re.MULTILINE | re.DOTALL)
    assert len(promises) >= 8
    for promise in promises:
        title, _, rest = promise.partition("\n")
        assert NAMED.search(rest.partition("\nProof: ")[2]), title
