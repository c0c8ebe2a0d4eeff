"""Selecting the pool by a parameter."""

from __future__ import annotations

import torch

from meme57.actors.local_pool import ActorPool, LocalPool
from meme57.blueprint import AgentSpec
from meme57.config import Parameters
from meme57.envs import EnvSpec


def make_pool(
    parameters: Parameters, env: EnvSpec, spec: AgentSpec, *, index: int = 0, device: torch.device | str = "cpu"
) -> ActorPool:
    """Make the pool that `actors.pool` names. Ray is imported for its own pool only, and starts when first needed.

    Args:
        index: keeps the actor numbers and seeds of two pools apart.
        device: where the local pool acts; a Ray actor acts where `ray.gpus_per_worker` puts it.
    """
    if parameters.actors.pool == "local":
        return LocalPool(parameters, env, spec, index=index, device=device)
    from meme57.actors.ray_pool import RayPool

    return RayPool(parameters, env, index=index)
