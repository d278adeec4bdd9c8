"""What Python files say, read off their text: nothing is run, and no library need be there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from monorepo import Package

__all__ = ["Import", "bare_suppressions", "exports", "imports", "run_at_import"]

# What a comment begins with that silences a tool, and the code that it names.
SILENCED = re.compile(
    r"#\s*(?:noqa|type:\s*ignore)\b(:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w, -]+\])?"
)


class Import(NamedTuple):
    """One module that is imported.

    Attributes:
        line: where.
        module: its whole name; what of it is imported may be modules, too.
        names: what is imported of it; nothing where that is the module itself.
        later: whether it waits until a function is called.
    """

    line: int
    module: str
    names: tuple[str, ...]
    later: bool

    @property
    def top(self) -> str:
        """The first part of its name."""
        return self.module.partition(".")[0]


def imports(path: Path) -> Iterator[Import]:
    """What a file imports of other packages, what is for type checkers only left out."""

    def walk(nodes: Iterable[ast.AST], later: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, (), later)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = tuple(alias.name for alias in node.names)
                yield Import(node.lineno, node.module or "", names, later)
            elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                yield from walk(node.orelse, later)
            elif not isinstance(node, ast.expr):  # none of these holds a statement
                function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from walk(ast.iter_child_nodes(node), later or function)

    yield from walk(ast.parse(path.read_text("utf-8"), str(path)).body, False)


def run_at_import(package: Package) -> Iterator[tuple[Path, Import]]:
    """What is imported when the package is: by its top module, and by those that this imports."""
    files = [package.source / "__init__.py"]
    for path in files:  # it grows
        for one in imports(path):
            if one.later:
                continue
            yield path, one
            if one.top == package.module:
                modules = [one.module, *(f"{one.module}.{name}" for name in one.names)]
                files += [file for file in _files(package, modules) if file not in files]


def exports(module: Path) -> list[str]:
    """What a module has in ``__all__``."""
    if not module.is_file():
        return []
    for node in ast.parse(module.read_text("utf-8"), str(module)).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if targets == ["__all__"]:
                return [str(ast.literal_eval(one)) for one in node.value.elts]
    return []


def bare_suppressions(path: Path) -> Iterator[int]:
    """The lines with a comment that silences a tool without its code, or without a reason."""
    text = path.read_text("utf-8")
    if not any(map(_is_bare, text.splitlines())):
        return
    # It may be a text about such comments.
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and _is_bare(token.string):
            yield token.start[0]


def _is_bare(line: str) -> bool:
    first = SILENCED.search(line)
    if first is None:
        return False
    comment = line[first.start() :]
    codes = [found[1] for found in SILENCED.finditer(comment)]
    return not all(codes) or not SILENCED.sub("", comment).strip(" #-")


def _files(package: Package, modules: Sequence[str]) -> Iterator[Path]:
    for module in modules:
        place = package.source.joinpath(*module.split(".")[1:])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                yield path
