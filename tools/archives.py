"""Unpacks tar files, so that nothing lands outside the folder, on every Python that is supported."""

from __future__ import annotations

import tarfile
from pathlib import Path

__all__ = ["unpack_tar"]


def unpack_tar(archive: Path, into: Path) -> None:
    """Unpack the tar file `archive`, compressed or not, in the folder `into`.

    Raises:
        tarfile.TarError: something in it would lie outside `into`, or is neither file nor folder.
            On a Python that can look for itself, links that stay inside are taken too.
    """
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(into, filter="data")
            return
        # Before 3.10.12 and 3.11.4, which Debian 12 has, `extractall` takes whatever there is.
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise tarfile.ExtractError(f"{archive}: {member.name!r} is no file and no folder")
            if Path(member.name).is_absolute() or ".." in Path(member.name).parts:
                raise tarfile.ExtractError(f"{archive}: {member.name!r} would lie outside {into}")
            member.mode &= 0o755  # nothing is run as somebody else, or written by others
        tar.extractall(into)
