"""Plots as ClearML keeps them: Plotly's JSON, with whatever Plotly can't say in ``layout.meta``.

There it is text: JSON with NaN in it is none to a browser, which then shows no plot at all.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from tracking_core.records import LoggedHistogram, LoggedTable, Value

__all__ = ["about_media", "histogram_plot", "table_plot", "value_of_plot"]

OURS = "tracking"


def table_plot(table: LoggedTable, title: str, layout: dict[str, Any]) -> str:
    """The table as ClearML's own ``report_table`` draws it, column by column."""
    odd = []
    columns: list[list[Any]] = [[] for _ in table.columns]
    for number, row in enumerate(table.rows):
        for column, (cells, cell) in enumerate(zip(columns, row, strict=True)):
            if isinstance(cell, float) and not math.isfinite(cell):
                odd.append([number, column])  # JSON has no word for it, and a browser none in it
                cell = str(cell)
            cells.append(cell)
    trace = {
        "type": "table",
        "header": {"values": table.columns, "align": "left"},
        "cells": {"values": columns, "align": "left"},
    }
    about = {"kind": "table", "rows": len(table.rows), "odd": odd}
    return _plot([trace], {"title": {"text": title}, **layout}, about)


def histogram_plot(histogram: LoggedHistogram, title: str, layout: dict[str, Any]) -> str:
    """The histogram as bars, each as wide as its bin."""
    bins = list(zip(histogram.edges, histogram.edges[1:], strict=False))
    trace = {
        "type": "bar",
        "name": title,
        "x": histogram.middles,
        # Of bins wider than any float there is no word in JSON.
        "width": [min(right - left, sys.float_info.max) for left, right in bins],
        "y": histogram.counts,
    }
    about = {"kind": "histogram", "exact": json.dumps(msgspec.structs.asdict(histogram))}
    return _plot([_drawn(trace)], {"title": {"text": title}, "bargap": 0, **layout}, about)


def about_media(items: Sequence[dict[str, Any]], title: str) -> str:
    """A table of what the files of media do not say themselves: captions, rates."""
    names = list(dict.fromkeys(name for item in items for name in item))
    trace = {
        "type": "table",
        "header": {"values": ["", *names], "align": "left"},
        "cells": {
            "values": [
                [str(number) for number in range(len(items))],
                *([str(item.get(name, "")) for item in items] for name in names),
            ],
            "align": "left",
        },
    }
    about = {"kind": "media", "exact": json.dumps(list(items))}
    return _plot([trace], {"title": {"text": title}}, about)


def value_of_plot(text: str) -> tuple[Value, list[dict[str, Any]]]:
    """What a plot holds: a table, a histogram, or for plots of others its JSON.

    A plot that `about_media` made holds no value (None), but what it says of media.
    """
    try:
        plot = json.loads(text)
        meta = (plot.get("layout") or {}).get("meta")
        about = meta.get(OURS, {}) if isinstance(meta, dict) else {}
        traces = plot.get("data") or [{}]
    except (AttributeError, ValueError):
        return text, []
    if about.get("kind") == "media":
        return None, json.loads(about["exact"])
    if about.get("kind") == "histogram":
        return LoggedHistogram(**json.loads(about["exact"])), []
    if traces[0].get("type") == "table" and len(traces) == 1:
        return _table(traces[0], about), []
    return text, []


def _table(trace: dict[str, Any], about: dict[str, Any]) -> LoggedTable:
    names = [str(name) for name in trace["header"]["values"]]
    columns = trace["cells"]["values"]
    rows = [list(row) for row in zip(*columns, strict=False)]
    if not columns:
        rows = [[] for _ in range(about.get("rows", 0))]
    for number, column in about.get("odd", []):
        rows[number][column] = float(rows[number][column])
    return LoggedTable(names, rows)


def _drawn(trace: dict[str, Any]) -> dict[str, Any]:
    """`trace` without numbers that would make its JSON unreadable to a browser."""
    return {
        name: [None if isinstance(one, float) and not math.isfinite(one) else one for one in values]
        if isinstance(values, list)
        else values
        for name, values in trace.items()
    }


def _plot(traces: list[dict[str, Any]], layout: dict[str, Any], about: dict[str, Any]) -> str:
    layout = {**layout, "meta": {OURS: about}}
    return json.dumps({"data": traces, "layout": layout}, default=str)
