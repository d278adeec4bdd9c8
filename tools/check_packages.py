#!/usr/bin/env python3
"""Checks every convention that the packages of this repository keep.

    python3 tools/dev.py check-packages          names what is not as it should be
    python3 tools/dev.py check-packages --fix    and writes anew what can be derived

Derived are the table of packages in the README, the list of releases in the CHANGELOG, and each
package's copy of the LICENSE.
"""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import changelogs
from monorepo import CORE, PYTHONS, ROOT, Package, admits, packages, rewrite
from python_text import bare_suppressions, exports, imports, run_at_import

README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
VALUES = ROOT / "docs" / "values.md"
INSTALLING = ROOT / "packages" / CORE / "src" / "tracking_core" / "installing.py"
BEGIN, END = "<!-- packages -->", "<!-- /packages -->"

# What the top of the repository shows, besides the settings of tools, whose names begin with a dot.
TOP = {"README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "hatch.toml"}
TOP |= {"packages", "tools", "tests-integration", "docs"}

NAME = re.compile(r"tracking-[a-z0-9]+(-[a-z0-9]+)*")
NAMELESS_ROOMS = {"common", "helpers", "manager", "misc", "util", "utils"}


class Finding(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        place: the file or folder.
        what: what is wrong there, and what would be right.
        fix: does that, where it can be derived.
    """

    place: Path
    what: str
    fix: Callable[[], object] | None = None


Findings = Iterator[Finding]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fix", action="store_true", help="write anew what can be derived")
    fix = parser.parse_args(arguments).fix
    left = 0
    for finding in all_findings():
        if fix and finding.fix is not None:
            finding.fix()
            print(f"{finding.place.relative_to(ROOT)}: written anew")
        else:
            left += 1
            remedy = " (--fix does it)" if finding.fix is not None else ""
            print(f"{finding.place.relative_to(ROOT)}: {finding.what}{remedy}")
    if not left:
        print(f"{len(packages())} packages keep every convention", file=sys.stderr)
    return 1 if left else 0


def all_findings() -> Findings:
    """What is wrong anywhere."""
    unread = list(unreadable())
    yield from unread
    if unread:
        return  # or the rest would be about what those packages don't say
    everything = packages()
    for one in everything:
        for check in CHECKS:
            yield from check(one)
    yield from top()
    yield from suppressions()
    yield from install_lines(everything)
    yield from table_of_packages(everything)
    yield from list_of_releases(everything)


# --- one package ---


def names(package: Package) -> Findings:
    """The distribution, the folder, the module and the tracker have one name."""
    file = package.folder / "pyproject.toml"
    if not NAME.fullmatch(package.name):
        yield Finding(package.folder, "a package is called tracking-<name>, in small letters")
    if package.project.get("name") != package.name:
        yield Finding(file, f"project.name must be that of the folder, {package.name!r}")
    if not (package.source / "__init__.py").is_file():
        yield Finding(package.folder, f"the module src/{package.module} is missing")
    if not re.match(r"\d+\.\d+\.\d+", package.version):
        yield Finding(package.source, '__about__.py must say __version__ = "X.Y.Z"')
    for path in sorted([*package.source.rglob("*.py"), *package.folder.glob("tests/**/*.py")]):
        if path.stem in NAMELESS_ROOMS or path.parent.name in NAMELESS_ROOMS:
            yield Finding(path, "name the module after what it is about")


def metadata(package: Package) -> Findings:
    """What is the same in all: the build, the licence, the Pythons, the types."""
    file = package.folder / "pyproject.toml"
    project = package.project
    wanted = {
        "build-system.build-backend": "hatchling.build",
        "project.readme": "README.md",
        "project.license": "Apache-2.0",
        "project.license-files": ["LICENSE"],
        "project.dynamic": ["version"],
        "tool.pytest.tmp_path_retention_policy": "failed",
        "tool.hatch.version.path": f"src/{package.module}/__about__.py",
        "tool.hatch.build.targets.wheel.packages": [f"src/{package.module}"],
    }
    for key, value in wanted.items():
        if package.said(key) != value:
            yield Finding(file, f"{key} must be {value!r}")
    if not project.get("description") or project["description"].endswith("."):
        yield Finding(file, "project.description must be a sentence without its full stop")
    if not re.fullmatch(rf">={PYTHONS[0]}(,<3\.\d+)?", project.get("requires-python", "")):
        yield Finding(file, f"project.requires-python must be >={PYTHONS[0]}, or that and <3.N")
    classifier = "Programming Language :: Python :: 3."
    found = [one for one in project.get("classifiers", []) if one.startswith(classifier)]
    known = [f"Programming Language :: Python :: {version}" for version in package.pythons]
    if found != known:
        yield Finding(file, f"of requires-python these classifiers follow: {', '.join(known)}")
    if "Typing :: Typed" not in project.get("classifiers", []):
        yield Finding(file, "the classifier 'Typing :: Typed' is missing")
    if not (package.source / "py.typed").is_file():
        yield Finding(package.source, "py.typed is missing: users' type checkers look for it")
    for needed in ("pytest", f"{CORE}[testing]"):
        if not any(
            re.match(rf"{re.escape(needed)}($|[ <>=!~;])", one) for one in package.test_requirements
        ):
            yield Finding(file, f"the dependency group 'test' must have {needed}")


def requirements(package: Package) -> Findings:
    """A tracker needs the core and its own library, both within bounds, and no other tracker."""
    file = package.folder / "pyproject.toml"
    siblings = {one.name for one in packages()} - {CORE}
    for other in siblings & package.requirements.keys():
        yield Finding(file, f"a package must not need {other}")
    if package.name == CORE:
        return
    for distribution in [CORE, *own_library(package)]:
        bounds = package.requirements.get(distribution)
        if bounds is None:
            yield Finding(file, f"it must need {distribution}")
        elif not re.search(r">=?\s*\d", bounds) or not re.search(r"<\s*\d", bounds):
            yield Finding(file, f"{distribution} needs a lowest and a highest version: >=A,<B")
    core = next((one.version for one in packages() if one.name == CORE), "")
    if core and not admits(package.requirements.get(CORE, ""), core):
        yield Finding(file, f"the {CORE} of this tree is {core}, and {package.name} forbids it")


def own_library(package: Package) -> list[str]:
    """The distribution that the package makes a tracker of; none if it needs none."""
    return [name.lower().replace("_", "-") for name in package.libraries[:1]]


def entry_point(package: Package) -> Findings:
    """A tracker is found under its package's name, and its class is in the top module."""
    if package.name == CORE:
        return
    file = package.folder / "pyproject.toml"
    name = package.short.replace("-", "_")
    if list(package.trackers) != [name]:
        yield Finding(file, f"the entry points 'tracking.trackers' must have {name!r} and no other")
        return
    module, _, wanted = package.trackers[name].partition(":")
    exported = exports(package.source / "__init__.py")
    if module != package.module or wanted not in exported:
        yield Finding(
            file,
            f"the entry point {name!r} must be a class that {package.module} has in __all__, "
            f"not {package.trackers[name]!r}",
        )
    elif wanted.lower() != f"{name.replace('_', '')}tracker":
        yield Finding(
            file, f"the class of {name!r} must have that name and 'Tracker', not {wanted}"
        )
    if "read_run" not in exported:
        yield Finding(package.source / "__init__.py", "it must export read_run")


def front(package: Package) -> Findings:
    """The top module holds the public names and nothing else, and no library is imported by it."""
    file = package.source / "__init__.py"
    if not file.is_file():
        return
    for node in ast.parse(file.read_text("utf-8")).body:
        if not isinstance(node, (ast.Expr, ast.ImportFrom)) and "__all__" not in ast.unparse(node):
            yield Finding(file, f"line {node.lineno} does more than import public names")
    light = packages()[0].libraries  # what the core has loaded anyway
    for path, one in run_at_import(package):
        if one.top in package.libraries and one.top not in light:
            yield Finding(
                path,
                f"line {one.line} imports {one.top} whenever {package.module} is imported: "
                "do that where it is first needed, such as in start()",
            )


def foreign(package: Package) -> Findings:
    """A package imports the core and what its pyproject.toml names, and nothing else of others."""
    free = {*sys.stdlib_module_names, package.module}
    if package.name != CORE:
        free.add(CORE.replace("-", "_"))
    # A tracker of this project is no library of another, whatever that one's pyproject.toml names.
    own = set(package.libraries) - {one.module for one in packages()}
    testing = package.said("tool.tracking.testing-imports") or []
    for path in sorted(package.source.rglob("*.py")):
        more = testing if package.source / "testing" in path.parents else []
        for one in imports(path):
            if one.top not in free and one.top not in own and one.top not in more:
                yield Finding(
                    path,
                    f"line {one.line} imports {one.top}, which is none of the libraries "
                    "in [tool.tracking] imports of its pyproject.toml",
                )


def pages(package: Package) -> Findings:
    """What a user reads first: what it is, how to install it, a few lines of code, its limits."""
    readme = package.folder / "README.md"
    text = readme.read_text("utf-8") if readme.is_file() else ""
    wanted = {
        f"its title, '# {package.name}'": text.startswith(f"# {package.name}\n"),
        "an example, a block of python": "\n```python\n" in text,
        "its section '## Limits'": "\n## Limits\n" in text,
    }
    if package.name != CORE:
        line = install_rule()["in_a_clone"](package.name)
        wanted[f"how to install it, '{line}'"] = f"\n{line}\n" in text
        wanted["its section '## What goes where'"] = "\n## What goes where\n" in text
    for what, there in wanted.items():
        if not there:
            yield Finding(readme, f"{what} is missing")


def changes(package: Package) -> Findings:
    """A changelog, and fragments with names that a release understands."""
    log = package.folder / "CHANGELOG.md"
    if not log.is_file() or not log.read_text("utf-8").startswith(f"# Changelog of {package.name}"):
        yield Finding(log, f"its title, '# Changelog of {package.name}', is missing")
    for path, problem in changelogs.problems(package):
        yield Finding(path, problem)


def licence(package: Package) -> Findings:
    """Each package carries the licence."""
    own = package.folder / "LICENSE"
    text = (ROOT / "LICENSE").read_bytes()
    if not own.is_file() or own.read_bytes() != text:
        yield Finding(own, "it differs from the LICENSE at the top", lambda: own.write_bytes(text))


def tests(package: Package) -> Findings:
    """A tracker proves itself with the published suite, and the table of values shows it."""
    if package.name == CORE:
        return
    suite = package.folder / "tests" / "test_conformance.py"
    if not suite.is_file() or "(TrackerConformance)" not in suite.read_text("utf-8"):
        yield Finding(suite, "a subclass of tracking_core.testing.TrackerConformance is missing")
    stand_in = package.source / "stand_in.py"  # as tools/new_tracker.py makes it
    if not package.is_being_written and stand_in.is_file():
        yield Finding(stand_in, "a tracker with a version for users calls its library, not this")
    if not package.is_being_written and f"\n| {package.short} | " not in VALUES.read_text("utf-8"):
        yield Finding(VALUES, f"{package.short} is missing: python3 tools/dev.py values writes it")


CHECKS: Sequence[Callable[[Package], Findings]] = (
    names,
    metadata,
    requirements,
    entry_point,
    front,
    foreign,
    pages,
    changes,
    licence,
    tests,
)


# --- the repository ---


def unreadable() -> Findings:
    """Every folder of packages/ is a package, with a pyproject.toml that can be read."""
    folders = {ROOT / "packages" / path.split("/")[1] for path in listed("--", "packages/*/*")}
    for folder in sorted(filter(Path.is_dir, folders | {one.folder for one in packages()})):
        file = folder / "pyproject.toml"
        try:
            _ = Package(folder).metadata
        except FileNotFoundError:
            yield Finding(file, "it is missing, and without it this is no package")
        except ValueError as error:
            yield Finding(file, f"it can't be read: {error}")


def top() -> Findings:
    """The top of the repository shows what a visitor looks for; all else has a folder."""
    for name in sorted({path.partition("/")[0] for path in listed("--cached")} - TOP):
        if not name.startswith("."):
            yield Finding(
                ROOT / name, f"the top shows {', '.join(sorted(TOP))} and no more: move it"
            )


def suppressions() -> Findings:
    """A comment that silences a tool names the code, and gives the reason behind it."""
    for name in listed("--cached", "--others", "--exclude-standard", "--", "*.py"):
        if (ROOT / name).is_file():
            for line in bare_suppressions(ROOT / name):
                yield Finding(ROOT / name, f"line {line} must say which code it silences, and why")


def install_lines(everything: Sequence[Package]) -> Findings:
    """As long as nothing is on an index, nobody is told to get a package by its name alone."""
    if install_rule()["ON_AN_INDEX"]:
        return
    names = "|".join(re.escape(one.name) for one in everything)
    by_name = re.compile(rf"pip install [^`|]*?(?<![-/\w])({names})(?![-/\w])")
    for name in listed("--cached", "--others", "--exclude-standard", "--", "*.md", "*.yml"):
        path = ROOT / name
        for number, line in enumerate(
            path.read_text("utf-8").splitlines() if path.is_file() else [], 1
        ):
            if found := by_name.search(line):
                right = install_rule()["in_a_clone"](found[1])
                yield Finding(
                    path, f"line {number} has no package to install by that name: {right}"
                )


def install_rule() -> dict[str, Any]:
    """The core's module that says how a package is installed, which imports nothing of it."""
    return runpy.run_path(str(INSTALLING))


def listed(*options: str) -> list[str]:
    """The files that git lists."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"git can't list the files of {ROOT}: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name]


def table_of_packages(everything: Sequence[Package]) -> Findings:
    """The README lists every package."""
    text = README.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        yield Finding(README, f"the table of packages must stand between {BEGIN} and {END}")
        return
    rows = "\n".join(
        ["| package | name in `log_with` | |", "| --- | --- | --- |", *map(row, everything)]
    )
    wanted = f"{before}{BEGIN}\n{rows}\n{END}{after}"
    if text != wanted:
        yield Finding(
            README,
            "the table of packages is not up to date",
            lambda: rewrite(README, wanted),
        )


def row(package: Package) -> str:
    """The package in the README's table."""
    names = ", ".join(f"`{name}`" for name in package.trackers)
    what = package.project.get("description", "").replace(" through tracking-core", "")
    if package.pythons and package.pythons != list(PYTHONS):
        what += f" (Python {package.pythons[0]} to {package.pythons[-1]})"
    return f"| [{package.name}](packages/{package.name}/README.md) | {names} | {what} |"


def list_of_releases(everything: Sequence[Package]) -> Findings:
    """The CHANGELOG lists the releases of all packages."""
    wanted = changelogs.of_the_repository(everything)
    if CHANGELOG.read_text("utf-8") != wanted:
        yield Finding(
            CHANGELOG,
            "the list of releases is not up to date",
            lambda: rewrite(CHANGELOG, wanted),
        )


if __name__ == "__main__":
    sys.exit(main())
