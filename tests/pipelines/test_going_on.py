"""A project that has a run: starting again, one pipeline at a time, another game beside it, another configuration."""

from __future__ import annotations

import json

import pandas as pd
import pytest

NAME = "Pong-s1"
QUICK = {"distill": {"updates": 2, "fidelity_steps": 4}, "evaluate": {"episodes": 2, "num_envs": 2}}
"""Settings that shape no learning, so that they may change within a run."""


@pytest.fixture(scope="module")
def project(changeable):
    return changeable


def learned(project) -> tuple[pd.DataFrame, dict[str, int]]:
    """The learning curve, and the files of the checkpoints with the times of their last change."""
    checkpoints = f"data/06_models/{NAME}/checkpoints/checkpoint-"
    files = {name: time for name, time in project.files().items() if name.startswith(checkpoints)}
    return pd.read_csv(project.data / "08_reporting" / NAME / "learning_curve.csv"), files


def test_second_start_goes_on_from_the_newest_checkpoint_and_has_nothing_to_learn(project) -> None:
    curve, files = learned(project)
    video = (project.data / "07_model_output" / NAME / "video.mp4").stat().st_mtime_ns
    record = (project.data / "02_intermediate" / NAME / "run_record.json").read_text()
    project.run_here(**QUICK)
    curve_again, files_again = learned(project)
    pd.testing.assert_frame_equal(curve_again, curve)
    assert files_again == files
    assert (project.data / "07_model_output" / NAME / "video.mp4").stat().st_mtime_ns > video
    assert (project.data / "02_intermediate" / NAME / "run_record.json").read_text() == record
    parent, *children = project.runs()
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}


@pytest.mark.parametrize(
    ("pipeline", "output"),
    [
        ("setup", "02_intermediate/Pong-s1/hardware.json"),
        ("collect", "03_primary/Pong-s1/seed_replay/record.json"),
        ("learn", "06_models/Pong-s1/checkpoints/index.json"),
        ("distill", "06_models/Pong-s1/student/record.json"),
        ("evaluate", "08_reporting/Pong-s1/scores.json"),
        ("report", "08_reporting/Pong-s1/report.html"),
        ("register", "08_reporting/Pong-s1/model_versions.json"),
    ],
)
def test_each_pipeline_runs_alone(project, pipeline: str, output: str) -> None:
    path = project.data / output
    before = path.stat().st_mtime_ns
    project.run_here(pipeline, **QUICK)
    assert path.stat().st_mtime_ns > before
    newest = project.runs()[-1]
    assert (newest.info.run_name, newest.info.status) == (f"Pong-s1 / {pipeline}", "FINISHED")


def test_a_longer_run_goes_on_where_the_shorter_one_ended(project) -> None:
    curve, files = learned(project)
    project.run_here("learn", run={"total_frames": 13_000})
    curve_again, files_again = learned(project)
    pd.testing.assert_frame_equal(curve_again.iloc[: len(curve)][curve.columns], curve)
    new = curve_again["frames"].iloc[len(curve) :].tolist()
    assert len(new) == 1
    assert 13_000 <= new[0] < 13_160  # a run ends with a whole round of the actors
    assert not set(files_again) <= set(files)


def test_another_game_is_another_run_beside_it(project) -> None:
    before = project.files()
    project.run_here("setup", env={"game": "Breakout"})
    after = project.files()
    record = json.loads((project.data / "02_intermediate" / "Breakout-s1" / "run_record.json").read_text())
    assert record["game"] == "Breakout"
    mine = {name: time for name, time in before.items() if name.startswith("data/")}
    assert {name: after.get(name) for name in mine} == mine
    assert record["mlflow_run_id"] != json.loads((project.data / f"02_intermediate/{NAME}/run_record.json").read_text())


def test_a_pipeline_without_its_inputs_says_which_one_makes_them(project) -> None:
    done = project.kedro("--pipelines", "evaluate", "--params", "env.game=Breakout")
    assert done.returncode == 1
    assert "checkpoints of run 'Breakout-s1' is missing: `kedro run --pipelines learn` makes it" in done.stderr


def test_same_name_with_another_configuration_is_refused_with_the_two_commands(project) -> None:
    before = project.files()
    done = project.kedro("--params", "learner.batch_size=8")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "`kedro run --params run.name=Pong-s1-b`" in done.stderr
    assert "`kedro run --params run.fresh=true`" in done.stderr
    assert project.files() == before


def test_fresh_removes_the_run_and_starts_anew(project) -> None:
    project.run_here("setup", env={"game": "Breakout"}, learner={"batch_size": 8}, run={"fresh": True})
    record = json.loads((project.data / "02_intermediate" / "Breakout-s1" / "run_record.json").read_text())
    parents = [run for run in project.runs() if run.info.run_name == "Breakout-s1"]
    assert len(parents) == 2
    assert record["mlflow_run_id"] == parents[-1].info.run_id
    assert (project.data / "02_intermediate" / NAME / "run_record.json").exists()
