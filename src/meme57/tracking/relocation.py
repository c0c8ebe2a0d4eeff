"""Make the local store of a copied or moved checkout point to its own files: MLflow stores absolute addresses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from meme57.addresses import local_path, sqlite_path
from meme57.errors import TrackingError
from meme57.tracking.store import Store, other_place

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that contain addresses of files."""


@dataclass(frozen=True)
class Relocation:
    """The addresses to rewrite."""

    old: tuple[Path, ...]
    """The `mlruns` folders of other checkouts."""
    new: Path
    changes: tuple[tuple[str, str, int, str], ...]
    """Table, column, row and the new address."""


def plan_relocation(store: Store) -> Relocation:
    """Plan what `relocate` would rewrite.

    Raises:
        TrackingError: the store is not a local one, or cannot be read.
    """
    with _database(store) as connection:
        return _plan(connection, store)


def relocate(store: Store) -> Path:
    """Rewrite every address in another checkout, all or none; return the copy of the old database.

    Raises:
        TrackingError: the store is not a local one, or cannot be written to.
    """
    with _database(store) as connection:
        connection.execute("BEGIN IMMEDIATE")
        plan = _plan(connection, store)
        backup = _back_up(store, plan.new)
        for table, column, row, address in plan.changes:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (address, row))
        connection.execute("COMMIT")
    return backup


@contextmanager
def _database(store: Store) -> Iterator[sqlite3.Connection]:
    path = sqlite_path(store.uri)
    if path is None:
        raise TrackingError(f"{store.uri} is not a local store: its server decides where the files are")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:  # uncommitted changes are undone
            yield connection
    except sqlite3.Error as error:
        raise TrackingError(f"{path} was not changed ({error}): stop what uses it, then try again") from error


def _plan(connection: sqlite3.Connection, store: Store) -> Relocation:
    assert store.artifacts is not None, store.uri
    rows = [
        (table, column, row, address)
        for table, column in ADDRESSES
        for row, address in connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL")
    ]
    places = [other_place(store, address) for *_, address in rows]
    old, new = tuple(sorted({place.parent for place in places if place is not None})), store.artifacts.parent
    found = [(*where, _moved(address, old, new)) for *where, address in rows]
    return Relocation(old, new, tuple((*where, address) for *where, address in found if address is not None))


def _moved(address: str, old: Sequence[Path], new: Path) -> str | None:
    """Return the address in `new` of a file in one of the old folders; None for any other address."""
    path = local_path(address)
    folder = next((folder for folder in old if path is not None and path.is_relative_to(folder)), None)
    if path is None or folder is None:
        return None
    moved = new / path.relative_to(folder)
    return moved.as_uri() if address.startswith("file:") else str(moved)


def _back_up(store: Store, folder: Path) -> Path:
    path = folder / f"mlflow-{datetime.now(UTC):%Y%m%dT%H%M%S}.db"
    # On a separate connection: SQLite cannot copy a database on the connection that has begun to write.
    with _database(store) as connection, closing(sqlite3.connect(path)) as copy:
        connection.backup(copy)
    return path
