"""A package index that is a folder, which pip and uv install from: ``--index-url file://DIR/simple``.

It has the layout of the simple repository API: a folder for each project, with its files and a page
that links them with their checksums, and a page of all projects.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from html import escape
from pathlib import Path

__all__ = ["add", "has"]


def has(index: Path, package: str, version: str) -> bool:
    """Whether the index has a file of that version."""
    stem = f"{package.replace('-', '_')}-{version}"
    folder = index / "simple" / package
    return any(folder.glob(f"{stem}-*.whl")) or any(folder.glob(f"{stem}.tar.gz"))


def add(index: Path, package: str, files: Iterable[Path]) -> Path:
    """Put the files of a version into the index, and write its pages anew."""
    simple = index / "simple"
    folder = simple / package
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)
    python = _requires_python(sorted(folder.glob("*.whl")))
    links = []
    for file in sorted(folder.glob("*.whl")) + sorted(folder.glob("*.tar.gz")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        version = _version(file)
        needs = f' data-requires-python="{escape(python[version])}"' if version in python else ""
        links.append(f'<a href="{escape(file.name)}#sha256={digest}"{needs}>{file.name}</a><br>')
    _write(folder, package, links)
    projects = sorted(page.parent.name for page in simple.glob("*/index.html"))
    _write(simple, "Packages", [f'<a href="{name}/">{name}</a><br>' for name in projects])
    return simple


def _requires_python(wheels: Iterable[Path]) -> dict[str, str]:
    """Which Pythons each version takes; a source distribution takes those of its wheel."""
    found = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
            headers = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
        if headers["Requires-Python"]:
            found[_version(wheel)] = headers["Requires-Python"]
    return found


def _version(file: Path) -> str:
    return re.sub(r"\.tar\.gz$|-py3.*$", "", file.name).partition("-")[2]


def _write(folder: Path, title: str, links: list[str]) -> None:
    lines = [
        "<!DOCTYPE html>",
        f"<html><head><title>{title}</title>",
        '<meta name="pypi:repository-version" content="1.0"></head><body>',
        *links,
        "</body></html>",
    ]
    (folder / "index.html").write_text("\n".join(lines) + "\n", "utf-8")
