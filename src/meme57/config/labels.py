"""Short labels of configurations. A new parameter with its old meaning, or a new name, does not change a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config.renames import EARLIER_PARAMETERS, renamed
from meme57.config.tree import flatten, without
from meme57.files import tree_digest

MEANT_BEFORE: dict[str, Any] = {
    "env.id": None,
    "env.wrappers": [],
    "env.observation_key": None,
    "network.mlp_sizes": [128, 128],
    "network.impala_channels": [16, 32, 32],
    "learner.select_checkpoint": "best",
    "network.dynamics_size": 0,
    "loss.advantage_alpha": 0.0,
    "novelty.renew_embedding": False,
    "loss.dynamics_weight": 1.0,
    "loss.dynamics_steps": 5,
    "actors.temperature": 0.0,
    "evaluate.temperature": 0.0,
    "actors.terminal_on_life_loss": False,
    "actors.noise_steps": 1,
    "learner.shift_pixels": 0,
}
"""Dotted name of a parameter that is newer than commit fd8d2c1 -> the value that says what the code did before it.

Every new parameter of learning, distillation or evaluation, or of a study's scores, must be listed here; a test checks
it. So earlier runs, suites, studies and seed replays resume.
"""


def settled(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Drop newer parameters that have their old meaning, and give renamed ones their earlier names."""
    flat = flatten(tree)
    newer = {name for name, value in MEANT_BEFORE.items() if name in flat and flat[name] == value}
    return renamed(without(tree, newer), EARLIER_PARAMETERS)


def digest(tree: Mapping[str, Any]) -> str:
    """Compute the label of a tree: twelve hexadecimal digits."""
    return short_hash(settled(tree))


def short_hash(value: Any) -> str:
    """Return the first twelve hexadecimal digits of the SHA-256 of `value` as JSON."""
    return tree_digest(value)[:12]
