"""Writes docs/outages.md: what servers had in the end of what was logged, outage by outage.

    python3 tools/dev.py outages                  plays all outages to all trackers, for an hour or two
    python3 tools/dev.py outages --from FILE      writes the page from what was played before

The exit status is 1 if something was not as it must be; the page says it.

What is played is in the trackers' tests/test_*outages.py. Each case adds a line of JSON to the file that
TRACKING_OUTAGES_TABLE names; of a case that was played again the last line counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monorepo import CORE, ROOT, packages
from tracking_core.testing.outages import CASES, TABLE

PAGE = ROOT / "docs" / "outages.md"
INTRODUCTION = """\
# What servers have after outages

What a training has logged, about twenty rows a second with a picture and a file now and then, compared with what the tracker's server
has of it in the end. Between the two a [proxy](write-a-tracker.md#the-outages) plays what goes wrong. This page is written by `python3 tools/dev.py outages`.
"""
LEGEND = """\
*all*: every row was there when the training had ended. *command*: some were not, or the run's end was not, and all were once the command had run that the training's warning names. A number
says how many rows of how many were missing even then; *twice*, how many were there twice; *files*, how many files and pictures were missing, named in a
warning or not; */s*, requests in a second; **bold**, what must not be, as it is said below; nothing, what was not played. The servers are the trackers' own where they run on one machine (MLflow, Trackio, Aim), else small ones of
the tests that speak the same protocol.
"""

Line = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="files", nargs="+", type=Path, help="play nothing")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    found = read(options.files) if options.files else played()
    options.page.write_text("\n".join(lines(found)) + "\n", "utf-8")
    return int(any(line["wrong"] for cases in found.values() for line in cases.values()))


def played() -> Mapping[str, Mapping[str, Line]]:
    """What all cases of all trackers came to; those that fail are on the page, too."""
    folders = [one.folder / "tests" for one in packages() if one.name != CORE]
    suites = [suite for folder in folders for suite in sorted(folder.glob("test_*outages.py"))]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "outages.jsonl")
        environment = {**os.environ, TABLE: str(table), "TRACKING_LONG": "1"}
        for suite in suites:
            command = [sys.executable, "-m", "pytest", "-q", str(suite), "-k", "TestOutages"]
            subprocess.run(command, cwd=ROOT, env=environment)
        return read([table])


def read(files: Iterable[Path]) -> Mapping[str, Mapping[str, Line]]:
    """The last line of each case, by tracker and case."""
    found: dict[str, dict[str, Line]] = {}
    for file in files:
        for text in file.read_text("utf-8").splitlines():
            line = json.loads(text)
            found.setdefault(line["tracker"], {})[line["case"]] = line
    return dict(sorted(found.items()))


def lines(found: Mapping[str, Mapping[str, Line]]) -> Iterator[str]:
    """The page: all trackers side by side, then the figures of each."""
    yield INTRODUCTION
    yield f"| | {' | '.join(found)} |"
    yield f"| --- |{' --- |' * len(found)}"
    for case in CASES:
        cells = [cell(found[tracker].get(case), rate=case == "fair weather") for tracker in found]
        yield f"| {case} | {' | '.join(cells)} |"
    yield f"\n{LEGEND}"
    for tracker, cases in found.items():
        yield f"## {tracker}\n"
        yield "| case | lasted, s | rows | missing at the end | after the command | twice | files missing | first word, s | requests/s |"
        yield f"|{' --- |' * 9}"
        for case in filter(cases.__contains__, CASES):
            line = cases[case]
            figures = [
                f"{line['lasted']:.0f}" if line["lasted"] else "",
                str(line["logged"]),
                str(line["at_the_end"]),
                str(line["missing"]) if line["commands"] else "",
                str(line["doubled"]),
                str(len(line["lacking"])),
                "" if line["first_word"] is None else f"{line['first_word']:.1f}",
                f"{line['per_second']:.1f}" if case == "fair weather" else "",
            ]
            yield f"| {case} | {' | '.join(figures)} |"
        wrong = [f"* {case}: {said}" for case, line in cases.items() for said in line["wrong"]]
        yield "\n" + ("\n".join(["What must not be:\n", *wrong, ""]) if wrong else "")


def cell(line: Line | None, rate: bool) -> str:
    """One case of one tracker in a few words, with its rate of requests if that is asked for."""
    if line is None:
        return ""
    words = ["command" if line["commands"] else "all"]
    if line["missing"]:
        words = [f"{line['missing']} of {line['logged']}"]
    if line["doubled"]:
        words.append(f"{line['doubled']} twice")
    if rate:
        words.append(f"{line['per_second']}/s")
    if line["lacking"]:
        words.append(f"{len(line['lacking'])} files")
    said = ", ".join(words)
    return f"**{said}**" if line["wrong"] else said


if __name__ == "__main__":
    sys.exit(main())
