from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_core.names import unescape
from tracking_core.records import Config, End, Log, Record, Tags
from tracking_core.testing import Seen, pixels_of
from tracking_wandb import WandBTracker, names, read_run
from tracking_wandb.session import imported
from tracking_wandb.transaction_log import TransactionLog

NOW = 1_760_000_000.25


def started(directory: Path) -> WandBTracker:
    tracker = WandBTracker("digits", mode="offline", dir=str(directory))
    tracker.start()
    return tracker


def log_of(tracker: WandBTracker) -> Path:
    return Path(tracker.run.settings.sync_file)


def test_the_records_that_were_delivered(tmp_path: Path) -> None:
    records: list[Record] = [
        Config({"lr": 0.5, "nested": {"n": [1, None, 2**70]}}, NOW),
        Tags({"baseline": None, "team": "vision"}, NOW),
        Log({"loss": 0.5, "note": "NaN", "missing": None, "on": True}, 3, 3, NOW + 2),
        Log({"loss": -0.0, "n": 2**53 + 1}, 1, 1, NOW + 3),
    ]
    tracker = started(tmp_path)
    tracker.deliver([*records, End("killed", NOW + 4)])
    tracker.finish("killed")
    config, tags, *rest = read_run(tmp_path, tracker.run.id)
    assert isinstance(config, Config)
    assert isinstance(tags, Tags)
    assert config.values == records[0].values
    assert tags.values == records[1].values
    assert rest == [*records[2:], End("killed", NOW + 4)]
    assert math.copysign(1, rest[1].values["loss"]) == -1  # type: ignore[union-attr]  # a row


def test_a_run_is_read_while_it_goes_on_and_has_no_end(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.log({"m": 1.0}, step=0)
    assert [type(record) for record in read_run(log_of(tracker))] == [Log]
    tracker.log({"m": 2.0}, step=1)
    assert Seen(read_run(log_of(tracker).parent)).values("m") == [1.0, 2.0]
    tracker.finish()


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no W&B run"):
        list(read_run(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="say which"):
        list(read_run(tmp_path))
    with pytest.raises(FileNotFoundError, match="no run 'x'"):
        list(read_run(tmp_path, "x"))
    (tmp_path / "run-x.wandb").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no transaction log"):
        list(read_run(tmp_path))


def test_a_run_of_wandbs_own(tmp_path: Path) -> None:
    wandb = imported()
    pixels = numpy.arange(12, dtype="uint8").reshape(2, 2, 3)
    settings = {"console": "off", "silent": True, "x_disable_stats": True}
    with wandb.init(
        project="p", mode="offline", dir=str(tmp_path), settings=settings, reinit="create_new",
        config={"lr": 0.1, "nested": {"n": 1}}, tags=["mine"],
    ) as run:  # fmt: skip
        run.define_metric("val/*", step_metric="epoch")
        run.log({"loss": 0.5, "nan": math.nan, "nested": {"a": {"b": 1}}, "text": "t"})
        run.log({"image": wandb.Image(pixels, caption="c"), "list": [1, 2]}, step=5)
        run.log({"images": [wandb.Image(pixels), wandb.Image(pixels)]}, step=6)
        run.log({"table": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])}, step=7)
        run.log({"weights": wandb.Histogram(numpy.arange(10.0), num_bins=5)}, step=8)
        run.log({"page": wandb.Html("<b>x</b>")}, step=9)
        run.config.update({"late": True})
        run_id = run.id
    wandb.teardown()  # else its file may be complete a moment later
    seen = Seen(read_run(tmp_path, run_id))
    assert seen.config == {"lr": 0.1, "nested": {"n": 1}, "late": True}
    assert (seen.tags, seen.status) == ({"mine": None}, "finished")
    assert seen.points("loss")[0][::2] == (0, 0.5)
    assert seen.points("nested/a/b")[0].value == 1
    assert seen.values("text") == ["t"]
    assert seen.values("list") == ["[1, 2]"]
    (image,) = seen.media("image")
    assert numpy.array_equal(pixels_of(image), pixels)
    assert image.caption == "c"
    assert len(seen.media("images")) == 2
    (table,) = seen.media("table")
    assert (table.columns, table.rows) == (["a", "b"], [[1, "x"], [2, "y"]])
    (histogram,) = seen.media("weights")
    assert (sum(histogram.counts), histogram.min, histogram.max) == (10, 0.0, 9.0)
    (page,) = seen.values("page")
    assert isinstance(page, str)
    assert "html-file" in page


@pytest.mark.parametrize("lost", [1, 20, 40_000])
def test_of_a_file_cut_off_all_before_is_read(tmp_path: Path, lost: int) -> None:
    tracker = started(tmp_path)
    tracker.deliver([Log({"m": float(i), "t": "x" * 500}, i, i, NOW) for i in range(400)])
    log = log_of(tracker)
    whole = log.read_bytes()
    tracker.finish()
    cut = tmp_path / "run-cut.wandb"
    cut.write_bytes(whole[:-lost])
    values = Seen(read_run(cut)).values("m")
    assert values == [float(i) for i in range(len(values))]
    assert 400 - lost // 500 - 3 <= len(values) <= 400


def test_a_damaged_byte_costs_one_record(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([Log({"m": float(i), "t": f"text{i:05}"}, i, i, NOW) for i in range(400)])
    data = bytearray(log_of(tracker).read_bytes())
    tracker.finish()
    data[data.rindex(b"text00200") + 3] ^= 1
    damaged = tmp_path / "run-damaged.wandb"
    damaged.write_bytes(data)
    values = Seen(read_run(damaged)).values("m")
    assert sorted(values, key=float) == [float(i) for i in range(400) if i != 200]  # type: ignore[arg-type]  # numbers


def test_values_of_any_length_come_back(tmp_path: Path) -> None:
    lengths = [0, 1, 32_700, 32_760, 32_768, 100_000, 3_000_000]
    tracker = started(tmp_path)
    tracker.deliver([Log({"t": "x" * n}, i, i, NOW) for i, n in enumerate(lengths)])
    tracker.finish()
    assert [len(str(text)) for text in Seen(read_run(log_of(tracker))).values("t")] == lengths


def test_a_log_that_grows_is_read_on(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.deliver([Log({"t": "x" * n}, n, n, NOW) for n in range(0, 60_000, 7_001)])
    tracker.finish()
    whole = log_of(tracker).read_bytes()
    at_once = TransactionLog(log_of(tracker))
    expected = at_once.records()
    at_once.close()
    growing = tmp_path / "run-growing.wandb"
    log, found, place = TransactionLog(growing), list[bytes](), 0
    assert log.records() == []
    dice = random.Random(0)
    with open(growing, "wb", buffering=0) as file:
        while place < len(whole):
            size = dice.choice([1, 3, 7, 100, 5_000])
            file.write(whole[place : place + size])
            place += size
            found += log.records()
    log.close()
    assert found == expected


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "artifacts/../../secret"])
def test_no_path_leads_out_of_the_run(tmp_path: Path, path: str) -> None:
    tracker = started(tmp_path)
    Path(tracker.run.settings.sync_dir, "secret").write_text("x")
    about: dict[str, Any] = {"_type": "file", "path": path, "artifact_path": ""}
    tracker.run.log({"f": about, "i": {"_type": "image-file", "path": path}})
    tracker.finish()
    seen = Seen(read_run(log_of(tracker)))
    assert seen.files() == {}
    assert isinstance(seen.values("i")[0], str)


_HARD = st.text(st.sampled_from("_x5F4/*-\n.ab")) | st.text()


@given(_HARD, _HARD)
def test_every_key_has_a_name_of_its_own_and_comes_back(one: str, other: str) -> None:
    for name_of in (names.name_of, names.config_name):
        assert names.key_of(name_of(one)) == one
        assert (name_of(one) == name_of(other)) == (one == other)
        assert name_of(one) not in ("", names.STEP, names.AXES, names.CONFIG, names.TAGS, names.END)
    assert "*" not in names.name_of(one)
    assert names.config_name(one).strip("-") == names.config_name(one)


@pytest.mark.parametrize("key", ["_step", "_runtime", "_timestamp", "_wandb", "tracking/step", ""])
def test_names_that_are_taken_are_escaped(key: str) -> None:
    assert names.name_of(key) != key
    assert names.key_of(names.name_of(key)) == key


@given(st.text(st.sampled_from("a/.\\_x4\n"), max_size=30))
def test_no_file_leaves_its_folder(path: str) -> None:
    parts = names.folder_names(path).split("/")
    assert ".." not in parts
    assert "/".join(map(unescape, parts)) == "/".join(
        part for part in path.split("/") if part not in ("", ".")
    )
