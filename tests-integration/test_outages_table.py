"""The page of outages says what the cases came to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import outages_table
from tracking_core.testing.outages import Verdict


def line(tracker: str, case: str, verdict: Verdict, wrong: list[str]) -> str:
    said: dict[str, Any] = {**asdict(verdict), "commands": len(verdict.commands)}
    return json.dumps({"tracker": tracker, "case": case, **said, "wrong": wrong})


def test_the_last_line_of_a_case_counts_and_what_is_wrong_stands_out(tmp_path: Path) -> None:
    file, page = tmp_path / "lines.jsonl", tmp_path / "page.md"
    named = [(["recover", "run"], 0)]
    file.write_text(
        "\n".join(
            [
                line("b", "down", Verdict(logged=9, missing=9), ["9 rows are missing"]),
                line("b", "down", Verdict(logged=9, lasted=2.5, first_word=3.24), []),
                line("a", "500", Verdict(logged=9, missing=4, at_the_end=4), ["missing"]),
                line("a", "down", Verdict(logged=9, at_the_end=4, commands=named, doubled=2), []),
                line("a", "fair weather", Verdict(logged=9, per_second=1.5, lacking=["f"]), []),
            ]
        )
    )
    assert outages_table.main(["--from", str(file), "--page", str(page)]) == 1
    lines = page.read_text("utf-8").splitlines()
    assert "| | a | b |" in lines
    assert "| down | command, 2 twice | all |" in lines
    assert "| 500 | **4 of 9** |  |" in lines
    assert "| fair weather | all, 1.5/s, 1 files |  |" in lines
    assert "| fair weather |  | 9 | 0 |  | 0 | 1 |  | 1.5 |" in lines
    assert "| down |  | 9 | 4 | 0 | 2 | 0 |  |  |" in lines
    assert "| down | 2 | 9 | 0 |  | 0 | 0 | 3.2 |  |" in lines
    assert "* 500: missing" in lines
