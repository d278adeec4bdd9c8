from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_dvclive.cells import cell, plain, rows, whole_length
from tracking_dvclive.history import header, line, milliseconds, read_history
from tracking_dvclive.names import inner_path, key_of, names

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text('"\t\r\n,0.5')
)
LINES = st.lists(st.lists(PLAIN, min_size=2, max_size=4))
KEYS = (
    st.text() | st.text("aA/._x4C:", max_size=8) | st.sampled_from(["step", "con", "a.tsv", ".."])
)


@given(PLAIN)
def test_a_cell_gives_its_value_back(value: object) -> None:
    found = plain(cell(value))  # type: ignore[arg-type]  # hypothesis says object
    assert (type(found), found) == (type(value), value)


@given(LINES, st.sampled_from("\t,"))
def test_rows_are_read_back(lines: list[list[object]], delimiter: str) -> None:
    text = "".join(delimiter.join(map(cell, line)) + "\n" for line in lines)  # type: ignore[arg-type]  # likewise
    assert [list(map(plain, row)) for row in rows(text, delimiter)] == lines
    assert whole_length(text, delimiter) == len(text)


@given(LINES)
def test_other_readers_take_them(lines: list[list[object]]) -> None:
    # A text with a NUL never gets into a cell: some Pythons' csv can't read it.
    lines = [line for line in lines if not any("\0" in str(value) for value in line)]
    text = "".join("\t".join(map(cell, line)) + "\n" for line in lines)  # type: ignore[arg-type]  # likewise
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
    assert found == [["" if value is None else str(value) for value in line] for line in lines]


@given(LINES, st.data())
def test_of_a_text_cut_off_the_whole_rows_are_read(
    lines: list[list[object]], data: st.DataObject
) -> None:
    text = "".join("\t".join(map(cell, line)) + "\n" for line in lines)  # type: ignore[arg-type]  # likewise
    cut = text[: data.draw(st.integers(0, len(text)))]
    found = [list(map(plain, row)) for row in rows(cut)]
    whole = cut[: whole_length(cut)]
    assert [list(map(plain, row)) for row in rows(whole)] == found
    assert found == lines[: len(found)]


@pytest.mark.parametrize(
    "text", ["step\tm\n0\t1.5\n1\tsome text\n", "step\tm\r\n0\t1.5\r\n1\tsome text\r\n"]
)
def test_what_other_writers_left_unquoted(text: str) -> None:
    assert [list(map(plain, row)) for row in rows(text)][1:] == [[0, 1.5], [1, "some text"]]


@given(st.lists(KEYS, unique=True))
def test_every_key_has_a_name_of_its_own(keys: list[str]) -> None:
    given = names()
    found = {key: given.name_of(key) for key in keys}
    assert len({name.casefold() for name in found.values()}) == len(keys)
    for key, name in found.items():
        assert key_of(name, given.kept) == key
        parts = name.split("/")
        assert all(
            part and not part.startswith(".") and len(part.encode()) <= 220 for part in parts
        )
        assert not set(name) & set('\\:*?"<>|\n\t')
    again = names(given.kept, found.values())
    assert {key: again.name_of(key) for key in reversed(keys)} == found


@given(st.text() | st.text("./\\a"))
def test_no_path_leads_out(path: str) -> None:
    parts = inner_path(path).split("/")
    assert ".." not in parts and "" not in parts[1:]


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), PLAIN)
def test_a_row_is_read_back(wall_time: float, step: int, value: object) -> None:
    path = Path("row.tsv")
    path.write_text(header("a/m") + line(milliseconds(wall_time), step, value), "utf-8", newline="")  # type: ignore[arg-type]  # likewise
    (point,) = read_history(str(path))
    assert point == (wall_time, step, value)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        yield
