"""Arguments that a library would refuse, found out before it is imported.

A tracker hands what its constructor is given to a function of its library, which is imported in
another process, later. A misspelt name is told at once all the same: the function's parameters are
read off its source.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
from collections.abc import Iterable

__all__ = ["parameters_of", "refuse_unknown"]


def parameters_of(module: str, function: str) -> frozenset[str] | None:
    """The names of the parameters of a function, read off the source of its module.

    Nothing is imported. None where that can't be told: the package is not installed, has no such
    source, or the function takes any keyword.

    Args:
        module: where it is defined, such as ``"wandb.sdk.wandb_init"``.
        function: its name there; of a method ``"Run.__init__"``, without its first parameter.

    >>> sorted(parameters_of("argparse", "Namespace.__eq__"))
    ['other']
    """
    path = _source_of(module)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            found: ast.AST = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return None
    for name in function.split("."):
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        inside = [
            node
            for node in getattr(found, "body", [])
            if isinstance(node, definitions) and node.name == name
        ]
        if not inside:
            return None
        found = inside[-1]  # the last one counts: those before are overloads
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)) or found.args.kwarg:
        return None
    names = [one.arg for one in (*found.args.posonlyargs, *found.args.args)]
    return frozenset(names["." in function :] + [one.arg for one in found.args.kwonlyargs])


def refuse_unknown(
    tracker: str, arguments: Iterable[str], known: Iterable[str] | None, call: str
) -> None:
    """Raise unless all `arguments` are among those `known`.

    Args:
        tracker: the tracker's name.
        known: None where nobody can tell: then all pass.
        call: the library's function that takes them, such as ``"wandb.init"``.

    Raises:
        TypeError: one is not; it names it, and the one that was probably meant.
    """
    if known is None:
        return
    names = sorted(known)
    for argument in arguments:
        if argument not in names:
            close = difflib.get_close_matches(argument, names, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            raise TypeError(
                f"tracker {tracker!r} has no argument {argument!r}: {guess}"
                f"{call} takes {', '.join(names)}"
            )


def _source_of(module: str) -> str | None:
    package, *inner = module.split(".")
    try:
        # Only the first name: to find a module inside a package Python would import the package.
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return spec.origin
    for folder in spec.submodule_search_locations or []:
        path = os.path.join(folder, *inner)
        for candidate in (f"{path}.py", os.path.join(path, "__init__.py")):
            if os.path.isfile(candidate):
                return candidate
    return None
