"""No test here sees the store or the environment of whoever runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from meme57.tracking.relocation import relocate
from meme57.tracking.store import create_store


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def changeable(trained: Any, make_project: Callable[[str], Any]) -> Any:
    """A copy of the trained project that may change, MLflow included: the other tests read that one."""
    project = make_project("changeable")
    for name in ("data", "mlruns"):
        shutil.copytree(trained[0].folder / name, project.folder / name, dirs_exist_ok=True)
    relocate(create_store(project.folder))
    return project


@pytest.fixture
def copied(trained: Any, make_project: Callable[[str], Any]) -> Any:
    """The files of a run that went through every pipeline, in a project of its own; nothing is in its MLflow yet."""
    project = make_project("copied")
    shutil.copytree(trained[0].data, project.data, dirs_exist_ok=True)
    return project
