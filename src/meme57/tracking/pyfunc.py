"""A policy as an MLflow model: data files, never a pickle, and a loader of ours, which is checked before it runs."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from meme57.errors import RefusalError, TrackingError
from meme57.files import write_json
from meme57.tracking.registry import CARD, CHAMPION, by_alias
from meme57.tracking.store import Store, first_line, refuse_other_place
from meme57.tracking.version_files import check_files, loader_of

ADDRESS = re.compile(r"models:/(?P<name>[A-Za-z0-9_-]+)(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]+))")
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's answers about a model or a version, and about an alias, that does not exist."""
FIRST_STEP = "first_step.json"
Arrays = Mapping[str, np.ndarray[Any, Any]]


def save_policy_model(
    path: Path,
    *,
    data_path: Path,
    loader_module: str,
    inputs: Arrays,
    outputs: Arrays,
    pip_requirements: Sequence[str],
    code: Sequence[Path] = (),
    growing: Collection[str] = (),
    card: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write the MLflow model folder `path` with the data of `data_path`, which `loader_module._load_pyfunc` reads.

    Beside what MLflow writes it holds the card, `README.md`, and `first_step.json`, what to post to a server first.

    Args:
        inputs: one example of a single step; the first axis is the batch, of any size when used.
        outputs: what it gives.
        code: files that are copied into the model, the loader among them; none where it is installed.
        growing: inputs and outputs whose second axis may have any size, too.
        card: Markdown.

    Raises:
        TrackingError: MLflow refuses.
    """
    signature = ModelSignature(_schema(inputs, growing), _schema(outputs, growing))
    try:
        with warnings.catch_warnings():
            # The signature comes from the example. If the example were stored too, MLflow would run the policy on it.
            warnings.filterwarnings("ignore", ".*input example was not provided.*")
            mlflow.pyfunc.save_model(
                str(path),
                loader_module=loader_module,
                data_path=str(data_path),
                code_paths=[str(file) for file in code] or None,
                signature=signature,
                pip_requirements=list(pip_requirements),
                metadata=dict(metadata or {}),
            )
    except MlflowException as error:
        raise TrackingError(f"the policy model {path} cannot be written: {first_line(error)}") from error
    write_json(path / FIRST_STEP, {"inputs": {name: value[:1].tolist() for name, value in inputs.items()}})
    (path / CARD).write_text(card, encoding="utf-8")
    return path


def _schema(arrays: Arrays, growing: Collection[str]) -> Schema:
    free = {name: 2 if name in growing else 1 for name in arrays}
    return Schema(
        [
            TensorSpec(value.dtype, (*[-1] * free[name], *value.shape[free[name] :]), name)
            for name, value in arrays.items()
        ]
    )


def policy_data(store: Store, uri: str) -> Path:
    """Return the local data folder of `models:/meme57-pong@champion` or `models:/meme57-pong/3`.

    Raises:
        RefusalError: the address has another form, or there is no such version.
        TrackingError: the registry does not answer, or the version's files are missing.
    """
    found = ADDRESS.fullmatch(uri)
    if found is None:
        raise RefusalError(f"{uri!r} is no address of a policy: type models:/NAME@champion or models:/NAME/VERSION")
    client: MlflowClient = store.client()
    name = found["name"]
    try:
        number = found["version"] or client.get_model_version_by_alias(name, found["alias"]).version
        version = client.get_model_version(name, number)
    except MlflowException as error:
        kind = RefusalError if error.error_code in ABSENT else TrackingError
        raise kind(f"{uri} cannot be read from {store.uri}: {first_line(error)}") from error
    try:
        folder = _download(store, name, number, None if store.artifacts else _until_exit())
        data = loader_of(folder)["data"]
        check_files(version, folder)
    except (MlflowException, OSError, KeyError, TypeError, ValueError) as error:
        raise TrackingError(f"{uri} cannot be read from {store.uri}: {first_line(error)}") from error
    place = (folder / str(data)).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise TrackingError(f"{uri} names data outside its own folder ({data}): nothing was read")
    return place


def _until_exit() -> str:
    """Make a folder that is removed when this program ends: a server's files come as a copy."""
    folder = tempfile.mkdtemp(prefix="meme57-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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
        folder = _download(store, name, str(version.version), temporary)
        check_files(version, folder)
        for compiled in folder.rglob("__pycache__"):  # Python would run it without looking at the source
            shutil.rmtree(compiled)
        return mlflow.pyfunc.load_model(str(folder))


def _download(store: Store, name: str, version: str, target: str | None = None) -> Path:
    """Return the local MLflow model folder of a version; a copy in `target`, if given."""
    source = str(store.client().get_model_version_download_uri(name, version))
    try:
        addresses = {"tracking_uri": store.uri, "registry_uri": store.uri}
        return Path(mlflow.artifacts.download_artifacts(source, dst_path=target, **addresses))
    except (MlflowException, OSError):
        refuse_other_place(store, source)  # says what to do if this is the reason
        raise
