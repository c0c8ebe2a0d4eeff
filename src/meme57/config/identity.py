"""Compare configurations by the final values of what shapes learning, never by files or environments.

A stored configuration is completed first: each newer parameter gets the value that says what the code did before it,
and operational settings are dropped. So runs, suites, studies and seed replays survive a new parameter. Where commit
fd8d2c1 stored only a label, `former_...` computes the same label again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config.differences import describe_differences
from meme57.config.labels import MEANT_BEFORE, digest, settled, short_hash
from meme57.config.parameters import LEARNING_GROUPS, OPERATIONAL_NAMES, Parameters
from meme57.config.renames import PARAMETERS, renamed
from meme57.config.tree import flatten, without

FORMERLY_COVERED = {
    "env.num_threads",
    "evaluate.video_seconds",
    "learner.evaluation_episodes",
    "learner.max_bad_updates",
    "learner.torch_threads",
}
"""Operational settings that were part of the former labels."""
SEED_GROUPS = ("env", "family", "network", "novelty", "bandit", "replay", "actors")
"""Groups that shape a seed replay; the learner's settings do not."""


def changes(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe what differs between a stored tree and today's; empty if they are the same."""
    return describe_differences(completed(stored, now), now)


def completed(stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored tree by dotted names, as today's code would have written it."""
    flat, known = flatten(without(renamed(stored, PARAMETERS), OPERATIONAL_NAMES)), flatten(now)
    return {name: value for name, value in MEANT_BEFORE.items() if name in known} | flat


def is_same(stored: Mapping[str, Any] | None, label: object, now: Mapping[str, Any], former: str) -> bool:
    """Say whether the stored tree is today's; if only a label was stored, compare that with today's and `former`."""
    return label in (digest(now), former) if stored is None else not changes(stored, now)


def seed_settings(parameters: Parameters) -> dict[str, Any]:
    """Collect everything that shapes the seed replay."""
    configuration = parameters.configuration()
    acting: dict[str, Any] = {"seed": parameters.run.seed, "loss": {"distil_policy": parameters.loss.distil_policy}}
    if parameters.run.init_from is not None:
        acting["init_from"] = parameters.run.init_from
    return {**{group: configuration[group] for group in SEED_GROUPS}, **acting}


def former_fingerprint(parameters: Parameters) -> str:
    """Compute the former label of a run."""
    return short_hash(_former_configuration(parameters))


def former_member_digest(parameters: Parameters) -> str:
    """Compute the former label of a suite's member."""
    tree = _former_tree(parameters)
    learning, frames = _former_configuration(parameters), parameters.run.total_frames
    return short_hash(
        {"distill": tree["distill"], "evaluate": tree["evaluate"], "learning": learning, "frames": frames}
    )


def former_seed_fingerprint(parameters: Parameters) -> str:
    """Compute the former label of a seed replay."""
    tree = _former_tree(parameters)
    return short_hash([parameters.run.seed, parameters.loss.distil_policy, *(tree[group] for group in SEED_GROUPS)])


def _former_tree(parameters: Parameters) -> dict[str, Any]:
    return settled(without(parameters.tree(), OPERATIONAL_NAMES - FORMERLY_COVERED))


def _former_configuration(parameters: Parameters) -> dict[str, Any]:
    tree, run = _former_tree(parameters), parameters.run
    learning = {key: tree[key] for key in LEARNING_GROUPS} | {"seed": run.seed, "exact_resume": run.exact_resume}
    return learning | ({"checkpoint_period_frames": run.checkpoint_period_frames} if run.exact_resume else {})
