"""`meme57 runs` on a trained project: list, compare, delete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from meme57.addresses import sqlite_address
from meme57.cli.runs import sparkline
from meme57.lock import hold, share

RUN, OTHER = "Pong-s1", "Pong-other"


@pytest.fixture
def two(here: Path) -> Path:
    """A second run beside the first: another learning rate, and scores ten points higher."""
    for layer in (here / "data").iterdir():
        if (layer / RUN).is_dir():
            shutil.copytree(layer / RUN, layer / OTHER)
    _change(
        here / "data" / "02_intermediate" / OTHER / "run_record.json",
        ("configuration", "learner", "learning_rate"),
        0.5,
    )
    _change(here / "data" / "02_intermediate" / OTHER / "run_record.json", ("run_name",), OTHER)
    scores = here / "data" / "08_reporting" / OTHER / "scores.json"
    old = json.loads(scores.read_text())["agents"]["teacher"]
    _change(scores, ("agents", "teacher", "mean"), old["mean"] + 10)
    _change(scores, ("agents", "teacher", "interval"), [bound + 10 for bound in old["interval"]])
    return here


def _change(path: Path, keys: tuple[str, ...], value: Any) -> None:
    tree = json.loads(path.read_text())
    inner = tree
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(tree))


def test_list_shows_scores_and_size(two: Path, meme57) -> None:
    rows = {row["name"]: row for row in json.loads(meme57("runs", "list", "--json").output)}
    assert set(rows) == {RUN, OTHER}
    files = [path for path in (two / "data").glob(f"*/{RUN}/**/*") if path.is_file()]
    assert rows[RUN]["size_bytes"] == sum(path.stat().st_size for path in files) > 100_000
    table = meme57("runs", "list").output
    assert OTHER in table
    assert "MB" in table


def test_one_episode_has_no_interval(two: Path, meme57) -> None:
    _change(two / "data" / "08_reporting" / OTHER / "scores.json", ("agents", "teacher", "interval"), None)
    rows = {row["name"]: row for row in json.loads(meme57("runs", "list", "--json").output)}
    assert rows[OTHER]["state"] == "evaluated"
    assert rows[OTHER]["scores"]["teacher"]["low"] is None
    assert "one episode has no interval" in meme57("runs", "compare", RUN, OTHER).output


def test_compare_shows_what_differs_scores_and_curves(two: Path, meme57) -> None:
    output = meme57("runs", "compare", RUN, OTHER).output
    parameters = [line for line in output.splitlines() if line.startswith("learner.")]
    assert [line.split() for line in parameters] == [["learner.learning_rate", "0.0005", "0.5"]]
    teacher = next(line for line in output.splitlines() if line.startswith("teacher:"))
    assert "the intervals do not touch" in teacher
    assert "student" in output
    assert "the intervals overlap" in output  # the students are the same
    found = json.loads(meme57("runs", "compare", RUN, OTHER, "--json").output)
    assert found["differences"] == {"learner.learning_rate": [0.0005, 0.5]}
    assert meme57("runs", "compare", RUN, RUN).output.startswith("Parameters: the same.")


def test_scores_of_another_protocol_are_not_compared(two: Path, meme57) -> None:
    _change(two / "data" / "08_reporting" / OTHER / "scores.json", ("protocol", "name"), "another")
    assert "another game or protocol, not comparable" in meme57("runs", "compare", RUN, OTHER).output


def test_sparkline_is_the_shape_of_the_curve() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0], 4) == "▁▂▃█"
    assert sparkline([5.0] * 100, 10) == "▁" * 10
    assert sparkline([0.0] * 50 + [1.0] * 50, 2) == "▁█"


def test_delete_asks_and_a_no_keeps_everything(two: Path, meme57) -> None:
    before = sorted(two.rglob("*"))
    result = meme57("runs", "delete", OTHER, input="n\n")
    assert result.exit_code == 1
    assert "Delete run Pong-other" in result.output
    assert "nothing was changed" in result.output
    nobody = meme57("runs", "delete", OTHER, input="")
    assert "nobody to ask: give --yes" in nobody.output
    assert sorted(two.rglob("*")) == before


def test_delete_removes_folders_and_marks_mlflow_runs(two: Path, meme57) -> None:
    client = MlflowClient(sqlite_address(two / "mlruns" / "mlflow.db"))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    mine = [run.info.run_id for run in client.search_runs(experiments) if run.data.tags["meme57.run_name"] == RUN]
    assert len(mine) >= 2
    result = meme57("runs", "delete", RUN, "--yes")
    assert result.exit_code == 0, result.output
    assert list((two / "data").glob(f"*/{RUN}")) == []
    assert len(list((two / "data").glob(f"*/{OTHER}"))) == 5
    assert f"MLflow: {len(mine)} runs marked deleted" in result.output
    assert {client.get_run(run_id).info.lifecycle_stage for run_id in mine} == {"deleted"}
    assert client.search_model_versions("name = 'meme57-pong'")  # what was registered stays
    again = meme57("runs", "delete", RUN, "--yes")
    assert "there is no run 'Pong-s1': there are Pong-other" in again.output


@pytest.mark.parametrize(
    ("layer", "lock"),
    [
        ("06_models/Pong-s1/checkpoints", hold),
        ("03_primary/Pong-s1/seed_replay", hold),
        ("02_intermediate/Pong-s1", share),
    ],
)
def test_a_run_at_work_is_not_deleted(here: Path, meme57, layer: str, lock: Callable[[Path], Any]) -> None:
    """`learn`, `collect`, and any other pipeline; what only reads is not kept away."""
    with lock(here / "data" / layer):
        before = sorted(here.rglob("*"))
        result = meme57("runs", "delete", RUN, "--yes")
        assert result.exit_code == 1
        assert "is in use by process" in result.output
        assert sorted(here.rglob("*")) == before
        for command in (("status",), ("runs", "list"), ("runs", "compare", RUN, RUN)):
            assert meme57(*command).exit_code == 0
