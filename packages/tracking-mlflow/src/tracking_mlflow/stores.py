"""The store that runs go to, opened; one that is still to be made is made by one process at a time.

MLflow makes the tables of a fresh database by dozens of migrations, each in several steps. Two
processes that do so at once, or one that is killed, leave a database that no MLflow can use.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tracking_core.errors import StoreBusyError
from tracking_core.locks import only_one
from tracking_mlflow import library
from tracking_mlflow.settings import MLflowSettingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Store", "opened", "without_password"]

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SECONDS_OF_A_MIGRATION = 120.0
HALF_MADE = ".half-made"


class Store(NamedTuple):
    """A store that is open.

    Attributes:
        client: for its runs.
        uri: its address, without a password, and of a local one from any directory.
        path: the directory or the SQLite database that it is; empty if it is none on this machine.
        keeps_files: whether it is a directory with a file for each metric, param and tag.
        inode: of the database: another file in its place is another database.
    """

    client: MlflowClient
    uri: str
    path: str = ""
    keeps_files: bool = False
    inode: tuple[int, int] | None = None

    @property
    def is_a_server(self) -> bool:
        """Whether it is reached through HTTP."""
        return urlsplit(self.uri).scheme in ("http", "https")

    def check(self) -> None:
        """See that the database is still there.

        SQLite writes on, into a file that nobody can find any more.

        Raises:
            FileNotFoundError: it was deleted or moved away, or another is in its place.
        """
        if self.inode is None or _inode(self.path) == self.inode:
            return
        engine = library.engine_of(self.client)
        if engine is not None:
            engine.dispose()
        if os.path.exists(self.path):
            return  # what is there now has the run, or MLflow says that it has not
        raise FileNotFoundError(
            f"the database {self.path} was deleted or moved away: what is logged is kept until it "
            "is back"
        )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within it no other process does what only one may do in a directory, if it is one."""
        with only_one(self.path) if self.keeps_files else contextlib.nullcontext():
            yield


def opened(mlflow: Any, uri: str) -> Store:
    """The store at `uri`, made if it is a local one that is not there yet.

    Raises:
        MLflowSettingError: MLflow does not write there.
        StoreBusyError: it is being made by somebody else, for long.
        Exception: whatever MLflow and SQLAlchemy raise when they can't reach it.
    """
    shown, scheme = without_password(uri), urlsplit(uri).scheme
    if scheme in ("", "file") or len(scheme) == 1:  # a drive of Windows
        return _directory(mlflow, uri)
    if scheme in ("http", "https") and not urlsplit(uri).hostname:
        raise MLflowSettingError(
            f"tracker 'mlflow': the address {shown!r} names no host: set MLFLOW_TRACKING_URI to one "
            "like http://localhost:5000, or to a database, such as sqlite:///mlflow.db"
        )
    dialect = scheme.partition("+")[0]
    path = _sqlite_path(uri) if dialect == "sqlite" else ""
    if path:
        return _sqlite(mlflow, uri, path)
    if dialect in DATABASES:
        library.connect_once(uri)
    return Store(mlflow.MlflowClient(tracking_uri=uri), shown)


def without_password(uri: str) -> str:
    """`uri` without user and password: it goes into journals and messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


# --- a directory ---


def _directory(mlflow: Any, uri: str) -> Store:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.file_utils import local_file_uri_to_path

    path = os.path.abspath(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]  # theirs
    # MLflow makes the trash last.
    ready = os.path.isdir(os.path.join(path, ".trash"))
    try:
        with contextlib.nullcontext() if ready else only_one(path):
            client = mlflow.MlflowClient(tracking_uri=uri)
    except MlflowException as error:
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE"):
            raise
        raise MLflowSettingError(
            f"tracker 'mlflow' can't log to {uri!r}: MLflow no longer writes to directories. "
            "Set MLFLOW_TRACKING_URI to a database, such as sqlite:///mlflow.db, or to the "
            "address of a server (MLFLOW_ALLOW_FILE_STORE=true brings directories back)"
        ) from error
    return Store(client, Path(path).as_uri(), path, keeps_files=True)


# --- a database in a file ---

State = Literal["fresh", "ready", "begun", "shared"]
"""Of a database: there is none, or it is empty; MLflow can use it; MLflow's tables are not all
there; it has other tables, of somebody else."""


def _sqlite(mlflow: Any, uri: str, path: str) -> Store:
    shown = _absolute(uri)
    if _state(path) == "ready":
        return Store(mlflow.MlflowClient(tracking_uri=uri), shown, path, inode=_inode(path))
    with only_one(path):
        state = _state(path)
        if state == "begun" and not _is_whole(path):
            _clear_away(path)
            state = "fresh"
        if state == "fresh":
            _make(path)
        # Within the lock: MLflow adds the first experiment.
        return Store(mlflow.MlflowClient(tracking_uri=uri), shown, path, inode=_inode(path))


def _sqlite_path(uri: str) -> str:
    """The file of a SQLite database; empty for one in memory, or in SQLite's own words."""
    from sqlalchemy.engine import make_url

    path = make_url(uri).database or ""
    return "" if path == ":memory:" or path.startswith("file:") else os.path.realpath(path)


def _absolute(uri: str) -> str:
    """`uri` for somebody who works in another directory."""
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    path = url.database or ""
    if os.path.isabs(path):
        return uri
    return url.set(database=os.path.abspath(path)).render_as_string(hide_password=False)


def _state(path: str) -> State:
    if not os.path.exists(path) or not os.path.getsize(path):
        return "fresh"
    with _reading(path) as database:
        tables = _tables(database)
        if not tables:
            return "fresh"
        if not tables & _own_tables():
            return "shared"
        try:
            first = database.execute("SELECT 1 FROM experiments WHERE experiment_id = 0").fetchone()
        except sqlite3.OperationalError:  # there is no such table yet
            return "begun"
        # The first experiment is made last.
        return "ready" if first and not any(map(_is_temporary, tables)) else "begun"


def _is_whole(path: str) -> bool:
    """Whether all migrations went through."""
    with _reading(path) as database:
        tables = _tables(database)
        if "alembic_version" not in tables or any(map(_is_temporary, tables)):
            return False
        found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    return found == [(library.newest_schema(),)]


def _make(path: str) -> None:
    """Make the database beside its place, so that it is there whole or not at all."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    for left in (draft, f"{draft}-journal"):  # by one that was killed
        with contextlib.suppress(FileNotFoundError):
            os.unlink(left)
    library.make_tables(draft)
    try:
        if os.path.exists(path):  # but empty
            os.replace(draft, path)
        else:
            os.link(draft, path)
            os.unlink(draft)
    except FileExistsError:
        raise StoreBusyError(
            f"tracker 'mlflow': somebody else has begun to make the database {path}"
        ) from None
    except OSError:  # a file system without links
        os.replace(draft, path)


def _clear_away(path: str) -> None:
    """Move a database away that somebody began to make, and that holds nothing.

    Raises:
        StoreBusyError: it is perhaps being made right now, by an MLflow that knows no lock.
        MLflowSettingError: it holds something.
    """
    with _reading(path) as database:
        tables = _tables(database)
        strange = {name for name in tables if not _is_temporary(name)} - _own_tables()
        rows = [
            name
            for name in ("experiments", "runs")
            if name in tables and database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
        ]
    if strange or rows:
        raise MLflowSettingError(
            f"tracker 'mlflow': the database {path} has MLflow's tables, but not all of them: its "
            "migration did not come to its end. Restore a backup of it, or set MLFLOW_TRACKING_URI "
            "to another one"
        )
    age = time.time() - max(
        os.stat(one).st_mtime for one in (path, f"{path}-journal") if os.path.exists(one)
    )
    if age < SECONDS_OF_A_MIGRATION:
        raise StoreBusyError(
            f"tracker 'mlflow': the database {path} is half made: somebody is at it, or was killed. "
            f"If nothing moves for {SECONDS_OF_A_MIGRATION:.0f} s, it is made anew"
        )
    os.replace(path, path + HALF_MADE)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection]:
    try:
        address = f"{Path(path).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            yield database
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise MLflowSettingError(
            f"tracker 'mlflow': {path} is no SQLite database ({error}): move it away, or set "
            "MLFLOW_TRACKING_URI to another file"
        ) from error


def _tables(database: sqlite3.Connection) -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return {name for (name,) in database.execute(query) if not name.startswith("sqlite_")}


def _is_temporary(table: str) -> bool:
    """Whether `table` is a migration's, which copies one and puts the copy in its place."""
    return table.startswith("_alembic_tmp_")


def _own_tables() -> set[str]:
    return library.own_tables() | {"alembic_version"}


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
