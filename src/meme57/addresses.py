"""Addresses of SQLite databases and of local files: only this module builds, parses and checks them.

SQLAlchemy, and so MLflow and Optuna, reads the path of `sqlite:///PATH` percent-decoded and up to a `?`.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from meme57.errors import AddressError

SQLITE = "sqlite"
OPTIONS = {"timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
"""What may follow the `?`: the options of Python's driver."""
HEADER = b"SQLite format 3\0"


def sqlite_address(path: Path) -> str:
    """Return the address of the database in the file `path`."""
    return _render(URL.create(SQLITE, database=str(path)))


def absolute_address(address: str, project: Path) -> str:
    """Make a SQLite address absolute, relative to the project and with `~` expanded; any other is unchanged.

    Raises:
        AddressError: it is a SQLite address and names no file.
    """
    if not _is_sqlite(address):
        return address
    url = _parse(address)
    return _render(url.set(database=str(project.resolve() / os.path.expanduser(url.database or ""))))


def sqlite_path(address: str) -> Path | None:
    """Return the file of an absolute SQLite address; None for any other address.

    Raises:
        AddressError: it is a SQLite address and names no file.
    """
    return Path(_parse(address).database or "") if _is_sqlite(address) else None


def local_path(location: str) -> Path | None:
    """Return the path of a `file:` URI or of a plain path; None if the files are not local."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if not parts.scheme else None


def check_database(path: Path) -> None:
    """Check whether `path` is a SQLite database, or can become one; write nothing.

    Raises:
        AddressError: it cannot; one line, without delay.
    """
    words = f"{path} cannot be used as a SQLite database"
    try:
        fault, is_damaged = _fault(path.resolve()), _is_other_kind(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise AddressError(f"{words}: {error}") from error
    if fault:
        raise AddressError(f"{words}: {fault}")
    if is_damaged:  # SQLite itself would say so, after MLflow's hundred seconds of retries
        damage = sqlite3.DatabaseError("file is not a database")
        raise AddressError(f"{words}: it is another kind of file, move it away or name another one") from damage


def prepare_database(path: Path) -> None:
    """Make the database's folders and open it once; an empty file is an empty database.

    Raises:
        AddressError: this is not possible.
    """
    check_database(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite3.connect(path).close()
    except (OSError, sqlite3.Error) as error:
        raise AddressError(f"{path} cannot be used as a SQLite database: {error}") from error


def _is_sqlite(address: str) -> bool:
    return address.partition(":")[0].partition("+")[0] == SQLITE


def _parse(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        url = URL.create(SQLITE)
    if url.host or url.username or not url.database or url.database.startswith((":memory:", "file:")):
        raise AddressError(
            f"{address} names no file: write sqlite:///FILE (from the project's folder) or sqlite:////FOLDER/FILE"
        )
    if "?" in address and not (url.query and set(url.query) <= OPTIONS):
        raise AddressError(
            f"{address} has unknown options behind the ?: write a ? that belongs to the path as %3F, a % as %25"
        )
    return url


def _render(url: URL) -> str:
    text = url.render_as_string(hide_password=False)
    # MLflow makes the folders of a `sqlite:///` address without decoding it; if a driver is named, it makes none.
    return text.replace("sqlite:", "sqlite+pysqlite:", 1) if "%" in text else text


def _fault(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder, name a file in it, such as mlflow.db"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return "it is no file"
    if path.exists() and not os.access(path, os.W_OK):
        return f"it cannot be written to: `chmod u+w {path}`, or make it yours (`chown`)"
    folder = next(folder for folder in path.parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is no folder that can be written to"
    return None


def _is_other_kind(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(HEADER)) not in (b"", HEADER)
