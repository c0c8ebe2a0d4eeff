"""A run that is stopped politely, then killed, then finished, equals one that was never interrupted."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from meme57.tracking.metrics import metric_name
from meme57.tracking.results import GROUP

FIRST_ROW = r"^learn Pong-s1 .*/12,000 frames"
"""Metrics are logged every 2,000 frames, checkpoints written every 4,000: half-way between two checkpoints."""

LEARN = ("--pipelines", "setup,collect,learn")


def frames(project) -> list[int]:
    return [int(value) for value in curve(project)["frames"]]


def curve(project) -> pd.DataFrame:
    return pd.read_csv(project.data / "08_reporting" / "Pong-s1" / "learning_curve.csv")


def checkpoints(project) -> list[Path]:
    return sorted((project.data / "06_models" / "Pong-s1" / "checkpoints").glob("checkpoint-*"))


def last_of_12_000(project) -> Path:
    """The other test files may have gone on with the uninterrupted run."""
    found = {json.loads((folder / "manifest.json").read_text())["frames"]: folder for folder in checkpoints(project)}
    return next(folder for frames, folder in found.items() if 12_000 <= frames < 12_160)


@pytest.fixture(scope="module")
def interrupted(make_project):
    """SIGTERM at about 2,000 frames, then SIGKILL at about 6,000, then on to the end; what each stage left."""
    project = make_project("interrupted")
    story = {"project": project}
    story["term"] = project.kedro_until(FIRST_ROW, signal.SIGTERM, *LEARN)
    story["after_term"] = (checkpoints(project), frames(project), [run.info.status for run in project.runs()])
    story["kill"] = project.kedro_until(FIRST_ROW, signal.SIGKILL, *LEARN)
    story["after_kill"] = (checkpoints(project), frames(project), [run.info.status for run in project.runs()])
    story["done"] = project.kedro(*LEARN)
    return story


def test_sigterm_ends_in_a_checkpoint_and_a_killed_run(interrupted) -> None:
    code, text = interrupted["term"]
    assert code == 130
    assert "SIGTERM: stopping at the next checkpoint" in text
    assert "the same command resumes from there" in text
    assert "Traceback" not in text
    found, seen, statuses = interrupted["after_term"]
    assert len(found) == 1
    assert seen[-1] >= 2_000
    assert statuses == ["KILLED", "KILLED"]  # parent and child


def test_next_start_goes_on_from_the_checkpoint(interrupted) -> None:
    _, text = interrupted["kill"]
    at = interrupted["after_term"][1][-1]
    assert f"resumed from checkpoint-000001 at {at:,} frames" in text
    found, seen, statuses = interrupted["after_kill"]
    assert found[0].name == "checkpoint-000001"
    assert seen[: len(interrupted["after_term"][1])] == interrupted["after_term"][1]
    assert statuses[1:] == ["KILLED", "RUNNING"]  # nobody could say that it was killed


def test_run_finishes_after_a_kill_and_closes_what_was_left_open(interrupted) -> None:
    done = interrupted["done"]
    assert done.returncode == 0, done.stderr
    assert "resumed from checkpoint-" in done.stderr
    parent, *children = interrupted["project"].runs()
    assert parent.info.status == "FINISHED"
    assert [child.info.status for child in children] == ["KILLED", "KILLED", "FINISHED"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    seen = frames(interrupted["project"])
    assert seen == sorted(set(seen))
    assert 12_000 <= seen[-1] < 12_160


def test_mlflow_has_the_whole_curve_in_the_parent_and_no_step_twice(interrupted) -> None:
    """The children are three; what the killed one learned after its last checkpoint was learned again."""
    project = interrupted["project"]
    parent, *children = project.runs()
    told = {name: points for name, points in history(project, parent).items() if not name.startswith(GROUP)}
    expected = curve(project).drop(columns="frames")
    for name in expected:
        column = expected[name].set_axis([*map(int, frames(project))]).dropna()
        assert told.pop(metric_name(name)) == list(column.items()), name
    assert told == {}
    for run in (parent, *children):
        for name, points in history(project, run).items():
            steps = [step for step, _ in points]
            assert steps == sorted(set(steps)), (run.info.run_name, name)
    killed, resumed = (history(project, child) for child in children[1:])
    assert resumed["updates"]
    for points in (killed.get("updates", []), resumed["updates"]):  # the killed one may have sent nothing yet
        assert interrupted["after_term"][1][-1] not in [step for step, _ in points]  # the first child's row


def history(project, run) -> dict[str, list[tuple[int, float]]]:
    """Every metric's (step, value), in the order of steps."""
    points = {name: project.client().get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: sorted((point.step, point.value) for point in found) for name, found in points.items()}


def test_weights_equal_those_of_an_uninterrupted_run_bit_for_bit(interrupted, trained) -> None:
    mine, whole = (last_of_12_000(project) for project in (interrupted["project"], trained[0]))
    for name in ("network", "target", "novelty", "optimiser", "novelty_optimiser", "scales"):
        found, expected = (load_file(folder / f"{name}.safetensors") for folder in (mine, whole))
        assert found.keys() == expected.keys()
        different = [key for key in expected if not torch.equal(found[key], expected[key])]
        assert not different, name


def test_learning_curve_equals_that_of_an_uninterrupted_run(interrupted, trained) -> None:
    def comparable(project) -> pd.DataFrame:
        rows = curve(project).query("frames < 12_160")
        timed = [name for name in rows if name.startswith("speed/") or name == "elapsed_seconds"]
        return rows.drop(columns=timed).reset_index(drop=True).sort_index(axis=1)

    pd.testing.assert_frame_equal(
        comparable(interrupted["project"]), comparable(trained[0]), check_exact=True, check_like=True
    )
