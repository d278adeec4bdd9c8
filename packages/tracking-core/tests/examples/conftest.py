"""The examples are found as if they were installed: by import, and by their entry points."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracking_core import LOGGER_TYPE_TO_CLASS

DISCORD = Path(__file__).parent / "discord"

sys.path.insert(0, str(DISCORD))


@pytest.fixture(autouse=True)
def _installed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What pip would write beside the package; its entry points are those of its pyproject.toml."""
    project = (DISCORD / "pyproject.toml").read_text("utf-8")
    group, points = re.findall(
        r'^\[project\.entry-points\."(.*)"\]\n(.*?)\n\n', project, re.M | re.S
    )[0]
    packages = tmp_path_factory.mktemp("packages")
    written = packages / "tracking_discord-0.1.0.dist-info"
    written.mkdir()
    (written / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tracking-discord\nVersion: 0.1.0\n"
    )
    (written / "entry_points.txt").write_text(f"[{group}]\n{points}\n".replace('"', ""))
    monkeypatch.syspath_prepend(packages)
    yield
    LOGGER_TYPE_TO_CLASS._loaded.pop("discord", None)
