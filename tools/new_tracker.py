#!/usr/bin/env python3
"""Makes the package of a new tracker, green at once.

    python3 tools/new_tracker.py my-tool

makes ``packages/tracking-my-tool`` and its row in the README, and touches nothing else. The package
is that of ``tools/tracker_template`` with the new name: a stand-in takes the place of the tool's
library, so every test passes before the first call of that library is written.
"""

from __future__ import annotations

import argparse
import ast
import keyword
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

try:
    import check_packages
    from monorepo import CORE, PREFIX, PYTHONS, ROOT, Package, packages
except ModuleNotFoundError as missing:  # tomli, which Python 3.11 has in its standard library
    raise SystemExit(
        f"Python {sys.version_info[0]}.{sys.version_info[1]} has no module {missing.name!r}: take "
        "Python 3.11 or newer, or run  python3 tools/dev.py new-tracker NAME"
    ) from None

TEMPLATE = ROOT / "tools" / "tracker_template"
REGISTRY = ROOT / "packages" / CORE / "src" / "tracking_core" / "registry.py"
SPELLING = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
# Where a new word begins in a name such as MyTool or ABTest.
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
LONGEST = 30  # with more, lines of the template would have to be broken


class Refused(Exception):
    """A name that can't be a tracker's; the message says why, and what to do."""


class Name(NamedTuple):
    """A tracker's name by its words, such as ``("my", "tool")``."""

    words: tuple[str, ...]

    @property
    def dashed(self) -> str:
        return "-".join(self.words)

    @property
    def module(self) -> str:
        return "_".join(self.words)

    @property
    def shown(self) -> str:
        return " ".join(word.capitalize() for word in self.words)

    @property
    def spellings(self) -> Mapping[str, str]:
        """How the template spells its name, and how this one is spelled."""
        return {
            "my-tool": self.dashed,
            "my_tool": self.module,
            "My Tool": self.shown,
            "MyTool": self.shown.replace(" ", ""),
            "MY_TOOL": self.module.upper(),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="such as my-tool, my_tool or MyTool")
    given = parser.parse_args(arguments).name
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that cleans up
    try:
        name = name_of(given)
        made = make(name)
    except (Refused, OSError) as reason:
        print(f"new_tracker.py: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(told(name, made))
    return 0


def name_of(given: str) -> Name:
    """The name that was meant.

    Raises:
        Refused: it is none, or somebody has it.
    """
    rule = "a name is words of letters and digits such as my-tool, my_tool or MyTool"
    if not SPELLING.fullmatch(given):
        raise Refused(f"{given!r} can't be a tracker's name: {rule}")
    dashed = CAPITAL.sub("-", given).replace("_", "-").lower()
    dashed = dashed.removeprefix(PREFIX).removesuffix("-tracker")
    name = Name(tuple(dashed.split("-")))
    if len(dashed) > LONGEST:
        raise Refused(f"{given!r} can't be a tracker's name: it has more than {LONGEST} characters")
    if keyword.iskeyword(name.module) or keyword.iskeyword(given):
        raise Refused(f"{given!r} can't be a tracker's name: it is a word of Python's own")
    taken = {_squeezed(one.short): f"packages/{one.name}" for one in packages()}
    taken |= {_squeezed(one): "tracking_core.LoggerType" for one in known_types()}
    if place := taken.get(_squeezed(name.module)):
        raise Refused(f"{name.module!r} is taken: {place} has it; choose another name")
    if (ROOT / "packages" / f"{PREFIX}{dashed}").exists():
        raise Refused(f"packages/{PREFIX}{dashed} is there already; move it away first")
    own = f"class {name.spellings['MyTool']}Tracker("
    for path in sorted(REGISTRY.parent.rglob("*.py")):
        if own in path.read_text("utf-8"):
            raise Refused(f"{name.module!r} is taken: the core has a {own[6:-1]}; choose another")
    return name


def known_types() -> Iterator[str]:
    """The names in ``tracking_core.LoggerType``, read off its source: nothing is installed here."""
    for node in ast.walk(ast.parse(REGISTRY.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == "LoggerType":
            for one in node.body:
                if isinstance(one, ast.Assign):
                    yield str(ast.literal_eval(one.value))


def make(name: Name) -> Package:
    """The package and its row in the README, or neither.

    Raises:
        Refused: the README has no place for the row.
        OSError: a file can't be written.
    """
    made = Package(ROOT / "packages" / f"{PREFIX}{name.dashed}")
    # Where git ignores what a kill may leave, and on the same disk, so that a move is at once.
    builds = ROOT / "build"
    builds.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=builds) as folder:
            whole = Path(folder, "package")
            write(name, whole)
            whole.rename(made.folder)
        try:
            for finding in check_packages.table_of_packages(packages()):
                if finding.fix is None:
                    raise Refused(f"{finding.place.name}: {finding.what}")
                finding.fix()
        except BaseException:
            shutil.rmtree(made.folder)
            raise
    finally:
        if not any(builds.iterdir()):
            builds.rmdir()
    return made


def write(name: Name, to: Path) -> None:
    """Write the template, under the new name, to the folder `to`."""
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            target = to / renamed(path.relative_to(TEMPLATE).as_posix(), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(with_sorted_imports(renamed(path.read_text("utf-8"), name)), "utf-8")
    shutil.copyfile(ROOT / "LICENSE", to / "LICENSE")
    metadata = to / "pyproject.toml"
    core = f"{CORE}{bounds(next(one.version for one in packages() if one.name == CORE))}"
    text = re.sub(rf"{CORE}>=[\d.]+,<[\d.]+", core, metadata.read_text("utf-8"))
    metadata.write_text(text, "utf-8")


def renamed(text: str, name: Name) -> str:
    """`text` of the template with the new name, however it is spelled there."""
    spellings = name.spellings
    return re.sub("|".join(spellings), lambda found: spellings[found[0]], text)


def with_sorted_imports(text: str) -> str:
    """`text` with neighbouring imports of this project's packages in the order of their names."""

    def in_order(block: re.Match[str]) -> str:
        return "".join(sorted(block[0].splitlines(True), key=lambda line: line.split()[1]))

    return re.sub(r"(^from tracking_\S+ import [^(\n]+\n)+", in_order, text, flags=re.MULTILINE)


def bounds(core: str) -> str:
    """The versions of the core that a new package takes: this one up to the next that may break."""
    major, minor = map(int, core.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def told(name: Name, made: Package) -> str:
    """What was made, and what comes next."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python = version if version in PYTHONS else PYTHONS[-1]
    source = made.source.relative_to(ROOT)
    return f"""\
Made packages/{made.name} and its row in README.md: `{name.spellings["MyTool"]}Tracker`, found as {name.module!r},
with a stand-in where the library of {name.shown} belongs. All of its tests pass as it is.

Next:
  1. In packages/{made.name}/pyproject.toml name the library and the versions that it is tested with, and its module in
     [tool.tracking] imports.
  2. In {source}/tracker.py and reader.py call the library where
     stand_in.py is called; then delete stand_in.py.
  3. Say in tests/test_conformance.py what becomes of each kind of value, and in README.md what goes where.

Check it:
  python3 tools/dev.py format
  python3 tools/dev.py types
  python3 tools/dev.py check-packages
  python3 tools/dev.py tox:wheelhouse
  python3 tools/dev.py tox:run -e pkg-py{python.replace(".", "")}-{name.dashed}"""


def _squeezed(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()


if __name__ == "__main__":
    sys.exit(main())
