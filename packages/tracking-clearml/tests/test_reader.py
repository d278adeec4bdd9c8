from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracking_clearml import ClearMLSettingError, ClearMLTracker, read_run
from tracking_core.records import Config, LoggedImage, LoggedTable
from tracking_core.testing import Seen

# ClearML's own configuration files are read with a parser that has been renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# A session as ClearML's own client writes it: what is in it was taken from one of version 2.1.
THEIRS = """
import sys
from clearml import Task
from clearml.utilities.check_updates import CheckPackageUpdates
CheckPackageUpdates._package_version_checked = True  # it would ask the internet
Task._report_subprocess_enabled = False
task = Task.init("theirs/sub", "a name", tags=["one"], auto_connect_arg_parser=False,
    auto_connect_frameworks=False, auto_resource_monitoring=False, auto_connect_streams=False)
import numpy
task.connect({"lr": 0.5, "n": {"a": 1}}, name="General")
task.connect_configuration({"depth": 3, "x y": "z"}, name="model")
log = task.get_logger()
log.report_scalar("loss", "train", 1.5, 3)
log.report_scalar("loss", "best", 0.5, 3)
log.report_single_value("final", 2.0)
log.report_table("table", "of theirs", iteration=1, table_plot=[["a", "b"], [1, 2], [3, None]])
log.report_scatter2d("scatter", "s", [[1, 2]], iteration=1)
log.report_image("image", "s y", iteration=2, image=numpy.zeros((3, 4, 3), "uint8"))
log.report_media("media", "text", iteration=2, stream="hello", file_extension=".txt")
task.upload_artifact("weights", sys.argv[1], wait_on_upload=True)
task.upload_artifact("tree", sys.argv[2], wait_on_upload=True)
task.flush(wait_for_uploads=True)
import os
print(task.get_offline_mode_folder())
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.usefixtures("offline")
def test_a_session_of_clearmls_own_client_is_read(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "b.txt").write_text("b")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", THEIRS, str(weights), str(tmp_path / "tree")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = Seen(read_run(done.stdout.split()[-1], download_to=tmp_path / "downloads"))
    assert [(p.step, p.value) for p in found.points("loss")] == [(3, 1.5)]
    assert found.values("loss/best") == [0.5]
    assert found.values("final") == [2.0]
    assert found.media("table/of theirs") == [LoggedTable(["a", "b"], [[1, 2], [3, None]])]
    (scatter,) = found.values("scatter/s")
    assert json.loads(str(scatter))["data"][0]["type"].startswith("scatter")
    (image,) = found.media("image/s y")
    assert isinstance(image, LoggedImage) and image.format == "jpeg"
    assert found.values("media/text") == ["hello"]
    assert found.files() == {"weights.bin": b"weights", "inner/b.txt": b"b"}
    assert found.config == {"lr": "0.5", "n/a": "1", "model": {"depth": 3, "x y": "z"}}
    assert (found.tags, found.status) == ({"one": None}, None)


def logged(**values: Any) -> Path:
    tracker = ClearMLTracker("project")
    tracker.start()
    tracker.log(values, step=1)
    tracker.finish()
    return Path(str(tracker.identity()["offline_folder"]))


@pytest.mark.usefixtures("offline")
class TestWhereItIs:
    def test_by_id_folder_or_zip_file(self, tmp_path: Path) -> None:
        folder = logged(m=1.0, note="text")
        packed = shutil.make_archive(str(tmp_path / "session"), "zip", folder)
        for task in (folder.name, folder, str(folder), packed):
            found = Seen(read_run(task, download_to=tmp_path / "downloads"))
            assert (found.values("m"), found.values("note")) == ([1.0], ["text"])

    def test_a_session_that_was_moved_has_its_files(self, tmp_path: Path) -> None:
        tracker = ClearMLTracker("project")
        tracker.start()
        model = tmp_path / "model.bin"
        model.write_bytes(b"weights")
        tracker.log_artifact(model, "models")
        tracker.log({"note": "text"})
        tracker.finish()
        moved = tmp_path / "elsewhere"
        shutil.move(str(tracker.identity()["offline_folder"]), moved)
        found = Seen(read_run(moved, download_to=tmp_path / "downloads"))
        assert found.files() == {"models/model.bin": b"weights"}
        assert found.values("note") == ["text"]

    def test_what_is_no_session_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ClearMLSettingError, match=r"holds no offline session.*task\.json"):
            list(read_run(tmp_path, download_to=tmp_path / "downloads"))
        with pytest.raises(ClearMLSettingError, match="offline-abc"):
            list(read_run("offline-abc", download_to=tmp_path / "downloads"))

    def test_a_session_can_not_name_files_outside_it(self, tmp_path: Path) -> None:
        folder = logged(note="text")
        secret = tmp_path / "secret.txt"
        secret.write_text("secret")
        metrics = folder / "metrics.jsonl"
        (events,) = [json.loads(line) for line in metrics.read_text().splitlines()]
        for key in (str(secret), f"../../../../{secret.name}"):
            events[0]["key"] = key
            metrics.write_text(json.dumps(events) + "\n")
            assert Seen(read_run(folder, download_to=tmp_path / "downloads")).keys == set()

    def test_notes_edited_by_hand_cost_no_point(self, tmp_path: Path) -> None:
        folder = logged(m=1.0)
        task = json.loads((folder / "task.json").read_text())
        task["configuration"]["tracking"]["value"] = "{broken"
        (folder / "task.json").write_text(json.dumps(task))
        assert Seen(read_run(folder, download_to=tmp_path / "downloads")).values("m") == [1.0]

    def test_a_running_task_has_no_end(self, tmp_path: Path) -> None:
        tracker = ClearMLTracker("project")
        tracker.start()
        tracker.store_init_configuration({"lr": 1})
        folder = str(tracker.identity()["offline_folder"])
        (config,) = read_run(folder, download_to=tmp_path / "downloads")
        assert isinstance(config, Config) and config.values == {"lr": 1}
