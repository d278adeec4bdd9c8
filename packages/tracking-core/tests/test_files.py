from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracking_core.files import Unkept, copy_file, files_below


def test_files_are_found_in_order_and_in_no_circle(tmp_path: Path) -> None:
    (tmp_path / "b" / "inner").mkdir(parents=True)
    (tmp_path / "copies").mkdir()
    for name in ("b/2.txt", "b/1.txt", "b/inner/3.txt", "a.txt", "copies/4.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "b" / "inner" / "up").symlink_to(tmp_path)
    found = files_below(str(tmp_path), leave_out=str(tmp_path / "copies"))
    assert [os.path.relpath(path, tmp_path) for path in found] == [
        "a.txt", "b/1.txt", "b/2.txt", "b/inner/3.txt",
    ]  # fmt: skip
    assert list(files_below(str(tmp_path / "nowhere"))) == []


def test_a_copy_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "made" / "deep" / "copy"
    for content in ("old", "new"):
        source.write_text(content)
        copy_file(str(source), str(target))
        assert target.read_text() == content
    assert os.listdir(target.parent) == ["copy"]


def test_what_can_never_be_copied_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with pytest.raises(Unkept, match=r"source' is no file, or gone"):
        copy_file(str(source), str(tmp_path / "copy"))
    source.write_text("content")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unkept, match=r"^'models/folder' is already something else$"):
        copy_file(str(source), str(tmp_path / "folder"), "models/folder")
    with pytest.raises(Unkept, match=r"already something else"):
        copy_file(str(source), str(source / "below a file"))
    assert sorted(os.listdir(tmp_path)) == ["folder", "source"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("secret")
    source.chmod(0)
    with pytest.raises(Unkept, match="Permission denied"):
        copy_file(str(source), str(tmp_path / "copy"))


def test_a_full_disk_is_an_error_that_passes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "copy"
    source.write_text("content")

    def full(_: str, to: str) -> None:
        Path(to).write_text("con")
        raise OSError(28, "No space left on device", to)

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        copy_file(str(source), str(target))
    assert os.listdir(tmp_path) == ["source"]
