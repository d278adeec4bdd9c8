"""Reads a run back, as any bot does that may read the channel."""

import csv
import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tracking_core.records import (
    Config,
    End,
    Log,
    LoggedAudio,
    LoggedFile,
    LoggedImage,
    LoggedTable,
    LoggedVideo,
    Record,
    Tags,
)

__all__ = ["read_run"]


def read_run(channel: str, bot_token: str, author: str, download_to: Path) -> Iterator[Record]:
    """The run that `author` posted to the channel whose messages are at the address `channel`.

    Files that were logged are put into `download_to`.
    """
    said = [one for one in _messages(channel, bot_token) if one["author"]["username"] == author]
    files = {one["filename"]: one["url"] for message in said for one in message["attachments"]}
    for message in said:
        text = message["content"].removeprefix("```json\n").removesuffix("\n```")
        for one in message["attachments"]:
            if one["filename"] == "run.jsonl":
                text = _get(one["url"]).decode()
        for line in text.split("\n") if text else []:
            match json.loads(line):
                case {"time": time, "step": step, "values": values}:
                    yield Log(_value(values, files, download_to), step, step, time)
                case {"time": time, "config": values}:
                    yield Config(values, time)
                case {"time": time, "tags": tags}:
                    yield Tags(tags, time)
                case {"time": time, "status": status}:
                    yield End(status, time)


def _messages(channel: str, bot_token: str) -> list[dict[str, Any]]:
    """All messages, oldest first; Discord gives a hundred at a time, the newest first."""
    found: list[dict[str, Any]] = []
    before = ""
    while page := json.loads(_get(f"{channel}?limit=100{before}", f"Bot {bot_token}")):
        found += page
        before = f"&before={page[-1]['id']}"
    return found[::-1]


def _get(url: str, authorization: str = "") -> bytes:
    headers = {"User-Agent": "DiscordBot (https://example.org, 0.1)"}
    if authorization:
        headers["Authorization"] = authorization
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return bytes(answer.read())


def _value(said: Any, files: dict[str, str], download_to: Path) -> Any:
    """A logged value; a list stands for media."""
    match said:
        case dict():
            return {key: _value(one, files, download_to) for key, one in said.items()}
        case [str(kind), caption, dict(names)]:
            contents = {name: _get(files[file]) for name, file in names.items()}
            return _medium(kind, caption, contents, download_to / secrets.token_hex(8))
        case list():
            return [_value(one, files, download_to) for one in said]
        case _:
            return said


def _medium(kind: str, caption: Any, contents: dict[str, bytes], directory: Path) -> Any:
    if kind == "LoggedFile":
        directory.mkdir(parents=True)
        for name, data in contents.items():
            copy = directory / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
        return LoggedFile(str(directory), directory=True)
    for name, data in contents.items():  # there is one
        suffix = name.partition(".")[2]
        match kind:
            case "LoggedImage":
                return LoggedImage(data, 0, 0, 0, suffix, caption)
            case "LoggedAudio":
                return LoggedAudio(data, 0, 0, suffix, caption)
            case "LoggedVideo":
                return LoggedVideo(data, 0, 0, 0, 0, 0.0, suffix, caption)
            case "LoggedTable":
                columns, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
                return LoggedTable(columns, [[*row] for row in rows])
    return caption  # a distribution, of which there is no file
