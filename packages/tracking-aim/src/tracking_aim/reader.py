"""A run of Aim's as the records that a tracker takes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tracking_aim.importing import unhooked
from tracking_core.records import Record

__all__ = ["read_run"]


def read_run(
    run_hash: str,
    repo: str | os.PathLike[str] = ".",
    *,
    download_to: str | os.PathLike[str] | None = None,
) -> Iterator[Record]:
    """The configuration, tags, rows and end of a run, whoever logged it.

    A running run is read as far as it has got; it need not be in Aim's index. A row holds what has
    one step, time, context and epoch; the latter two are in its ``options["aim"]``. Metrics of the
    system, terminal output and log messages are left out.

    Args:
        run_hash: Aim's name for the run, as in ``run.hash``.
        repo: the directory that holds the repository, or the address of a server (``aim://``).
        download_to: a directory for copies of artifacts that are not on this machine; without it
            they are left where they are, and left out.

    Raises:
        AimRepositoryError: there is no such repository.
        MissingRunError: it has no such run.
    """
    with unhooked():
        from tracking_aim.history import History

    yield from History(run_hash, os.fspath(repo), download_to).records()
