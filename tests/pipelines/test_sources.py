"""Scores, student, page and versions belong to the weights that they name; what does not belong together is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession

from meme57.errors import Meme57Error
from meme57.export.policy_folder import open_policy
from meme57.hooks.one_line import OneLineError
from meme57.tracking.version_tags import lineage

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
    found = lineage(version.tags)
    assert found["checkpoint"] == source["checkpoint"] == "checkpoint-000002"
    assert found["checkpoint_sha256"] == source["sha256"]

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


STUDENT = ("student.safetensors", "student.json", "env.json", "student.onnx")


def folder_of(project: Any, layer: str) -> Path:
    return project.data / layer / RUN


def edit(path: Path, *keys: str, value: Any) -> None:
    """Writes `value` in the place that the keys lead to."""
    tree = json.loads(path.read_text())
    inner = tree
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(tree))


def test_weights_of_another_checkpoint_are_not_registered(copied: Any) -> None:
    """Weights of checkpoint 2 were once registered with the scores of checkpoint 3."""
    index = read(copied, "06_models", "checkpoints/index.json")
    best = index["best"]
    other = next(entry["name"] for entry in index["checkpoints"] if entry["name"] != best)
    checkpoints = folder_of(copied, "06_models") / "checkpoints"
    shutil.copy(checkpoints / other / "network.safetensors", checkpoints / best)
    for pipeline in ("register", "report", "evaluate"):
        said = refused(copied, pipeline)
        assert f"{best}/network.safetensors is damaged or missing" in said
        assert "kedro run --pipelines learn" in said


@pytest.mark.parametrize("name", STUDENT)
def test_every_file_of_the_student_is_bound_to_its_record(copied: Any, name: str) -> None:
    path = folder_of(copied, "06_models") / "student" / name
    path.write_bytes(path.read_bytes() + b"\n")
    for pipeline in ("register", "evaluate"):
        assert f"{name} is not what was distilled: `kedro run --pipelines distill`" in refused(copied, pipeline)
    with pytest.raises(Meme57Error, match=r"is not what was distilled|is damaged"):
        open_policy(path.parent)


def test_a_student_of_an_older_version_is_bound_by_its_weights_alone(copied: Any) -> None:
    record = folder_of(copied, "06_models") / "student" / "record.json"
    tree = json.loads(record.read_text())
    del tree["files"]
    record.write_text(json.dumps(tree))
    copied.run_here("register")


def test_episodes_of_another_protocol_are_not_scored(copied: Any) -> None:
    """Scores once said sticky and 32 episodes over 4 episodes that were played otherwise."""
    for changed in ({"protocol": "sticky"}, {"episodes": 32}, {"seed": 1_500_000_002}, {"epsilon": 0.5}):
        said = refused_nodes(copied, "score_episodes", evaluate=changed)
        assert "the episodes were played under as_trained" in said
        assert "kedro run --pipelines evaluate" in said
    run_nodes(copied, "score_episodes")


def test_episodes_of_another_protocol_are_not_shown_beside_scores(copied: Any) -> None:
    run_nodes(copied, "play_episodes", evaluate={"protocol": "sticky"})
    said = refused(copied, "report")
    assert "the episodes were played under sticky" in said
    assert "kedro run --pipelines evaluate" in said


def test_a_film_of_another_protocol_is_not_shown_beside_scores(copied: Any) -> None:
    run_nodes(copied, "film_episode", evaluate={"protocol": "sticky", "video_seconds": 0.1})
    assert "the film shows protocol sticky0.25" in refused(copied, "report")
    assert "FAILED" not in {run.info.status for run in copied.runs()}


def test_a_table_that_was_cut_is_not_scored(copied: Any) -> None:
    table = folder_of(copied, "07_model_output") / "episodes.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert "the episodes' table holds 3 of student, not 4" in refused_nodes(copied, "score_episodes")
    assert "the episodes are not those of the scores" in refused(copied, "report")


def test_episodes_of_an_older_version_are_shown_and_not_scored(copied: Any) -> None:
    table = folder_of(copied, "07_model_output") / "episodes.csv"
    pd.read_csv(table).drop(columns="protocol").to_csv(table, index=False)
    copied.run_here("report")
    assert "an unnamed protocol" in refused_nodes(copied, "score_episodes")


def test_another_students_numbers_are_not_shown_beside_scores(copied: Any) -> None:
    copied.run_here("distill", distill={"updates": 3, "fidelity_steps": 4})
    said = refused(copied, "report")
    assert "the scores are of another student" in said
    assert "FAILED" not in {run.info.status for run in copied.runs()}
    assert "kedro run --pipelines evaluate" in said


def test_numbers_of_an_older_version_name_no_student(copied: Any) -> None:
    path = folder_of(copied, "08_reporting") / "fidelity.json"
    tree = json.loads(path.read_text())
    del tree["student_sha256"]
    path.write_text(json.dumps(tree))
    copied.run_here("report")


def test_scores_of_another_run_are_refused(copied: Any) -> None:
    edit(folder_of(copied, "08_reporting") / "scores.json", "run", value="Other-s1")
    for pipeline in ("register", "report"):
        said = refused(copied, pipeline)
        assert "the scores are of run 'Other-s1', this is 'Pong-s1'" in said
        assert "kedro run --pipelines evaluate" in said


def test_a_run_that_was_copied_under_another_name_is_refused(copied: Any) -> None:
    """It once wrote into the original's runs in MLflow."""
    for layer in copied.data.iterdir():
        if (layer / RUN).is_dir():
            shutil.copytree(layer / RUN, layer / "copy")
    for pipelines in (["report"], ["register"], ["setup"], []):
        said = refused(copied, *pipelines, run={"name": "copy"})
        assert "is the record of run 'Pong-s1'" in said
        assert "run.name=Pong-s1" in said
        assert "run.fresh=true" in said
    edit(copied.data / "02_intermediate/copy/run_record.json", "run_name", value="copy")
    assert "the scores are of run 'Pong-s1'" in refused(copied, "report", run={"name": "copy"})


def test_one_episode_has_no_interval_and_cannot_be_judged(copied: Any) -> None:
    path = folder_of(copied, "08_reporting") / "scores.json"
    for agent in ("random", "teacher", "student"):
        for name, value in (("interval", None), ("episodes", 1), ("std", 0.0), ("cut_short", 0)):
            edit(path, "agents", agent, name, value=value)
    for _ in range(2):  # the second time it is the same version
        copied.run_here("register")
        versions = read(copied, "08_reporting", "model_versions.json")
        for version in versions.values():
            assert (version["version"], version["champion"]) == ("1", False)
            assert "too few episodes to tell (n 1 and 1" in version["reason"]


def run_nodes(project: Any, *names: str, **parameters: Any) -> None:
    """`kedro run --nodes ...`"""
    here = Path.cwd()
    os.chdir(project.folder)
    try:
        configure_project("meme57")
        with KedroSession.create(project_path=project.folder, env="test", runtime_params=parameters) as session:
            session.run(node_names=list(names))
    finally:
        os.chdir(here)


def refused_nodes(project: Any, *names: str, **parameters: Any) -> str:
    with pytest.raises(OneLineError) as caught:
        run_nodes(project, *names, **parameters)
    return str(caught.value)
