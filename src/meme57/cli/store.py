"""The tracking store of the project, for commands that need MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meme57.errors import TrackingError

if TYPE_CHECKING:
    from meme57.tracking.store import Store


def configured_store(project: Path) -> str | None:
    """`server.mlflow_tracking_uri` of `conf/base/mlflow.yml`."""
    import yaml

    path = project / "conf" / "base" / "mlflow.yml"
    settings = yaml.safe_load(path.read_text()) if path.is_file() else {}
    return ((settings or {}).get("server") or {}).get("mlflow_tracking_uri")


def existing_store(project: Path) -> Store:
    """The store, which must be there already.

    Raises:
        TrackingError: nothing was ever written to it, or it cannot be reached.
    """
    from meme57.tracking.store import SQLITE, create_store, tracking_uri

    uri = tracking_uri(project, configured_store(project))
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise TrackingError("nothing was tracked here yet (no MLflow store): `kedro run` writes the first run")
    return create_store(project, configured_store(project))
