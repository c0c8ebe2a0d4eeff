"""A project in a temporary folder: the real settings, hooks and catalog, small parameters, toy pipelines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_registry
from kedro.framework import project as kedro_project
from kedro.framework.session import KedroSession
from mlflow import MlflowClient
from mlflow.entities import Run

from meme57.addresses import sqlite_address

ROOT = Path(__file__).parents[2]

Go = Callable[..., None]


@pytest.fixture(scope="module", autouse=True)
def _toy_pipelines() -> Iterator[None]:
    kedro_project.configure_project("meme57")
    kedro_project.pipelines.configure("toy_registry")
    yield
    kedro_project.pipelines.configure("meme57.pipeline_registry")


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toy_registry, "behaviour", "finish")
    kedro_project.pipelines.configure("toy_registry")  # a test may have put others into Kedro's registry
    for name in ("base/catalog.yml", "base/mlflow.yml", "logging.yml"):
        target = tmp_path / "conf" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "conf" / name, target)
    agent = "env: {game: pong, num_envs: 4, height: 84}\nrun: {total_frames: 1000}\n"
    write_parameters(tmp_path, "laptop", f"extends: base\n{agent}")
    write_parameters(tmp_path, "test", "extends: laptop\nenv: {num_envs: 2}\n")
    monkeypatch.chdir(tmp_path)  # Kedro-Viz notes the events of a run in the working directory
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture
def go(project: Path) -> Go:
    def call(*pipelines: str, environment: str | None = None, **parameters: Any) -> None:
        kedro_project.pipelines.set_requested(None)
        with KedroSession.create(project_path=project, env=environment, runtime_params=parameters) as session:
            session.run(pipeline_names=list(pipelines) or None)

    return call


@pytest.fixture
def runs(project: Path) -> Callable[[], list[Run]]:
    """All runs in the order they were opened."""

    def call() -> list[Run]:
        client = MlflowClient(tracking_uri=sqlite_address(project / "mlruns" / "mlflow.db"))
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))

    return call


def write_parameters(project: Path, environment: str, text: str) -> None:
    folder = project / "conf" / environment
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.yml").write_text(text)
