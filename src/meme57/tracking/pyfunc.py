"""A policy as an MLflow model that runs no foreign code: data files and this package's loader, never a pickle."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from meme57.errors import TrackingError
from meme57.tracking.registry import CHAMPION, by_alias
from meme57.tracking.store import Store, first_line, refuse_other_place

ADDRESS = re.compile(r"models:/(?P<name>[A-Za-z0-9_-]+)(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]+))")
Arrays = Mapping[str, np.ndarray[Any, Any]]


def save_policy_model(
    path: Path,
    *,
    data_path: Path,
    loader_module: str,
    inputs: Arrays,
    outputs: Arrays,
    pip_requirements: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write the MLflow model folder `path` with the data of `data_path`, which `loader_module._load_pyfunc` reads.

    `inputs` and `outputs` are an example of one step. Their first axis is the batch, which may have any size later.

    Raises:
        TrackingError: MLflow refuses.
    """
    try:
        with warnings.catch_warnings():
            # The signature comes from the example. If the example were stored too, MLflow would run the policy on it.
            warnings.filterwarnings("ignore", ".*input example was not provided.*")
            mlflow.pyfunc.save_model(
                str(path),
                loader_module=loader_module,
                data_path=str(data_path),
                signature=infer_signature(dict(inputs), dict(outputs)),
                pip_requirements=list(pip_requirements),
                metadata=dict(metadata or {}),
            )
    except MlflowException as error:
        raise TrackingError(f"the policy model {path} cannot be written: {first_line(error)}") from error
    return path


def policy_data(store: Store, uri: str) -> Path:
    """Return the local data folder of `models:/meme57-pong@champion` or `models:/meme57-pong/3`.

    Raises:
        TrackingError: the address has another form, there is no such version, or its files are missing.
    """
    found = ADDRESS.fullmatch(uri)
    if found is None:
        raise TrackingError(f"{uri!r} is no address of a policy: type models:/NAME@champion or models:/NAME/VERSION")
    client: MlflowClient = store.client()
    try:
        version = found["version"] or client.get_model_version_by_alias(found["name"], found["alias"]).version
        folder = _download(store, found["name"], version)
        data = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]["data"]
    except (MlflowException, OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise TrackingError(f"{uri} cannot be read from {store.uri}: {first_line(error)}") from error
    place = (folder / str(data)).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise TrackingError(f"{uri} names data outside its own folder ({data}): nothing was read")
    return place


def load_policy_model(store: Store, name: str, *, alias: str = CHAMPION) -> Any:
    """Load the policy behind an alias; it has `.predict({...})`.

    Raises:
        TrackingError: no version of `name` has the alias, the registry does not answer, or the files are elsewhere.
    """
    client: MlflowClient = store.client()
    version = by_alias(client, name, alias)
    if version is None:
        raise TrackingError(f"no model {name}@{alias} in {store.uri}: `kedro run` registers one")
    with tempfile.TemporaryDirectory() as temporary:  # MLflow cannot load from a folder with a name such as `a%20b`
        return mlflow.pyfunc.load_model(str(_download(store, name, str(version.version), temporary)))


def _download(store: Store, name: str, version: str, target: str | None = None) -> Path:
    """Return the local MLflow model folder of a version; a copy in `target`, if given."""
    source = str(store.client().get_model_version_download_uri(name, version))
    try:
        addresses = {"tracking_uri": store.uri, "registry_uri": store.uri}
        return Path(mlflow.artifacts.download_artifacts(source, dst_path=target, **addresses))
    except (MlflowException, OSError):
        refuse_other_place(store, source)  # says what to do if this is the reason
        raise
