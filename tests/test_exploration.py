"""The exploration game is solved with the intrinsic reward, and hopeless without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning.trainer import learn

CORRIDOR: dict[str, dict[str, Any]] = {
    "run": {
        "seed": 1, "total_frames": 320_000, "log_period_frames": 10_000, "checkpoint_period_frames": 1_000_000,
    },
    "env": {"game": "Corridor", "num_envs": 8, "height": 16, "width": 16},
    "family": {"num_policies": 4, "gamma_max": 0.99, "gamma_min": 0.9, "beta_max": 0.3},
    "network": {"torso": "small", "lstm_size": 32, "head_size": 32, "feature_size": 32, "small_channels": [8, 16]},
    "novelty": {"channels": [8, 16], "rnd_size": 32, "hidden_size": 32},
    # Rewards are so rare that the running scale forgets them: at the usual floor of 0.01 the noise of Qe would be
    # blown up until it held the LSTM still (docs/laptop.md).
    "loss": {"sigma_floor": 0.2},
    "replay": {"period": 10, "min_sequences": 200, "capacity_sequences": 20_000, "samples_per_insert": 16},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.0, "target_period_updates": 25},
}  # fmt: skip


def best_return_while_learning(folder: Path, *, intrinsic: bool) -> float:
    """The best mean return of all episodes in a log period, whatever their policy; above 0.5 learning ends."""
    parameters = parse_parameters({**CORRIDOR, "novelty": {**CORRIDOR["novelty"], "enabled": intrinsic}})
    best = 0.0
    for event in learn(parameters, env_spec(parameters.env), folder):
        best = max([best, *(row.get("episodes/return", 0.0) for row in event.rows)])
        if best > 0.5:
            break
    return best


@pytest.mark.timeout(400)
def test_novelty_solves_the_corridor(tmp_path: Path) -> None:
    # A random walk reaches the end once in 20,000 episodes; a whole run has fewer than 2,000.
    assert best_return_while_learning(tmp_path, intrinsic=True) > 0.5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_novelty_the_corridor_is_hopeless(tmp_path: Path) -> None:
    assert best_return_while_learning(tmp_path, intrinsic=False) < 0.05
