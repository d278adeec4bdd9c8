"""What must hold for the two files of a release: the source distribution and the wheel.

Each function says what is wrong in sentences; none means that all is well.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from pathlib import Path

import installed_alone
from history import git, tree_at
from monorepo import CORE, ENTRY_POINTS, Package
from wheelhouse import Built, build, unpack

__all__ = ["build_twice", "unfit_contents", "unfit_installed", "unfit_metadata", "unfit_tested"]

# Runs in the environment that has nothing but the package; told its name, module and version.
LOADED = f"""
import importlib, sys
from importlib.metadata import distribution
name, module, wanted = sys.argv[1:]
found = distribution(name)
said = importlib.import_module(module).__version__
if (found.version, said) != (wanted, wanted):
    print(f"{{name}} {{wanted}} says of itself that it is {{found.version}} and {{said}}")
for point in found.entry_points.select(group={ENTRY_POINTS!r}):
    if point.load().name != point.name:
        print(f"the tracker at the entry point {{point.name!r}} calls itself {{point.load().name!r}}")
"""


def build_twice(package: Package, commit: str, into: Path) -> tuple[Built, list[str]]:
    """The two files, and what differs when they are built again, elsewhere, from the same commit."""
    date = git("show", "--no-patch", "--format=%ct", commit)

    def made(place: str, umask: int, zone: str) -> Built:
        folder = into / place
        folder.mkdir()
        # Whole trees, because a source distribution takes the .gitignore at the top with it.
        source = tree_at(commit, folder) / "packages" / package.name
        environ = {**os.environ, "SOURCE_DATE_EPOCH": date, "TZ": zone}
        return build(source, folder / "dist", umask=umask, environ=environ)

    with ThreadPoolExecutor() as pool:
        here = pool.submit(made, "here", 0o022, "UTC")
        elsewhere = pool.submit(made, "elsewhere", 0o077, "Pacific/Chatham")
    built = here.result()
    differ = [
        f"{one.name} is not the same when it is built again in another folder, time zone and umask"
        for one, other in zip(built, elsewhere.result(), strict=True)
        if digest(one) != digest(other)
    ]
    return built, differ


def digest(file: Path) -> str:
    """The file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def unfit_metadata(built: Built) -> Iterator[str]:
    """What tools that others use find wrong: would an index take it, is the wheel in order."""
    for command in (
        ["twine", "check", "--strict", *map(str, built)],
        ["check_wheel_contents", "--no-config", str(built.wheel)],
    ):
        done = _run(sys.executable, "-m", *command)
        if done.returncode != 0:
            yield f"{command[0]} refuses {built.wheel.name}:\n{done.stdout}"


def unfit_contents(package: Package, version: str, built: Built) -> Iterator[str]:
    """What is in the wheel and should not be, or is missing there or in the source distribution."""
    info = f"{package.module}-{version}.dist-info"
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
        texts = {
            name: archive.read(f"{info}/{name}").decode("utf-8")
            for name in ("METADATA", "entry_points.txt")
            if f"{info}/{name}" in names
        }
    sources = {
        f"{package.module}/{path.relative_to(package.source).as_posix()}"
        for path in package.source.rglob("*.py")
    }
    for name in sorted(sources | {f"{package.module}/py.typed", f"{info}/licenses/LICENSE"}):
        if name not in names:
            yield f"{built.wheel.name} lacks {name}"
    for name in sorted(names):
        parts = Path(name).parts
        if parts[0] not in (package.module, info):
            yield f"{built.wheel.name} has {name}, which is not of {package.module}"
        elif "tests" in parts or parts[-1].startswith(("test_", "conftest.")):
            yield f"{built.wheel.name} has tests: {name}"
    said = HeaderParser().parsestr(texts.get("METADATA", ""))
    if (said["Name"], said["Version"]) != (package.name, version):
        yield f"{built.wheel.name} says of itself that it is {said['Name']} {said['Version']}"
    points = configparser.ConfigParser(delimiters=("=",))
    points.optionxform = str  # type: ignore[assignment,method-assign] # names are kept as they are
    points.read_string(texts.get("entry_points.txt", ""))
    there = dict(points[ENTRY_POINTS]) if points.has_section(ENTRY_POINTS) else {}
    if there != dict(package.trackers):
        yield f"{built.wheel.name} has the entry points {there}, not {dict(package.trackers)}"
    top = f"{package.module}-{version}"
    with tarfile.open(built.sdist) as sdist:
        members = set(sdist.getnames())
    tests = {
        path.relative_to(package.folder).as_posix() for path in package.folder.rglob("tests/*.py")
    }
    for name in sorted(tests | {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}):
        if f"{top}/{name}" not in members:
            yield f"{built.sdist.name} lacks {name}"


def unfit_installed(
    package: Package, version: str, wheel: Path, core: Path | None, environment: Path
) -> Iterator[str]:
    """What is wrong with the package where nothing else is: a new environment, made in a folder.

    The wheel is installed with what it needs, and for the core with the wheel `core`, so that no
    index decides which one that is.
    """
    wanted = _python_for(package)
    made = _run(*UV, "venv", "--quiet", "--no-python-downloads", "--python", wanted, environment)
    if made.returncode != 0:
        yield f"no Python for {package.name} ({wanted}) is here:\n{made.stdout}"
        return
    installed = _install(environment, wheel, *([core] if core else []))
    if installed.returncode != 0:
        yield f"{wheel.name} can't be installed:\n{installed.stdout}"
        return
    python = python_of(environment)
    where = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    yield from installed_alone.strangers(package, Path(where.stdout.strip()))
    # From a folder without the tree: what is imported must be what was installed.
    about = (package.name, package.module, version)
    loaded = _run(python, "-I", "-c", LOADED, *about, folder=environment)
    if loaded.returncode != 0:
        yield f"{wheel.name} can't be imported where it is alone:\n{loaded.stdout}"
    else:
        yield from loaded.stdout.splitlines()


def unfit_tested(
    package: Package, built: Built, core: Path | None, environment: Path, sources: Path
) -> Iterator[str]:
    """Whether the tests in the source distribution fail, in an environment that has the wheel."""
    needed: list[str | Path] = [*([core] if core else []), *package.test_requirements]
    installed = _install(environment, built.wheel, *needed)
    if installed.returncode != 0:
        yield f"what the tests of {package.name} need can't be installed:\n{installed.stdout}"
        return
    if not sources.exists():
        unpack(built.sdist, sources)
    command: list[str | Path] = [python_of(environment), "-m", "pytest", "-q"]
    command += ["-c", sources / "pyproject.toml", sources / "tests"]
    if package.name == CORE:
        # What they say is about the tests, and the README's test command asks it once.
        command.append(f"--ignore={sources / 'tests' / 'seeded_bugs'}")
    # What tests start by name is that environment's, and what they print is seen while they run.
    path = os.pathsep.join([str(python_of(environment).parent), os.environ.get("PATH", "")])
    environ = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(environment)}
    done = subprocess.run(command, cwd=environment, env=environ)
    if done.returncode != 0:
        beside = f" with {core.name}" if core else ""
        yield f"the tests of {package.name} fail{beside}, see above"


UV = (sys.executable, "-m", "uv")


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _python_for(package: Package) -> str:
    """This interpreter where the package takes it, else whichever is here that it takes."""
    this = "{}.{}".format(*sys.version_info)
    return sys.executable if this in package.pythons else package.project["requires-python"]


def _install(environment: Path, *what: str | Path) -> subprocess.CompletedProcess[str]:
    return _run(*UV, "pip", "install", "--quiet", "--python", python_of(environment), *what)


def _run(*command: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
