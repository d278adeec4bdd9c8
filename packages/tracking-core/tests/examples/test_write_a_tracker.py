"""The tracker of docs/write-a-tracker.md, beyond what every tracker is asked."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy
import pytest
from local_discord import LocalDiscord
from tracking_discord import DiscordTracker
from tracking_discord.reader import read_run

from tracking_core import Artifact, Image, Tracking, TrackingWarning
from tracking_core.testing import Seen

EXAMPLE = Path(__file__).parent / "discord"
DOT = numpy.zeros((1, 1), "uint8")
PAGE = Path(__file__).parents[4] / "docs" / "write-a-tracker.md"


@pytest.fixture
def discord(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalDiscord]:
    with LocalDiscord() as server:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", server.webhook)
        yield server


def seen(discord: LocalDiscord, author: object, directory: Path) -> Seen:
    return Seen(read_run(discord.channel, discord.bot_token, str(author), directory))


def post(url: str, message: dict[str, Any], **headers: str) -> int:
    """Post as somebody else would, and return the status."""
    told = {"Content-Type": "application/json", "User-Agent": "somebody", **headers}
    request = Request(url, json.dumps(message).encode(), told)
    with urlopen(request, timeout=30) as answer:
        return int(answer.status)


# --- the page ---


def page() -> str:
    if not PAGE.exists():
        pytest.skip("docs/ is not beside the package here: it is part of the repository only")
    return PAGE.read_text("utf-8")


def test_the_page_shows_the_files_as_they_are() -> None:
    shown = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", page(), re.M | re.S))
    assert shown.keys() == {"tracking_discord/__init__.py", "pyproject.toml", "test_discord.py"}
    for name, text in shown.items():
        assert text == (EXAMPLE / name).read_text("utf-8"), name


def test_the_files_that_the_page_links_are_there() -> None:
    linked = re.findall(r"\]\((\.\./[^)#]+)", page())
    assert len(linked) >= 5
    assert [link for link in linked if not (PAGE.parent / link).exists()] == []


def test_the_lines_that_it_says_there_are() -> None:
    (shown,) = [
        node
        for node in ast.parse(
            (EXAMPLE / "tracking_discord" / "__init__.py").read_text("utf-8")
        ).body
        if isinstance(node, ast.ClassDef)
    ]
    assert shown.end_lineno is not None
    said = re.findall(r"(\d+)\s+lines", page())
    assert [int(one) for one in said] == [
        round(count, -1)
        for count in (
            shown.end_lineno - shown.lineno + 1,
            lines_of("tracking_discord/media.py", "tracking_discord/webhook.py"),
            lines_of("tracking_discord/reader.py", "local_discord.py"),
        )
    ]


def lines_of(*names: str) -> int:
    return sum(len((EXAMPLE / name).read_text("utf-8").splitlines()) for name in names)


def test_what_it_says_to_type_makes_a_tracker_that_passes(tmp_path: Path) -> None:
    (commands,) = re.findall(r"^```bash\n(.*?)^```", page(), re.M | re.S)
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "packages").symlink_to(PAGE.parents[1] / "packages")
    # What pip would install is here already: the core and, as a copy lies on the path, the example.
    script = f'set -e\npip() {{ :; }}\npytest() {{ {sys.executable} -m pytest "$@"; }}\n{commands}'
    paths = os.pathsep.join([str(tmp_path / "tracking-discord"), *sys.path])
    done = subprocess.run(
        ["bash", "-c", script], cwd=clone, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (expected,) = re.findall(r"^XFAIL .*$", page(), re.M)
    assert expected in done.stdout
    assert re.search(r"\d+ passed, 1 xfailed in", done.stdout)


def test_what_else_the_page_shows_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    code = re.findall(r"[^`]\n\n```python\n(.*?)^```", page(), re.M | re.S)
    expected = re.findall(r"print\(.*\)  # (.*)", "".join(code))
    for block in code:
        exec(block, names)
    assert (len(code), capsys.readouterr().out.splitlines()) == (2, expected)


# --- the tracker in a run ---


def test_a_rate_limit_costs_nothing(discord: LocalDiscord, tmp_path: Path) -> None:
    tracking = Tracking("discord", tmp_path, delivery="thread")
    tracking.init_trackers("digits", config={"lr": 0.1})
    discord.busy = 2
    for step in range(300):
        tracking.log({"loss": 1 / (step + 1)}, step=step)
    tracking.end_training()
    assert discord.busy == 0
    status = tracking.status()["discord"]
    assert (status.state, status.failed, status.pending) == ("ended", 0, 0)
    assert [
        one for one in discord.messages if not one["attachments"] and "{" not in one["content"]
    ] == []
    (author,) = {message["author"]["username"] for message in discord.messages}
    found = seen(discord, author, tmp_path)
    assert found.values("loss") == [1 / (step + 1) for step in range(300)]
    assert (found.config, found.status) == ({"lr": 0.1}, "finished")


def test_what_others_say_in_the_channel_is_not_of_the_run(
    discord: LocalDiscord, tmp_path: Path
) -> None:
    tracker = DiscordTracker("digits")
    tracker.start()
    tracker.log({"loss": 0.5}, step=0)
    assert (
        post(f"{discord.webhook}?wait=true", {"content": "well done", "username": "digits"}) == 200
    )
    tracker.finish()
    assert len(discord.messages) == 3
    assert seen(discord, tracker.identity()["author"], tmp_path).keys == {"loss"}


def test_a_file_that_is_too_large_is_named_and_the_rest_lands(
    discord: LocalDiscord, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(10 * 2**20 + 1))
    (tmp_path / "fits.bin").write_bytes(bytes(10 * 2**20))
    tracker = DiscordTracker("digits")
    tracker.start()
    with pytest.warns(TrackingWarning, match=r"could not store 'large.bin'.*10 MiB"):
        tracker.log(
            {
                "loss": 0.5,
                "a": Artifact(tmp_path / "large.bin", ""),
                "b": Artifact(tmp_path / "fits.bin", ""),
            },
            step=0,
        )
    found = seen(discord, tracker.identity()["author"], tmp_path / "read")
    assert found.values("loss") == [0.5]
    assert {name: len(data) for name, data in found.files().items()} == {"fits.bin": 10 * 2**20}


@pytest.mark.parametrize("length", range(1880, 2010, 10))
def test_a_text_at_the_limit_of_a_message(
    discord: LocalDiscord, length: int, tmp_path: Path
) -> None:
    tracker = DiscordTracker("digits" * 50)
    tracker.start()
    tracker.log({"note": "x" * length}, step=0)
    found = seen(discord, tracker.identity()["author"], tmp_path)
    assert found.values("note") == ["x" * length]


def test_a_text_that_would_end_the_block_of_code_is_a_file(
    discord: LocalDiscord, tmp_path: Path
) -> None:
    tracker = DiscordTracker("digits")
    tracker.start()
    tracker.log({"note": "```@everyone"}, step=0)
    assert [one["content"] for one in discord.messages] == [""]
    assert seen(discord, tracker.identity()["author"], tmp_path).values("note") == ["```@everyone"]


def test_more_files_than_a_message_takes(discord: LocalDiscord, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}").write_text(f"file {number}")
    names = ["x" * 200, 'say "é 損".txt', "new\nline", "%41"]
    for name in names:
        (tmp_path / name).write_text(name)
    tracker = DiscordTracker("digits")
    tracker.start()
    tracker.log_artifacts(tmp_path)
    files = [one["filename"] for message in discord.messages for one in message["attachments"]]
    assert max(map(len, files)) <= 80
    assert [bool(message["attachments"]) for message in discord.messages] == [True, True]
    found = seen(discord, tracker.identity()["author"], tmp_path / "read").files()
    assert found == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_the_text_of_a_post_is_said_once(discord: LocalDiscord, tmp_path: Path) -> None:
    tracker = DiscordTracker("digits")
    tracker.start()
    tracker.log({"dots": [Image(DOT) for _ in range(12)]}, step=0)
    first, second = discord.messages
    assert (bool(first["content"]), second["content"]) == (True, "")
    assert len(seen(discord, tracker.identity()["author"], tmp_path).media("dots")) == 12


def test_a_webhook_that_is_not_there_is_named(
    discord: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", discord.address + "/api/webhooks/1/nothing")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        DiscordTracker("digits").start()


# --- the local Discord is as strict as the real one ---


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"content": "x" * 2000}, 204),
        ({"content": "x" * 2001}, 400),
        ({"content": " \n"}, 400),
        ({}, 400),
        ({"content": "x", "username": "my Discord"}, 400),
        ({"content": "x", "username": ""}, 400),
        ({"content": "x", "username": "x" * 81}, 400),
        ({"embeds": [{"title": "x"}]}, 204),
    ],
)
def test_what_discord_takes(discord: LocalDiscord, message: dict[str, Any], status: int) -> None:
    if status == 204:
        assert post(discord.webhook, message) == status
    else:
        with pytest.raises(urllib.error.HTTPError, match=str(status)):
            post(discord.webhook, message)
    assert len(discord.messages) == (status == 204)
