"""Writes docs/values.md: what becomes of every kind of value, at the call and in every tracker.

    python3 tools/dev.py values            runs what it is written from, and writes the page
    python3 tools/dev.py values --check    says whether the page is what that says, and runs nothing

What becomes of values at the call is the list that a test of the core tries, line by line. A cell
of the tables of trackers is what the tracker's conformance class says in `lands`, and is written
only if the tests of that kind passed; where one is marked as expected to fail, the cell is its
reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from monorepo import CORE, ROOT, packages
from tracking_core.testing import KINDS, TrackerConformance

PAGE = ROOT / "docs" / "values.md"
HANDED_IN = ROOT / "packages" / CORE / "tests" / "test_handed_in.py"
INTRODUCTION = """\
# What becomes of every kind of value

[First](#what-becomes-of-what-you-hand-in) what a call makes of what it is given, the same for all trackers; then
[where it lands](#where-every-kind-of-value-lands) in each.

This page is written by `python3 tools/dev.py values`: the first part from a list that a test of the core tries line by line, the
second from the trackers' conformance tests, which log each kind and read it back through the library's own reader.
"""
LANDING = """\
## Where every kind of value lands

What one call of `Tracking.log` becomes in each tracker: *native* where the tool has a place for it, *degraded* where it is
kept in the nearest form that the tool shows. Whichever it is, the tracker's `read_run` gives back what was logged.
"""

Cells = Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and run no suite")
    check = parser.parse_args(arguments).check
    cells: dict[str, Cells] = {}
    if not check:
        outcomes(HANDED_IN, but="the_page")
    for name, suite in suites().items():
        if not check:
            print(f"running the suite of {name} ...", flush=True)
        cells[name] = lands_of(suite) if check else proven(lands_of(suite), outcomes(suite))
    page = "\n".join(lines(cells)) + "\n"
    if not check:
        PAGE.write_text(page, "utf-8")
    elif PAGE.read_text("utf-8") != page:
        print(f"{PAGE.relative_to(ROOT)} is not what the conformance suites say: write it anew")
        return 1
    return 0


def suites() -> Mapping[str, Path]:
    """The conformance tests of each tracker, but those that are being written."""
    return {
        one.short: one.folder / "tests" / "test_conformance.py"
        for one in packages()
        if one.name != CORE and not one.is_being_written
    }


def lands_of(suite: Path) -> Cells:
    """What the conformance class in the file `suite` says; no tracker's library is imported."""
    classes = [
        one
        for one in vars(loaded(suite)).values()
        if isinstance(one, type) and issubclass(one, TrackerConformance) and one.lands
    ]
    return dict(classes[0].lands)


def loaded(tests: Path) -> ModuleType:
    """The module in a file of tests."""
    name = f"{tests.stem}_of_{tests.parent.parent.name}"
    spec = importlib.util.spec_from_file_location(name, tests)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def outcomes(suite: Path, but: str = "nothing") -> Mapping[str, str]:
    """What the tests in the file `suite` came to: ``""`` or what stood in the way.

    Args:
        but: those whose names contain this are left out.

    Raises:
        SystemExit: one failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["-q", "-k", f"not {but}", f"--junit-xml={report}"]
        command = [sys.executable, "-m", "pytest", str(suite), *options]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            raise SystemExit(f"{suite}: the suite fails, so nothing is written")
        cases = ElementTree.parse(report).iter("testcase")
        found: dict[str, str] = {}
        for case in cases:
            test = case.attrib["name"].partition("[")[0]
            skipped = case.find("skipped")
            reason = "" if skipped is None else skipped.attrib.get("message", "skipped")
            found[test] = found.get(test) or reason
        return found


def proven(lands: Cells, outcomes: Mapping[str, str]) -> Cells:
    """`lands`, with the reason in place of what the tests don't show."""
    reasons = {
        kind: next((outcomes[test] for test in tests if outcomes[test]), "")
        for kind, tests in KINDS.items()
    }
    return {kind: reasons[kind] or lands[kind] for kind in KINDS}


def lines(cells: Mapping[str, Cells]) -> Iterator[str]:
    """The page: what is handed in, which kinds are native, and kind by kind what becomes of them."""
    yield INTRODUCTION
    yield from loaded(HANDED_IN).sections()
    yield LANDING
    yield f"| | {' | '.join(cells)} |"
    yield f"| --- |{' --- |' * len(cells)}"
    for kind in KINDS:
        words = [cells[name][kind].partition(":")[0] for name in cells]
        yield f"| [{kind}](#{kind.replace(' ', '-')}) | {' | '.join(words)} |"
    for kind in KINDS:
        yield f"\n### {kind}\n"
        yield "| tracker | |"
        yield "| --- | --- |"
        for name in cells:
            word, _, what = cells[name][kind].partition(": ")
            yield f"| {name} | {word}: {what} |" if word != "native" else f"| {name} | {what} |"


if __name__ == "__main__":
    sys.exit(main())
