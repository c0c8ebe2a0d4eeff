"""experiments/screen/screen.py: which greedy episodes count as whole."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest

SCREEN = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "screen" / "screen.py"), run_name="screen")


def test_a_row_goes_only_into_a_table_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    for greedy in (1, 2):
        SCREEN["append_row"](path, {"name": "base", "greedy": greedy})
    assert path.read_text() == "name,greedy\nbase,1\nbase,2\n"
    with pytest.raises(ValueError, match=r"runs\.csv has the columns \['name', 'greedy'\], not"):
        SCREEN["append_row"](path, {"name": "base", "training": 3})
    assert len(path.read_text().splitlines()) == 3


def test_the_table_that_is_kept_has_the_columns_of_a_row() -> None:
    kept = next(csv.reader(SCREEN["RUNS"].open()))
    assert {"training", "greedy", "drawn", "drawn_predicted", "drawn_returned"} < set(kept)


def test_training_returns_by_hand() -> None:
    rows = [
        {"frames": 100.0, "episodes/finished": 9.0, "episodes/return": -50.0},
        {"frames": 240.0, "episodes/finished": 3.0, "episodes/return": 1.0},
        {"frames": 300.0, "episodes/finished": 0.0},
        {"frames": 400.0, "episodes/finished": 1.0, "episodes/return": 5.0},
    ]
    assert SCREEN["_second_half"](rows, 400) == 2.0
    assert SCREEN["_second_half"](rows[:1], 400) == ""


def test_whole_episodes_by_hand() -> None:
    reward = np.array([[1.0, 5.0], [2.0, 0.0], [9.0, 0.0], [4.0, 0.0], [8.0, 0.0]])  # steps of two games
    ended = np.array([[False, False], [True, False], [False, False], [True, False], [False, False]])
    idle = np.array([[False] * 2, [False] * 2, [True, False], [False] * 2, [True, False]])
    played = SCREEN["Play"](np.zeros_like(reward), reward, ended, idle)
    assert SCREEN["_whole_episodes"](played) == [3.0, 4.0]
