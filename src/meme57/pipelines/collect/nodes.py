"""Nodes of `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meme57.config import parse_parameters
from meme57.stopping import stop_requested


def collect_seed_replay(
    parameters: dict[str, Any], env_spec: dict[str, Any], initial_policy_folder: Path, seed_replay_folder: Path
) -> dict[str, Any]:
    """Play the agent as it begins until learning can begin; do nothing if there is a matching seed replay."""
    from meme57.envs import agreed_spec
    from meme57.learning import seed_replay
    from meme57.learning.progress import counter

    settings = parse_parameters(parameters)
    with counter("collect", "sequences") as progress:
        return seed_replay.collect_seed_replay(
            settings,
            agreed_spec(settings.env, env_spec),
            seed_replay_folder,
            initial_policy=initial_policy_folder,
            stop=stop_requested,
            progress=progress,
        )
