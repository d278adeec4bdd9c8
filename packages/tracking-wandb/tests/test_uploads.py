"""What W&B's service has failed to send, read off its own logs, as wandb 0.31 writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracking_core import TrackingWarning
from tracking_wandb import uploads
from tracking_wandb.uploads import Uploads, files_left, note_files_left

CLOSED = {"msg": "fileTransfer: Close: file transfer manager closed"}
GAVE_UP = {"msg": "filestream: fatal error: filestream: failed to upload: 401 Unauthorized url=x"}
NOT_BEGUN = {"msg": 'runfiles: CreateRunFiles returned error: returned error 401: {"data":null}'}
RETRIES = {
    "msg": "api: retrying error",
    "error": 'Post "http://127.0.0.1:1/files/me/p/r/file_stream": connection refused',
}
ANSWERED = {"msg": "filestream: request sent", "status": "200 OK"}


def failed(name: str, status: str = "403 Forbidden") -> dict[str, Any]:
    return {
        "msg": f"file transfer: upload: failed to upload: status: {status}: body: <html>",
        "task": f"DefaultUploadTask{{FileKind: 0, Path: /a, Name: {name}, Url: http://x, Size: 1}}",
    }


def log(directory: Path, *lines: dict[str, Any]) -> str:
    (directory / "logs").mkdir(exist_ok=True)
    with (directory / "logs" / "debug-internal.log").open("a") as file:
        file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return str(directory / "run-x.wandb")


FILES = ["a.bin", "media/b.png"]


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([CLOSED], {}),
        ([failed("a.bin"), failed("config.yaml"), CLOSED], {"a.bin": "HTTP 403 Forbidden"}),
        ([], dict.fromkeys(FILES, "W&B's service was killed")),
        ([NOT_BEGUN, CLOSED], dict.fromkeys(FILES, "HTTP 401")),
        ([GAVE_UP, CLOSED], dict.fromkeys(FILES, GAVE_UP["msg"])),
    ],
)
def test_which_files_are_not_at_the_server(
    tmp_path: Path, lines: list[dict[str, Any]], left: dict[str, str]
) -> None:
    assert files_left(log(tmp_path, *lines), FILES) == left


def test_what_was_sent_later_is_remembered(tmp_path: Path) -> None:
    path = log(tmp_path)
    note_files_left(path, {"media/b.png": "HTTP 403"})
    assert files_left(path, FILES) == {"media/b.png": "HTTP 403"}
    note_files_left(path, {})
    assert files_left(path, FILES) == {}


def test_a_file_that_is_refused_is_said_at_once_and_rows_once_that_has_lasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SECONDS_THAT_PASS_UNSAID", -1.0)
    log(tmp_path, failed("a.bin"), failed("b.bin"))
    looked = Uploads(str(tmp_path / "logs" / "debug-internal.log"))
    with pytest.warns(TrackingWarning, match=r"does not take files for now \('a\.bin': HTTP 403"):
        looked.look()
    log(tmp_path, RETRIES)
    with pytest.warns(TrackingWarning, match="does not take what W&B's service sends.*refused"):
        looked.look()
    looked.look()  # said once
    log(tmp_path, ANSWERED)
    looked.look()
    assert looked.unanswered == "" and looked.in_words().startswith("'a.bin'")


def test_rows_have_arrived_once_their_request_is_answered(tmp_path: Path) -> None:
    asks = {"msg": "filestream: sending request", "history_offset": 7, "history_lines": 20}
    log(tmp_path, {"msg": "filestream: sending request", "total_files": 1}, ANSWERED, asks)
    looked = Uploads(str(tmp_path / "logs" / "debug-internal.log"))
    looked.read()
    assert looked.answered == 0
    log(tmp_path, ANSWERED)
    looked.read()
    assert looked.answered == 20


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "debug-internal.log"
    looked = Uploads(str(path))
    looked.read()
    assert not looked.closed, "there is no log yet"
    line = json.dumps(CLOSED)
    path.write_text(line)
    looked.read()
    assert not looked.closed
    path.write_text(line + "\n")
    looked.read()
    assert looked.closed
