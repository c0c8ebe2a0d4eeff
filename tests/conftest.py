"""A project in a temporary folder: this checkout's configuration, empty data and mlruns, the installed package."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from kedro.framework import project as kedro_project
from kedro.framework.session import KedroSession
from mlflow import MlflowClient
from mlflow.entities import Run

from meme57.addresses import sqlite_address
from meme57.tracking import settle_mlflow
from meme57.tracking.store import create_store

hypothesis.settings.register_profile("any machine", deadline=None)  # a loaded one is slow, and that is no fault
hypothesis.settings.load_profile("any machine")
settle_mlflow()  # as Kedro's settings and the commands do

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 300
DATABASE = Path("mlruns/mlflow.db")


class Project:
    """A project folder, and the commands that a person types in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copy(ROOT / ".telemetry", folder)
        (folder / "src").mkdir()  # Kedro asks for it; the package is the installed one
        for path in (ROOT / "data").iterdir():
            (self.data / path.name).mkdir(parents=True)
        (folder / "mlruns").mkdir()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kedro", "run", "--env", "test", *arguments]

    def environment(self) -> dict[str, str]:
        unset = ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "KEDRO_LOGGING_CONFIG")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        return {**kept, "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "true", "COLUMNS": "100"}

    def kedro(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`kedro run --env test ...`, to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment(), capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    def kedro_until(self, line: str, signal: int, *arguments: str) -> tuple[int, str]:
        """The same, but as soon as standard error matches `line` the process gets `signal`: exit code, its stderr."""
        process = subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self.environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.start()
        seen, sent = "", False
        try:
            assert process.stderr is not None
            for text in process.stderr:
                seen += text
                if not sent and re.search(line, text):
                    process.send_signal(signal)
                    sent = True
        finally:
            watchdog.cancel()
            process.wait()
        assert sent, f"{line!r} never came:\n{seen}"
        return process.returncode, seen

    def run_here(self, *pipelines: str, **parameters: Any) -> None:
        """The same in this process: the imports are paid once."""
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            kedro_project.configure_project("meme57")
            kedro_project.pipelines.set_requested(None)
            with KedroSession.create(project_path=self.folder, env="test", runtime_params=parameters) as session:
                session.run(pipeline_names=list(pipelines) or None)
        finally:
            os.chdir(here)

    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=sqlite_address(self.folder / DATABASE))

    def runs(self) -> list[Run]:
        """All MLflow runs in the order they were opened."""
        client = self.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))

    def files(self) -> dict[str, int]:
        """Every file under data and mlruns with the time of its last change."""
        found = [*self.data.rglob("*"), *(self.folder / "mlruns").rglob("*")]
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in found if path.is_file()}


@pytest.fixture(scope="session", autouse=True)
def _sigint_as_in_a_terminal() -> Iterator[None]:
    """Ctrl-C reaches the tests and what they start. A shell's background job ignores it, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database as it makes it, less the one experiment that names its folder: a copy saves four seconds."""
    folder = tmp_path_factory.mktemp("store")
    create_store(folder)
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute("DELETE FROM experiments")
    return folder / DATABASE


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing was done yet."""
    return Project(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Callable[[str], Project]:
    """Makes a project that has a store; the rest is empty."""

    def make(name: str) -> Project:
        project = Project(tmp_path_factory.mktemp(name))
        shutil.copy(empty_store, project.folder / DATABASE)
        return project

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """A project after its first `kedro run --env test`: every pipeline, on real Pong, from empty folders."""
    project = Project(tmp_path_factory.mktemp("trained"))
    done = project.kedro()
    assert done.returncode == 0, done.stderr
    return project, done
