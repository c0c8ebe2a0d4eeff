"""While a pipeline works on a run no command removes it or begins it anew; others may work beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_registry
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Node, Pipeline

from meme57.files import read_json
from meme57.hooks.one_line import OneLineError
from meme57.tracking.run_record import record_path, remove_run

Go = Callable[..., None]
RUN = "Pong-s1"

REMOVE = """
import pathlib, sys
from meme57.errors import RunConflictError
from meme57.tracking.run_record import remove_run
try:
    remove_run(pathlib.Path.cwd(), sys.argv[1])
except RunConflictError as error:
    print(error)
"""


def removed_elsewhere(project: Path) -> str:
    """What another process is told that would remove the run."""
    command = [sys.executable, "-c", REMOVE, RUN]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.strip()


def run_inside(project: Path, *names: str, **parameters: Any) -> None:
    with KedroSession.create(project_path=project, runtime_params=parameters) as session:
        session.run(pipeline_names=list(names))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Lets something happen while a pipeline runs: in a node of its own, before the pipeline's others."""

    def install(name: str, action: Callable[[], None]) -> None:
        def act(parameters: dict[str, Any]) -> str:
            action()
            return "acted"

        registered = toy_registry.register_pipelines()
        registered[name] = Pipeline([Node(act, "parameters", "acted", name="a_first_node")]) + registered[name]
        monkeypatch.setattr(toy_registry, "register_pipelines", lambda: registered)
        pipelines.configure("toy_registry")

    return install


@pytest.mark.parametrize("name", ["setup", "learn", "evaluate"])
def test_the_run_of_a_pipeline_at_work_is_neither_removed_nor_begun_anew(
    go: Go, project: Path, meanwhile: Callable[..., None], name: str
) -> None:
    go()
    before, told = record_path(project, RUN).read_bytes(), []

    def others() -> None:
        if told:  # the second run began: it does not begin a third
            return
        told.append(removed_elsewhere(project))
        with pytest.raises(OneLineError) as caught:
            run_inside(project, "setup", run={"fresh": True})
        told.append(caught.value.message)

    meanwhile(name, others)
    run_inside(project, name)
    assert len(told) == 2
    for words in told:
        assert f"{RUN} is in use by process" in words
        assert "\n" not in words
    assert read_json(record_path(project, RUN))["mlflow_run_id"] in before.decode()
    assert removed_elsewhere(project) == ""
    assert list((project / "data").glob(f"*/{RUN}")) == []


@pytest.mark.parametrize(("first", "second"), [("learn", "evaluate"), ("evaluate", "learn"), ("evaluate", "setup")])
def test_pipelines_work_side_by_side(
    go: Go, project: Path, meanwhile: Callable[..., None], first: str, second: str
) -> None:
    go()
    scores = project / "data" / "08_reporting" / RUN / "scores.json"
    scores.unlink()
    meanwhile(first, lambda: run_inside(project, second))
    run_inside(project, first)
    assert scores.exists() == ("evaluate" in (first, second))


@pytest.mark.parametrize("behaviour", ["finish", "error", "fault", "signal"])
def test_however_a_pipeline_ends_its_run_may_be_removed(
    go: Go, project: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", behaviour)
    try:
        go()
    except (OneLineError, ZeroDivisionError):
        assert behaviour != "finish"
    assert remove_run(project, RUN)


def test_a_run_that_mlflow_refuses_may_be_removed(go: Go, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    with pytest.raises(OneLineError, match="nonsense://x cannot be used"):
        go("evaluate")
    assert remove_run(project, RUN)


def test_a_pipeline_that_is_refused_leaves_no_folder(go: Go, project: Path) -> None:
    with pytest.raises(OneLineError, match="is not set up"):
        go("learn", run={"name": "misspelt"})
    assert list((project / "data").glob("*/misspelt")) == []


def test_what_a_killed_pipeline_leaves_does_not_block(go: Go, project: Path) -> None:
    go("setup")
    script = (
        "import os, pathlib, signal\nfrom meme57.tracking.run_record import at_work\n"
        f"with at_work(pathlib.Path.cwd(), {RUN!r}):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (record_path(project, RUN).parent / ".lock").exists()
    go("setup")
    go("setup", run={"fresh": True})
    assert remove_run(project, RUN)


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({"run": {"name": "Mine"}}, {"run": {"name": "mine"}}),
        ({"run": {"name": "Mine"}}, {"run": {"name": "MINE", "fresh": True}}),
    ],
)
def test_a_run_is_not_taken_for_one_of_other_case(
    go: Go, project: Path, made: dict[str, Any], asked: dict[str, Any]
) -> None:
    go("setup", **made)
    before = record_path(project, "Mine").read_bytes()
    with pytest.raises(OneLineError, match="data/ has 'Mine', which is one folder with") as caught:
        go("setup", **asked)
    assert "\n" not in caught.value.message
    assert record_path(project, "Mine").read_bytes() == before


def test_a_study_of_other_case_is_refused_too(go: Go, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Pipeline([Node(lambda parameters: {}, "parameters", "study_record", name="study_it")])
    registered = toy_registry.register_pipelines()
    monkeypatch.setattr(toy_registry, "register_pipelines", lambda: {**registered, "tune": study})
    pipelines.configure("toy_registry")
    (project / "data" / "08_reporting" / "tune-Mine").mkdir(parents=True)
    with pytest.raises(OneLineError, match="data/ has 'tune-Mine'"):
        go("tune", tune={"study": "mine", "space": [{"name": "loss.kappa", "type": "float", "low": 0, "high": 1}]})
