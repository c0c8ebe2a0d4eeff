"""Two Kedro contexts in one process: each has its own names, hooks, MLflow run and default pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_registry
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from mlflow import MlflowClient
from mlflow.entities import Run

from meme57.addresses import sqlite_address
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS
from meme57.tracking.run_record import record_path
from meme57.tracking.runs import active_run

Runs = Callable[[], list[Run]]

A, B = ({"run": {"name": name}, "tune": {"study": name}, "suite": {"name": name}} for name in "ab")


def session(project: Path, **parameters: Any) -> KedroSession:
    return KedroSession.create(project_path=project, runtime_params=parameters)


def test_the_catalog_of_each_context_holds_its_own_names(project: Path) -> None:
    contexts = {name: session(project, **own).load_context() for name, own in (("a", A), ("b", B))}
    for name in "aba":
        catalog = contexts[name].catalog
        paths = [catalog[key].path.relative_to(project) for key in catalog if not key.startswith("param")]
        folders = {path.parts[2] if path.parts[0] == "data" else path.parts[1] for path in paths}
        assert folders == {name, f"tune-{name}", f"suite-{name}", f"tuned-{name}"}


def test_so_does_a_loader_without_hooks_as_kedro_viz_uses_it(project: Path) -> None:
    a, b = (ProjectConfigLoader(project / "conf", runtime_params=own, **CONFIG_LOADER_ARGS) for own in (A, B))
    for loader, name in ((a, "a"), (b, "b"), (a, "a")):
        assert loader["catalog"]["scores"]["filepath"] == f"data/08_reporting/{name}/scores.json"
        assert loader["catalog"]["study_record"]["filepath"] == f"data/08_reporting/tune-{name}/study.json"


def test_contexts_made_first_and_run_afterwards_keep_apart(project: Path, runs: Runs) -> None:
    a, b = session(project, **A), session(project, **B)
    a.load_context(), b.load_context()
    a.run(pipeline_names=["setup"])
    b.run(pipeline_names=["setup"])
    assert record_path(project, "a").exists()
    assert record_path(project, "b").exists()
    assert [run.info.run_name for run in runs()] == ["a", "a / setup", "b", "b / setup"]


def test_a_run_inside_a_run_takes_nothing_from_it(project: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a suite does, but in one process: the outer run's metrics, status and name stay its own."""
    seen: dict[str, Any] = {}

    def nested(parameters: dict[str, Any]) -> dict[str, Any]:
        before = active_run()
        session(project, **B).run(pipeline_names=["setup"])
        seen["same"] = before is not None and active_run() is before
        return {"game": parameters["env"]["game"]}

    registered = toy_registry.register_pipelines()
    outer = Pipeline([Node(nested, "parameters", "best_parameters", name="nested")])
    monkeypatch.setattr(toy_registry, "register_pipelines", lambda: {**registered, "tune": outer})
    pipelines.configure("toy_registry")
    session(project, **A).run(pipeline_names=["tune"])
    assert seen["same"]
    assert {run.info.run_name: run.info.status for run in runs()} == {
        "a": "FINISHED", "a / tune": "FINISHED", "b": "FINISHED", "b / setup": "FINISHED",
    }  # fmt: skip
    assert active_run() is None


def test_a_page_that_kedro_saves_in_another_thread_is_in_mlflow_too(
    project: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `kedro run --async`."""
    registered = toy_registry.register_pipelines()
    page = Pipeline([Node(lambda parameters: "<p>page</p>", "parameters", "report", name="report_it")])
    monkeypatch.setattr(toy_registry, "register_pipelines", lambda: {**registered, "report": page})
    pipelines.configure("toy_registry")
    session(project, **A).run(pipeline_names=["report"], runner=SequentialRunner(is_async=True))
    child = runs()[-1]
    client = MlflowClient(tracking_uri=sqlite_address(project / "mlruns" / "mlflow.db"))
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["report.html"]


@pytest.fixture
def _with_suite(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = toy_registry.register_pipelines()
    suite = Pipeline([Node(lambda parameters: {"members": 0}, "parameters", "suite_record", name="suite_it")])
    monkeypatch.setattr(toy_registry, "register_pipelines", lambda: {**registered, "suite": suite})
    pipelines.configure("toy_registry")


def default_nodes() -> set[str]:
    return {node.name for node in pipelines["__default__"].nodes}


@pytest.mark.usefixtures("_with_suite")
def test_the_default_pipeline_is_the_newest_contexts(project: Path) -> None:
    flow, suite = {"set_up", "learn_it", "evaluate_it"}, {"suite_it"}
    for is_default in (False, True, False, True):
        session(project, suite={"is_default": is_default}).load_context()
        assert default_nodes() == (suite if is_default else flow)


@pytest.mark.usefixtures("_with_suite")
def test_each_session_runs_its_own_default_whichever_context_is_newer(project: Path, runs: Runs) -> None:
    of_suite, of_flow = session(project, suite={"is_default": True, "name": "b"}), session(project, **A)
    of_suite.load_context(), of_flow.load_context()
    of_suite.run()
    assert [run.info.run_name for run in runs()] == ["suite-b", "suite-b / default"]
    assert not record_path(project, "a").exists()
    of_flow.run()
    assert record_path(project, "a").exists()
    assert [run.info.run_name for run in runs()][2:] == ["a", "a / default"]


@pytest.mark.usefixtures("_with_suite")
def test_one_pipeline_in_a_suite_environment_stays_that_pipeline(project: Path, runs: Runs) -> None:
    session(project, suite={"is_default": True}, run={"name": "a"}).run(pipeline_names=["setup"])
    assert [run.info.run_name for run in runs()] == ["a", "a / setup"]


def test_setup_looks_at_the_projects_disk_and_folders_wherever_it_is_called_from(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meme57.pipelines.setup.nodes import estimate_resources

    parameters = {"env": {"game": "Pong"}, "run": {"check_resources": False}}
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    before = estimate_resources(parameters, {"project": str(project)})["free"]["disk"]
    big = project / "data" / "06_models" / "Pong-s1" / "big"
    big.parent.mkdir(parents=True)
    with big.open("wb") as stream:
        stream.truncate(2**40)  # sparse: the size counts as the run's own
    after = estimate_resources(parameters, {"project": str(project)})["free"]["disk"]
    assert after - before > 2**39
