"""Scores, student, page and versions belong to the weights that they name; what does not belong together is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meme57.errors import Meme57Error
from meme57.hooks.one_line import OneLineError

RUN = "Pong-s1"


def refused(project: Any, *pipelines: str, **parameters: Any) -> str:
    with pytest.raises((OneLineError, Meme57Error)) as caught:
        project.run_here(*pipelines, **parameters)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(project: Any, layer: str, name: str) -> Any:
    return json.loads((project.data / layer / RUN / name).read_text())


def make_best(project: Any, name: str) -> None:
    """As `learn` does where the newer checkpoint is the better one; here chance decides that."""
    path = project.data / "06_models" / RUN / "checkpoints" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "best": name}))


def test_scores_of_older_weights_are_not_registered_for_newer_ones(make_project: Any) -> None:
    project = make_project("sources")
    short, longer = {"run": {"total_frames": 4000}}, {"run": {"total_frames": 8000}}
    project.run_here("setup", "collect", "learn", "distill", "evaluate", "report", **short)
    scores = read(project, "08_reporting", "scores.json")
    assert scores["source"]["checkpoint"] == "checkpoint-000001"
    assert read(project, "08_reporting", "fidelity.json")["source"] == scores["source"]
    assert read(project, "06_models", "student/record.json")["source"] == scores["source"]
    page = (project.data / "08_reporting" / RUN / "report.html").read_text()
    assert scores["source"]["sha256"] in page

    project.run_here("learn", **longer)
    make_best(project, "checkpoint-000002")
    assert "the student is of checkpoint-000001" in (said := refused(project, "register", **longer))
    assert "kedro run --pipelines distill" in said
    assert "the student is of checkpoint-000001" in refused(project, "evaluate", **longer)
    assert "the scores are of checkpoint-000001" in refused(project, "report", **longer)
    assert not (project.data / "08_reporting" / RUN / "model_versions.json").exists()

    project.run_here("distill", **longer)
    assert "the scores are of checkpoint-000001" in (said := refused(project, "register", **longer))
    assert "kedro run --pipelines evaluate" in said
    project.run_here("evaluate", "report", "register", **longer)
    [version] = project.client().search_model_versions("name='meme57-pong'")
    source = read(project, "08_reporting", "scores.json")["source"]
    assert version.tags["meme57.checkpoint"] == source["checkpoint"] == "checkpoint-000002"
    assert version.tags["meme57.checkpoint_sha256"] == source["sha256"]

    _another_student_is_refused(project, longer)
    _an_edited_game_is_refused(project, longer)


def _another_student_is_refused(project: Any, parameters: dict[str, Any]) -> None:
    weights: Path = project.data / "06_models" / RUN / "student" / "student.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is not what was distilled" in refused(project, "register", **parameters)
    weights.write_bytes(content)


def _an_edited_game_is_refused(project: Any, parameters: dict[str, Any]) -> None:
    path = project.data / "02_intermediate" / RUN / "env_spec.json"
    path.write_text(path.read_text().replace('"sticky_action_probability": 0.0', '"sticky_action_probability": 0.9'))
    for pipeline in ("collect", "learn"):
        said = refused(project, pipeline, **parameters)
        assert "sticky_action_probability 0.9, now 0.0" in said
        assert "kedro run --pipelines setup" in said
