"""What a package promises to those who import it, and what of that a change breaks.

A module counts when somebody is told of it or uses it: the top module, the modules that the
package's own pages name, and those that other packages of this repository import. Of a module, what
is in its ``__all__`` counts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

from monorepo import Package, packages

__all__ = ["breaks"]

# A constant may get another value: `__version__` does with each release.
HARMLESS = {griffe.BreakageKind.ATTRIBUTE_CHANGED_VALUE}


def breaks(package: Package, before: Path) -> list[str]:
    """What whoever used the package as it was in the folder `before` can't do any more."""
    old, new = (_loaded(package, folder / "src") for folder in (before, package.folder))
    _hide(old, {package.module, *_modules_told_of(package, before)})
    return [
        _told(found)
        for found in griffe.find_breaking_changes(old, new)
        if found.kind not in HARMLESS
    ]


def _told(breakage: griffe.Breakage) -> str:
    said = re.sub(r"\x1b\[\d*m", "", breakage.explain(griffe.ExplanationStyle.ONE_LINE))
    # It begins with file and line, which are nothing to whoever imports it.
    where = breakage.obj.parent if breakage.obj.is_alias else breakage.obj
    return f"{where.module.path if where else ''}.{said.partition(': ')[2]}"


def _loaded(package: Package, source: Path) -> griffe.Object:
    loaded = griffe.load(
        package.module,
        search_paths=[source],
        allow_inspection=False,
        resolve_aliases=True,
        resolve_external=False,
    )
    assert isinstance(loaded, griffe.Object)
    return loaded


def _hide(module: griffe.Object, public: set[str]) -> None:
    """Take the modules that are not `public` out of the comparison, not what others export of them."""
    for one in module.modules.values():
        if not one.is_alias:
            one.public = one.path in public
            _hide(one, public)


def _modules_told_of(package: Package, before: Path) -> Iterator[str]:
    for page in (before / "README.md", before / "CHANGELOG.md"):
        text = page.read_text("utf-8") if page.is_file() else ""
        for path in re.findall(rf"\b{package.module}(?:\.[a-z_]\w*)+", text):
            yield from _with_parents(path)
    for other in packages():
        if other.name != package.name:
            for part in ("src", "tests"):
                for file in (other.folder / part).rglob("*.py"):
                    yield from _imported(file, package.module)


def _imported(file: Path, module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module.partition(".")[0] == module:
                yield from _with_parents(node.module)
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == module:
                    yield from _with_parents(alias.name)


def _with_parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
