"""Whether a registered version's files are those that were registered: its data, and the code that loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from mlflow.entities.model_registry import ModelVersion

from meme57.errors import TrackingError
from meme57.files import checksum, tree_digest
from meme57.tracking.store import first_line

CONTENT = "meme57.content"
CODE = "meme57.code"
LOADER_BEFORE = "meme57.export.pyfunc"
"""What loads versions that say nothing of their code."""
AGAIN = "restore the files, or delete the version and register the run again (`kedro run --pipelines register`)"


def loader_of(folder: Path) -> dict[str, Any]:
    """Read what the MLflow model in `folder` says of how it is loaded.

    Raises:
        TrackingError: its MLmodel file is missing or damaged.
    """
    path = folder / "MLmodel"
    try:
        loader = yaml.safe_load(path.read_text(encoding="utf-8"))["flavors"].get("python_function", {})
        if not isinstance(loader, dict):
            raise TypeError("python_function is no mapping")
    except (OSError, AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise TrackingError(f"{path} is missing or damaged: {first_line(error)}") from error
    return loader


def check_files(version: ModelVersion, folder: Path) -> None:
    """Refuse the files of a version where they are not those that were registered, before any of them is loaded.

    A version of an older release does not say what code is its own: it may have none.

    Raises:
        TrackingError: one line.
    """
    what = f"{version.name} version {version.version}"
    expected, loader = version.tags.get(CODE), loader_of(folder)
    if expected is None:
        whole = loader.get("loader_module") == LOADER_BEFORE and not loader.get("code")
    else:
        whole = expected == code_checksum(folder)
    if not whole:
        raise TrackingError(f"the code of {what} is not what was registered, and was not run: {AGAIN}")
    if version.tags.get(CONTENT, content := content_checksum(folder)) != content:
        raise TrackingError(f"the data of {what} are not what was registered: {AGAIN}")


def code_checksum(folder: Path) -> str:
    """Return the checksum of how MLflow loads the model: what MLmodel says of it, and every file of its code."""
    code = folder / "code"
    files = {
        path.relative_to(folder).as_posix(): checksum(path)
        for path in code.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    return tree_digest({"loader": loader_of(folder), "files": files})


def content_checksum(folder: Path) -> str:
    """Checksums of the policy's data; MLflow's own files carry the time and would always differ."""
    data = folder / "data"
    root = data if data.exists() else folder
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    return " ".join(checksum(file)[:12] for file in files)
