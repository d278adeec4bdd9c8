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

__all__ = ["choices_of", "fields_of", "parameters_of", "refuse_unfit", "refuse_unknown"]

MOST_NAMES = 50  # that a message lists


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
    found = _definition(module, function)
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)) or found.args.kwarg:
        return None
    names = [one.arg for one in (*found.args.posonlyargs, *found.args.args)]
    return frozenset(names["." in function :] + [one.arg for one in found.args.kwonlyargs])


def fields_of(module: str, name: str) -> frozenset[str] | None:
    """The names of the fields that the body of a class declares, read off its source.

    Those that it inherits are not among them. None where that can't be told.
    """
    annotations = _annotations(module, name)
    return frozenset(annotations) if annotations else None


def choices_of(module: str, name: str, field: str) -> frozenset[str] | None:
    """The texts that a field of a class may have, where its annotation is a ``Literal``.

    None where that can't be told, or where it may be something else than a text.
    """
    annotation = _annotations(module, name).get(field)
    if not isinstance(annotation, ast.Subscript) or ast.unparse(annotation.value) not in (
        "Literal", "typing.Literal",
    ):  # fmt: skip
        return None
    found = [node.value for node in ast.walk(annotation.slice) if isinstance(node, ast.Constant)]
    texts = [one for one in found if isinstance(one, str)]
    return frozenset(texts) if len(texts) == len(found) else None


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
            few = f"takes {', '.join(names)}" if len(names) <= MOST_NAMES else "does not take it"
            raise TypeError(
                f"tracker {tracker!r} has no argument {argument!r}: {guess}{call} {few}"
            )


def refuse_unfit(tracker: str, argument: str, value: object, choices: Iterable[str] | None) -> None:
    """Raise unless `value`, if it is a text, is among the `choices` that a library knows.

    Args:
        tracker: the tracker's name.
        choices: None where nobody can tell: then all pass.

    Raises:
        ValueError: it is not; it names the argument, and the value that was probably meant.
    """
    if choices is None or not isinstance(value, str) or value in (known := sorted(choices)):
        return
    close = difflib.get_close_matches(value, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"tracker {tracker!r} can't take {argument}={value!r}: {guess}"
        f"it is one of {', '.join(map(repr, known))}"
    )


def _annotations(module: str, name: str) -> dict[str, ast.expr]:
    found = _definition(module, name)
    if not isinstance(found, ast.ClassDef):
        return {}
    return {
        node.target.id: node.annotation
        for node in found.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "ClassVar" not in ast.unparse(node.annotation)
    }


def _definition(module: str, name: str) -> ast.AST | None:
    """The definition of a function, a class, or a method of it; None if it can't be had."""
    path = _source_of(module)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            found: ast.AST = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return None
    for part in name.split("."):
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        inside = [
            node
            for node in getattr(found, "body", [])
            if isinstance(node, definitions) and node.name == part
        ]
        if not inside:
            return None
        found = inside[-1]  # the last one counts: those before are overloads
    return found


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
