"""The tables of docs/results.md and docs/notebook.md, from small data by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

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
    """Rows of a curve: frames, episodes, return; traces as long as episodes are many, and a churn of a quarter."""
    who = {"game": game, "variant": variant, "seed": str(seed), "policy_churn": "0.25"}
    return [
        {
            **who, "frames": str(frames), "seconds": str(frames // 1000), "episodes": str(n), "return": str(value),
            "trace_steps": str(n),
        }
        for frames, n, value in values
    ]  # fmt: skip


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
    beside = ["-18.1 (QR-DQN, Impala)", "-20.4", "-19.4", "-"]
    assert table == [["Pong", "1,000,000", "-14.0, -18.0", "**-16.0**", *beside]]


def test_the_best_of_small_budgets_is_named_at_the_same_frames() -> None:
    [_, row] = cells(RESULTS["games_table"](points((1_000_000, 1, -20.0), (2_000_000, 1, -3.0)), PUBLISHED))
    assert row[-1] == "12.3 (BBF (RR 2))"


def test_the_readme_has_one_line_for_each_game_and_protocol() -> None:
    common = {"game": "Pong", "trained_frames": "2003532", "protocol_name": "sticky0-noop30", "trained_seconds": "1640"}
    rows = [
        {**common, "agent": agent, "seed": seed, "return": value}
        for seed, value in (("1", "13.5"), ("2", "19.59"))
        for agent, value in (("random", "-20.0"), ("teacher", value), ("student", "0"))
    ]
    rows += [{**row, "protocol_name": "sticky0.25-noop0", "trained_seconds": ""} for row in rows]
    assert cells(RESULTS["readme_table"](rows)) == [
        ["Pong", "2,000,000", "0", "-20.0", "13.5, 19.6", "14.6", "27"],
        ["Pong", "2,000,000", "0.25", "-20.0", "13.5, 19.6", "14.6", "-"],
    ]


def test_settings_that_begin_like_an_agent_of_the_notebook_have_its_letter() -> None:
    agents = RESULTS["AGENTS"]
    tried = ("none", f"{agents['B']}; novelty.enabled=false", agents["D"], "learner.adam_eps=1e-8", f"{agents['B']}0")
    rows = [
        {"game": "Pong", "settings": settings, "seed": "1", "commit": "abc", "frames": "250000", "return": "1"}
        for settings in tried
    ]
    told = [row[0] for row in cells(RESULTS["choices_table"](rows, "Pong"))]
    assert told == ["A", "B; novelty.enabled=false", "D", "learner.adam_eps=1e-8", f"{agents['B']}0"]


def test_a_run_that_is_too_short_is_not_compared() -> None:
    assert cells(RESULTS["games_table"](points((999_999, 1, 0.0)), PUBLISHED)) == []


def test_an_ablation_is_compared_with_the_whole_agent() -> None:
    rows: list[dict[str, str]] = []
    for variant, returns in {"a_part_off": (1.0, 2.0, 3.0), "full": (5.0, 6.0, 7.0)}.items():
        for seed, value in enumerate(returns, start=1):
            rows += points((700_000, 9, -99.0), (1_000_000, seed, value), seed=seed, variant=variant)
    rows += [{**points((900_000, 0, 0.0))[0], "return": "", "trace_steps": "", "policy_churn": ""}]  # not measured then
    whole, part = cells(RESULTS["ablations_table"](rows))
    assert whole == ["full", "5.0, 6.0, 7.0", "6.0", "-", "2.0", "25 %"]
    # Two samples of three with variance 1: standard error sqrt(2/3), 4 degrees of freedom, t = 2.776.
    assert part == ["a_part_off", "1.0, 2.0, 3.0", "2.0", "-4.0 [-6.3, -1.7]", "2.0", "25 %"]


def test_ablations_have_a_panel_for_each_part_left_out() -> None:
    rows = [row for variant in ("full", "a", "b", "c", "d", "e") for row in points((1, 1, 0.0), variant=variant)]
    assert RESULTS["ablations_plot"](rows).count('<g id="axes_') == 5


def ladder_run(game: str, variant: str, solved: int, frames: int, parts: str = "exploration") -> dict[str, str]:
    return {"parts": parts, "game": game, "variant": variant, "solved": str(solved), "frames": str(frames)}


def test_the_ladder_counts_what_was_solved() -> None:
    rows = [ladder_run("KeyDoor", "no bandit", 0, 320_000), ladder_run("KeyDoor", "full", 1, 40_000),
            ladder_run("KeyDoor", "full", 0, 320_000), ladder_run("DeepSea5", "full", 1, 30_000),
            ladder_run("DeepSea5", "Retrace", 1, 30_000, "learning")]  # fmt: skip
    table = RESULTS["ladder_table"](rows, "exploration")
    assert table.splitlines()[0] == "| | KeyDoor |"
    assert cells(table) == [["full", "1 of 2 (40,000)"], ["no bandit", "0 of 1"]]
    assert cells(RESULTS["ladder_table"](rows, "learning"))[1] == ["Retrace", "1 of 1 (30,000)"]


def test_the_ladder_says_how_much_slower_a_part_left_out_makes_it() -> None:
    rows = [ladder_run("Corridor", "full", 1, frames) for frames in (10_000, 20_000, 40_000)]
    rows += [ladder_run("Corridor", "no bandit", 1, frames) for frames in (20_000, 40_000, 80_000)]
    # Logs of 2 apart by ln 2, with variance (ln 2)^2 each: standard error 0.6931 sqrt(2/3), 4 degrees of freedom,
    # t = 2.776, so that the interval is 2 exp(-+1.571).
    assert cells(RESULTS["ladder_table"](rows, "exploration"))[1] == [
        "no bandit",
        "3 of 3 (40,000); x 2.00 [0.42, 9.63]",
    ]


def test_what_nobody_solved_is_not_compared() -> None:
    rows = [ladder_run("KeyDoor", variant, 0, 320_000) for variant in ("full", "no bandit") for _ in range(3)]
    assert cells(RESULTS["ladder_table"](rows, "exploration")) == [["full", "0 of 3"], ["no bandit", "0 of 3"]]


def test_what_was_not_run_says_so() -> None:
    tables = (RESULTS["ladder_table"]([], "exploration"), RESULTS["ablations_table"]([]),
              RESULTS["games_table"]([], PUBLISHED), RESULTS["greedy_table"]([]))  # fmt: skip
    assert set(tables) == {"Not run yet.\n"}


def test_learned_seeds_are_counted_and_their_mean_has_students_interval() -> None:
    who = {"variant": "no_novelty", "trained_seconds": "120", "commit": "abc"}
    values = ("500", "474.9", "480")
    rows = [{**who, "seed": str(seed), "agent": "teacher", "return": value} for seed, value in enumerate(values, 1)]
    rows += [{**who, "seed": "1", "agent": "random", "return": "21"}]
    # mean 484.97, standard deviation 13.26, t(2) = 4.303: 4.303 * 13.26 / sqrt(3) = 32.94
    assert cells(RESULTS["learned_table"](rows, 475.0)) == [
        ["no novelty", "500, 474.9, 480", "2 of 3", "485 [452, 517.9]", "21", "2", "abc"]
    ]
    assert RESULTS["learned_table"]([], 475.0) == "Not run yet.\n"


def test_a_plot_of_learned_seeds_ends_with_the_shortest() -> None:
    rows = [
        {"variant": "novelty", "seed": seed, "frames": str(1000 * point), "greedy_return": value}
        for seed, values in (("1", ("0.1", "", "0.9")), ("2", ("0.2",)))
        for point, value in enumerate(values, 1)
    ]
    assert RESULTS["learned_plot"](rows, 0.8).startswith("<?xml")
