"""`run.init_from`: a run that begins with the weights of a trained one, by its name and by its registered model."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

NAME, WARM = "Pong-s1", {"name": "warm", "init_from": "Pong-s1"}


@pytest.fixture(scope="module")
def project(changeable):
    changeable.run_here("setup", "collect", "learn", run=WARM)
    return changeable


def record_of(project, name: str):
    return json.loads((project.data / "02_intermediate" / name / "run_record.json").read_text())


def best_of(project, name: str):
    checkpoints = project.data / "06_models" / name / "checkpoints"
    return checkpoints / json.loads((checkpoints / "index.json").read_text())["best"]


def test_it_learns_from_the_weights_of_the_run_and_says_which(project) -> None:
    found = record_of(project, "warm")
    assert found["configuration"]["init_from"] == NAME
    best = best_of(project, NAME)
    assert {key: found["init_from"][key] for key in ("source", "game", "checkpoint")} == {
        "source": NAME, "game": "Pong", "checkpoint": best.name,
    }  # fmt: skip
    kept = project.data / "03_primary" / "warm" / "initial_policy"
    for name in ("network.safetensors", "novelty.safetensors", "scales.safetensors"):
        assert (kept / name).read_bytes() == (best / name).read_bytes()
    mean = load_file(best_of(project, "warm") / "network.safetensors")["frames.mean"]
    assert mean.equal(load_file(kept / "network.safetensors")["frames.mean"])


def test_mlflow_has_the_source(project) -> None:
    parent = next(run for run in project.runs() if run.info.run_name == "warm")
    assert parent.data.params["run.init_from"] == NAME


def test_set_up_again_keeps_the_weights_although_the_source_is_gone(project) -> None:
    before = record_of(project, "warm")
    hidden = project.data / "06_models" / NAME
    hidden.rename(hidden.with_name("away"))
    try:
        project.run_here("setup", run=WARM)
    finally:
        hidden.with_name("away").rename(hidden)
    assert record_of(project, "warm") == before


def test_another_source_is_another_run(project) -> None:
    done = project.kedro("--pipelines", "learn", "--params", "run.name=warm")
    assert done.returncode == 1
    assert "init_from 'Pong-s1', now not set" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_registered_teacher_by_its_alias(project) -> None:
    source = "models:/meme57-pong@challenger"
    project.run_here("setup", run={"name": "from-model", "init_from": source})
    found = record_of(project, "from-model")["init_from"]
    assert found["source"] == source
    assert set(found["files"]) == {"agent.json", "network.safetensors", "novelty.safetensors"}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("Pong-s9", "Pong-s9"),
        ("models:/meme57-pong@nobody", "models:/meme57-pong@nobody cannot be read"),
        ("models:/meme57-pong-student/1", "is no teacher"),
        ("data/06_models/Pong-s1/student", "is no teacher"),
    ],
)
def test_a_source_that_is_none_is_one_line(project, source: str, words: str) -> None:
    done = project.kedro("--pipelines", "setup", "--params", f"run.name=wrong,run.init_from={source}")
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()[-1:]
    assert words in line
    assert "Traceback" not in done.stderr
    assert not (project.data / "02_intermediate" / "wrong" / "env_spec.json").exists()
    assert "wrong" not in {run.info.run_name for run in project.runs()}
