"""The tracking store of the project, for whatever needs MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meme57.errors import ConfigurationError, TrackingError

if TYPE_CHECKING:
    from meme57.tracking.store import Store


def configured_store(project: Path) -> str | None:
    """Read `server.mlflow_tracking_uri` of `mlflow.yml` in the environments of a run without `--env`; the last counts.

    Raises:
        ConfigurationError: a file cannot be read, or names an environment variable that is not set.
    """
    import yaml

    from meme57.config.variables import expand
    from meme57.tracking.settings import setting

    found = None
    for environment in ("base", "laptop", "local"):
        path = project / "conf" / environment / "mlflow.yml"
        try:
            tree = yaml.safe_load(path.read_text()) if path.is_file() else {}
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
        value = setting(tree, "server", "mlflow_tracking_uri")
        found = found if value is None else value
    return None if found is None else expand(found)


def existing_store(project: Path) -> Store:
    """Return the store, which must exist already.

    Raises:
        AddressError: the database's address cannot be used.
        TrackingError: the store is empty, or it cannot be reached.
    """
    from meme57.addresses import check_database, sqlite_path
    from meme57.tracking.store import create_store, tracking_uri

    database = sqlite_path(tracking_uri(project, configured_store(project)))
    if database is not None:
        check_database(database)
        if not database.exists():
            raise TrackingError("nothing was tracked here yet (no MLflow store): `kedro run` writes the first run")
    return create_store(project, configured_store(project))
