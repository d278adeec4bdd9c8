from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from local_discord import LocalDiscord
from tracking_discord import DiscordTracker
from tracking_discord.reader import read_run

from tracking_core import GeneralTracker
from tracking_core.records import Record
from tracking_core.testing import TrackerConformance


class TestConformance(TrackerConformance):
    lands: ClassVar[dict[str, str]] = {
        "scalar": "native: a line of JSON",
        "nan and infinities": "native: NaN, Infinity, -Infinity; None as null",
        "text": "native: in its line; what is too long for a message as a file to unfold",
        "nested dict": "native: nested as it is",
        "image": "native: an attached picture",
        "table": "degraded: an attached CSV file",
        "pictures in a table": "degraded: attached beside it, where its cells name them",
        "histogram": "degraded: how many values, and their range",
        "audio": "native: an attached WAV file, with a player",
        "video": "degraded: an animated PNG, of which Discord shows the first frame",
        "figure": "native: an attached picture",
        "file and directory": "native: attached files, of 10 MiB at most",
        "config": "native: a line of JSON",
        "tags": "native: a line of JSON",
        "end status": "native: a line of JSON",
    }

    @pytest.fixture(autouse=True)
    def _discord(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with LocalDiscord() as self.discord:
            monkeypatch.setenv("DISCORD_WEBHOOK_URL", self.discord.webhook)
            yield

    def make(self, directory: Path) -> GeneralTracker:
        return DiscordTracker(directory.name)

    def read_back(self, tracker: GeneralTracker, directory: Path) -> Iterable[Record]:
        author = str(tracker.identity()["author"])
        return read_run(self.discord.channel, self.discord.bot_token, author, directory / "read")

    @pytest.mark.xfail(
        reason="Discord draws no distributions: it gets how many values there are, and their range"
    )
    def test_histograms(self, tmp_path: Path) -> None:
        super().test_histograms(tmp_path)
