"""meme57.runs, curve and scores, and the tour: on a real run of the test environment."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meme57
from meme57.errors import Meme57Error

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def toured(make_project: Callable[[str], Any]) -> tuple[Any, subprocess.CompletedProcess[str]]:
    """A project after the cells of the notebook, in their order, each with its last value printed."""
    project = make_project("tour")
    script = f"for cell in {code_cells()!r}:\n{RUN}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment(), capture_output=True, text=True, timeout=500, check=False
    )
    return project, done


RUN = """
    import ast
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), globals())
    if last is not None:
        print(eval(compile(ast.Expression(last.value), "cell", "eval"), globals()))
"""


@pytest.fixture
def here(toured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toured[0].folder)


def test_the_notebook_runs(toured: Any) -> None:
    assert toured[1].returncode == 0, toured[1].stderr
    assert "(210, 160, 3) Discrete(6)" in toured[1].stdout


def test_the_notebook_carries_what_it_showed() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells[1:])
    assert "/root/" not in NOTEBOOK.read_text()


@pytest.mark.usefixtures("here")
def test_runs_are_rows_by_name() -> None:
    table = meme57.runs()
    assert list(table.index) == ["tour"]
    row = table.loc["tour"]
    assert (row["state"], row["game"], row["seed"], row["total_frames"]) == ("evaluated", "Pong", 1, 12_000)
    assert row["teacher_low"] <= row["teacher"] <= row["teacher_high"]


@pytest.mark.usefixtures("here")
def test_a_curve_has_a_row_each_period() -> None:
    curve = meme57.curve("tour")
    assert curve["frames"].is_monotonic_increasing
    assert curve["frames"].iloc[-1] >= 12_000
    assert len(curve) >= 6  # one each 2,000 frames


@pytest.mark.usefixtures("here")
def test_scores_are_rows_by_agent() -> None:
    scores = meme57.scores("tour")
    assert {"random", "teacher", "student"} <= set(scores.index)
    teacher = scores.loc["teacher"]
    assert teacher["episodes"] == 4
    assert math.isnan(teacher["human_normalised"])  # games are cut at 600 frames


@pytest.mark.usefixtures("here")
def test_a_registered_policy_plays_as_the_run_does() -> None:
    runs, registered = meme57.load("tour"), meme57.load("models:/meme57-pong@challenger")
    assert registered.play(2)["return"].tolist() == runs.play(2)["return"].tolist()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("ask", [meme57.curve, meme57.scores, meme57.load])
def test_an_unknown_run_is_one_line_with_those_there_are(ask: Callable[[str], Any]) -> None:
    with pytest.raises(Meme57Error, match=r"no run 'tuor': there are tour"):
        ask("tuor")
