"""Making the parts of a run from parameters: the agent's networks, its bandits, the replay, the device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from meme57.agent.bandit import SlidingWindowUCB
from meme57.agent.family import PolicyFamily
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.agent.parameters import NetworkSpec, NoveltySpec
from meme57.agent.torso import torso_class
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import ConfigurationError
from meme57.replay import SequenceReplay

SEED_STRIDE = 100_003
"""Distance between two runs' seeds, so that seeds of two actors, or of one actor before and after a restart, differ."""


@dataclass(frozen=True)
class AgentSpec:
    """Shapes and constants of the agent on one game."""

    network: NetworkSpec
    novelty: NoveltySpec
    family: PolicyFamily


def agent_spec(parameters: Parameters, env: EnvSpec) -> AgentSpec:
    """Return the agent that the parameters describe, on the game of `env`.

    Raises:
        ConfigurationError: the torso cannot read the game's frames, or they are no pictures that could be moved.
    """
    _check_torso(parameters.network.torso, env)
    _check_shift(parameters.learner.shift_pixels, env)
    family = policy_family(parameters)
    shapes: dict[str, Any] = {"height": env.height, "width": env.width, "num_actions": env.num_actions}
    shapes["frame_dtype"] = env.frame_dtype
    network = NetworkSpec(
        **asdict(parameters.network),
        **shapes,
        num_policies=parameters.family.num_policies,
        embedding_size=parameters.novelty.embedding_size,
        acting_betas=None if parameters.loss.distil_policy else tuple(family.betas.tolist()),
    )
    return AgentSpec(network, NoveltySpec(**asdict(parameters.novelty), **shapes), family)


def make_networks(spec: AgentSpec, *, seed: int) -> tuple[MemeNetwork, NoveltyNetworks]:
    """Initialise networks, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MemeNetwork(spec.network), NoveltyNetworks(spec.novelty)


def make_bandits(parameters: Parameters, *, num_envs: int, index: int) -> list[SlidingWindowUCB]:
    """Make one bandit for each environment, or one for all (`bandit.scope`); `index` keeps two actors' seeds apart.

    In many games all episodes end at the same time, so separate bandits start their first round at different policies.
    """
    bandit = parameters.bandit
    is_shared = bandit.scope == "shared"
    num_policies = parameters.family.num_policies
    return [
        SlidingWindowUCB(
            num_policies,
            window=bandit.window,
            beta=bandit.ucb_beta,
            epsilon=bandit.epsilon,
            seed=parameters.run.seed * SEED_STRIDE + index * 1_009 + env,
            first_arm=0 if is_shared else (index + env) % num_policies,
        )
        for env in range(1 if is_shared else num_envs)
    ]


def policy_family(parameters: Parameters) -> PolicyFamily:
    """Make the family; without an intrinsic reward every beta is 0."""
    family = parameters.family
    return PolicyFamily.ladder(
        num_policies=family.num_policies,
        gamma_max=family.gamma_max,
        gamma_min=family.gamma_min,
        beta_max=family.beta_max if parameters.novelty.enabled else 0.0,
    )


def make_replay(parameters: Parameters, env: EnvSpec) -> SequenceReplay:
    """Make an empty replay for sequences of two periods."""
    replay = parameters.replay
    return SequenceReplay(
        period=replay.period,
        capacity_sequences=replay.capacity_sequences,
        frame_shape=env.frame_shape,
        frame_dtype=env.frame_dtype,
        lstm_size=parameters.network.lstm_size,
        embedding_size=parameters.novelty.embedding_size,
        num_actions=env.num_actions,
        priority_exponent=replay.priority_exponent,
        importance_exponent=replay.importance_exponent,
    )


def _check_torso(name: str, env: EnvSpec) -> None:
    smallest = torso_class(name).smallest
    if min(env.frame_shape) >= smallest:
        return
    if env.frame_dtype == "uint8":
        raise ConfigurationError(f"network.torso={name} needs frames of {smallest}x{smallest} at least")
    raise ConfigurationError(
        f"network.torso={name} reads images, and {env.game} shows a vector of {env.width} numbers: "
        "choose network.torso=mlp"
    )


def _check_shift(pixels: int, env: EnvSpec) -> None:
    if pixels and env.frame_dtype != "uint8":
        raise ConfigurationError(
            f"learner.shift_pixels={pixels} moves pictures, and {env.game} shows a vector of {env.width} numbers: "
            "type learner.shift_pixels=0"
        )


def find_device() -> torch.device:
    """Return a CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
