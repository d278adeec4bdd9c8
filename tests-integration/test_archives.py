"""What is unpacked stays in its folder, also on a Python whose tarfile does not look."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from repository import ROOT

from archives import unpack_tar


@pytest.fixture(params=["this Python", "one before 3.10.12"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and as Debian 12 has it: `extractall` knows no filter."""
    if request.param != "this Python":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        plain = tarfile.TarFile.extractall

        def extractall(self: tarfile.TarFile, path: Path) -> None:
            plain(
                self,
                path,
                **({"filter": "fully_trusted"} if hasattr(tarfile, "tar_filter") else {}),
            )

        monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)


def packed(to: Path, **members: bytes | tarfile.TarInfo) -> Path:
    with tarfile.open(to, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return to


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.usefixtures("_both")
def test_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", **{"top/inner/leaf.txt": b"leaf", "top/b": b"b"})
    unpack_tar(archive, tmp_path / "to")
    found = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*")}
    assert found == {"top", "top/inner", "top/inner/leaf.txt", "top/b"}
    assert (tmp_path / "to" / "top" / "inner" / "leaf.txt").read_bytes() == b"leaf"


@pytest.mark.usefixtures("_both")
def test_what_git_archives_is_unpacked(tmp_path: Path) -> None:
    command = [
        "git",
        "-C",
        str(ROOT),
        "archive",
        "--output",
        str(tmp_path / "t.tar"),
        "HEAD",
        "tools",
    ]
    subprocess.run(command, check=True)
    unpack_tar(tmp_path / "t.tar", tmp_path / "to")
    assert (tmp_path / "to" / "tools" / "dev.py").is_file()


@pytest.mark.usefixtures("_both")
@pytest.mark.parametrize(
    "members",
    [
        {"../out": b"x"},
        {"top/../../out": b"x"},
        {"top": link("top", "..")},
        {"top": link("top", "/etc"), "top/out": b"x"},
        {"d": link("d", "."), "d/e": link("d/e", ".."), "d/e/out": b"x"},
        {"hard": link("hard", "../out", tarfile.LNKTYPE)},
        {"pipe": link("pipe", "", tarfile.FIFOTYPE)},
    ],
)
def test_nothing_gets_out(tmp_path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    archive = packed(tmp_path / "a.tar.gz", **members)
    with pytest.raises(tarfile.TarError):
        unpack_tar(archive, tmp_path / "to")
    assert (tmp_path / "out").read_bytes() == b"mine"
