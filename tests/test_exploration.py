"""The smallest rungs of the exploration ladder: solved with the intrinsic reward, the corridor hopeless without."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from meme57.envs import env_spec
from meme57.learning.trainer import TrainingEvent, learn

LADDER = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "exploration.py"), run_name="exploration")


def best_return_while_learning(folder: Path, *, intrinsic: bool) -> float:
    """The best mean return of all episodes in a log period, whatever their policy; above 0.5 learning ends."""
    # Every episode counts here, so the greedy play that ranks checkpoints is left out.
    changes = {"env.game": "Corridor", "learner.evaluation_episodes": 0, "run.checkpoint_period_frames": 1_000_000}
    parameters = LADDER["ladder_parameters"]({**changes, "novelty.enabled": intrinsic})
    best = 0.0
    for event in learn(parameters, env_spec(parameters.env), folder):
        best = max([best, *(row.get("episodes/return", 0.0) for row in event.rows)])
        if best > 0.5:
            break
    return best


@pytest.mark.timeout(400)
def test_greedy_play_reaches_the_end_of_a_small_deep_sea() -> None:
    row = LADDER["run"](("exploration", "DeepSea5", "full", 1))
    assert row["solved"] == 1
    assert row["best_return"] > 0.9  # 1 less the costs of the way
    assert row["frames"] < 320_000


def test_once_is_luck_and_twice_in_a_row_is_solved(monkeypatch) -> None:
    def events(returns: list[float]):
        rows = [{}, *({"evaluation/return": value} for value in returns)]
        return iter([TrainingEvent(10_000 * i, 0, [row]) for i, row in enumerate(rows)])

    for returns, solved, frames in (([1.0, 0.0, 1.0, 1.0, 1.0], 1, 40_000), ([1.0, 0.0, 1.0], 0, 30_000)):
        monkeypatch.setitem(LADDER["run"].__globals__, "learn", lambda *_, r=returns, **__: events(r))
        row = LADDER["run"](("exploration", "DeepSea5", "full", 1))
        assert (row["solved"], row["frames"], row["best_return"]) == (solved, frames, 1.0)


@pytest.mark.timeout(400)
def test_novelty_solves_the_corridor(tmp_path: Path) -> None:
    # A random walk reaches the end once in 20,000 episodes; a whole run has fewer than 2,000.
    assert best_return_while_learning(tmp_path, intrinsic=True) > 0.5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_novelty_the_corridor_is_hopeless(tmp_path: Path) -> None:
    assert best_return_while_learning(tmp_path, intrinsic=False) < 0.05
