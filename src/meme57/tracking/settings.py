"""`conf/base/mlflow.yml`; its keys are kedro-mlflow's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.errors import ConfigurationError


def setting(tree: Any, *path: str) -> str | None:
    """Return one setting of the file's tree; None if it is not given.

    Raises:
        ConfigurationError: something on the way to it is not a group.
    """
    value = tree
    for depth, key in enumerate(path):
        if value is not None and not isinstance(value, Mapping):
            group = ".".join(path[:depth])
            what, right = (f"{group}={value!r}", f"{group}: {{{key}: ...}}") if group else (repr(value), f"{key}: ...")
            raise ConfigurationError(f"conf/base/mlflow.yml: {what} is not a group: write `{right}`")
        value = (value or {}).get(key)
    return None if value is None else str(value)
