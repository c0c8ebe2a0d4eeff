"""The identity of a study: what shapes its trials' scores. This module needs neither Optuna nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config import Parameters
from meme57.config.identity import former_fingerprint
from meme57.config.labels import digest, settled, short_hash

SHAPES_SCORES = (
    "space",
    "seeds",
    "leader_seeds",
    "metric",
    "score",
    "frames",
    "report_period_frames",
    "pruner",
    "constraints",
)
"""What makes trials of one study comparable; a study may resume with another budget, sampler or workers."""


EVALUATION_PERIOD = "evaluation_period_frames"


def study_settings(parameters: Parameters) -> dict[str, Any]:
    """Collect the agent, the games, and everything in `tune` that shapes the scores of trials."""
    tune = parameters.tree()["tune"]
    shapes = {
        "tune": {key: tune[key] for key in SHAPES_SCORES},
        "games": list(parameters.tune_games),
        **_any_seed(parameters).configuration(),
    }
    if parameters.tune.score == "evaluation":
        shapes["ranked_by_episodes"] = parameters.learner.evaluation_episodes
        shapes[EVALUATION_PERIOD] = tune["checkpoint_period_frames"]
    return shapes


def with_evaluation_period(stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the settings of a study from before they had that period: it goes on with today's."""
    return {**{key: now[key] for key in (EVALUATION_PERIOD,) if key in now}, **stored}


def study_fingerprint(parameters: Parameters) -> str:
    """Compute a short label of `study_settings`."""
    return digest(study_settings(parameters))


def former_study_fingerprint(parameters: Parameters) -> str:
    """Compute the label that commit fd8d2c1 gave."""
    tune = settled(parameters.tree())["tune"]
    shapes = {key: tune[key] for key in SHAPES_SCORES}
    return short_hash({**shapes, "games": parameters.tune_games, "agent": former_fingerprint(_any_seed(parameters))})


def _any_seed(parameters: Parameters) -> Parameters:
    return parameters.model_copy(update={"run": parameters.run.model_copy(update={"seed": 0})})
