"""The tables of docs/benchmarks.md: every game of a suite, what has not run, and nothing over games before all have."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from meme57.config import parse_parameters

ROOT = Path(__file__).parents[1]
PARAMETERS = parse_parameters(
    {"suite": {"games": ["Boxing", "Pong"], "seeds": [11, 12], "compare": ["spr_400k", "mrq_10M"]}}
)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(ROOT / "docs" / "generate")
    return runpy.run_path(str(ROOT / "docs" / "generate" / "beside.py"), run_name="beside")


def row(
    game: str, seed: int, score: float, human: float, agent: str = "teacher", commit: str = "abc1234"
) -> dict[str, str]:
    facts = {"game": game, "variant": "configured", "seed": str(seed), "agent": agent, "commit": commit}
    return {**facts, "return": str(score), "human_normalised": str(human), "trained_seconds": str(600 + seed * 60)}


def body(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:] if line[:1] == "|"]


def test_what_has_not_run_is_named_and_nothing_is_said_over_games(beside: dict[str, Any]) -> None:
    rows = [row("Pong", 11, -9.0, 0.3), row("Pong", 11, -20.0, 0.0, agent="random")]
    table = beside["table"](PARAMETERS, rows)
    boxing, pong, *over = body(table)
    assert boxing[:5] == ["Boxing", "-", "12.1", "not run", "-"]
    assert boxing[-1] == "-"
    assert pong == ["Pong", "-20.0", "14.6", "-9.0", "-9.0", "-5.4", "17.6", "21"]
    assert [cells[4] for cells in over] == ["-"] * len(over)
    assert "Commit abc1234. Not run: seed 11 (Boxing); seed 12 (every game)." in table


def test_over_games_the_mean_over_seeds_of_each_game_counts(beside: dict[str, Any]) -> None:
    rows = [
        row("Pong", 11, -9.0, 0.2),
        row("Pong", 12, -7.0, 0.4),
        row("Boxing", 11, 2.0, 0.1),
        row("Boxing", 12, 4.0, 0.3),
    ]
    table = beside["table"](PARAMETERS, rows)
    _boxing, pong, *over = body(table)
    assert (pong[3], pong[4], pong[-1]) == ("-9.0, -7.0", "-8.0", "21 to 22")
    assert [(cells[0], cells[4]) for cells in over] == [
        (f"*{beside['OVER_GAMES'][name]}*", "25.0 %") for name in ("iqm", "median", "mean")
    ]
    assert "All of it has run." in table


def test_rows_of_two_commits_are_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="several commits: abc1234, def5678"):
        beside["table"](PARAMETERS, [row("Pong", 11, 0.0, 0.5), row("Pong", 12, 0.0, 0.5, commit="def5678")])


def test_two_agents_side_by_side(beside: dict[str, Any]) -> None:
    then = [row("Pong", 1, 10.0, 0.9), row("Pong", 2, 14.0, 1.0)]
    now = [row("Pong", 11, 15.0, 1.0), row("Pong", 12, 17.0, 1.0), row("Boxing", 11, 3.0, 0.2)]
    pong, boxing = body(beside["side_by_side"](then, now))
    assert pong[:3] == ["Pong", "10.0, 14.0", "15.0, 17.0"]
    assert pong[3].startswith("+4.0 [")
    assert boxing == ["Boxing", "-", "3.0", "-"]
    assert beside["side_by_side"](then, []) == "Not run yet.\n"
