"""A learning curve and evaluation episodes as a run of 40 log periods leaves them."""

import numpy as np
import pandas as pd
import pytest

from meme57.evaluation.statistics import summarise_returns
from meme57.evaluation.suite_scores import COLUMNS, result_rows, suite_scores

NUM_POLICIES = 4
MEASURES = (
    "speed/frames_per_second",
    "speed/updates_per_second",
    "loss/total",
    "loss/value",
    "loss/distillation",
    "learner/trust_region_rate",
    "learner/kl_rate",
    "learner/trace",
    "learner/gradient_norm",
    "learner/sigma_extrinsic",
    "learner/sigma_intrinsic",
    "novelty/intrinsic_reward",
    "novelty/lifelong",
    "novelty/rnd_loss",
    "novelty/action_loss",
    "replay/sequences",
    "replay/bytes_per_step",
    "replay/samples_per_insert",
)


@pytest.fixture
def learning_curve():
    """Every column, with the gaps that a real one has."""
    generator = np.random.default_rng(0)
    rows = 40
    frames = np.arange(1, rows + 1) * 1_000.0
    columns = {
        "frames": frames,
        "updates": frames / 100,
        "elapsed_seconds": frames / 500,
        "episodes/finished": np.full(rows, 8.0),
        "episodes/return": np.linspace(-20, 10, rows),
        "episodes/return_exploit": np.where(np.arange(rows) % 5 == 0, np.nan, np.linspace(-19, 12, rows)),
        "episodes/length_steps": np.full(rows, 900.0),
        "evaluation/return": np.where(np.arange(rows) % 10 == 9, 11.0, np.nan),
    }
    for j in range(NUM_POLICIES):
        columns[f"policy_episodes/{j}"] = np.full(rows, float(j + 1))
    for name in MEASURES:
        columns[name] = generator.random(rows)
    return pd.DataFrame(columns)


@pytest.fixture
def episodes():
    """Three agents with five episodes each, the student first."""
    return pd.DataFrame(
        {"agent": agent, "episode": i, "return": mean + i, "length_steps": 500 + i, "seed": i}
        for agent, mean in (("student", 5.0), ("random", -21.0), ("teacher", 10.0))
        for i in range(5)
    )


SUITE_GAMES = {"Pong": (-20.7, 14.6), "Breakout": (1.7, 30.5), "Corridor": (0.0, 1.0)}
"""Random play and about human; the last has no published scores."""


@pytest.fixture
def suite_settings():
    return {"confidence": 0.95, "repetitions": 200, "seed": 1}


@pytest.fixture
def suite_record():
    """Three games x two seeds x two variants, the second variant better; one member failed."""
    members = [
        suite_member(game, variant, seed)
        for seed in (1, 2)
        for game in SUITE_GAMES
        for variant in ("baseline", "changed")
    ]
    lost = members[0]
    members[0] = {key: lost[key] for key in ("name", "game", "seed", "variant")} | {
        "state": "failed", "error": "ReplayError: <b>broken</b> & gone",
    }  # fmt: skip
    names = {"variants": ["baseline", "changed"], "games": list(SUITE_GAMES), "seeds": [1, 2]}
    return {"suite": "three", **names, "members": members}


def suite_member(game, variant, seed):
    low, high = SUITE_GAMES[game]
    level = 0.4 + 0.1 * seed + (0.7 if variant == "changed" else 0.0)
    mean = low + level * (high - low)
    agents = {
        agent: summarise_returns([value - 0.5, value + 0.5], game, confidence=0.95, repetitions=20, seed=0)
        for agent, value in (("random", low), ("teacher", mean), ("bandit_policy", mean + 0.1), ("student", mean - 0.1))
    }
    curve = [
        {"frames": 1_000.0 * step, "episodes/return": low + (mean - low) * step / 20, "episodes/finished": 4.0}
        for step in range(1, 21)
    ]
    protocol = {"protocol": "sticky", "departures": [], "name": "sticky0.25-noop0"}
    scores = {"game": game, "frames": 20_000, "protocol": protocol, "agents": agents}
    name = f"{game}-{variant}-s{seed}"
    identity = {"name": name, "game": game, "seed": seed, "variant": variant}
    return identity | {"state": "done", "error": None, "scores": scores, "curve": curve}


@pytest.fixture
def suite_table(suite_record, suite_settings):
    """The table of results and the suite's scores."""
    rows = result_rows(suite_record["members"])
    scores = suite_scores(rows, suite_record["variants"], suite_record["games"], **suite_settings)
    return pd.DataFrame(rows, columns=list(COLUMNS)), scores
