from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracking_comet_ml.settings import imported


@pytest.fixture(autouse=True, scope="session")
def _imported() -> None:
    # A dependency of comet_ml asks for the encoding of sys.stdin when it is imported, which tests
    # may have replaced. What importing it leaves behind is looked at in a process of its own.
    imported()


@pytest.fixture(autouse=True)
def _nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("COMET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "no.comet.config"))
