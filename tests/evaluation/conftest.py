"""A learning curve and evaluation episodes as a run of 40 log periods leaves them."""

import numpy as np
import pandas as pd
import pytest

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
