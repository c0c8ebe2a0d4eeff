"""A tiny real study: the corridor, or Asterix in short episodes, and a network of a few thousand weights."""

from __future__ import annotations

from typing import Any

from meme57.config import Parameters, parse_parameters

FRAMES, PERIOD = 3_200, 800
BASE: dict[str, Any] = {
    "run": {"exact_resume": True},
    "env": {"game": "Corridor", "num_envs": 4, "height": 16, "width": 16, "max_episode_frames": 160, "noop_max": 4},
    "family": {"num_policies": 2},
    "network": {
        "torso": "small", "small_channels": [4, 8], "lstm_size": 8, "head_size": 8, "feature_size": 8,
        "action_embedding_size": 4,
    },
    "novelty": {"channels": [4, 8], "rnd_size": 8, "hidden_size": 8},
    "replay": {"period": 10, "capacity_sequences": 200, "min_sequences": 8, "samples_per_insert": 1},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 4},
}  # fmt: skip
SPACE = [
    {"name": "learner.learning_rate", "type": "log_float", "low": 1e-4, "high": 1e-2},
    {"name": "learner.batch_size", "type": "int", "low": 2, "high": 6, "step": 2},
]
TUNE: dict[str, Any] = {
    "study": "small", "space": SPACE, "frames": FRAMES, "report_period_frames": PERIOD,
    "checkpoint_period_frames": 2 * PERIOD, "min_frames": PERIOD, "num_trials": 3, "sampler": "random",
    "evidence_seeds": [101, 102],
}  # fmt: skip


def make_parameters(*, game: str = "Corridor", max_episode_frames: int = 160, **tune: Any) -> Parameters:
    """The tiny study with some settings changed."""
    env = {**BASE["env"], "game": game, "max_episode_frames": max_episode_frames}
    return parse_parameters({**BASE, "env": env, "tune": {**TUNE, **tune}})
