"""A policy that learned a whole game becomes champion: from training to the alias in MLflow's registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from meme57.tracking.version_tags import score_from_tags

FLOW = ("setup", "collect", "learn", "distill", "evaluate", "register")
DEEP_SEA: dict[str, Any] = {
    "run": {"name": "deep", "total_frames": 8_000, "checkpoint_period_frames": 2_000, "log_period_frames": 2_000},
    "env": {"game": "DeepSea5", "num_envs": 8, "height": 16, "width": 16},
    "family": {"num_policies": 2, "gamma_min": 0.9},
    "novelty": {"enabled": False},
    "loss": {"sigma_floor": 0.2},
    "actors": {"epsilon_base": 0.8, "epsilon_alpha": 0.0},
    "replay": {"min_sequences": 100, "samples_per_insert": 8},
    "learner": {
        "mode": "synchronous", "batch_size": 8, "learning_rate": 0.003, "target_period_updates": 25,
        "evaluation_episodes": 1,
    },
    "evaluate": {"episodes": 20, "num_envs": 20},
}  # fmt: skip
"""Random play finds this game's treasure, worth 1, in one of 32 episodes. Ten of ten seeds learned the way to it by
frame 6,100, since actors explore so much. With the usual epsilon half of them did not, and rounding would decide."""


def test_a_policy_that_learned_to_win_becomes_champion(make_project: Callable[[str], Any]) -> None:
    project = make_project("champion")
    project.run_here(*FLOW, **DEEP_SEA)
    teacher = json.loads((project.data / "08_reporting/deep/model_versions.json").read_text())["teacher"]
    version = project.client().get_model_version_by_alias(teacher["model"], "champion")
    assert version.tags["meme57.run"] == "deep"
    assert "meme57.cut_short" not in version.tags
    score = score_from_tags(version.tags)
    assert score is not None
    assert (score.mean, score.episodes, score.cut_short) == (pytest.approx(0.99), 20, 0)  # 1 less five steps right
    assert score.random_mean < 0.5
    assert (teacher["champion"], teacher["version"]) == (True, str(version.version))
    assert teacher["reason"].startswith("first champion: better than random play: difference +0.")
