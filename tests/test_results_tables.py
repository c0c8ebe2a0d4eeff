"""The tables of docs/results.md, from small data by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

RESULTS = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate" / "results.py"), run_name="results")

PUBLISHED = [
    {"agent": agent, "network": network, "game": "pong", "frames": "1000000", "mean_score": score}
    for agent, network, score in (
        ("IQN", "CNN (legacy set)", "-19.4"), ("IQN", "Impala (JAX, newer set)", "-18.9"),
        ("QR-DQN", "Impala (JAX, newer set)", "-18.1"), ("Rainbow", "CNN (legacy set)", "-20.4"),
    )
]  # fmt: skip


def points(
    *values: tuple[int, int, float], game: str = "Pong", seed: int = 1, variant: str = "full"
) -> list[dict[str, str]]:
    """Rows of a curve: frames, episodes, return."""
    who = {"game": game, "variant": variant, "seed": str(seed)}
    return [
        {**who, "frames": str(frames), "seconds": str(frames // 1000), "episodes": str(n), "return": str(value)}
        for frames, n, value in values
    ]


def cells(table: str) -> list[list[str]]:
    """The table's body."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


def test_a_window_weighs_by_episodes_and_has_its_end_but_not_its_beginning() -> None:
    rows = points((100, 5, 9.0), (200, 1, 4.0), (300, 3, 8.0), (301, 7, 0.0))
    assert RESULTS["window_mean"](rows, "1", 100, 300) == pytest.approx((4.0 + 3 * 8.0) / 4)


def test_games_stand_beside_the_best_published_agent_at_equal_frames() -> None:
    rows = points((500_000, 1, -20.0), (1_000_000, 3, -12.0)) + points(
        (1_000_500, 2, -16.0), (999_000, 2, -18.0), seed=2
    )
    rows += [{**rows[0], "frames": "1000000", "episodes": "0", "return": ""}]  # it went on without an episode's end
    table = cells(RESULTS["games_table"](rows, PUBLISHED))
    assert table == [["Pong", "1,000,000", "-14.0, -18.0", "**-16.0**", "-18.1 (QR-DQN, Impala)", "-20.4", "-19.4"]]


def test_a_run_that_is_too_short_is_not_compared() -> None:
    assert cells(RESULTS["games_table"](points((999_999, 1, 0.0)), PUBLISHED)) == []


def test_an_ablation_is_compared_with_the_whole_agent() -> None:
    rows: list[dict[str, str]] = []
    for variant, returns in {"a_part_off": (1.0, 2.0, 3.0), "full": (5.0, 6.0, 7.0)}.items():
        for seed, value in enumerate(returns, start=1):
            rows += points((700_000, 2, -99.0), (1_000_000, 2, value), seed=seed, variant=variant)
    whole, part = cells(RESULTS["ablations_table"](rows))
    assert whole == ["full", "5.0, 6.0, 7.0", "6.0", "-"]
    # Two samples of three with variance 1: standard error sqrt(2/3), 4 degrees of freedom, t = 2.776.
    assert part == ["a_part_off", "1.0, 2.0, 3.0", "2.0", "-4.0 [-6.3, -1.7]"]


def test_the_ladder_counts_what_was_solved() -> None:
    def run(game: str, variant: str, solved: int, frames: int) -> dict[str, Any]:
        return {"game": game, "variant": variant, "seed": "1", "solved": str(solved), "frames": str(frames)}

    rows = [run("KeyDoor", "no bandit", 0, 320_000), run("KeyDoor", "full", 1, 40_000),
            run("KeyDoor", "full", 0, 320_000), run("DeepSea5", "full", 1, 30_000)]  # fmt: skip
    table = RESULTS["ladder_table"](rows)
    assert table.splitlines()[0] == "| game | full | no bandit |"
    assert cells(table) == [["DeepSea5", "1 of 1 (30,000)", "not run"], ["KeyDoor", "1 of 2 (40,000)", "0 of 1"]]


def test_what_was_not_run_says_so() -> None:
    tables = (RESULTS["ladder_table"]([]), RESULTS["ablations_table"]([]), RESULTS["games_table"]([], PUBLISHED),
              RESULTS["greedy_table"]([]))  # fmt: skip
    assert set(tables) == {"Not run yet.\n"}
