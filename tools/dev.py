#!/usr/bin/env python3
"""Run the project's commands on a fresh clone, with nothing but Python and git.

    python3 tools/dev.py demo            train a small classifier, see it in TensorBoard and MLflow
    python3 tools/dev.py test            the checks, and what can be tested with these two trackers
    python3 tools/dev.py test -k name    further arguments go to the command
    python3 tools/dev.py SCRIPT [ARGS]   any script below, as `hatch run SCRIPT [ARGS]`

The first call makes a private environment in the folder `.dev` of the clone and installs hatch
there; hatch then makes the environments of hatch.toml in the same folder. Downloads are kept in
the user's cache directory; nothing else outside the clone is written. Delete `.dev` to start over,
for instance with another Python.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Pinned, so that a new release of hatch can't break a clone that worked yesterday.
HATCH = "hatch==1.18.2"

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / ".dev"
VENV = DEV / "venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
INSTALLED = VENV / "installed"
HATCH_CONFIG = DEV / "hatch.config.toml"
SCRIPTS = ROOT / "hatch.toml"
NO_SUCH_COMMAND = 127  # says a shell

# What is active in the caller's shell must not leak into our environments.
FOREIGN = (
    "HATCH_ENV",
    "HATCH_ENV_ACTIVE",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT_ENVIRONMENT",
    "VIRTUAL_ENV",
)


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - an older python3 gets here, and a clear sentence
        return fail(f"Python 3.10 or newer is needed, and {sys.executable} is {version()}.")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{__doc__}\n{listed(scripts())}")
        return 0 if arguments else 2
    if refusal := elsewhere(arguments):
        return fail(refusal)
    environment = environment_for_hatch()
    if not is_installed():
        problem = install(environment)
        if problem:
            return fail(problem)
    # The two dashes keep hatch from taking options that are meant for the script, `--` included.
    hatch = [str(PYTHON), "-m", "hatch", "run", "--", *arguments]
    try:
        # From the root, because hatch doesn't look for hatch.toml in the folders above.
        code = subprocess.run(hatch, cwd=ROOT, env=environment).returncode
    except KeyboardInterrupt:
        return 130
    if code == NO_SUCH_COMMAND and arguments[0] not in {one.name for one in scripts()}:
        say(
            f"{arguments[0]!r} is no script of hatch.toml and no program of its environment. "
            f"There are\n\n{listed(scripts())}"
        )
    return code


class Script(NamedTuple):
    """What can be run; `what` is the comment above it in hatch.toml."""

    name: str
    what: str


def scripts() -> list[Script]:
    """The scripts of hatch.toml, as they are called: those of the default environment by name alone.

    Python 3.10 has no module for TOML, and what a person types is all that is wanted.
    """
    found, environment, said = [], "", ""
    for line in SCRIPTS.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = re.fullmatch(r"\[envs\.([\w-]+)\.scripts\]", line.strip())
            environment = section[1] if section else ""
        elif environment and (script := re.match(r"([\w-]+) = ", line)):
            prefix = "" if environment == "default" else f"{environment}:"
            found.append(Script(prefix + script[1], said))
        said = line[2:] if line.startswith("# ") else ""
    return found


def listed(found: list[Script]) -> str:
    width = max(len(one.name) for one in found) + 2
    return "\n".join(f"    {one.name:{width}}{one.what}".rstrip() for one in found)


def elsewhere(arguments: list[str]) -> str:
    """Why the tests that are asked for can't run in the default environment, and what runs them."""
    if arguments[0] not in ("pytest", "test"):
        return ""
    here = re.findall(r'"(packages/[\w-]+)"', SCRIPTS.read_text("utf-8"))
    for argument in arguments[1:]:
        # Whoever types it: it is run in the root.
        place = os.path.relpath(ROOT / argument.partition("::")[0], ROOT).replace(os.sep, "/")
        package = re.match(r"packages/tracking-([\w-]+)", place)
        if package and package[0] not in here and (ROOT / package[0]).is_dir():
            return (
                f"{package[0]} needs a library that the default environment does not have. "
                "It is tested from its wheel, in an environment of its own:\n\n"
                "    python3 tools/dev.py tox:wheelhouse\n"
                f"    python3 tools/dev.py tox:run -e pkg-py{python_for(package[0])}-{package[1]}"
                " -- -k name\n"
            )
    return ""


def python_for(package: str) -> str:
    """The newest Python up to this one that a package takes, such as ``311``."""
    metadata = (ROOT / package / "pyproject.toml").read_text("utf-8")
    below = re.search(r'^requires-python = ".*<3\.(\d+)"', metadata, re.MULTILINE)
    return f"3{min(sys.version_info[1], 13, int(below[1]) - 1 if below else 13)}"


def is_installed() -> bool:
    # The file is written last, so that an interrupted installation starts over. The interpreter is
    # gone when the Python that it was made with is, and programs break when the clone is moved.
    return PYTHON.exists() and INSTALLED.is_file() and INSTALLED.read_text() == f"{HATCH} {ROOT}"


def install(environment: dict[str, str]) -> str | None:
    """Make the private environment, and return what went wrong, if something did."""
    try:
        # Debian ships Python without ensurepip, and venv then says so in eight lines.
        import ensurepip  # noqa: F401 - only looked for
        import venv  # noqa: F401 - only looked for
    except ImportError as missing:
        return (
            f"{sys.executable} can't make virtual environments: its module {missing.name} is not "
            f"installed. On Debian and Ubuntu, `apt install python{version(2)}-venv` brings it; "
            "then run the same command again."
        )
    if not Path("~/.rustup").expanduser().exists():
        # pip asks rustc for its version, and rustup's answers by making that folder.
        environment = {"RUSTUP_HOME": str(DEV / "rustup")} | environment
    if DEV.exists():
        shutil.rmtree(DEV)
    say(f"making {VENV} with {sys.executable} ({version()})")
    venv_command = [sys.executable, "-m", "venv", str(VENV)]
    if subprocess.run(venv_command, env=environment, stdout=sys.stderr).returncode != 0:
        return f"{VENV} could not be made, see above."
    say(f"installing {HATCH} there, once")
    pip_command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-qq", HATCH]
    if subprocess.run(pip_command, env=environment, stdout=sys.stderr).returncode != 0:
        return "hatch could not be installed, see above. The same command tries it again."
    HATCH_CONFIG.touch()  # hatch wants the file that it is told of to exist
    INSTALLED.write_text(f"{HATCH} {ROOT}")
    say("hatch makes the environment next, which takes about a minute")
    return None


def environment_for_hatch() -> dict[str, str]:
    """Return variables under which hatch, pip and uv stay inside the clone and the user's cache."""
    result = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    result["HATCH_DATA_DIR"] = str(DEV / "hatch")
    result["HATCH_CONFIG"] = str(HATCH_CONFIG)
    # uv installs what pip would, from where pip would; a folder that doesn't exist stops only uv.
    links = result.get("PIP_FIND_LINKS", "").split()
    links = [link for link in links if "://" in link or Path(link).exists()]
    if links:
        result.setdefault("UV_FIND_LINKS", ",".join(links))
    if "PIP_INDEX_URL" in result:
        result.setdefault("UV_DEFAULT_INDEX", result["PIP_INDEX_URL"])
    # pip trusts the machine's own certificates (of a company's proxy, say), uv only when told to.
    certificates = ssl.get_default_verify_paths()
    if certificates.cafile or certificates.capath:
        result.setdefault("UV_SYSTEM_CERTS", "1")
    return result


def version(parts: int = 3) -> str:
    return ".".join(map(str, sys.version_info[:parts]))


def say(message: str) -> None:
    print(f"dev.py: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> int:
    say(message)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
