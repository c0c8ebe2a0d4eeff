"""Whether two studies are the same: what shapes their trials' scores. Needs neither Optuna nor torch."""

from __future__ import annotations

import hashlib
import json

from meme57.config import Parameters

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
"""What makes trials of one study comparable; budget, sampler and workers may change while it goes on."""


def study_fingerprint(parameters: Parameters) -> str:
    """Short digest of the agent, the games, and everything in `tune` that shapes the scores of trials."""
    tune = parameters.tune.model_dump(mode="json")
    agent = parameters.model_copy(update={"run": parameters.run.model_copy(update={"seed": 0})})
    shapes = {key: tune[key] for key in SHAPES_SCORES}
    shapes |= {"games": parameters.tune_games, "agent": agent.fingerprint()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:12]
