"""Small real games with actors whose networks have opinions (fresh value heads say zero everywhere)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from meme57.actors import Actor
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.blueprint import AgentSpec, agent_spec, make_networks
from meme57.config import Parameters, parse_parameters
from meme57.envs import EnvSpec, env_spec
from tiny_agent import _one_torch_thread, changed  # noqa: F401 - for every test below this folder

SMALL: dict[str, Any] = {
    "run": {"seed": 3},
    "env": {"game": "Corridor", "num_envs": 3, "height": 36, "width": 36},
    "family": {"num_policies": 3, "gamma_max": 0.99, "gamma_min": 0.9, "beta_max": 0.3},
    "network": {"torso": "small", "lstm_size": 12, "head_size": 10, "feature_size": 8, "action_embedding_size": 4,
                "small_channels": [3, 4]},
    "novelty": {"embedding_size": 5, "num_neighbours": 3, "memory_size": 40, "channels": [3, 4], "hidden_size": 8,
                "rnd_size": 4},
    "replay": {"period": 8, "capacity_sequences": 500, "min_sequences": 4},
    "learner": {"batch_size": 4},
}  # fmt: skip


@dataclass
class Played:
    """An actor and all that is needed to check on it."""

    parameters: Parameters
    env: EnvSpec
    spec: AgentSpec
    network: MemeNetwork
    novelty: NoveltyNetworks
    actor: Actor


def build_parameters(**groups: dict[str, Any]) -> Parameters:
    return parse_parameters(changed(SMALL, **groups))


def build_actor(*, epsilon: float = 0.0, version: int = 7, **groups: dict[str, Any]) -> Played:
    parameters = build_parameters(**groups)
    env = env_spec(parameters.env)
    spec = agent_spec(parameters, env)
    network, novelty = make_networks(spec, seed=11)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("values.", "policies.", "lstm.")):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
    novelty.update_statistics(torch.tensor([0.0070, 0.0073]), torch.tensor([True, True]))  # as errors here are
    actor = Actor(parameters, env, spec, np.full(parameters.env.num_envs, epsilon))
    actor.load_weights(network.state_dict(), novelty.state_dict(), version)
    return Played(parameters, env, spec, network.eval(), novelty.eval(), actor)


@pytest.fixture(scope="session")
def make_parameters() -> Callable[..., Parameters]:
    return build_parameters


@pytest.fixture(name="make_actor")
def _make_actor(request: pytest.FixtureRequest) -> Callable[..., Played]:
    def make(**settings: Any) -> Played:
        played = build_actor(**settings)
        request.addfinalizer(played.actor.close)
        return played

    return make
