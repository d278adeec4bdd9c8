"""What a contributor sees of tools/dev.py before anything is installed, with a bare Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

import dev

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def said(*arguments: str, folder: Path = ROOT) -> tuple[int, str, str]:
    command = [sys.executable, "-I", "-S", str(ROOT / "tools" / "dev.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_help_lists_every_script_with_what_it_does() -> None:
    environments: dict[str, Any] = tomllib.loads((ROOT / "hatch.toml").read_text("utf-8"))["envs"]
    wanted = {
        name if environment == "default" else f"{environment}:{name}"
        for environment, one in environments.items()
        for name in one.get("scripts", {})
    }
    assert {one.name for one in dev.scripts()} == wanted
    for one in dev.scripts():
        assert one.what.endswith("."), f"the comment above {one.name!r} is to say what it does"
        assert len(one.what) < 90, one
    code, out, _ = said("--help")
    assert code == 0
    for one in dev.scripts():
        assert any(line.split()[:1] == [one.name] for line in out.splitlines()), one
    assert said() == (2, out, "")


@pytest.mark.parametrize("script", ["pytest", "test"])
@pytest.mark.parametrize(
    ("place", "environment"),
    [
        ("packages/tracking-wandb/tests", "wandb"),
        ("packages/tracking-comet-ml/tests/test_tracker.py::test_it", "comet-ml"),
        ("./packages/tracking-aim", "aim"),
    ],
)
def test_a_package_whose_library_is_not_there_is_sent_to_its_environment(
    script: str, place: str, environment: str, tmp_path: Path
) -> None:
    code, out, err = said(script, "-x", place, folder=tmp_path)
    assert (code, out) == (1, "")
    python = f"3{min(sys.version_info[1], 12 if environment == 'aim' else 13)}"
    assert f"tox:run -e pkg-py{python}-{environment} -- -k name" in err
    assert "tox:wheelhouse" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["pytest", "packages/tracking-core/tests"],
        ["test", "-k", "wandb"],
        ["pytest", "packages/tracking-mlflow/tests", "tests-integration"],
        ["demo", "packages/tracking-wandb"],
    ],
)
def test_what_the_default_environment_can_do_is_left_alone(arguments: list[str]) -> None:
    assert dev.elsewhere(arguments) == ""


class _Hatch:
    """Stands where hatch was installed, and answers as a shell does that finds no such command."""

    returncode = dev.NO_SUCH_COMMAND


@pytest.mark.parametrize(("name", "told"), [("nosuch", True), ("demo", False)])
def test_a_name_that_is_no_script_is_answered_with_those_that_are(
    name: str, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "is_installed", lambda: True)
    monkeypatch.setattr(dev.subprocess, "run", lambda *_, **__: _Hatch)
    assert dev.main([name]) == dev.NO_SUCH_COMMAND
    err = capsys.readouterr().err
    assert ("'nosuch' is no script of hatch.toml" in err) is told
    assert ("tox:wheelhouse" in err) is told
