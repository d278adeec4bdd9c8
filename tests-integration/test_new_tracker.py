"""The package of a new tracker is green at once, and making it touches nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from repository import ROOT, Repository

from monorepo import Package
from new_tracker import LONGEST, Refused, bounds, name_of

# One that sorts before the core's name and one after it, one with a dash, and the longest.
NAMES = ["abacus", "my-tool", "x" * LONGEST]

here = pytest.mark.skipif(
    find_spec("ruff") is None or find_spec("mypy") is None,
    reason="ruff and mypy are installed in the default environment",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository in which the new trackers were made."""
    repository = Repository(tmp_path_factory.mktemp("made") / "repository")
    for name in NAMES:
        done = repository.tool("new_tracker.py", name)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"pkg-py3{sys.version_info[1]}-{name}" in done.stdout
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_it_touches_its_own_folder_and_the_table_alone(made: Repository) -> None:
    folders = [f"?? packages/tracking-{name}/" for name in NAMES]
    assert made.status() == [" M README.md", *folders]
    assert made.git("diff", "--numstat").split() == [f"{len(NAMES)}", "0", "README.md"]
    assert not (made.folder / "build").exists()


def test_it_keeps_every_convention(made: Repository) -> None:
    checked = made.tool("check_packages.py")
    assert (checked.stdout, checked.returncode) == ("", 0), checked.stderr


def test_the_table_of_values_does_not_wait_for_it(made: Repository) -> None:
    """What a stand-in does is nobody's business; a package that has a version has a column."""
    program = "import sys; sys.path.insert(0, 'tools')\n"
    program += "from values_table import suites; print(*suites())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True, check=True)
    assert "tensorboard" in done.stdout.split()
    assert set(done.stdout.split()).isdisjoint(NAMES)


@here
@pytest.mark.parametrize("check", [["ruff", "format", "--check"], ["ruff", "check"], ["mypy"]])
def test_it_is_formatted_linted_and_typed(made: Repository, check: list[str]) -> None:
    packages = [f"packages/tracking-{name}" for name in NAMES]
    if check == ["mypy"]:
        packages = [f"{package}/src" for package in packages]
    command = [sys.executable, "-m", *check, *packages]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "which"), [("my-tool", "test"), ("abacus", "found_by_its_name or the_facade")]
)
def test_its_own_suite_passes(made: Repository, tmp_path: Path, name: str, which: str) -> None:
    package = Package(made.folder / "packages" / f"tracking-{name}")
    # What an editable installation is: the sources on the path, and the metadata beside them.
    about = tmp_path / "site" / f"{package.module}-{package.version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
    )
    points = "\n".join(f"{name} = {point}" for name, point in package.trackers.items())
    (about / "entry_points.txt").write_text(f"[tracking.trackers]\n{points}\n")
    paths = [str(about.parent), str(package.source.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", which],
        cwd=package.folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("given", "package", "tracker"),
    [
        ("my-tool", "my-tool", "MyTool"),
        ("my_tool", "my-tool", "MyTool"),
        ("MyTool", "my-tool", "MyTool"),
        ("My-Tool", "my-tool", "MyTool"),
        ("ABTest2", "ab-test2", "AbTest2"),
        ("abacus", "abacus", "Abacus"),
        ("tracking-my-tool", "my-tool", "MyTool"),
        ("MyToolTracker", "my-tool", "MyTool"),
    ],
)
def test_a_name_is_understood(given: str, package: str, tracker: str) -> None:
    name = name_of(given)
    assert (name.dashed, name.module) == (package, package.replace("-", "_"))
    assert name.spellings["MyTool"] == tracker


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", r"can't be a tracker's name: a name is words of letters and digits"),
        ("my tool", r"such as my-tool, my_tool or MyTool"),
        ("my--tool", "words of letters"),
        ("-tool", "words of letters"),
        ("2tool", "words of letters"),
        ("../tool", "words of letters"),
        ("tööl", "words of letters"),
        ("tool\n", "words of letters"),
        ("x" * (LONGEST + 1), f"more than {LONGEST} characters"),
        ("class", "a word of Python's own"),
        ("None", "a word of Python's own"),
        ("core", "taken: packages/tracking-core has it"),
        ("tracking-core", "taken: packages/tracking-core has it"),
        ("comet_ml", "taken: tracking_core.LoggerType has it"),
        ("CometML", "taken: tracking_core.LoggerType has it"),
        ("all", "taken: tracking_core.LoggerType has it"),
        ("memory", "the core has a MemoryTracker"),
    ],
)
def test_a_name_that_can_not_be_is_refused(given: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        name_of(given)
    assert why in str(refused.value)


def test_a_refusal_is_one_line_and_changes_nothing(made: Repository) -> None:
    before = made.status()
    done = made.tool("new_tracker.py", "MyTool")
    assert (done.returncode, done.stdout) == (1, "")
    taken = "'my_tool' is taken: packages/tracking-my-tool has it; choose another name"
    assert done.stderr == f"new_tracker.py: {taken}\n"
    assert made.status() == before


def test_it_takes_the_core_of_the_tree() -> None:
    assert bounds("0.1.0") == ">=0.1,<0.2"
    assert bounds("0.12.3") == ">=0.12,<0.13"
    assert bounds("1.4.0rc1") == ">=1.4,<2"


def test_without_a_place_for_its_row_nothing_is_made(repository: Repository) -> None:
    readme = repository.folder / "README.md"
    readme.write_text("# Tracking\n", "utf-8")
    done = repository.tool("new_tracker.py", "my-tool")
    assert done.returncode == 1
    assert "README.md: the table of packages must stand between" in done.stderr
    assert repository.status() == [" M README.md"]


INTERRUPTED = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, "tools")
import new_tracker

left = made = 0

def interrupt(event, arguments):
    global left
    opens = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
    # A folder that is there already may be made again, and an error of that is none.
    makes = event == "os.mkdir" and not Path(arguments[0]).is_dir()
    if opens or makes or event == "os.rename":
        left -= 1
        if left == 0:
            FAILURE

sys.addaudithook(interrupt)
readme = Path("README.md").read_bytes()
codes, traces = [], []
while not codes or codes[-1]:
    left = len(codes) + 1
    try:
        codes.append(new_tracker.main(["my-tool"]))
    except SystemExit as exit:
        codes.append(exit.code)
    if codes[-1]:
        traces += [str(path) for path in [*Path("packages").glob("*my*tool*"), *Path().glob("build")]]
        if Path("README.md").read_bytes() != readme:
            traces.append("README.md")
print(json.dumps([codes, traces]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ("raise KeyboardInterrupt", 130),
        ("raise OSError(28, 'No space left on device')", 1),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
    ],
)
def test_a_failure_at_any_step_leaves_nothing(
    repository: Repository, failure: str, code: int
) -> None:
    """Each step that writes fails once, until a run has no step left that could."""
    program = INTERRUPTED.replace("FAILURE", failure)
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=repository.folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    codes, traces = json.loads(done.stderr.splitlines()[-1])
    assert len(codes) > 20
    assert codes == [*[code] * (len(codes) - 1), 0]
    assert traces == []
    assert repository.status() == [" M README.md", "?? packages/tracking-my-tool/"]


def test_a_python_that_reads_no_toml_is_told_what_to_do(made: Repository) -> None:
    """Python 3.10, where nothing is installed."""
    program = "import runpy, sys; sys.modules['tomllib'] = sys.modules['tomli'] = None\n"
    program += "sys.path.insert(0, 'tools'); runpy.run_path('tools/new_tracker.py')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "python3 tools/dev.py new-tracker NAME" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits files as POSIX does")
def test_a_readme_that_can_not_be_written_stays_as_it_was(repository: Repository) -> None:
    import resource

    readme = repository.folder / "README.md"
    readme.write_text(readme.read_text("utf-8") + "long\n" * 20_000, "utf-8")
    repository.commit()
    limit = readme.stat().st_size - 1
    done = subprocess.run(
        [sys.executable, str(repository.folder / "tools" / "new_tracker.py"), "my-tool"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("new_tracker.py: ") and done.stderr.count("\n") == 1
    assert repository.status() == []


def test_the_template_has_what_a_package_has() -> None:
    """The name that stands for the new one is nobody's."""
    template = Package(ROOT / "tools" / "tracker_template")
    assert list(template.trackers) == ["my_tool"]
    assert not (ROOT / "packages" / "tracking-my-tool").exists()
