"""The tracking store: a local SQLite store by default, or any MLflow server.

`MLFLOW_TRACKING_URI` comes first, then `server.mlflow_tracking_uri` of `conf/base/mlflow.yml`, then
`mlruns/mlflow.db`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from meme57 import errors
from meme57.addresses import absolute_address, local_path, prepare_database, sqlite_path
from meme57.errors import AddressError, TrackingError, UnreachableStoreError

LOCAL = "sqlite:///mlruns/mlflow.db"
ARTIFACTS = ("mlruns", "artifacts")
DEFAULT = ("mlruns", "mlflow.db")
"""Folder of the local store's files; every location that the store returns ends in it."""
PROBE_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """A tracking store that is known to answer."""

    uri: str
    artifacts: Path | None
    """Folder of the artifacts; None if a server decides."""

    def client(self) -> MlflowClient:
        """Make a client, which uses explicit ids, never the fluent API.

        Runs and models are in the same store; `MLFLOW_REGISTRY_URI` of the caller's shell is ignored.
        """
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


def tracking_uri(project_path: Path, configured: str | None = None) -> str:
    """Return the store's URI; a relative SQLite path is relative to the project's root, not the working directory.

    Raises:
        AddressError: it is a SQLite address without a file.
    """
    return absolute_address(os.environ.get("MLFLOW_TRACKING_URI") or configured or LOCAL, project_path)


def create_store(project_path: Path, configured: str | None = None) -> Store:
    """Create the store if necessary, and check that it answers; many processes may call this, repeatedly.

    Raises:
        AddressError: the database's address cannot be used.
        TrackingError: the store cannot be reached or used.
    """
    uri = tracking_uri(project_path, configured)
    if sqlite_path(uri) is not None:
        return _local_store(uri)
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    _open(uri)
    return Store(uri, None)


def create_store_or_local(project_path: Path, configured: str | None = None) -> Store:
    """Create the store; if its server does not answer, warn and use the store of this machine."""
    try:
        return create_store(project_path, configured)
    except UnreachableStoreError as error:
        store = _local_store(absolute_address(LOCAL, project_path))
        log.warning("%s; this run is written to mlruns/mlflow.db instead", error)
        return store


def experiment_id(store: Store, name: str) -> str:
    """Return the id of the experiment `name`, which is created on first use.

    Raises:
        TrackingError: the experiment was deleted, cannot be created, or keeps its files in another checkout.
    """
    client = store.client()
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = None if store.artifacts is None else (store.artifacts / name).as_uri()
            with suppress_existing():
                client.create_experiment(name, artifact_location=location)
            experiment = client.get_experiment_by_name(name)
    except MlflowException as error:
        raise TrackingError(f"experiment {name!r} cannot be opened in {store.uri}: {first_line(error)}") from error
    if experiment is None:
        raise TrackingError(f"experiment {name!r} cannot be created in {store.uri}: set tracking.experiment to another")
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} was deleted: `mlflow experiments restore -x {experiment.experiment_id}` "
            f"brings it back, or set tracking.experiment to another name"
        )
    refuse_other_place(store, str(experiment.artifact_location))
    return str(experiment.experiment_id)


def newest_experiment(client: MlflowClient) -> str | None:
    """Return the id of the experiment that changed last; None if there is none but MLflow's own, `Default`.

    Raises:
        TrackingError: the store cannot be read.
    """
    try:
        found = client.search_experiments(order_by=["last_update_time DESC"], max_results=1000)
    except MlflowException as error:
        raise TrackingError(f"the experiments cannot be read: {first_line(error)}") from error
    return next((str(experiment.experiment_id) for experiment in found if experiment.name != "Default"), None)


def refuse_other_place(store: Store, location: str) -> None:
    """Refuse a local store with files in another checkout's folder: this checkout was copied or moved.

    A location that a person configured is never refused.

    Raises:
        TrackingError: one line with both folders and the command that helps.
    """
    other = other_place(store, location)
    if other is not None:
        raise TrackingError(
            f"{store.uri} keeps its files in {other}, not in {store.artifacts}: this checkout was copied or moved; "
            "`meme57 relocate` makes the store point here"
        )


def other_place(store: Store, location: str) -> Path | None:
    """Return the other checkout's `mlruns/artifacts` that contains `location`; None for any other location."""
    mine, path = store.artifacts, local_path(location)
    if mine is None or path is None or mine.parts[-2:] != ARTIFACTS:
        return None
    root = next((folder for folder in (path, *path.parents) if folder.parts[-2:] == ARTIFACTS), None)
    return None if root is None or root.resolve() == mine.resolve() else root


def was_not_found(error: MlflowException) -> bool:
    """Say whether the store answered that there is no such object; any other error leaves that unknown."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; for a database, add how to repair it."""
    return f"{errors.first_line(error)}{_remedy(error)}"


def is_unusable(error: BaseException) -> bool:
    """Say whether the store's own database is damaged or read-only; a locked one only has to wait."""
    refused = [cause for cause in _causes(error) if isinstance(cause, sqlite3.DatabaseError)]
    return bool(refused) and not isinstance(refused[-1], sqlite3.IntegrityError) and "locked" not in str(error)


def _remedy(error: BaseException) -> str:
    text = str(error)
    if "out-of-date database schema" in text:
        return " Its address is that of the store, by default sqlite:///mlruns/mlflow.db."
    if not is_unusable(error):
        return ""
    if "disk is full" in text or "disk I/O error" in text:
        return ": make room on the disk of the database, by default mlruns/mlflow.db"
    if "readonly" in text or "unable to open" in text:
        return ": make the database and its folder writable, by default `chmod -R u+w mlruns`"
    return (
        ": the database is damaged; put a copy back, or move it away, by default `mv mlruns/mlflow.db "
        "mlruns/damaged.db`, and the next run makes a new one; what runs left under data/ is whole"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@contextlib.contextmanager
def suppress_existing() -> Iterator[None]:
    """Do not mind if another process has created just now what the block creates."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextlib.contextmanager
def locked_registry(client: MlflowClient) -> Iterator[None]:
    """Let one process at a time change a local registry, since MLflow has no transactions; a server is not locked."""
    database = sqlite_path(client.tracking_uri)
    with contextlib.nullcontext() if database is None else _locked(database.with_suffix(".registry.lock")):
        yield


def _local_store(uri: str) -> Store:
    database = sqlite_path(uri)
    assert database is not None, uri
    try:
        prepare_database(database)
    except AddressError as error:
        if not (
            is_unusable(error) and database.parts[-2:] == DEFAULT
        ):  # another database was configured, perhaps by mistake
            raise
        words = first_line(error.__cause__ or error)
        raise TrackingError(f"the MLflow store {uri} cannot be used: {words}") from error
    try:
        with _locked(database.with_suffix(".lock")):
            _open(uri)
    except OSError as error:
        raise TrackingError(f"the MLflow store {uri} cannot be used: {error}") from error
    return Store(uri, database.parent / "artifacts")


def _open(uri: str) -> None:
    try:
        Store(uri, None).client().search_experiments(max_results=1)
    except Exception as error:  # MLflow does not wrap the errors of its drivers
        raise TrackingError(f"the MLflow store {uri} cannot be used: {first_line(error)}") from error


def _probe(uri: str) -> None:
    request = urllib.request.Request(f"{uri.rstrip('/')}/health")
    try:
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers; the client finds out whether it grants access
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UnreachableStoreError(
            f"the MLflow server {uri} does not answer ({reason}): start it, "
            f"or unset MLFLOW_TRACKING_URI to write to mlruns/"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
