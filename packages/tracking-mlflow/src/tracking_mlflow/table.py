"""Tables as MLflow's ``log_table`` writes them, with their pictures in files of their own.

A table is JSON, "split". A picture in a cell is an object that names its file below
``table_images/``; the evaluation view of MLflow's page shows it there. Files are named by their
content, so that a table that is sent again has the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from tracking_core.encoding import image_file
from tracking_core.records import Cell, LoggedImage, LoggedTable
from tracking_mlflow.thumbnail import small

__all__ = ["FOLDER", "read", "written"]

FOLDER = "table_images/"  # MLflow's

Fetch = Callable[[str], bytes | None]


def written(table: LoggedTable) -> tuple[bytes, dict[str, Any], dict[str, bytes]]:
    """The JSON, what it has no word for (NaN and infinities), and the files of pictures by path."""
    files: dict[str, bytes] = {}
    odd: list[tuple[int, int, str]] = []
    rows: list[list[Any]] = []
    for number, row in enumerate(table.rows):
        cells: list[Any] = []
        for place, cell in enumerate(row):
            if isinstance(cell, LoggedImage):
                cells.append(_picture(cell, files))
            elif isinstance(cell, float) and not math.isfinite(cell):
                odd.append((number, place, str(cell)))
                cells.append(None)
            else:
                cells.append(cell)
        rows.append(cells)
    text = json.dumps({"columns": table.columns, "data": rows})
    return text.encode(), {"odd": odd} if odd else {}, files


def read(data: bytes, about: dict[str, Any], fetch: Fetch) -> LoggedTable:
    """The table that was `written`, by whomever.

    Args:
        fetch: the content of a file by its path among the artifacts; None if it is gone.
    """
    table = json.loads(data)
    rows = [[_cell(cell, fetch) for cell in row] for row in table["data"]]
    for row, column, number in about.get("odd", []):
        rows[row][column] = float(number)
    return LoggedTable([str(column) for column in table["columns"]], rows)


def _picture(picture: LoggedImage, files: dict[str, bytes]) -> dict[str, Any]:
    data, suffix = image_file(picture)
    stem = FOLDER + hashlib.sha256(data).hexdigest()[:32]
    path = shown = f"{stem}.{suffix}"
    files[path] = data
    thumbnail, kind = small(data, suffix)
    if thumbnail != data:
        shown = f"{stem}_small.{kind}"
        files[shown] = thumbnail
    # As MLflow's own client writes it, and what that has no word for.
    said = {"caption": picture.caption, "figure": picture.figure}
    cell = {"type": "image", "filepath": path, "compressed_filepath": shown}
    return {**cell, **{name: one for name, one in said.items() if one}}


def _cell(cell: Any, fetch: Fetch) -> Cell:
    if not isinstance(cell, (dict, list)):
        return cell  # type: ignore[no-any-return]  # JSON has nothing else
    if isinstance(cell, dict) and cell.get("type") == "image":
        path = str(cell.get("filepath"))
        data = fetch(path)
        fetch(str(cell.get("compressed_filepath")))
        if data is not None:
            suffix = path.rpartition(".")[2]
            figure = bool(cell.get("figure"))
            return LoggedImage(data, 0, 0, 0, suffix, cell.get("caption"), figure)
    return json.dumps(cell)
