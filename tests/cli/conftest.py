"""The command in this process, in an empty project or in a copy of a trained one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meme57.cli import main

Meme57 = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def meme57() -> Meme57:
    """`meme57 ...` in the working directory; `input` is what a person types."""

    def call(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), prog_name="meme57", terminal_width=100, input=input)

    return call


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without runs; it is the working directory."""
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\n")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained project (its MLflow store too), to look at and to spoil; it is the working directory."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For a command in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "KEDRO_ENV")}
    return {**kept, "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "true", "COLUMNS": "100"}
