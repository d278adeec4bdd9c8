"""Tables and histograms as the charts that SwanLab draws, and back.

A chart is the JSON of its ECharts options. What it was made of lies in the same JSON, as a text of
its own that ECharts passes over: a chart can't say NaN, and shows a long table in part.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from typing import Any

import msgspec

from tracking_core.records import LoggedHistogram, LoggedTable

__all__ = ["chart", "restored"]

MOST_ROWS = 1000  # that are drawn
_WHOLE = "_tracking"
_KINDS: dict[str, Any] = {"table": LoggedTable, "histogram": LoggedHistogram}


def chart(medium: LoggedTable | LoggedHistogram) -> bytes:
    """The options of a table (as ``swanlab.echarts.Table`` has them) or of a bar for each bin."""
    kind = "table" if isinstance(medium, LoggedTable) else "histogram"
    options = _table(medium) if isinstance(medium, LoggedTable) else _bars(medium)
    options[_WHOLE] = json.dumps({kind: msgspec.structs.asdict(medium)})
    return json.dumps(options, ensure_ascii=False).encode()


def restored(data: bytes) -> LoggedTable | LoggedHistogram | str:
    """What a chart was made of; of a chart of someone else its table, or its JSON as text."""
    text = data.decode("utf-8", "replace")
    try:
        options = json.loads(text)
        if _WHOLE in options:
            ((kind, fields),) = json.loads(options[_WHOLE]).items()
            restored: LoggedTable | LoggedHistogram = _KINDS[kind](**fields)
            return restored
        columns = [str(column["field"]) for column in options["colDefs"]]
        rows = [[row.get(column) for column in columns] for row in options["rowData"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return text
    return LoggedTable(columns, rows)


def _table(table: LoggedTable) -> dict[str, Any]:
    seen: Counter[str] = Counter()
    names = []
    for column in table.columns:
        seen[column] += 1
        names.append(column if seen[column] == 1 else f"{column} ({seen[column]})")
    return {
        "_swanLab": "table",
        "colDefs": [{"field": name} for name in names],
        "rowData": [
            dict(zip(names, map(_drawable, row), strict=True)) for row in table.rows[:MOST_ROWS]
        ],
    }


def _bars(histogram: LoggedHistogram) -> dict[str, Any]:
    edges = histogram.edges
    labels = [f"{left:.4g} .. {right:.4g}" for left, right in itertools.pairwise(edges)]
    return {
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": labels},
        "yAxis": {"type": "value"},
        "series": [
            {"type": "bar", "barCategoryGap": "0%", "data": list(map(_drawable, histogram.counts))}
        ],
    }


def _drawable(cell: Any) -> Any:
    """`cell`, or a text for a number that JSON does not have."""
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell
