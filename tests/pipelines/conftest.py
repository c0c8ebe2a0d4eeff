"""No test here sees the store or the environment of whoever runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(make_project: Callable[[str], Any]) -> Any:
    return make_project("empty")


@pytest.fixture
def copied(trained: Any, make_project: Callable[[str], Any]) -> Any:
    """The files of a run that went through every pipeline, in a project of its own; nothing is in its MLflow yet."""
    project = make_project("copied")
    shutil.copytree(trained[0].data, project.data, dirs_exist_ok=True)
    return project
