#!/usr/bin/env python3
"""Run the project's commands on a fresh clone, with nothing but Python and git.

    python3 tools/dev.py demo            train a small classifier, see it in TensorBoard and MLflow
    python3 tools/dev.py test            every check and every test
    python3 tools/dev.py test -k name    further arguments go to the command
    python3 tools/dev.py SCRIPT [ARGS]   any script of hatch.toml, as `hatch run SCRIPT [ARGS]`

The first call makes a private environment in the folder `.dev` of the clone and installs hatch
there; hatch then makes the environments of hatch.toml in the same folder. Downloads are kept in
the user's cache directory; nothing else outside the clone is written. Delete `.dev` to start over,
for instance with another Python.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

# Pinned, so that a new release of hatch can't break a clone that worked yesterday.
HATCH = "hatch==1.18.2"

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / ".dev"
VENV = DEV / "venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
INSTALLED = VENV / "installed"
HATCH_CONFIG = DEV / "hatch.config.toml"

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
        print(__doc__)
        return 0 if arguments else 2
    environment = environment_for_hatch()
    if not is_installed():
        problem = install(environment)
        if problem:
            return fail(problem)
    # The two dashes keep hatch from taking options that are meant for the script, `--` included.
    hatch = [str(PYTHON), "-m", "hatch", "run", "--", *arguments]
    try:
        # From the root, because hatch doesn't look for hatch.toml in the folders above.
        return subprocess.run(hatch, cwd=ROOT, env=environment).returncode
    except KeyboardInterrupt:
        return 130


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
